"""The Python SDK (`atproto`) as a client: what a stranger's program does with our host."""

from __future__ import annotations

import threading

import pytest
from atproto import CAR, Client, FirehoseSubscribeReposClient, models, parse_subscribe_repos_message
from atproto.exceptions import BadRequestError, UnauthorizedError

from atd_daemon.host.host import NewAccount
from host.serving import Served

THING = "org.example.thing"


@pytest.fixture
def sdk(served: Served, account: NewAccount) -> Client:
    client = Client(f"{served.origin}/xrpc")
    client.login(account.handle, account.password, fetch_bsky_profile=False)
    return client


def test_login_finds_the_pds_in_the_document_and_the_session_survives_export(
    served: Served, account: NewAccount, sdk: Client
) -> None:
    session = sdk._session
    assert session is not None
    assert (session.did, session.handle, session.pds_endpoint) == (
        account.did,
        account.handle,
        served.origin,
    )
    again = Client(f"{served.origin}/xrpc")
    again.login(session_string=sdk.export_session_string(), fetch_bsky_profile=False)
    assert again.com.atproto.server.get_session().did == account.did


def test_login_with_a_wrong_password_is_unauthorized(served: Served, account: NewAccount) -> None:
    client = Client(f"{served.origin}/xrpc")
    with pytest.raises(UnauthorizedError, match="AuthenticationRequired"):
        client.login(account.handle, "wrong", fetch_bsky_profile=False)


def test_an_expired_access_token_is_refreshed_by_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    now = [1_700_000_000.0]
    with Served(tmp_path_factory.mktemp("h") / "host", clock=lambda: now[0]) as served:
        account = served.make()
        client = Client(f"{served.origin}/xrpc")
        client.login(account.handle, account.password, fetch_bsky_profile=False)
        assert client._session is not None
        first = client._session.refresh_jwt
        now[0] += 3 * 3600
        assert client.com.atproto.server.get_session().did == account.did
        assert client._session.refresh_jwt != first


def test_records_are_created_read_listed_replaced_and_deleted(
    account: NewAccount, sdk: Client
) -> None:
    repo = sdk.com.atproto.repo
    made = repo.create_record(
        models.ComAtprotoRepoCreateRecord.Data(
            repo=account.did, collection=THING, record={"$type": THING, "n": 1}
        )
    )
    rkey = made.uri.rsplit("/", 1)[1]
    got = repo.get_record({"repo": account.handle, "collection": THING, "rkey": rkey})
    assert (got.cid, got.value["n"]) == (made.cid, 1)
    repo.put_record(
        models.ComAtprotoRepoPutRecord.Data(
            repo=account.did,
            collection=THING,
            rkey=rkey,
            record={"$type": THING, "n": 2},
            swap_record=made.cid,
        )
    )
    listed = repo.list_records({"repo": account.did, "collection": THING, "limit": 10})
    assert [record.value["n"] for record in listed.records] == [2]
    repo.delete_record({"repo": account.did, "collection": THING, "rkey": rkey})
    with pytest.raises(BadRequestError, match="RecordNotFound"):
        repo.get_record({"repo": account.did, "collection": THING, "rkey": rkey})
    assert repo.describe_repo({"repo": account.handle}).handle_is_correct


def test_several_writes_and_a_blob_go_in_one_commit(account: NewAccount, sdk: Client) -> None:
    blob = sdk.upload_blob(b"GIF89a" + bytes(100)).blob
    writes = models.ComAtprotoRepoApplyWrites
    sdk.com.atproto.repo.apply_writes(
        writes.Data(
            repo=account.did,
            writes=[
                writes.Create(collection=THING, rkey=f"r{n}", value={"$type": THING, "blob": blob})
                for n in range(3)
            ],
        )
    )
    data = sdk.com.atproto.sync.get_blob({"did": account.did, "cid": blob.cid.encode()})
    assert data == b"GIF89a" + bytes(100)
    assert sdk.com.atproto.sync.list_blobs({"did": account.did}).cids == [blob.cid.encode()]


def test_the_repository_reads_as_a_car(account: NewAccount, sdk: Client) -> None:
    sdk.com.atproto.repo.put_record(
        {"repo": account.did, "collection": THING, "rkey": "one", "record": {"$type": THING}}
    )
    car = CAR.from_bytes(sdk.com.atproto.sync.get_repo({"did": account.did}))
    latest = sdk.com.atproto.sync.get_latest_commit({"did": account.did})
    assert car.root.encode() == latest.cid
    assert car.blocks[car.root]["did"] == account.did
    assert {"$type": THING} in car.blocks.values()


def test_the_firehose_client_parses_every_frame(
    served: Served, account: NewAccount, sdk: Client
) -> None:
    for n in range(3):
        sdk.com.atproto.repo.put_record(
            {"repo": account.did, "collection": THING, "rkey": "one", "record": {"n": n}}
        )
    client = FirehoseSubscribeReposClient(
        models.ComAtprotoSyncSubscribeRepos.Params(cursor=0), base_uri=f"ws://{served.domain}/xrpc"
    )
    seen: list[object] = []

    def take(message: object) -> None:
        seen.append(parse_subscribe_repos_message(message))
        if len(seen) == 7:
            client.stop()

    thread = threading.Thread(target=client.start, args=(take,))
    thread.start()
    thread.join(15)
    assert not thread.is_alive()
    kinds = [type(message).__name__ for message in seen]
    assert kinds == ["Identity", "Account", "Commit", "Sync", "Commit", "Commit", "Commit"]
    commits = [m for m in seen if isinstance(m, models.ComAtprotoSyncSubscribeRepos.Commit)]
    assert [commit.ops[0].action for commit in commits[1:]] == ["create", "update", "update"]
    assert [commit.since for commit in commits[1:]] == [commit.rev for commit in commits[:-1]]
