"""Shards by digest: only what a proved record names, whole and right, to the last byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from atd import api
from atd.errors import AtdError, DigestMismatch, InvalidSyntax, Offline, RecordAbsent
from atd.protocol.cbor import RAW, Cid
from serving import Client
from world import Account, World, body, status
from world.datasets import Published, publish

REF = "@alice.test/flowers"


def digest_of(data: bytes) -> str:
    return str(Cid.of(data, RAW))


# ---- pull


async def test_a_pull_brings_every_shard_and_a_second_one_nothing(
    client: Client, flowers: Published
) -> None:
    size = sum(len(data) for data in flowers.shards.values())
    events = await client.events(api.PULL, ref=REF)
    result = events[-1]["result"]
    assert result["uri"] == str(flowers.release.uri)
    assert (result["shards"], result["samples"]) == (3, 9)
    assert (result["bytes"], result["fetched"]) == (size, size)
    again = await client.result(api.PULL, ref=REF)
    assert (again["bytes"], again["fetched"]) == (size, 0)
    for cid, data in flowers.shards.items():
        path = client.services.store.path(cid)
        assert path is not None
        assert path.read_bytes() == data


async def test_a_pull_of_one_split_fetches_only_that(client: Client, flowers: Published) -> None:
    result = await client.result(api.PULL, ref=REF, splits=["test"])
    assert result["shards"] == 1
    assert len(list(client.services.store.digests())) == 1
    assert (await client.result(api.PULL, ref=f"{REF}:train"))["shards"] == 2


async def test_wrong_bytes_end_a_pull_and_nothing_of_them_stays(
    client: Client, world: World, flowers: Published
) -> None:
    world.lie(body(lambda data: data[:-1] + b"X"), path="sync.getBlob")
    with pytest.raises(DigestMismatch, match="blob of"):
        await client.events(api.PULL, ref=REF)
    assert list(client.services.store.digests()) == []
    world.honest()
    assert (await client.result(api.PULL, ref=REF))["shards"] == 3


async def test_a_server_that_fails_ends_a_pull_and_another_one_goes_on(
    client: Client, world: World, flowers: Published
) -> None:
    world.lie(status(404), path="sync.getBlob", after=1)
    with pytest.raises(AtdError, match="404"):
        await client.events(api.PULL, ref=REF)
    world.honest()
    assert (await client.result(api.PULL, ref=REF))["shards"] == 3


# ---- locateShard


async def test_a_shard_of_a_resolved_release_is_fetched_on_demand(
    client: Client, flowers: Published
) -> None:
    manifest = await client.call(api.GET_RELEASE, ref=REF)
    for split in manifest["splits"]:
        for shard in split["shards"]:
            given = {"digest": shard["digest"], "release": manifest["uri"]}
            found = await client.call(api.LOCATE_SHARD, given)
            data = Path(found["path"]).read_bytes()
            assert digest_of(data) == shard["digest"]
            assert found["size"] == len(data) == shard["size"]


async def test_a_stored_shard_is_located_offline_and_by_digest_alone(
    client: Client, world: World, flowers: Published
) -> None:
    await client.result(api.PULL, ref=REF)
    world.calls.clear()
    digest = str(next(iter(flowers.shards)))
    assert await client.call(api.LOCATE_SHARD, {"digest": digest})
    assert world.calls == []


async def test_the_shard_lists_in_the_index_know_what_memory_forgot(
    client: Client, alice: Account, flowers: Published
) -> None:
    await client.call(api.LIST_DATASETS, actor="alice.test")
    client.services.shelf._releases.clear()
    for cid, data in flowers.shards.items():
        found = await client.call(api.LOCATE_SHARD, {"digest": str(cid)})
        assert Path(found["path"]).read_bytes() == data


async def test_a_release_that_was_never_seen_is_proved_first(
    client: Client, flowers: Published
) -> None:
    digest = str(next(iter(flowers.shards)))
    given = {"digest": digest, "release": str(flowers.release.uri)}
    assert await client.call(api.LOCATE_SHARD, given)


async def test_a_digest_that_no_proved_record_names_is_never_asked_for(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    secret = alice.blob(b"a private photograph")["ref"]
    await client.result(api.PULL, ref=REF)
    world.calls.clear()
    with pytest.raises(RecordAbsent, match="no proved record that is known here names"):
        await client.call(api.LOCATE_SHARD, {"digest": str(secret)})
    assert world.calls == []
    with pytest.raises(RecordAbsent, match="of the release"):
        await client.call(
            api.LOCATE_SHARD, {"digest": str(secret), "release": str(flowers.release.uri)}
        )
    assert not [call for call in world.calls if "getBlob" in call.url]


async def test_another_publishers_claim_to_a_digest_does_not_count_for_a_release(
    client: Client, world: World, flowers: Published
) -> None:
    mallory = world.account("mallory.test", "pds2")
    publish(mallory, "stolen", splits={"train": [b"mine alone" * 9]})
    await client.call(api.LIST_DATASETS, actor="mallory.test")
    given = {"digest": digest_of(b"mine alone" * 9), "release": str(flowers.release.uri)}
    with pytest.raises(RecordAbsent):
        await client.call(api.LOCATE_SHARD, given)


async def test_a_record_that_lies_about_a_size_spoils_nothing_for_another(
    client: Client, world: World, alice: Account, flowers: Published
) -> None:
    """Both name the same digest; one says another size. Each is judged by its own record."""
    mallory = world.account("mallory.test", "pds2")
    data = b"one" * 100
    part = alice.value(flowers.parts[0].cid)
    assert isinstance(part, dict)
    entry = {**part["shards"][0], "size": len(data) + 1}  # type: ignore[index]
    entry.pop("blob")
    base = [{"url": "https://files.example.com/"}]
    mallory.put("network.atd.shards", mallory.tid(), {**part, "shards": [entry], "bases": base})
    await client.call(api.LIST_DATASETS, actor="alice.test")
    await client.call(api.LIST_DATASETS, actor="mallory.test")
    given = {"digest": digest_of(data), "release": str(flowers.release.uri)}
    assert (await client.call(api.LOCATE_SHARD, given))["size"] == len(data)


@pytest.mark.parametrize(
    "given",
    [
        {"digest": "../../../etc/passwd"},
        {"digest": "bafy"},
        {"digest": "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku\n"},
        {"digest": digest_of(b"x"), "release": "at://alice.test"},
        {"digest": digest_of(b"x"), "release": "file:///etc/passwd"},
        {},
    ],
)
async def test_what_is_no_digest_or_release_is_refused(
    client: Client, given: dict[str, str]
) -> None:
    with pytest.raises((InvalidSyntax, RecordAbsent)):
        await client.call(api.LOCATE_SHARD, given)


async def test_a_schema_is_not_a_release(client: Client, flowers: Published) -> None:
    given = {"digest": digest_of(b"x"), "release": str(flowers.schema.uri)}
    with pytest.raises(InvalidSyntax, match=r"network\.atd\.release"):
        await client.call(api.LOCATE_SHARD, given)


# ---- getShard


@pytest.fixture
def shard(flowers: Published) -> tuple[str, bytes]:
    cid, data = max(flowers.shards.items(), key=lambda item: len(item[1]))
    return str(cid), data


async def test_a_shard_is_sent_whole_with_its_digest_as_tag(
    client: Client, shard: tuple[str, bytes]
) -> None:
    digest, data = shard
    await client.call(api.LIST_DATASETS, actor="alice.test")
    async with (
        client.http() as http,
        http.get(api.GET_SHARD.path, params={"digest": digest}) as reply,
    ):
        assert reply.status == 200
        assert await reply.read() == data
        assert reply.headers["ETag"] == f'"{digest}"'
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert reply.content_type == "application/x-tar"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=590-", 590, 600),
        ("bytes=-7", 593, 600),
        ("bytes=-9999", 0, 600),
        ("bytes=0-9999", 0, 600),
    ],
)
async def test_a_range_is_sent_as_asked(
    client: Client, shard: tuple[str, bytes], asked: str, start: int, stop: int
) -> None:
    digest, data = shard
    await client.result(api.PULL, ref=REF)
    async with client.http() as http:
        for headers in ({"Range": asked}, {"Range": asked, "If-Range": f'"{digest}"'}):
            async with http.get(
                api.GET_SHARD.path, params={"digest": digest}, headers=headers
            ) as reply:
                assert reply.status == 206
                assert await reply.read() == data[start:stop]
                assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
                assert reply.headers["ETag"] == f'"{digest}"'


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Range": "bytes=600-"}, 416),
        ({"Range": "bytes=0-0,5-9"}, 200),
        ({"Range": "lines=0-1"}, 200),
        ({"Range": "bytes=5-", "If-Range": '"another"'}, 200),
        ({"Range": "bytes=5-", "If-Range": "Wed, 21 Oct 2037 07:28:00 GMT"}, 200),
        ({"If-None-Match": "DIGEST"}, 304),
        ({"If-None-Match": 'W/"x", W/DIGEST'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"another"'}, 200),
        ({"If-Match": "DIGEST"}, 200),
        ({"If-Match": '"another"'}, 412),
        ({"If-Modified-Since": "Wed, 21 Oct 2037 07:28:00 GMT"}, 200),
        ({"Accept-Encoding": "gzip, br"}, 200),
    ],
)
async def test_preconditions_are_answered_from_the_digest(
    client: Client, shard: tuple[str, bytes], headers: dict[str, str], code: int
) -> None:
    digest, data = shard
    await client.result(api.PULL, ref=REF)
    sent = {name: value.replace("DIGEST", f'"{digest}"') for name, value in headers.items()}
    async with (
        client.http() as http,
        http.get(api.GET_SHARD.path, params={"digest": digest}, headers=sent) as reply,
    ):
        assert reply.status == code
        read = await reply.read()
    if code == 200:
        assert hashlib.sha256(read).digest() == hashlib.sha256(data).digest()


async def test_head_says_the_size_and_sends_nothing(
    client: Client, shard: tuple[str, bytes]
) -> None:
    digest, data = shard
    await client.result(api.PULL, ref=REF)
    async with (
        client.http() as http,
        http.head(api.GET_SHARD.path, params={"digest": digest}) as reply,
    ):
        assert reply.status == 200
        assert int(reply.headers["Content-Length"]) == len(data)
        assert await reply.read() == b""


async def test_an_unknown_shard_is_an_error_object(client: Client) -> None:
    async with (
        client.http() as http,
        http.get(api.GET_SHARD.path, params={"digest": digest_of(b"?")}) as reply,
    ):
        assert reply.status == 404
        assert (await reply.json())["error"] == "RecordAbsent"


# ---- verify


async def test_verify_says_every_step_and_counts_what_is_not_here(
    client: Client, flowers: Published
) -> None:
    events = await client.events(api.VERIFY, ref=REF)
    result = events[-1]["result"]
    assert result["holds"]
    assert (result["shards"], result["absent"], result["size"]) == (0, 3, 0)
    steps = [event["step"] for event in events if "step" in event]
    assert len(steps) == result["steps"]
    assert all(step["holds"] for step in steps)
    assert result["cid"] == str(flowers.release.cid)


async def test_verify_can_fetch_what_is_not_here(client: Client, flowers: Published) -> None:
    result = await client.result(api.VERIFY, ref=REF, fetch=True)
    assert result["holds"]
    assert (result["shards"], result["absent"]) == (3, 0)
    assert result["size"] == sum(len(data) for data in flowers.shards.values())


async def test_verify_finds_a_flipped_byte_in_the_store(client: Client, flowers: Published) -> None:
    await client.result(api.PULL, ref=REF)
    cid = next(iter(flowers.shards))
    path = client.services.store.path(cid)
    assert path is not None
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    events = await client.events(api.VERIFY, ref=REF)
    assert not events[-1]["result"]["holds"]
    (wrong,) = [e["step"] for e in events if "step" in e and not e["step"]["holds"]]
    assert wrong["error"] == "DigestMismatch"
    assert str(cid) in wrong["expected"]


async def test_verify_of_a_lie_ends_at_the_step_that_fails(
    client: Client, world: World, flowers: Published
) -> None:
    world.lie(body(lambda data: data[:-1] + bytes([data[-1] ^ 1])), path="sync.getRecord")
    events = await client.events(api.VERIFY, ref=REF)
    assert not events[-1]["result"]["holds"]
    assert "error" in events[-2]["step"]


async def test_a_pull_offline_needs_what_is_not_there(client: Client, flowers: Published) -> None:
    await client.call(api.GET_RELEASE, ref=REF)
    alone = client.offline()
    with pytest.raises(Offline):
        await alone.events(api.PULL, ref=REF)
    await client.events(api.PULL, ref=REF)
    assert (await alone.result(api.PULL, ref=REF))["fetched"] == 0
