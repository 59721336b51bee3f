"""Publishing through the socket: begin, pack, commit, and what others then see."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd import api
from atd.errors import (
    Busy,
    InvalidSyntax,
    LoginRefused,
    NeedsConsent,
    RecordAbsent,
)
from leaves import pack_folder
from serving import Client, Serve
from world import Account, World

LOGIN = {"handle": "alice.test", "password": "hunter2"}


async def publish(client: Client, samples: int = 20, **more: object) -> dict[str, object]:
    """Begin, pack leaves into the staging folder, commit."""
    begun = await client.call(api.BEGIN, {"name": "leaves", "account": "alice.test"})
    pack_folder(Path(begun["staging"]), {"train": range(samples)})
    return await client.result(api.COMMIT, id=begun["id"], consent=True, **more)


async def test_an_account_is_logged_in_listed_and_logged_out(
    client: Client, alice: Account
) -> None:
    account = (await client.call(api.LOGIN, LOGIN))["account"]
    assert account == {
        "did": alice.did,
        "handle": "alice.test",
        "pds": "https://pds1.example.com",
    }
    assert (await client.call(api.LIST_ACCOUNTS))["accounts"] == [account]
    assert (await client.call(api.GET_STATUS))["accounts"] == [account]
    gone = await client.call(api.LOGOUT, {"account": "@alice.test"})
    assert gone["account"] == account
    assert (await client.call(api.LIST_ACCOUNTS))["accounts"] == []


async def test_a_wrong_password_is_refused_and_repeated_nowhere(
    client: Client, alice: Account
) -> None:
    with pytest.raises(LoginRefused) as caught:
        await client.call(api.LOGIN, {"handle": "alice.test", "password": "correct-horse"})
    assert "correct-horse" not in caught.value.message + caught.value.next_step
    assert (await client.call(api.LIST_ACCOUNTS))["accounts"] == []


async def test_what_is_published_is_found_by_another_daemon(
    client: Client, serve: Serve, alice: Account
) -> None:
    await client.call(api.LOGIN, LOGIN)
    published = await publish(client, card={"title": "Leaves", "license": "CC0-1.0"})
    assert published["version"] == "1.0.0"
    assert published["samples"] == 20
    assert not published["unchanged"]
    async with serve("bob") as bob:
        (found,) = (await bob.call(api.LIST_DATASETS, actor="alice.test"))["datasets"]
        assert (found["title"], found["license"]) == ("Leaves", "CC0-1.0")
        assert found["latest"]["cid"] == published["cid"]
        pulled = await bob.result(api.PULL, ref="@alice.test/leaves")
        assert pulled["bytes"] == published["bytes"]
        assert (await bob.result(api.VERIFY, ref="@alice.test/leaves"))["holds"]


async def test_the_same_again_writes_nothing_and_more_is_the_next_version(
    client: Client, alice: Account
) -> None:
    await client.call(api.LOGIN, LOGIN)
    first = await publish(client)
    commits = len(alice.history)
    again = await publish(client)
    assert again["unchanged"]
    assert again["cid"] == first["cid"]
    assert len(alice.history) == commits
    more = await publish(client, 25)
    assert more["version"] == "1.1.0"


async def test_the_publishers_own_shards_are_in_its_store(
    client: Client, world: World, alice: Account
) -> None:
    await client.call(api.LOGIN, LOGIN)
    await publish(client)
    assert (await client.result(api.PULL, ref="@alice.test/leaves"))["fetched"] == 0


async def test_the_first_publication_of_a_name_needs_consent(
    client: Client, alice: Account
) -> None:
    await client.call(api.LOGIN, LOGIN)
    begun = await client.call(api.BEGIN, {"name": "leaves"})
    assert begun["first"]
    pack_folder(Path(begun["staging"]), {"train": range(3)})
    with pytest.raises(NeedsConsent, match="public"):
        await client.events(api.COMMIT, id=begun["id"])
    assert len(alice.history) == 1, "nothing was written"


async def test_a_dry_run_leaves_nothing(client: Client, alice: Account) -> None:
    await client.call(api.LOGIN, LOGIN)
    begun = await client.call(api.BEGIN, {"name": "leaves", "dryRun": True})
    assert "staging" not in begun
    assert begun["cuts"]["order"] == "hash"


async def test_abandon_removes_the_staging_folder(client: Client, alice: Account) -> None:
    await client.call(api.LOGIN, LOGIN)
    begun = await client.call(api.BEGIN, {"name": "leaves"})
    staging = Path(begun["staging"])
    assert staging.is_dir()
    assert staging.stat().st_mode & 0o077 == 0
    await client.call(api.ABANDON, {"id": begun["id"]})
    assert not staging.exists()


async def test_two_publications_of_one_name_do_not_meet(client: Client, alice: Account) -> None:
    await client.call(api.LOGIN, LOGIN)
    await client.call(api.BEGIN, {"name": "leaves", "pid": 1, "call": "a"})
    with pytest.raises(Busy):
        await client.call(api.BEGIN, {"name": "leaves", "pid": 1, "call": "b"})


@pytest.mark.parametrize("given", [{"id": "../../etc"}, {"id": ""}, {"id": "0" * 64}])
async def test_an_unknown_publication_is_refused(client: Client, given: dict[str, str]) -> None:
    with pytest.raises(InvalidSyntax):
        await client.call(api.ABANDON, given)


async def test_without_an_account_nothing_begins(client: Client) -> None:
    with pytest.raises(LoginRefused, match="no account is logged in"):
        await client.call(api.BEGIN, {"name": "leaves"})


async def test_unpublish_needs_consent_and_takes_the_records_away(
    client: Client, serve: Serve, alice: Account
) -> None:
    await client.call(api.LOGIN, LOGIN)
    await publish(client)
    with pytest.raises(NeedsConsent):
        await client.events(api.UNPUBLISH, name="leaves")
    gone = await client.result(api.UNPUBLISH, name="leaves", consent=True)
    assert len(gone["records"]) == 4
    assert (await client.call(api.LIST_DATASETS, actor="alice.test"))["datasets"] == []
    async with serve("bob") as bob:
        with pytest.raises(RecordAbsent):
            await bob.call(api.GET_DATASET, ref="@alice.test/leaves")
