"""The event streams of real hosts, heard and proved: our own, and the reference PDS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atd.protocol.cbor import Cid
from atd.protocol.frames import CommitMessage, SyncMessage, read_frame
from atd.protocol.identity import Identity
from atd.protocol.live import verify_diff, verify_sync
from atd.protocol.proof import VerifiedRecord
from atd.protocol.syntax import Nsid, Tid
from atd_daemon.config import Config
from atd_daemon.network.events import EventReader
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from host.serving import Client, Served, answered
from reference.client import Session, get_document
from reference.moving import make_account
from reference.network import Network

THING = "com.example.thing"
Apply = Callable[[list[dict[str, Any]]], None]


@dataclass
class Followed:
    """What a stream told of one account, each message proved and in its place in the chain."""

    identity: Identity
    records: dict[str, Cid] = field(default_factory=dict)
    rev: Tid | None = None
    data: Cid | None = None
    commits: int = 0
    operations: int = 0

    def take(self, frame: bytes) -> None:
        message = read_frame(frame)
        if isinstance(message, SyncMessage) and message.did == self.identity.did:
            commit = verify_sync(message, self.identity)
            assert (commit.rev, commit.data) == (self.rev, self.data)
        if not isinstance(message, CommitMessage) or message.did != self.identity.did:
            return
        diff = verify_diff(message, self.identity, (THING,))
        assert (diff.since, diff.prev_data) == (self.rev, self.data)
        for change in diff.changes:
            rkey = str(change.uri.rkey)
            if isinstance(change, VerifiedRecord):
                self.records[rkey] = change.cid
            else:
                del self.records[rkey]
        self.rev, self.data = diff.commit.rev, diff.commit.data
        self.commits, self.operations = self.commits + 1, self.operations + diff.operations


async def heard(origin: str, identity: Identity, config: Config) -> Followed:
    """Everything that a host tells of an account, up to its head."""
    followed, fetcher = Followed(identity), open_fetcher(config)
    try:
        pds = PdsReader(fetcher, config)
        _, head = await pds.latest_commit(identity)
        async with asyncio.timeout(60), EventReader(fetcher).open(origin, 0) as frames:
            async for frame in frames:
                followed.take(frame)
                if followed.rev == head:
                    break
        listed = await pds.list_records(identity, Nsid(THING))
        assert {str(hint.uri.rkey): hint.cid for hint in listed} == followed.records
        return followed
    finally:
        await fetcher.close()


def write(action: str, number: int, value: int = 0) -> dict[str, Any]:
    """One write of ``applyWrites``."""
    kind = f"com.atproto.repo.applyWrites#{action}"
    made = {"$type": kind, "collection": THING, "rkey": f"k{number:03}"}
    return made if action == "delete" else {**made, "value": {"$type": THING, "n": value}}


def work(apply: Apply) -> int:
    """Single writes and batches; returns how many operations they are."""
    batches = [[write("create", n)] for n in range(20)]
    batches.append([write("create", n) for n in range(20, 180)])
    batches.append([write("update", n, -1) for n in range(0, 180, 7)])
    batches.append(
        [write("delete", n) for n in range(5, 60, 3)]
        + [write("create", n) for n in range(200, 220)]
        + [write("update", n, -2) for n in range(100, 110)]
    )
    batches += [[write("delete", n)] for n in range(150, 170)]
    for batch in batches:
        apply(batch)
    return sum(map(len, batches))


@pytest.mark.reference
async def test_the_reference_pds_tells_what_can_be_undone(
    reference: Network, tmp_path: Path
) -> None:
    account = make_account(reference, "stream")
    session = Session(account)

    def apply(writes: list[dict[str, Any]]) -> None:
        body = {"repo": account.did, "writes": writes, "validate": False}
        assert session.call("com.atproto.repo.applyWrites", body).status == 200

    operations = await asyncio.to_thread(work, apply)
    document = await asyncio.to_thread(get_document, reference.plc_url, account.did)
    allowed = frozenset(reference.allow_hosts.split(","))
    config = Config.under(tmp_path, plc_url=reference.plc_url, allow_hosts=allowed)
    identity = Identity.from_document(document)
    followed = await heard(account.pds, identity, config)
    assert (followed.operations, followed.commits) == (operations, 44)


async def test_our_host_tells_what_can_be_undone(tmp_path: Path) -> None:
    with Served(tmp_path / "host") as served:
        client = Client(served, served.make())
        operations = await asyncio.to_thread(work, lambda writes: answered(client.apply(*writes)))
        identity = await asyncio.to_thread(client.identity)
        config = Config.under(tmp_path, allow_hosts=frozenset({served.domain}))
        followed = await heard(served.origin, identity, config)
    assert (followed.operations, followed.commits) == (operations, 44)
