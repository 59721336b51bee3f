"""How fast commits are proved, and a whole repository is taken in.

    python benchmarks/sync.py

Prints ratios. A commit with one record, read from its frame, should be proved at 60 % or more of
the rate of the bare secp256k1 verification by `cryptography` in the same run, and 1,500 times a
second or more where coincurve is installed; operations in batches of 200 at 20,000 a second. A
repository of 100,000 records should be proved and taken in within 10 s, with less than 150 MB more
memory; where all of them are data sets, most of the time goes into the index of their words.

Rates are per second of a processor, so that other programs matter less; a whole repository is also
timed on the clock.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from atd.protocol import keys, mst_node
from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, encode
from atd.protocol.commit import Commit
from atd.protocol.frames import CommitMessage, read_frame
from atd.protocol.identity import Identity
from atd.protocol.keys import PrivateKey
from atd.protocol.live import verify_diff
from atd.protocol.mst import build
from atd.protocol.syntax import Did, Nsid, Tid
from atd.records import DATASET, RELEASE
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.host.events import Op, commit_body, frame
from atd_daemon.host.tree import Tree
from atd_daemon.network.directory import Directory
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.sync.resolve import Resolver
from proofs import raw_verification

OWNER = Did("did:plc:7iza6de2dwap2sbkpav7c6c6")
KEY = PrivateKey.from_bytes("k256", hashlib.sha256(b"benchmark").digest())
IDENTITY = Identity(OWNER, KEY.public, "https://pds.example.com")
THING = Nsid("com.example.catalog.dataset")
START_US = 1_700_000_000_000_000
RECORDS, COMMITS, BATCH, ROUNDS = 10_000, 1_000, 200, 7
LARGE = 100_000


def seconds(function: Callable[[], object]) -> float:
    """How long one call keeps a processor busy."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


# --- commits --------------------------------------------------------------------------------------


class Author:
    """Somebody with many records, who goes on writing."""

    def __init__(self, count: int, *, ordered: bool) -> None:
        self._dice = random.Random(1)
        self._ordered = ordered
        self._number = 0
        self._blocks = dict(self._new() for _ in range(count))
        root, nodes = build({path: Cid.of(block) for path, block in self._blocks.items()})
        self._nodes = nodes
        self._tree = Tree(self._nodes.__getitem__, root)
        self._commit = Commit.sign(OWNER, self._rev(), root, KEY)

    def _rev(self) -> Tid:
        return Tid.from_micros(START_US + self._number, 1)

    def _new(self) -> tuple[str, bytes]:
        self._number += 1
        micros = START_US + (self._number if self._ordered else self._dice.getrandbits(44))
        value = {"$type": THING, "number": self._number, "description": "Five species. " * 40}
        return f"{THING}/{Tid.from_micros(micros, 1)}", encode(value)

    def frames(self, commits: int, each: int) -> Iterator[bytes]:
        """The frames of so many commits that create ``each`` records each."""
        for seq in range(commits):
            new = dict(self._new() for _ in range(each))
            blocks = {Cid.of(block): block for block in new.values()}
            ops = [Op("create", path, Cid.of(block), None) for path, block in new.items()]
            for op in ops:
                self._tree.put(op.path, op.cid)  # type: ignore[arg-type]
            before, sealed = self._commit, self._tree.seal()
            self._nodes |= sealed.added
            blocks |= sealed.added
            for op in ops:
                blocks |= self._tree.cover(op.path)
            self._commit = Commit.sign(OWNER, self._rev(), sealed.root, KEY)
            blocks[self._commit.cid] = self._commit.encode()
            head = (self._commit.cid, self._commit.rev)
            body = commit_body(OWNER, head, before.rev, before.data, ops, blocks)
            yield frame("#commit", {**body, "seq": seq, "time": "2025-01-31T12:00:00.000Z"})

    @property
    def commit(self) -> Commit:
        """The newest one."""
        return self._commit


def prove(frames: list[bytes]) -> None:
    """What a follower does with frames before its index."""
    for data in frames:
        message = read_frame(data)
        assert isinstance(message, CommitMessage)
        diff = verify_diff(message, IDENTITY, (THING,))
        assert len(diff.changes) == len(message.ops)


def commits(ordered: bool) -> None:
    """Commits of one record against bare signatures, in turns; then large ones."""
    keys_are = "in order" if ordered else "random"
    author = Author(RECORDS, ordered=ordered)
    frames = list(author.frames(COMMITS, 1))
    raw = raw_verification(KEY, author.commit)

    def bare() -> None:
        for _ in frames:
            raw()

    shares, rates = [], []
    for _ in range(ROUNDS):
        mst_node.forget()
        signatures, took = seconds(bare), seconds(partial(prove, frames))
        shares.append(signatures / took)
        rates.append(len(frames) / took)
    size = statistics.median(len(data) for data in frames)
    print(
        f"one-record commits, keys {keys_are}, {size:,.0f} bytes each:"
        f" {statistics.median(shares):.0%} of the raw rate ({statistics.median(rates):,.0f}/s)"
    )
    batches = list(author.frames(20, BATCH))
    rates = []
    for _ in range(ROUNDS):
        mst_node.forget()
        rates.append(len(batches) * BATCH / seconds(partial(prove, batches)))
    print(
        f"operations in batches of {BATCH}, keys {keys_are}: {statistics.median(rates):,.0f}/s"
        " (20,000/s)"
    )


# --- a whole repository ---------------------------------------------------------------------------


def large_repository(count: int, ours: int) -> bytes:
    """The CAR file of a publisher with so many records, of which ``ours`` are data sets."""
    blocks, entries = {}, {}
    for number in range(count):
        name = f"flowers-{number:06}"
        kind = DATASET if number < ours else THING
        value = {
            "$type": kind,
            "name": name,
            "title": f"Photographs of flowers, part {number}",
            "description": "Five species, photographed in daylight from above. " * 8,
            "license": "CC-BY-4.0",
            "tags": ["images", "plants", "classification"],
            "latest": {"uri": f"at://{OWNER}/{RELEASE}/{name}:1.0.0", "cid": str(Cid.of(b"x"))},
            "createdAt": "2025-01-31T12:00:00.000Z",
        }
        block = encode(value)  # type: ignore[arg-type]
        cid = Cid.of(block)
        blocks[cid], entries[f"{kind}/{name}"] = block, cid
    root, nodes = build(entries)
    commit = Commit.sign(OWNER, Tid.from_micros(START_US, 1), root, KEY)
    return write_car(commit.cid, [(commit.cid, commit.encode()), *nodes.items(), *blocks.items()])


def serve(count: int, ours: int) -> None:
    """Be PLC directory and PDS at once; prints the port, ends when stdin does."""
    car = large_repository(count, ours)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = {
                "id": OWNER,
                "alsoKnownAs": [],
                "verificationMethod": [
                    {
                        "id": f"{OWNER}#atproto",
                        "type": "Multikey",
                        "controller": OWNER,
                        "publicKeyMultibase": KEY.public.to_multikey(),
                    }
                ],
                "service": [
                    {
                        "id": "#atproto_pds",
                        "type": "AtprotoPersonalDataServer",
                        "serviceEndpoint": f"http://127.0.0.1:{self.server.server_address[1]}",
                    }
                ],
            }
            repo = "getRepo" in self.path
            body = car if repo else json.dumps(document).encode()
            self.send_response(200)
            kind = "application/vnd.ipld.car" if repo else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], len(car), flush=True)
    sys.stdin.read()


def resident_bytes(field: str) -> int:
    """A line of /proc/self/status, such as VmRSS."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    return 0


async def backfill(port: int, ours: int) -> tuple[float, float, int]:
    """Seconds, those of a processor, and bytes of memory at the peak beyond those before."""
    with tempfile.TemporaryDirectory() as folder:
        origin = f"127.0.0.1:{port}"
        config = Config.under(
            Path(folder), plc_url=f"http://{origin}", allow_hosts=frozenset({origin})
        )
        fetcher, catalog = open_fetcher(config), Catalog(config.state_dir / "index.sqlite")
        try:
            directory = Directory(fetcher, DnsResolver(config), config, clock=time.time)
            resolver = Resolver(
                directory, PdsReader(fetcher, config), catalog, config, clock=time.time
            )
            await directory.resolve(OWNER)
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
            before = resident_bytes("VmRSS")
            started, busy = time.perf_counter(), time.process_time()
            indexed = await resolver.publisher(OWNER)
            took, busy = time.perf_counter() - started, time.process_time() - busy
            assert indexed.changes is not None
            assert indexed.changes.created == ours
            return took, busy, resident_bytes("VmHWM") - before
        finally:
            catalog.close()
            await fetcher.close()


def whole(ours: int) -> None:
    """A publisher with many records, from its PDS into the index."""
    command = [sys.executable, __file__, "serve", str(LARGE), str(ours)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port, size = map(int, server.stdout.readline().split())
        took, busy, more = asyncio.run(backfill(port, ours))
        print(
            f"backfill of {LARGE:,} records, {size / 1e6:.0f} MB, of which {ours:,} are data sets:"
            f" {took:.1f} s (at most 10 for few), {busy:.1f} s of a processor,"
            f" {more / 1e6:.0f} MB more memory (less than 150)"
        )
        assert server.stdin is not None
        server.stdin.close()


def main() -> None:
    print("libsecp256k1 (coincurve):", "yes" if keys.ACCELERATED else "no")
    commits(ordered=True)
    commits(ordered=False)
    for ours in (0, LARGE // 50, LARGE):
        whole(ours)


if __name__ == "__main__":
    serve(*map(int, sys.argv[2:])) if sys.argv[1:2] == ["serve"] else main()
