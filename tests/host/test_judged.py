"""What nobody here wrote must accept what we serve: the reference TypeScript libraries.

`@atproto/repo` verifies repositories, differences and proofs; `@atproto/sync` follows the firehose
with every commit authenticated. See judge.mjs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from host.judge import Judge, Listening
from host.serving import Client, answered, change, creation, deletion

THING = "org.example.thing"
OTHER = "org.example.other"


def fill(client: Client, count: int) -> None:
    for start in range(0, count, 200):
        numbers = range(start, min(start + 200, count))
        answered(client.apply(*(creation(THING, f"k{n:05d}", {"n": n}) for n in numbers)))


def key(client: Client) -> str:
    return client.identity().key.to_did_key()


def described(records: Iterator[Any] | list[Any]) -> set[tuple[str, str]]:
    return {(each["rkey"], each["cid"]) for each in records}


@pytest.mark.parametrize("count", [0, 1, 450])
def test_a_repository_verifies_whatever_its_size(client: Client, judge: Judge, count: int) -> None:
    fill(client, count)
    (verdict,) = judge("repo", client.did, key(client), client.car())
    assert (verdict["cid"], verdict["rev"]) == tuple(client.head().values())
    listed = {
        (str(record.rkey), str(record.cid))
        for record in client.inside.reader.records(THING, limit=1000, cursor=None, reverse=True)
    }
    assert described(verdict["records"]) == listed
    assert len(listed) == count


def test_what_came_since_a_revision_completes_an_old_copy(client: Client, judge: Judge) -> None:
    fill(client, 120)
    old, since = client.car(), client.head()["rev"]
    client.put(THING, "k00003", {"n": -3})
    client.delete(THING, "k00004")
    client.put(OTHER, "new", {"text": "hello"})
    client.put(THING, "twin", {"n": 5})
    client.put(THING, "k00005", {"n": -5})  # "twin" keeps the block that this one had
    new = client.car(since=since)
    assert len(new) < len(old)
    (verdict,) = judge("diff", client.did, key(client), old, new)
    assert (verdict["cid"], verdict["rev"]) == tuple(client.head().values())
    assert {(each["action"], each["rkey"]) for each in verdict["writes"]} == {
        ("update", "k00003"),
        ("delete", "k00004"),
        ("create", "new"),
        ("create", "twin"),
        ("update", "k00005"),
    }


def test_a_record_and_its_absence_are_proved(client: Client, judge: Judge) -> None:
    fill(client, 300)
    cid = client.put(
        THING, "here", {"text": "ä ☃ 𝄞", "list": [1, None, True], "b": {"$bytes": "AQI"}}
    )["cid"]
    here = json.dumps([{"collection": THING, "rkey": "here", "cid": cid}])
    (verdict,) = judge("proofs", client.did, key(client), client.proof(THING, "here"), here)
    assert [each["rkey"] for each in verdict["verified"]] == ["here"]
    (record,) = judge("records", client.did, key(client), client.proof(THING, "here"))[:1]
    assert record["collection"] == THING

    gone = json.dumps([{"collection": THING, "rkey": "gone", "cid": None}])
    (verdict,) = judge("proofs", client.did, key(client), client.proof(THING, "gone"), gone)
    assert [each["rkey"] for each in verdict["verified"]] == ["gone"]
    assert verdict["unverified"] == []


def test_the_firehose_is_followed_live_with_every_commit_authenticated(client: Client) -> None:
    fill(client, 50)
    newest = client.inside.events.newest()
    with Listening(client.served.port, client.did, "alice.test", newest, 100) as listening:
        cid = client.put(THING, "live", {"step": 1})["cid"]
        event = listening.next()
        assert (event["kind"], event["uri"], event["cid"]) == (
            "create",
            f"at://{client.did}/{THING}/live",
            cid,
        )
        assert event["seq"] == newest + 1
        assert event["record"] == {"$type": THING, "step": 1}
        client.put(THING, "live", {"step": 2})
        assert listening.next()["kind"] == "update"
        client.delete(THING, "live")
        event = listening.next()
        assert (event["kind"], event["commit"]) == ("delete", client.head()["cid"])
        batch = [creation(OTHER, f"b{n}", {"n": n}) for n in range(5)]
        answered(client.apply(*batch, change(THING, "k00001", {"n": 0}), deletion(THING, "k00002")))
        kinds = [each["kind"] for each in listening.take(7)]
        assert kinds == ["create"] * 5 + ["update", "delete"]


def test_the_firehose_from_its_beginning_tells_of_identity_account_and_sync(
    client: Client,
) -> None:
    client.put(THING, "a", {})
    with Listening(client.served.port, client.did, "alice.test", 0, 100) as listening:
        identity, account, sync, create = listening.take(4)  # an empty commit yields no event
    assert (identity["kind"], identity["did"]) == ("identity", client.did)
    assert identity["handle"] == "alice.test"  # the reference resolved it both ways
    assert (account["kind"], account["active"]) == ("account", True)
    assert sync["kind"] == "sync"
    assert sync["blocks"] == 1
    assert create["kind"] == "create"
