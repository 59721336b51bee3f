"""Reading from a PDS: bytes for the proof, hints, and what a server's words are worth."""

from __future__ import annotations

from typing import Any

import pytest

from atd.errors import AccountInactive, AtdError, Unreachable
from atd.protocol.cbor import RAW, Cid
from atd.protocol.proof import prove_repo, verify_record
from atd.protocol.syntax import Nsid
from atd_daemon.network.pds import PdsReader
from world import Account, World, html, json_field, status, truncated

NOTE = Nsid("com.example.note")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Account:
    return world.account("alice.test")


@pytest.fixture
def pds(world: World) -> PdsReader:
    return PdsReader(world.fetcher, world.config())


async def test_a_proof_and_a_repository_prove(pds: PdsReader, alice: Account) -> None:
    note = alice.put(NOTE, "a", {"text": "hello"})
    car = await pds.record_proof(alice.identity, note.uri)
    assert verify_record(car, alice.identity, note.uri).cid == note.cid
    repo = prove_repo(await pds.repo(alice.identity), alice.identity, max_entries_bytes=1000)
    assert list(repo.keys(NOTE)) == ["a"]
    assert repo.record(note.uri).cid == note.cid


async def test_the_head_and_the_status_are_told(pds: PdsReader, alice: Account) -> None:
    commit = alice.head.commit
    assert await pds.latest_commit(alice.identity) == (commit.cid, commit.rev)
    active = await pds.repo_status(alice.identity)
    assert (active.active, active.status, active.rev) == (True, None, commit.rev)
    alice.status = "deactivated"
    inactive = await pds.repo_status(alice.identity)
    assert (inactive.active, inactive.status, inactive.rev) == (False, "deactivated", None)


async def test_records_are_listed_page_by_page(pds: PdsReader, alice: Account) -> None:
    notes = alice.put_many((NOTE, f"{number:04}", {"n": number}) for number in range(250))
    listed = await pds.list_records(alice.identity, NOTE)
    assert [(hint.uri, hint.cid) for hint in listed] == [(n.uri, n.cid) for n in reversed(notes)]
    assert await pds.list_records(alice.identity, Nsid("com.example.other")) == []


async def test_more_records_than_the_limit_are_refused(world: World, alice: Account) -> None:
    alice.put_many((NOTE, f"{number:04}", {"n": number}) for number in range(250))
    pds = PdsReader(world.fetcher, world.config(max_listed_records=150))
    with pytest.raises(Unreachable, match="without an end"):
        await pds.list_records(alice.identity, NOTE)


async def test_a_blob_is_streamed(pds: PdsReader, alice: Account) -> None:
    blob = alice.blob(b"x" * 200_000)
    alice.put(NOTE, "a", {"file": blob})
    cid = blob["ref"]
    assert isinstance(cid, Cid)
    async with pds.blob(alice.identity, cid) as reply:
        data = b"".join([chunk async for chunk in reply.chunks])
    assert (reply.status, Cid.of(data, RAW)) == (200, cid)
    async with pds.blob(alice.identity, Cid.of(b"other", RAW)) as reply:
        assert reply.status == 400


async def test_a_server_describes_itself(pds: PdsReader, world: World) -> None:
    world.pds("pds1").blob_limit = 1234
    found = await pds.describe_server("https://pds1.example.com")
    assert (found.did, found.blob_limit) == ("did:web:pds1.example.com", 1234)


@pytest.mark.parametrize("limit", [None, 0, -5, "many", True, 1.5])
async def test_a_blob_limit_that_is_no_number_is_none(
    pds: PdsReader, world: World, limit: object
) -> None:
    world.pds("pds1")
    world.lie(json_field("blobUploadLimit", limit), path="describeServer")
    assert (await pds.describe_server("https://pds1.example.com")).blob_limit is None


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (status(404, "NotFound"), "is no PDS: it answered 404"),
        (html(), "expected JSON"),
        (json_field("did", "nonsense"), "expected the description of a PDS"),
        (truncated(10), "does not parse"),
    ],
)
async def test_what_is_no_pds_is_said_to_be_none(
    pds: PdsReader, world: World, lie: Any, said: str
) -> None:
    world.pds("pds1")
    world.lie(lie, path="describeServer")
    with pytest.raises(Unreachable, match=said):
        await pds.describe_server("https://pds1.example.com")


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        ("RepoNotFound", AccountInactive, "is not hosted there"),
        ("RepoTakendown", AccountInactive, "is taken down"),
        ("RepoSuspended", AccountInactive, "is suspended"),
        ("RepoDeactivated", AccountInactive, "is deactivated"),
        ("SomethingElse", Unreachable, "SomethingElse: no"),
    ],
)
async def test_what_a_server_says_of_an_account(
    pds: PdsReader, world: World, alice: Account, error: str, expected: type[AtdError], said: str
) -> None:
    world.lie(status(400, error), host="pds1.example.com")
    uri = alice.uri(NOTE, "a")
    for asked in (
        pds.record_proof(alice.identity, uri),
        pds.repo(alice.identity),
        pds.latest_commit(alice.identity),
        pds.list_records(alice.identity, NOTE),
        pds.repo_status(alice.identity),
    ):
        with pytest.raises(expected, match=said):
            await asked


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("getLatestCommit", "cid", "nonsense"),
        ("getLatestCommit", "rev", 5),
        ("getRepoStatus", "active", "yes"),
        ("getRepoStatus", "rev", "nonsense"),
        ("listRecords", "records", {}),
        ("listRecords", "records", [{}] * 101),
    ],
)
async def test_nonsense_is_no_answer(
    pds: PdsReader, world: World, alice: Account, path: str, field: str, value: object
) -> None:
    world.lie(json_field(field, value), path=path)
    asked = {
        "getLatestCommit": lambda: pds.latest_commit(alice.identity),
        "getRepoStatus": lambda: pds.repo_status(alice.identity),
        "listRecords": lambda: pds.list_records(alice.identity, NOTE),
    }
    with pytest.raises(Unreachable, match=r"expected .* from pds1\.example\.com"):
        await asked[path]()
