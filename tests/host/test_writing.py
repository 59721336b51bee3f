"""com.atproto.repo, the writing half: what is committed, what is refused and by which name."""

from __future__ import annotations

from typing import Any

import pytest

from atd.protocol.lexicon import Lexicons
from atd.protocol.proof import verify_record, verify_repo
from atd.protocol.syntax import AtUri, Nsid, RecordKey, Tid
from atd_daemon.host.refusal import Refusal
from atd_daemon.host.writes import Prepared, Write, prepare
from host.serving import Client, Served, answered, change, creation, deletion, refused

THING = "org.example.thing"
GONE = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"


def create(client: Client, record: Any, **more: Any) -> Any:
    body = {"repo": client.did, "collection": THING, "record": record, **more}
    return client.post("com.atproto.repo.createRecord", body)


def test_a_record_without_a_key_gets_a_tid(client: Client) -> None:
    first, second = (answered(create(client, {"n": n})) for n in range(2))
    uris = [AtUri.parse(each["uri"]) for each in (first, second)]
    keys = [Tid.parse(str(uri.rkey)) for uri in uris]
    assert keys[0] < keys[1]
    assert first["validationStatus"] == "unknown"
    verified = verify_record(client.proof(THING, keys[0]), client.identity(), uris[0])
    assert verified.value == {"$type": THING, "n": 0}
    assert str(verified.cid) == first["cid"]


def test_every_commit_has_a_later_revision_even_where_the_clock_goes_back(tmp_path: Any) -> None:
    now = [1_700_000_000.0]
    with Served(tmp_path / "host", clock=lambda: now[0]) as served:
        client = served.client(served.make())
        revs = []
        for step in (0.0, -3600.0, -3600.0, 7200.0, 0.0):
            now[0] += step
            revs.append(client.put(THING, "a", {"n": len(revs)})["commit"]["rev"])
        assert revs == sorted(set(revs))
        assert verify_repo(client.car(), client.identity()).commit.rev == revs[-1]


def test_creating_a_record_that_exists_is_refused(client: Client) -> None:
    client.put(THING, "a", {})
    answer = create(client, {}, rkey="a")
    assert refused(answer) == (400, "InvalidRequest")
    assert "exists" in answer.json()["message"]


def test_putting_the_same_record_again_commits_nothing(client: Client) -> None:
    first = client.put(THING, "a", {"n": 1})
    again = client.put(THING, "a", {"n": 1})
    assert again["cid"] == first["cid"]
    assert "commit" not in again
    assert client.head()["rev"] == first["commit"]["rev"]


def test_deleting_what_is_not_there_commits_nothing(client: Client) -> None:
    before = client.head()
    assert client.delete(THING, "none") == {}
    assert client.head() == before


def test_swap_commit_refuses_a_repository_that_moved_on(client: Client) -> None:
    head = client.head()["cid"]
    client.put(THING, "a", {"n": 1}, swapCommit=head)
    for method, more in (
        ("putRecord", {"rkey": "a", "record": {"n": 2}}),
        ("createRecord", {"record": {}}),
        ("deleteRecord", {"rkey": "a"}),
    ):
        body = {"repo": client.did, "collection": THING, "swapCommit": head, **more}
        assert refused(client.post(f"com.atproto.repo.{method}", body)) == (400, "InvalidSwap")
    answer = client.apply(creation(THING, "b", {}), swapCommit=head)
    assert refused(answer) == (400, "InvalidSwap")


def test_swap_record_refuses_a_record_that_changed(client: Client) -> None:
    body = {"repo": client.did, "collection": THING, "rkey": "a", "record": {"n": 1}}
    put, delete = "com.atproto.repo.putRecord", "com.atproto.repo.deleteRecord"
    assert refused(client.post(put, {**body, "swapRecord": GONE})) == (400, "InvalidSwap")
    cid = answered(client.post(put, {**body, "swapRecord": None}))["cid"]
    other = {**body, "record": {"n": 2}}
    assert refused(client.post(put, {**other, "swapRecord": None})) == (400, "InvalidSwap")
    assert refused(client.post(put, {**other, "swapRecord": GONE})) == (400, "InvalidSwap")
    place = {"repo": client.did, "collection": THING, "rkey": "a"}
    assert refused(client.post(delete, {**place, "swapRecord": GONE})) == (400, "InvalidSwap")
    cid = answered(client.post(put, {**other, "swapRecord": cid}))["cid"]
    answered(client.post(delete, {**place, "swapRecord": cid}))


def test_a_batch_is_one_commit_with_a_result_for_each_write(client: Client) -> None:
    client.put(THING, "old", {"n": 0})
    client.put(THING, "gone", {"n": 0})
    before = client.inside.events.newest()
    batch = (
        creation(THING, "new", {"n": 1}),
        change(THING, "old", {"n": 2}),
        deletion(THING, "gone"),
    )
    answer = answered(client.apply(*batch))
    kinds = [result["$type"].partition("#")[2] for result in answer["results"]]
    assert kinds == ["createResult", "updateResult", "deleteResult"]
    assert answer["commit"] == client.head()
    assert client.inside.events.newest() == before + 1
    entries = verify_repo(client.car(), client.identity()).entries
    assert set(entries) == {f"{THING}/new", f"{THING}/old"}


@pytest.mark.parametrize(
    "bad",
    [
        creation(THING, "taken", {}),
        change(THING, "nowhere", {}),
        deletion(THING, "nowhere"),
        creation(THING, "a b", {}),
        creation(THING, "f", {"x": 1.5}),
        creation(THING, "first", {}),
        {"$type": "com.atproto.repo.applyWrites#move", "collection": THING, "rkey": "x"},
    ],
    ids=["exists", "no-update", "no-delete", "bad-key", "float", "same-twice", "unknown-action"],
)
def test_a_batch_with_one_bad_write_changes_nothing(client: Client, bad: dict[str, Any]) -> None:
    client.put(THING, "taken", {})
    before, car = client.head(), client.car()
    answer = client.apply(creation(THING, "first", {}), bad, creation(THING, "last", {}))
    assert refused(answer) == (400, "InvalidRequest")
    assert client.head() == before
    assert client.car() == car


def test_more_than_200_writes_are_refused(client: Client) -> None:
    writes = [creation(THING, f"k{n}", {}) for n in range(201)]
    assert refused(client.apply(*writes)) == (400, "InvalidRequest")
    answered(client.apply(*writes[:200]))


def test_a_commit_beyond_two_megabytes_is_refused(client: Client) -> None:
    account, before = client.inside, client.head()
    writes = [
        Write("create", Nsid(THING), RecordKey(key), prepared({"text": key * 700_000}))
        for key in "abc"
    ]
    with pytest.raises(Refusal, match="Max event size"):
        account.repo.apply(writes)
    assert client.head() == before
    account.repo.apply(writes[:2])


def prepared(value: dict[str, Any]) -> Prepared:
    return prepare(value, Nsid(THING), RecordKey("a"), validate=None, lexicons=Lexicons(()))


def test_a_record_beyond_one_megabyte_is_refused(client: Client) -> None:
    answer = create(client, {"text": "x" * 1_000_000})
    assert refused(answer) == (400, "InvalidRequest")
    assert "1000000" in answer.json()["message"]
    answered(create(client, {"text": "x" * 999_900}))


@pytest.mark.parametrize(
    ("record", "part"),
    [
        ({"x": 1.5}, "float"),
        ({"x": 2**53}, "53 bits"),
        ({"x": -(2**60)}, "53 bits"),
        ({"$type": "org.example.other"}, "type"),
        ({"$type": 7}, "type"),
        ({"x": {"$link": "nonsense"}}, "link"),
        ({"x": {"$bytes": "?!"}}, "bytes"),
        ({"x": {"$type": "blob", "ref": "x", "mimeType": "a/b", "size": 1}}, "blob"),
        ({"x": "\ud800"}, "surrogate"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_what_is_not_of_the_data_model_is_refused(client: Client, record: Any, part: str) -> None:
    answer = create(client, record)
    assert refused(answer) == (400, "InvalidRequest")
    assert part in answer.json()["message"]


def test_deep_nesting_is_refused_and_no_crash(client: Client) -> None:
    record: Any = 1
    for _ in range(80):
        record = {"x": record}
    assert refused(create(client, record)) == (400, "InvalidRequest")
    text = '{"repo":"x","record":' + "[" * 100_000 + "]" * 100_000 + "}"
    answer = client.http.post(
        f"{client.served.origin}/xrpc/com.atproto.repo.createRecord",
        data=text,
        headers={**client.headers, "Content-Type": "application/json"},
        timeout=30,
    )
    assert refused(answer) == (400, "InvalidRequest")


def test_our_lexicons_are_validated_unless_asked_not_to(client: Client) -> None:
    body = {
        "repo": client.did,
        "collection": "network.atd.dataset",
        "rkey": "flowers",
        "record": {"title": 7},
    }
    method = "com.atproto.repo.putRecord"
    answer = client.post(method, body)
    assert refused(answer) == (400, "InvalidRequest")
    assert "network.atd.dataset" in answer.json()["message"]
    assert "validationStatus" not in answered(client.post(method, {**body, "validate": False}))


def test_demanding_validation_of_an_unknown_lexicon_is_refused(client: Client) -> None:
    assert refused(create(client, {}, validate=True)) == (400, "InvalidRequest")


def test_nobody_writes_without_a_session_or_into_another_repository(client: Client) -> None:
    body = {"repo": client.did, "collection": THING, "record": {}}
    bare = client.post("com.atproto.repo.createRecord", body, headers={"Authorization": ""})
    assert refused(bare) == (401, "AuthMissing")
    other = {**body, "repo": "did:web:other.example"}
    assert refused(client.post("com.atproto.repo.createRecord", other)) == (
        401,
        "AuthenticationRequired",
    )
    batch = client.post("com.atproto.repo.applyWrites", {"repo": "bob.test", "writes": []})
    assert refused(batch) == (401, "AuthenticationRequired")


def test_records_are_listed_by_key_in_pages_both_ways(client: Client) -> None:
    answered(client.apply(*(creation(THING, f"k{n:02d}", {"n": n}) for n in range(10))))
    client.put("org.example.other", "k05", {})

    def pages(**more: Any) -> list[int]:
        found: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            page = answered(
                client.get(
                    "com.atproto.repo.listRecords",
                    repo=client.did,
                    collection=THING,
                    limit=3,
                    **more,
                    **cursor,
                )
            )
            if not page["records"]:
                return found
            found += [record["value"]["n"] for record in page["records"]]
            cursor = {"cursor": page["cursor"]}

    assert pages() == list(range(9, -1, -1))
    assert pages(reverse="true") == list(range(10))


def test_reading_what_is_not_there_is_refused_by_name(client: Client) -> None:
    get = "com.atproto.repo.getRecord"
    place = {"repo": client.did, "collection": THING, "rkey": "a"}
    assert refused(client.get(get, **place)) == (400, "RecordNotFound")
    cid = client.put(THING, "a", {})["cid"]
    assert answered(client.get(get, **place, cid=cid))["cid"] == cid
    assert refused(client.get(get, **place, cid=GONE)) == (400, "RecordNotFound")
    assert refused(client.get(get, **{**place, "repo": "bob.test"})) == (400, "RepoNotFound")
    assert refused(client.get(get, **{**place, "rkey": ".."})) == (400, "InvalidRequest")
    assert refused(client.get("com.atproto.repo.listRecords", repo=client.did)) == (
        400,
        "InvalidRequest",
    )
    listing = client.get(
        "com.atproto.repo.listRecords", repo=client.did, collection=THING, limit=101
    )
    assert refused(listing) == (400, "InvalidRequest")
