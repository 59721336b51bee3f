"""Logging in and writing, in a world that may lie."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from atd.errors import (
    AccountInactive,
    AtdError,
    Conflict,
    DigestMismatch,
    HandleAbsent,
    IdentityMismatch,
    InvalidSyntax,
    LexiconError,
    LocalError,
    LoginRefused,
    RateLimited,
    StorageFault,
    TooLarge,
    Unreachable,
)
from atd.protocol.cbor import RAW, Cid, to_json
from atd_daemon.network.account import Accounts, create, delete, update
from atd_daemon.network.directory import Directory
from world import Account, World, html, json_field, redirect, same_as, status, truncated
from world.wire import Answer

NOTE = "com.example.note"
PDS = "pds1.example.com"


def opened(world: World, folder: Path) -> Accounts:
    config = world.config(folder)
    directory = Directory(world.fetcher, world.txt, config, clock=world.now)
    return Accounts(folder, world.fetcher, directory, config)


@pytest.fixture
def accounts(world: World, tmp_path: Path) -> Accounts:
    return opened(world, tmp_path)


async def logged_in(accounts: Accounts, alice: Account) -> None:
    await accounts.login("alice.test", alice.password)


def tokens(folder: Path) -> dict[str, Any]:
    """The one session on disk."""
    (found,) = json.loads((folder / "accounts.json").read_text())["accounts"]
    assert isinstance(found, dict)
    return found


# --- login and logout ----------------------------------------------------------------------------


async def test_a_login_is_kept_privately_without_the_password(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    account = await accounts.login("@Alice.test", "hunter2")
    assert (account.did, account.handle, account.pds) == (alice.did, "alice.test", alice.pds.url)
    file = tmp_path / "accounts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "hunter2" not in file.read_text()
    assert opened(world, tmp_path).list() == (account,), "and it outlives a restart"


async def test_a_wrong_password_is_refused_with_advice(
    accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    with pytest.raises(LoginRefused, match=r"pds1\.example\.com refused the password") as caught:
        await accounts.login("alice.test", "wrong")
    assert "app password" in caught.value.next_step
    assert "wrong" not in caught.value.message
    assert not (tmp_path / "accounts.json").exists()


async def test_the_password_goes_only_to_the_proved_server(
    world: World, accounts: Accounts, alice: Account
) -> None:
    with pytest.raises(HandleAbsent):
        await accounts.login("alcie.test", "hunter2")
    alice.claim("other.test")
    with pytest.raises(IdentityMismatch):
        await accounts.login("alice.test", "hunter2")
    world.lie(redirect("https://evil.example.com/steal", 307), path="createSession")
    alice.claim("alice.test")
    with pytest.raises(Unreachable, match="redirects a POST"):
        await accounts.login("alice.test", "hunter2")
    sent = [call for call in world.calls if b"hunter2" in call.body]
    assert {call.host for call in sent} == {PDS}


async def test_a_server_given_by_hand_must_be_the_accounts_own(
    world: World, accounts: Accounts, alice: Account
) -> None:
    world.name("alice.test")  # a new account, whose handle does not resolve yet
    account = await accounts.login("alice.test", "hunter2", pds=f"{alice.pds.url}/")
    assert (account.did, account.handle) == (alice.did, None)
    alice.claim("other.test")
    with pytest.raises(IdentityMismatch, match=r"does not claim alice\.test"):
        await accounts.login("alice.test", "hunter2", pds=alice.pds.url)


async def test_a_server_that_the_document_does_not_name_is_refused(
    world: World, accounts: Accounts, alice: Account
) -> None:
    other = world.pds("pds2")
    other.accounts[alice.did] = alice
    with pytest.raises(IdentityMismatch, match="lives at https://pds1") as caught:
        await accounts.login("alice.test", "hunter2", pds=other.url)
    assert f"--pds {alice.pds.url}" in caught.value.next_step
    assert accounts.list() == ()


@pytest.mark.parametrize("url", ["ftp://x", "https://pds1.example.com/path", "pds1.example.com"])
async def test_a_server_that_is_no_url_is_refused(
    accounts: Accounts, alice: Account, url: str
) -> None:
    with pytest.raises(InvalidSyntax):
        await accounts.login("alice.test", "hunter2", pds=url)


async def test_a_password_is_not_sent_in_the_clear(
    world: World, accounts: Accounts, alice: Account
) -> None:
    with pytest.raises(Unreachable, match="https URL"):
        await accounts.login("alice.test", "hunter2", pds="http://pds1.example.com")
    assert not world.calls


@pytest.mark.parametrize(
    ("lie", "error", "said"),
    [
        (status(401, "AuthFactorTokenRequired"), LoginRefused, "a code by e-mail"),
        (status(401, "AccountTakedown"), AccountInactive, "AccountTakedown"),
        (status(400, "InvalidRequest", "bad"), LoginRefused, "400 'InvalidRequest: bad'"),
        (status(429, "RateLimitExceeded", retry_after="60"), RateLimited, "wait for 60 s"),
        (status(500), Unreachable, "answered 500"),
        (html(), Unreachable, "expected JSON"),
        (truncated(20), Unreachable, "does not parse"),
        (json_field("did", "did:plc:mmmmmmmmmmmmmmmmmmmmmmmm"), IdentityMismatch, "asked for"),
        (json_field("did", 5), LexiconError, "for nobody"),
        (json_field("accessJwt", ""), LexiconError, "usable tokens"),
        (json_field("refreshJwt", "a\r\nX: y"), LexiconError, "usable tokens"),
        (json_field("accessJwt", "x" * 20_000), LexiconError, "usable tokens"),
        (json_field("active", False), AccountInactive, "cannot be used"),
    ],
)
async def test_a_login_that_goes_wrong_leaves_nothing(
    world: World, accounts: Accounts, alice: Account, lie: Any, error: type[AtdError], said: str
) -> None:
    world.lie(lie, path="createSession")
    with pytest.raises(error, match=said):
        await accounts.login("alice.test", "hunter2")
    assert accounts.list() == ()


async def test_which_account_is_meant(world: World, accounts: Accounts, alice: Account) -> None:
    with pytest.raises(LoginRefused, match="no account is logged in") as caught:
        accounts.get()
    assert caught.value.next_step == "log in with: atd login HANDLE"
    await logged_in(accounts, alice)
    assert accounts.get().did == alice.did
    bob = world.account("bob.test")
    await accounts.login("bob.test", "hunter2")
    with pytest.raises(LoginRefused, match=r"several .*: alice\.test, bob\.test"):
        accounts.get()
    assert accounts.get("@bob.test").did == accounts.get(bob.did).did == bob.did
    with pytest.raises(LoginRefused, match=r"carol\.test is not logged in"):
        accounts.get("carol.test")


async def test_a_logout_ends_the_session_there_and_here(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    await accounts.logout("alice.test")
    assert accounts.list() == opened(world, tmp_path).list() == ()
    assert any("deleteSession" in call.url for call in world.calls)


async def test_a_logout_works_without_the_server(
    world: World, accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    world.unplug("https://pds1.example.com")
    await accounts.logout()
    assert accounts.list() == ()


# --- the file ------------------------------------------------------------------------------------


async def test_a_file_that_others_could_read_is_closed_to_them(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    file = tmp_path / "accounts.json"
    file.chmod(0o644)
    opened(world, tmp_path).list()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"version": 1, "accounts": [{"did": "x"}]}', "\xff"]
)
async def test_a_damaged_file_is_said_and_kept(world: World, tmp_path: Path, text: str) -> None:
    (tmp_path / "accounts.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(StorageFault, match="are damaged") as caught:
        opened(world, tmp_path).list()
    assert "log in again" in caught.value.next_step
    assert (tmp_path / "accounts.json").read_bytes() == text.encode("latin-1")


async def test_a_folder_that_cannot_be_written_loses_nothing(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    before = (tmp_path / "accounts.json").read_bytes()
    (tmp_path / "accounts.json.new").mkdir()  # stands in the way of the new file
    world.account("bob.test")
    with pytest.raises(StorageFault, match="cannot write"):
        await accounts.login("bob.test", "hunter2")
    assert (tmp_path / "accounts.json").read_bytes() == before


# --- sessions that end ---------------------------------------------------------------------------


async def test_an_expired_token_is_renewed_and_stored_before_it_is_used(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    before = tokens(tmp_path)
    alice.pds.expire_access()
    on_disk: list[dict[str, Any]] = []

    async def look(call: Any, truth: Any) -> Answer:
        on_disk.append(tokens(tmp_path))
        answer: Answer = await truth()
        return answer

    world.lie(look, path="applyWrites")
    await accounts.apply_writes(alice.did, [create(NOTE, "a", {"text": "x"})], None)
    assert on_disk[0] == before
    assert on_disk[1]["refresh"] != before["refresh"]
    assert tokens(tmp_path) == on_disk[1]
    assert f"{NOTE}/a" in alice.head.records


async def test_a_token_is_renewed_once_for_all_who_wait(
    world: World, accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    alice.pds.expire_access()
    writes = [
        accounts.apply_writes(alice.did, [create(NOTE, f"k{n}", {"n": n})], None) for n in range(5)
    ]
    await asyncio.gather(*writes)
    assert len([call for call in world.calls if "refreshSession" in call.url]) == 1
    assert len(alice.head.records) == 5


async def test_a_revoked_session_says_to_log_in_again(
    world: World, accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    alice.pds.revoke()
    with pytest.raises(LoginRefused, match=r"session of alice\.test is over") as caught:
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)
    assert caught.value.next_step == "log in again with: atd login alice.test"
    assert alice.head.records == {}


async def test_a_renewal_for_somebody_else_is_refused(
    world: World, accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    before = tokens(tmp_path)
    alice.pds.expire_access()
    world.lie(json_field("did", "did:plc:mmmmmmmmmmmmmmmmmmmmmmmm"), path="refreshSession")
    with pytest.raises(IdentityMismatch, match="renewed a session"):
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)
    assert tokens(tmp_path) == before


async def test_an_account_that_moved_must_log_in_there(
    world: World, accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    alice.migrate(world.pds("pds2"))
    world.pass_time(4000)
    with pytest.raises(LoginRefused, match=r"moved from https://pds1.* to https://pds2"):
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)


async def test_a_deactivated_account_cannot_write(accounts: Accounts, alice: Account) -> None:
    await logged_in(accounts, alice)
    alice.status = "deactivated"
    with pytest.raises(AccountInactive, match="AccountDeactivated"):
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)


async def test_who_is_not_logged_in_cannot_write(accounts: Accounts, alice: Account) -> None:
    with pytest.raises(LoginRefused, match="is not logged in"):
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)


# --- records -------------------------------------------------------------------------------------


async def test_one_commit_creates_updates_and_deletes(accounts: Accounts, alice: Account) -> None:
    await logged_in(accounts, alice)
    alice.put(NOTE, "old", {"text": "old"})
    alice.put(NOTE, "gone", {"text": "gone"})
    head = alice.head.commit.cid
    link = Cid.of(b"x", RAW)
    writes = [
        create(NOTE, "new", {"text": "new", "link": link, "data": b"\0\1", "none": None}),
        update(NOTE, "old", {"text": "changed"}),
        delete(NOTE, "gone"),
    ]
    said = await accounts.apply_writes(alice.did, writes, head)
    assert said["commit"]["cid"] == str(alice.head.commit.cid)
    assert sorted(alice.head.records) == [f"{NOTE}/new", f"{NOTE}/old"]
    assert alice.value(alice.head.records[f"{NOTE}/new"]) == {
        "$type": NOTE,
        "text": "new",
        "link": link,
        "data": b"\0\1",
        "none": None,
    }
    assert len(alice.history) == 4


async def test_a_head_that_moved_is_a_conflict_and_nothing_is_written(
    accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    head = alice.head.commit.cid
    alice.put(NOTE, "other", {})
    with pytest.raises(Conflict, match="InvalidSwap") as caught:
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], head)
    assert caught.value.reason == "InvalidSwap"
    assert list(alice.head.records) == [f"{NOTE}/other"]


async def test_a_blob_that_was_never_uploaded_is_a_conflict(
    accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    blob = {"$type": "blob", "ref": Cid.of(b"x", RAW), "mimeType": "a/b", "size": 1}
    with pytest.raises(Conflict) as caught:
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {"file": blob})], None)
    assert caught.value.reason == "BlobNotFound"


@pytest.mark.parametrize("number", [1.5, float("nan"), 2**64])
async def test_numbers_that_records_do_not_hold_are_refused_here(
    world: World, accounts: Accounts, alice: Account, number: float
) -> None:
    await logged_in(accounts, alice)
    with pytest.raises(LocalError):
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {"n": number})], None)  # type: ignore[dict-item]
    assert not [call for call in world.calls if "applyWrites" in call.url]


@pytest.mark.parametrize("count", [0, 201])
async def test_a_commit_of_too_many_writes_is_refused_here(
    accounts: Accounts, alice: Account, count: int
) -> None:
    await logged_in(accounts, alice)
    writes = [create(NOTE, f"k{n}", {}) for n in range(count)]
    with pytest.raises(TooLarge, match="1 to 200 writes"):
        await accounts.apply_writes(alice.did, writes, None)
    with pytest.raises(TooLarge):
        await accounts.apply_writes(
            alice.did, [create(NOTE, "big", {"text": "x" * 1_000_000})], None
        )


async def test_points_that_ran_out_say_how_long_to_wait(
    world: World, accounts: Accounts, alice: Account
) -> None:
    await logged_in(accounts, alice)
    alice.pds.points = 2
    with pytest.raises(RateLimited, match="wait for 120 s") as caught:
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)
    assert caught.value.retry_after_s == pytest.approx(120, abs=1)
    assert alice.head.records == {}


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        (status(500), Unreachable),
        (status(502), Unreachable),
        (html(), Unreachable),
        (html(400), Unreachable),
        (truncated(5), Unreachable),
        (status(413, "PayloadTooLarge"), TooLarge),
        (status(400, "InvalidRequest", "bad record"), LocalError),
        (status(403, "Forbidden"), LoginRefused),
    ],
)
async def test_a_write_that_goes_wrong_says_which_way(
    world: World, accounts: Accounts, alice: Account, lie: Any, error: type[AtdError]
) -> None:
    await logged_in(accounts, alice)
    world.lie(lie, path="applyWrites")
    with pytest.raises(error) as caught:
        await accounts.apply_writes(alice.did, [create(NOTE, "a", {})], None)
    assert type(caught.value) is error
    assert "pds1.example.com" in caught.value.message


# --- blobs ---------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shard.tar"
    path.write_bytes(os.urandom(3_000_000))
    return path


async def test_a_file_is_uploaded_and_named_by_its_digest(
    world: World, accounts: Accounts, alice: Account, file: Path
) -> None:
    await logged_in(accounts, alice)
    blob = await accounts.upload_blob(alice.did, file, "application/x-tar")
    data = file.read_bytes()
    assert blob == {
        "$type": "blob",
        "ref": Cid.of(data, RAW),
        "mimeType": "application/x-tar",
        "size": len(data),
    }
    sent = world.calls[-1]
    assert sent.headers["content-length"] == str(len(data))
    assert alice.blobs[Cid.of(data, RAW)][0] == data


async def test_an_upload_is_sent_again_whole_after_a_renewal(
    accounts: Accounts, alice: Account, file: Path
) -> None:
    await logged_in(accounts, alice)
    alice.pds.expire_access()
    blob = await accounts.upload_blob(alice.did, file, "application/x-tar")
    assert blob["ref"] == Cid.of(file.read_bytes(), RAW)


async def test_a_file_over_the_limit_is_too_large(
    accounts: Accounts, alice: Account, file: Path
) -> None:
    await logged_in(accounts, alice)
    alice.pds.blob_limit = 1_000_000
    with pytest.raises(TooLarge, match="refuses a blob of 3000000 bytes") as caught:
        await accounts.upload_blob(alice.did, file, "application/x-tar")
    assert "--store" in caught.value.next_step


async def test_a_server_that_names_other_bytes_is_caught(
    world: World, accounts: Accounts, alice: Account, file: Path
) -> None:
    await logged_in(accounts, alice)
    other = {"$type": "blob", "ref": Cid.of(b"", RAW), "mimeType": "a/b", "size": 3_000_000}
    world.lie(json_field("blob", to_json(other)), path="uploadBlob")  # type: ignore[arg-type]
    with pytest.raises(DigestMismatch, match=r"uploaded shard\.tar"):
        await accounts.upload_blob(alice.did, file, "application/x-tar")


@pytest.mark.parametrize("blob", [None, {}, [], {"$type": "blob"}, {"cid": "x", "mimeType": "y"}])
async def test_a_blob_that_is_none_is_refused(
    world: World, accounts: Accounts, alice: Account, file: Path, blob: object
) -> None:
    await logged_in(accounts, alice)
    world.lie(json_field("blob", blob), path="uploadBlob")
    with pytest.raises(LexiconError, match="expected a blob"):
        await accounts.upload_blob(alice.did, file, "application/x-tar")


async def test_a_file_that_is_not_there_is_said(
    accounts: Accounts, alice: Account, tmp_path: Path
) -> None:
    await logged_in(accounts, alice)
    with pytest.raises(StorageFault, match=r"nowhere\.tar"):
        await accounts.upload_blob(alice.did, tmp_path / "nowhere.tar", "application/x-tar")


async def test_a_token_never_reaches_another_host(
    world: World, accounts: Accounts, alice: Account, file: Path
) -> None:
    await logged_in(accounts, alice)
    world.lie(redirect("https://evil.example.com/", 308), path="uploadBlob")
    world.lie(same_as(Answer(200)), host="evil.example.com")
    with pytest.raises(Unreachable, match="redirects a POST"):
        await accounts.upload_blob(alice.did, file, "application/x-tar")
    for call in world.calls:
        assert call.host == PDS or "authorization" not in call.headers
