"""Targets of what hosts stream: frames, commits with operations, repositories piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import pairwise

from atd.errors import FrameRefused, ProofError
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.frames import CommitMessage, Op, SyncMessage, read_frame
from atd.protocol.live import verify_diff, verify_sync
from atd.protocol.mst import build
from atd.protocol.mst_diff import invert
from atd.protocol.repo_stream import RepoStream
from atd.protocol.syntax import Tid
from atd_daemon.host.events import Op as Told
from atd_daemon.host.events import commit_body, frame, sync_body
from protocol.making import COLLECTION, Author, thing, things

ALICE = Author.named("alice")
BEFORE, AFTER = Tid.from_micros(1_000, 1), Tid.from_micros(2_000, 1)
RECORDS = things(*(f"key{number}" for number in range(12)))
NEW = f"{COLLECTION}/new"
CIDS = {key: Cid.of(encode(value)) for key, value in RECORDS.items()}


class Memory:
    """A spool in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def append(self, data: bytes) -> None:
        self.data += data

    def read(self, start: int, stop: int) -> bytes:
        return bytes(self.data[start:stop])


def message(data: bytes) -> None:
    """A frame is read or refused; what is proved of Alice is what she did, and nothing else."""
    try:
        found = read_frame(data)
    except FrameRefused:
        return
    if not isinstance(found, CommitMessage | SyncMessage) or found.did != ALICE.did:
        return
    with suppress(FrameRefused):
        if isinstance(found, SyncMessage):
            assert verify_sync(found, ALICE.identity).rev == AFTER
            return
        diff = verify_diff(found, ALICE.identity, (COLLECTION,))
        assert diff.commit.rev == AFTER
        if diff.prev_data == build(CIDS)[0]:
            assert [str(change.uri.path) for change in diff.changes] == [NEW]


@cache
def message_seeds() -> Iterable[bytes]:
    record = encode(thing(99))
    name = Cid.of(record)
    root, tree = build({**CIDS, NEW: name})
    commit = ALICE.commit(root, AFTER)
    blocks = {commit.cid: commit.encode(), **tree, name: record}
    before = build(CIDS)[0]
    op = Told("create", NEW, name, None)
    body = commit_body(ALICE.did, (commit.cid, AFTER), BEFORE, before, [op], blocks)
    known: dict[str, Value] = {"seq": 1, "time": "2025-06-01T12:00:00.000Z"}
    sync = sync_body(ALICE.did, commit.cid, AFTER, commit.encode())
    account: dict[str, Value] = {"did": ALICE.did, "active": False, "status": "takendown"}
    return (
        frame("#commit", {**body, **known}),
        frame("#sync", {**sync, **known}),
        frame("#account", {**account, **known}),
        frame("#identity", {"did": ALICE.did, "handle": "alice.test", **known}),
        frame("#info", {"name": "OutdatedCursor"}),
    )


def undo(data: bytes) -> None:
    """Whatever nodes a publisher signs, undoing operations on them ends in a root or a refusal."""
    nodes = data.split(b"\n\n")
    blocks = {Cid.of(node): node for node in nodes}
    root = Cid.of(nodes[0])
    ops = [
        Op("create", f"{COLLECTION}/key3", CIDS[f"{COLLECTION}/key3"], None),
        Op("update", f"{COLLECTION}/key5", CIDS[f"{COLLECTION}/key5"], Cid.of(b"other")),
        Op("delete", NEW, None, Cid.of(b"new")),
    ]
    for some in ([ops[0]], [ops[1]], [ops[2]], ops):
        with suppress(ProofError):
            assert len(invert(blocks, root, some).bytes) == 36


def undo_seeds() -> Iterable[bytes]:
    root, tree = build(CIDS)
    yield b"\n\n".join([tree[root], *(block for cid, block in tree.items() if cid != root)])


def stream(data: bytes) -> None:
    """Piece by piece a file reads as in one piece, but that an item has a limit."""
    edges = [0, *range(7, len(data), 61), len(data)]
    reader = RepoStream(Memory())
    try:
        for start, stop in pairwise(edges):
            reader.feed(data[start:stop])
        found = reader.finish()
    except ProofError:
        found = None
    try:
        whole = read_car(data)
    except ProofError:
        whole = None
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert found.roots == whole.roots
        assert dict(found.blocks) == dict(whole.blocks)


def stream_seeds() -> Iterable[bytes]:
    yield ALICE.repo(RECORDS)
    yield write_car(Cid.of(b"\xa0"), [(Cid.of(b"\xa0"), b"\xa0")])
