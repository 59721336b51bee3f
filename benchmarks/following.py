"""What following costs: from a commit on a PDS to a query that finds it, and the daemon's memory.

    python benchmarks/following.py [--publishers 100] [--hosts 5] [--commits 200] [--json]

Real parts: reference PDSes with their accounts, and a daemon that follows all of them. One
publisher after the other writes the head of a data set; the clock runs from the moment the request
leaves until ``searchDatasets`` finds it. Then a hostile host joins, which floods its event stream
and answers a repository byte by byte, and the same is measured again.

A part of the time is the PDS's: it looks for new events in its database, and the longer nothing
happened the more rarely, up to once a second. So somebody who is not followed writes a note on
every host a few times a second, as on any server that is used; and beside the daemon a plain
listener hears the same streams: ``afterEvent`` says how much later than that the daemon is.

The promises: a median under 300 ms, hostile host or not; memory within 60 MB of what the daemon
takes when it follows nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from atd import api  # noqa: E402
from atd import following as service  # noqa: E402
from atd.connection import Connection  # noqa: E402
from atd.names import DATASET  # noqa: E402
from atd.protocol.cbor import Cid, to_json  # noqa: E402
from atd.protocol.syntax import Did  # noqa: E402
from atd.records import Dataset, StrongRef, release_uri  # noqa: E402
from atd.settings import Settings  # noqa: E402
from atd_daemon import lifecycle  # noqa: E402
from reference.client import Session  # noqa: E402
from reference.dnszone import Zone  # noqa: E402
from reference.moving import make_account, update_identity  # noqa: E402
from reference.network import Account, Network, free_ports  # noqa: E402

MAX_MEDIAN_S = 0.3
MAX_MORE_BYTES = 60_000_000
PATIENCE_S = 60.0
CHATTER_S = 0.2  # from one note to the next of the same host


def head(account: Account, name: str) -> Any:
    """The head of a data set, as JSON."""
    release = StrongRef(release_uri(Did(account.did), name, "1.0.0"), Cid.of(b"release"))
    return to_json(Dataset(name, release, datetime.now(UTC)).to_value())


class Ear(threading.Thread):
    """Hears the event streams of all hosts, and notes when a name is told for the first time."""

    def __init__(self, origins: list[str]) -> None:
        super().__init__(daemon=True)
        self._origins = origins
        self._names: dict[bytes, float] = {}
        self.wanted = b""

    def heard_at(self, name: str) -> float | None:
        """When an event with ``name`` in it arrived."""
        return self._names.get(name.encode())

    def run(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(self._host(session, origin) for origin in self._origins))

    async def _host(self, session: aiohttp.ClientSession, origin: str) -> None:
        url = f"{origin}/xrpc/com.atproto.sync.subscribeRepos"
        async with session.ws_connect(url) as socket:
            async for message in socket:
                if self.wanted in message.data:
                    self._names.setdefault(self.wanted, time.perf_counter())


class Chatter(threading.Thread):
    """Writes a note on one host after the other, a few times a second on each."""

    def __init__(self, sessions: list[Session]) -> None:
        super().__init__(daemon=True)
        self._sessions = sessions
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.wait(CHATTER_S / len(self._sessions)):
            number += 1
            session = self._sessions[number % len(self._sessions)]
            session.put("com.example.note", "note", {"text": str(number)})

    def end(self) -> None:
        """Write no more."""
        self._over.set()
        self.join()


def delay_s(connection: Connection, session: Session, name: str, ear: Ear) -> tuple[float, float]:
    """Seconds until a search finds a new data set: from the request, and from the event."""
    record, ear.wanted = head(session.account, name), name.encode()
    began = time.perf_counter()
    session.put(DATASET, name, record)
    while not connection.call(api.SEARCH_DATASETS, {"q": name, "limit": 1})["datasets"]:
        assert time.perf_counter() - began < PATIENCE_S, f"{name} was not found"
        time.sleep(0.002)
    found = time.perf_counter()
    return found - began, found - (ear.heard_at(name) or found)


def delays(
    connection: Connection, sessions: list[Session], commits: int, word: str, ear: Ear
) -> dict[str, float]:
    """Milliseconds, over many commits of all publishers in turn."""
    pairs = [
        delay_s(connection, sessions[number % len(sessions)], f"{word}{number}", ear)
        for number in range(commits)
    ]
    whole, rest = sorted(pair[0] for pair in pairs), sorted(pair[1] for pair in pairs)
    return {
        "medianMs": round(statistics.median(whole) * 1000, 1),
        "p95Ms": round(whole[int(len(whole) * 0.95)] * 1000, 1),
        "afterEventMedianMs": round(statistics.median(rest) * 1000, 1),
        "afterEventP95Ms": round(rest[int(len(rest) * 0.95)] * 1000, 1),
    }


def memory(connection: Connection) -> int:
    """Resident bytes of the daemon."""
    resident: int = connection.call(api.GET_STATUS)["memory"]
    return resident


@contextmanager
def hostile(port: int) -> Iterator[None]:
    """A host that floods its event stream and answers everything else byte by byte."""
    process = subprocess.Popen([sys.executable, "-c", HOSTILE, str(port)])
    try:
        time.sleep(2)
        yield
    finally:
        process.kill()
        process.wait()


HOSTILE = """
import asyncio, sys
from aiohttp import web
from atd_daemon.host.events import frame

async def flood(request):
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    seq = 0
    try:
        while True:
            seq += 1
            await socket.send_bytes(frame("#identity", {
                "seq": seq, "did": f"did:web:host{seq}.example", "time": "2025-01-01T00:00:00Z"}))
            if seq % 100 == 0:
                await socket.send_bytes(bytes(1_000_000))
    except (ConnectionError, RuntimeError):
        return socket

async def trickle(request):
    response = web.StreamResponse(headers={"content-type": "application/vnd.ipld.car"})
    await response.prepare(request)
    try:
        while True:
            await response.write(b"x")
            await asyncio.sleep(1)
    except ConnectionError:
        return response

app = web.Application()
app.router.add_get("/xrpc/com.atproto.sync.subscribeRepos", flood)
app.router.add_get("/{rest:.*}", trickle)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def measure(publishers: int, hosts: int, commits: int) -> dict[str, Any]:
    """All of it."""
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=base) as folder,
        tempfile.TemporaryDirectory(dir="/tmp") as home,
        Zone() as zone,
        Network.start(Path(folder), zone, count=hosts) as network,
    ):
        port = free_ports(1)
        settings = Settings.load(
            {
                **os.environ,
                "ATD_HOME": home,
                "ATD_PLC_URL": network.plc_url,
                "ATD_DNS_SERVER": zone.address,
                "ATD_ALLOW_HOSTS": f"{network.allow_hosts},localhost:{port}",
            }
        )
        connection = Connection(settings)
        try:
            return followed(connection, network, port, publishers, hosts, commits)
        finally:
            lifecycle.stop(settings)


def followed(
    connection: Connection, network: Network, port: int, publishers: int, hosts: int, commits: int
) -> dict[str, Any]:
    accounts = [make_account(network, f"person{n}", n % hosts + 1) for n in range(publishers)]
    sessions = [Session(account) for account in accounts]
    idlers = [Session(make_account(network, f"idler{n}", n + 1)) for n in range(hosts)]
    ear, chatter = Ear(network.pds), Chatter(idlers)
    ear.start()
    before = memory(connection)
    began = time.perf_counter()
    for account in accounts:
        service.follow(account.did, connection=connection)
    follow_s = time.perf_counter() - began
    report: dict[str, Any] = {"publishers": publishers, "hosts": hosts, "commits": commits}
    report["followS"] = round(follow_s / publishers, 3)
    report["memoryBefore"], report["memoryFollowing"] = before, memory(connection)
    chatter.start()
    report["honest"] = delays(connection, sessions, commits, "honest", ear)
    with hostile(port):
        victim = make_account(network, "victim")
        endpoint = {"type": "AtprotoPersonalDataServer", "endpoint": f"http://localhost:{port}"}
        update_identity(network, victim, services={"atproto_pds": endpoint})
        service.follow(victim.did, wait=False, connection=connection)
        time.sleep(3)
        report["hostile"] = delays(connection, sessions, commits, "hostile", ear)
    chatter.end()
    report["memoryAfter"] = memory(connection)
    answer = service.following(connection=connection)
    report["synchronized"] = sum(one["state"] == "synchronized" for one in answer["publishers"])
    return report


def main() -> int:
    """Measure, print, and say whether the promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--publishers", type=int, default=100)
    parser.add_argument("--hosts", type=int, default=5)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    report = measure(given.publishers, given.hosts, given.commits)
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:>16}  {value}")
    more = report["memoryAfter"] - report["memoryBefore"]
    kept = (
        max(report["honest"]["medianMs"], report["hostile"]["medianMs"]) < MAX_MEDIAN_S * 1000
        and more < MAX_MORE_BYTES
        and report["synchronized"] == given.publishers
    )
    print("kept" if kept else "NOT kept", file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
