"""Reading from a PDS: bytes for the proof, hints, and what a server's words are worth."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest

from atd.errors import AccountInactive, AtdError, StorageFault, Unreachable
from atd.protocol.cbor import RAW, Cid
from atd.protocol.proof import prove_repo, verify_record
from atd.protocol.syntax import Nsid
from atd_daemon.network.pds import PdsReader
from world import Account, Answer, Call, World, html, json_field, status, truncated
from world.wire import json_answer

NOTE = Nsid("com.example.note")


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


@pytest.mark.parametrize("word", ["", "x" * 65, "taken\ndown", "\x1b[31mred", "gone for good"])
async def test_a_status_that_is_no_word_is_passed_over_but_not_that_there_is_one(
    pds: PdsReader, world: World, alice: Account, word: str
) -> None:
    """It is kept, listed and logged as a word."""
    alice.status = "deactivated"
    world.lie(json_field("status", word), path="getRepoStatus")
    told = await pds.repo_status(alice.identity)
    assert (told.active, told.status) == (False, None)


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


# --- whom a host serves ---------------------------------------------------------------------------

PDS = "https://pds1.example.com"
RELAY = "https://relay.example.com"


async def test_whom_a_host_serves_is_listed_page_by_page(pds: PdsReader, world: World) -> None:
    people = [world.account(f"user{number}.test") for number in range(5)]
    people[2].status = "deactivated"
    world.pds("pds1").page = 2
    found, cursor = [], None
    while True:
        page = await pds.list_repos(PDS, cursor)
        found += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    assert [row.did for row in found] == sorted(person.did for person in people)
    away = next(row for row in found if row.did == people[2].did)
    assert (away.active, away.status) == (False, "deactivated")
    assert all(row.active and row.rev for row in found if row is not away)


async def test_which_collections_a_repository_has_is_told(pds: PdsReader, alice: Account) -> None:
    alice.put(NOTE, "a", {"text": "hello"})
    assert await pds.describe_repo(PDS, alice.did) == (NOTE,)
    alice.status = "takendown"
    with pytest.raises(AccountInactive, match="taken down"):
        await pds.describe_repo(PDS, alice.did)


async def test_a_relay_lists_publishers_by_collection(pds: PdsReader, world: World) -> None:
    did = world.account().did

    async def answer(call: Call) -> Answer:
        assert call.params["collection"] == NOTE
        more = {} if "cursor" in call.params else {"cursor": "next"}
        return json_answer({"repos": [{"did": did}], **more})

    world.route("relay.example.com", "/xrpc/com.atproto.sync.listReposByCollection", answer)
    first = await pds.list_repos_by_collection(RELAY, NOTE)
    assert (first.rows, first.cursor) == ((did,), "next")
    assert (await pds.list_repos_by_collection(RELAY, NOTE, "next")).cursor is None


@pytest.mark.parametrize(
    "lie",
    [
        status(404, "MethodNotImplemented"),
        html(),
        json_field("repos", None),
        json_field("repos", [{"did": "nonsense"}]),
        json_field("repos", [{"did": "did:plc:a", "active": "yes"}]),
        json_field("repos", [{"did": "did:plc:a", "rev": 7}]),
        json_field("repos", ["x"]),
        json_field("repos", [{"did": "did:plc:a"}] * 1001),
        json_field("cursor", 7),
        json_field("cursor", "x" * 2000),
    ],
)
async def test_a_list_that_is_none_is_no_hint(pds: PdsReader, world: World, lie: Any) -> None:
    world.account()
    world.lie(lie, path="listRepos")
    with pytest.raises(Unreachable):
        await pds.list_repos(PDS)


async def test_a_list_that_stands_still_ends(pds: PdsReader, world: World) -> None:
    world.account()
    world.lie(json_field("cursor", "again"), path="listRepos")
    assert (await pds.list_repos(PDS)).cursor == "again"
    assert (await pds.list_repos(PDS, "again")).cursor is None


@pytest.mark.parametrize("found", [None, "x", ["no nsid"], [7]])
async def test_collections_that_are_none_are_no_hint(
    pds: PdsReader, alice: Account, world: World, found: object
) -> None:
    world.lie(json_field("collections", found), path="describeRepo")
    with pytest.raises(Unreachable):
        await pds.describe_repo(PDS, alice.did)


async def test_a_repository_without_a_place_to_keep_it_says_so(
    world: World, alice: Account, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    pds = PdsReader(world.fetcher, world.config(tmp_path))
    with pytest.raises(StorageFault, match="cannot keep a repository"):
        await pds.repo(alice.identity)


async def test_repositories_that_are_held_have_so_many_blocks_in_all(
    world: World, alice: Account, tmp_path: Path
) -> None:
    """Whatever their hosts: a block takes memory until its repository is let go."""
    for number in range(5):
        alice.put(NOTE, f"n{number}", {"text": f"hello {number}"})
    pds = PdsReader(world.fetcher, world.config(tmp_path, max_spooled_blocks=12))
    first = await pds.repo(alice.identity)
    with pytest.raises(Unreachable, match="no room for more than 12 blocks of repositories"):
        await pds.repo(alice.identity)
    del first
    gc.collect()
    again = await pds.repo(alice.identity)
    assert prove_repo(again, alice.identity, max_entries_bytes=1000).commit.did == alice.did


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
