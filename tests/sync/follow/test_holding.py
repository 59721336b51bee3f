"""What waits for a resync is counted as what it takes in memory."""

from __future__ import annotations

from atd.protocol.cbor import Cid
from atd.protocol.frames import MAX_OPERATIONS, CommitMessage, Op
from atd.protocol.syntax import Did, Tid
from atd_daemon.sync.follow.repo import Held

CID = Cid.of(b"something")


def held(ops: tuple[Op, ...]) -> Held:
    did, rev = Did("did:plc:7iza6de2dwap2sbkpav7c6c6"), Tid("3kzyxwvutsr23")
    message = CommitMessage(1, did, rev, None, CID, None, b"", ops, "2026-01-01", False)
    return Held("https://pds.example.com", message)


def test_an_event_without_blocks_counts_for_its_operations() -> None:
    paths = [f"com.example.thing/{number:0>1000}" for number in range(MAX_OPERATIONS)]
    many = held(tuple(Op("create", path, CID, None) for path in paths))
    assert many.size - held(()).size > sum(map(len, paths))
