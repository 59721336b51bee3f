"""What a publisher costs the index, and what an event costs that is about nobody who is followed.

    python benchmarks/scale.py [--publishers 20] [--datasets 100] [--posts 2000]

The figures behind docs/scale.md that no other benchmark gives. Every publisher has a repository
with data sets (a card, a release, a schema and two lists of ten shards each) and with posts of
another application, which make the proofs of its records longer. It is proved and taken into an
index as a backfill does, without the network. Prints processor time and bytes on disk per data set,
with what takes them; memory per followed publisher; and the events of others a second, read and
passed over, as from the stream of a whole PDS or of a relay.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from atd.names import COLLECTIONS
from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, encode
from atd.protocol.commit import Commit
from atd.protocol.frames import read_frame
from atd.protocol.identity import Identity
from atd.protocol.mst import build
from atd.protocol.proof import verify_repo
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid
from atd.records import (
    Dataset,
    Layout,
    Record,
    Release,
    SchemaRecord,
    ShardEntry,
    ShardPart,
    Split,
    StrongRef,
    parse,
)
from atd_daemon.catalog import Catalog
from atd_daemon.sync.follow.repo import Need, Repo
from atd_daemon.sync.follow.states import State
from search import START, World
from sync import KEY, START_US, Author, seconds

SHARDS_EACH = 10
POST = Nsid("com.example.feed.post")
FRAMES = 1_000
REPOS = 10_000


def records(world: World, did: Did, number: int) -> Iterator[tuple[AtUri, Record]]:
    """One data set with all that its release refers to."""
    _, schema = world.schemas[number % len(world.schemas)]
    name = f"{'-'.join(world.text(2))}-{number}"
    schema = replace(schema, name=name)
    schema_at = AtUri(did, Nsid(SchemaRecord.NSID), RecordKey(schema.rkey))
    yield schema_at, schema
    splits = []
    for half, split in enumerate(("train", "test")):
        entries = tuple(
            ShardEntry(f"{split}-{at:05}.tar", Cid.of(f"{name}{split}{at}".encode(), 0x55), 10, 10)
            for at in range(SHARDS_EACH)
        )
        part = ShardPart(entries, START, ("https://data.example.com/sets/",))
        tid = Tid.from_micros(START_US + number * 2 + half, 1)
        part_at = AtUri(did, Nsid(ShardPart.NSID), RecordKey(tid))
        yield part_at, part
        splits.append(Split(split, (reference(part_at, part),), part.samples, 10, part.size))
    release = Release(
        name=name,
        version="1.0.0",
        schema=reference(schema_at, schema),
        layout=Layout(),
        splits=tuple(splits),
        samples=sum(split.samples for split in splits),
        size=sum(split.size for split in splits),
        created_at=START,
    )
    release_at = AtUri(did, Nsid(Release.NSID), RecordKey(release.rkey))
    yield release_at, release
    card = Dataset(
        name=name,
        latest=reference(release_at, release),
        created_at=START,
        title=" ".join(world.text(3)),
        description=" ".join(world.text(45)),
        license="CC-BY-4.0",
        tags=tuple(dict.fromkeys(world.text(3))),
    )
    yield AtUri(did, Nsid(Dataset.NSID), RecordKey(name)), card


def reference(at: AtUri, record: Record) -> StrongRef:
    return StrongRef(at, Cid.of(encode(record.to_value())))


def repository(world: World, did: Did, datasets: int, posts: int) -> tuple[bytes, int]:
    """A publisher's CAR file, and the bytes of all nodes of its tree."""
    blocks = {
        f"{uri.collection}/{uri.rkey}": encode(record.to_value())
        for number in range(datasets)
        for uri, record in records(world, did, number)
    }
    dice = random.Random(did)
    for _ in range(posts):
        key = Tid.from_micros(START_US + dice.getrandbits(44), 1)
        blocks[f"{POST}/{key}"] = encode({"$type": POST, "text": str(key)})
    cids = {path: Cid.of(block) for path, block in blocks.items()}
    root, nodes = build(cids)
    commit = Commit.sign(did, Tid.from_micros(START_US, 1), root, KEY)
    every = {cids[path]: block for path, block in blocks.items()}
    head = (commit.cid, commit.encode())
    car = write_car(commit.cid, [head, *nodes.items(), *every.items()])
    return car, sum(map(len, nodes.values()))


def take_in(catalog: Catalog, did: Did, car: bytes) -> None:
    """What a backfill does once the repository is here."""
    identity = Identity(did, KEY.public, "https://pds.example.com")
    catalog.publisher_seen(identity, now=0)
    repo = verify_repo(car, identity)
    found = (one for nsid in COLLECTIONS for one in repo.records(Nsid(nsid), print))
    catalog.publisher_snapshot(repo, ((one, parse(one)) for one in found), now=0)


def index(publishers: int, datasets: int, posts: int) -> None:
    """Processor time and bytes of everything that publishers have."""
    world, spent, cars, nodes = World(1), 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.sqlite"
        catalog = Catalog(path)
        for did in world.dids[:publishers]:
            car, tree = repository(world, did, datasets, posts)
            cars, nodes = cars + len(car), nodes + tree
            spent += seconds(lambda did=did, car=car: take_in(catalog, did, car))  # type: ignore[misc]
        catalog.close()
        count = publishers * datasets
        print(f"{count:,} data sets of {publishers} publishers with {posts:,} posts each")
        print(f"  {cars / publishers / 1e6:.2f} MB a repository")
        print(f"  {spent / count * 1000:.2f} ms of a processor a data set, five records each")
        db = sqlite3.connect(path)
        sizes = dict(db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        blocks, proofs = db.execute(
            "SELECT sum(length(block)), sum(length(proof)) FROM records"
        ).fetchone()
        db.close()
    print(f"  {sum(sizes.values()) / count:,.0f} bytes on disk a data set; of these")
    print(f"    {blocks / count:8,.0f} records as they were signed")
    print(
        f"    {proofs / count:8,.0f} proofs (all nodes of trees, each once: {nodes / count:,.0f})"
    )
    for what in ("search", "datasets", "history"):
        found = sum(size for name, size in sizes.items() if what in name)
        print(f"    {found / count:8,.0f} {what}")


def memory() -> None:
    """Bytes that the daemon holds for each publisher that is followed, idle."""
    tracemalloc.start()
    before, now = tracemalloc.get_traced_memory()[0], time.monotonic()
    repos: dict[Did, Repo] = {}
    for number in range(REPOS):
        did = Did(f"did:plc:{number:024}")
        identity = Identity(did, KEY.public, f"https://pds{number}.example.com")
        due = dict.fromkeys((Need.CHECK, Need.IDENTITY), now + number)
        repos[did] = Repo(did, State.SYNCHRONIZED, host=identity.pds, identity=identity, due=due)
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"{took / REPOS:,.0f} bytes of memory for each publisher, without documents")


def events() -> None:
    """Events a second that are read and found to be of nobody who is followed."""
    frames = list(Author(10_000, ordered=False).frames(FRAMES, 1))
    took = min(seconds(lambda: [read_frame(frame) for frame in frames]) for _ in range(5))
    size = sum(map(len, frames)) / FRAMES
    print(
        f"{FRAMES / took:,.0f} events a second of {size:,.0f} bytes read and passed over, one core"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--publishers", type=int, default=20)
    parser.add_argument("--datasets", type=int, default=100)
    parser.add_argument("--posts", type=int, default=2_000)
    given = parser.parse_args()
    index(given.publishers, given.datasets, given.posts)
    memory()
    events()


if __name__ == "__main__":
    main()
