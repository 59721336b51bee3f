"""The public mode: what everybody may read, that it proves itself, and that it is all there is."""

from __future__ import annotations

import contextlib
import sqlite3

import aiohttp
import pytest

from atd import api
from atd.bundles import check_bundle
from atd.errors import AccountInactive
from atd.lexicon_files import catalog
from atd.protocol.proof import verify_record
from atd.statistics.document import Preview
from atd.statistics.values import SplitStatistics
from atd_daemon.public.app import create_public_app
from atd_daemon.public.keeper import AGAIN_S, EvidenceKeeper
from atd_daemon.public.shards import REFRESH_S
from atd_daemon.sync.follow.states import State
from public.conftest import NO_SHARD, Group
from world import Account, World, status
from world.datasets import Published, publish

X = "/xrpc/"
ROUTES = {
    "/health/fresh",
    "/health/live",
    "/health/ready",
    "/xrpc/com.atproto.sync.getRecord",
    "/xrpc/network.atd.catalog.getDataset",
    "/xrpc/network.atd.catalog.getPreview",
    "/xrpc/network.atd.catalog.getProof",
    "/xrpc/network.atd.catalog.getRelease",
    "/xrpc/network.atd.catalog.listDatasets",
    "/xrpc/network.atd.catalog.searchDatasets",
    "/xrpc/network.atd.store.getShard",
}


async def test_these_routes_are_there_for_reading_and_no_other(group: Group) -> None:
    routes = {
        (route.method, route.resource.canonical)
        for route in create_public_app(group.shared).router.routes()
        if route.resource is not None
    }
    assert routes == {(method, path) for path in ROUTES for method in ("GET", "HEAD")}


async def test_no_control_route_answers_whatever_the_method(group: Group) -> None:
    served = {path.removeprefix(X) for path in ROUTES}
    paths = [X + nsid for nsid in api.ENDPOINTS if nsid not in served]
    paths += ["/metrics", "/", "/xrpc/", "/health", "/xrpc/com.atproto.sync.getRepo", "/%2e%2e/"]
    async with aiohttp.ClientSession() as session:
        for path in paths:
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
                async with session.request(method, group.origin + path) as reply:
                    assert reply.status in (404, 405, 429), (method, path)
        group.now[0] += 1000
        for path in ROUTES:
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                async with session.request(method, group.origin + path) as reply:
                    assert reply.status == 405, (method, path)


async def test_a_listed_data_set_is_found_and_shown_in_the_words_of_the_lexicons(
    group: Group, alice: Account, flowers: Published
) -> None:
    for path, nsid in [
        ("searchDatasets?q=meadow", api.SEARCH_DATASETS.nsid),
        ("listDatasets?actor=alice.test", api.LIST_DATASETS.nsid),
        ("getDataset?ref=@alice.test/flowers", api.GET_DATASET.nsid),
        ("getRelease?ref=@alice.test/flowers", api.GET_RELEASE.nsid),
        (f"getRelease?ref={alice.did}/flowers@1.0.0", api.GET_RELEASE.nsid),
    ]:
        code, body = await group.json(f"{X}network.atd.catalog.{path}")
        assert code == 200, body
        catalog().validate_output(body, nsid)
        assert str(flowers.release.cid) in str(body)
    assert body["did"] == alice.did


async def test_a_bundle_and_a_proof_convince_somebody_else(
    group: Group, world: World, alice: Account, flowers: Published
) -> None:
    code, headers, data = await group.get(
        f"{X}network.atd.catalog.getProof?ref=@alice.test/flowers"
    )
    assert (code, headers["Content-Type"]) == (200, "application/vnd.ipld.car")
    checked = check_bundle(data, now_s=world.now())
    assert checked.subject.verified.cid == flowers.head.cid
    uri = flowers.head.uri
    code, _, car = await group.get(
        f"{X}com.atproto.sync.getRecord?did={uri.did}&collection={uri.collection}&rkey={uri.rkey}"
    )
    assert code == 200
    assert verify_record(car, alice.identity, uri).cid == flowers.head.cid


async def test_a_shard_is_served_whole_and_by_range(group: Group, flowers: Published) -> None:
    for digest, data in flowers.shards.items():
        path = f"{X}network.atd.store.getShard?digest={digest}"
        code, headers, body = await group.get(path)
        assert (code, body) == (200, data)
        assert headers["ETag"] == f'"{digest}"'
        code, _, body = await group.get(path, Range="bytes=10-19")
        assert (code, body) == (206, data[10:20])
        code, _, body = await group.get(path, **{"If-None-Match": headers["ETag"]})
        assert (code, body) == (304, b"")


async def test_nobody_who_is_not_followed_is_served(group: Group, world: World) -> None:
    bob = world.account("bob.test", "pds2")
    theirs = publish(bob, "secrets", splits={"train": [b"bob" * 100]})
    resolved = await group.services.resolver.dataset("@bob.test/secrets")
    for shard in resolved.shards:
        await group.services.store.ensure(shard.want)
    uri = theirs.head.uri
    for path in (
        "network.atd.catalog.listDatasets?actor=bob.test",
        f"network.atd.catalog.listDatasets?actor={bob.did}",
        "network.atd.catalog.getDataset?ref=@bob.test/secrets",
        f"network.atd.catalog.getRelease?ref={bob.did}/secrets@1.0.0",
        "network.atd.catalog.getProof?ref=@bob.test/secrets",
        f"network.atd.catalog.getProof?ref={theirs.schema.uri}",
        f"com.atproto.sync.getRecord?did={uri.did}&collection={uri.collection}&rkey={uri.rkey}",
        f"network.atd.store.getShard?digest={next(iter(theirs.shards))}",
        f"network.atd.store.getShard?digest={NO_SHARD}",
    ):
        code, body = await group.json(X + path)
        assert code == 404, (path, body)
    code, body = await group.json(f"{X}network.atd.catalog.searchDatasets?q=secrets")
    assert (code, body["datasets"]) == (200, [])


async def gone(group: Group, flowers: Published) -> None:
    """Nothing of the data set is served any more."""
    uri = flowers.release.uri
    for path in (
        "network.atd.catalog.getDataset?ref=@alice.test/flowers",
        "network.atd.catalog.getRelease?ref=@alice.test/flowers@1.0.0",
        "network.atd.catalog.getProof?ref=@alice.test/flowers",
        f"com.atproto.sync.getRecord?did={uri.did}&collection={uri.collection}&rkey={uri.rkey}",
        *(f"network.atd.store.getShard?digest={digest}" for digest in flowers.shards),
    ):
        code, _ = await group.json(X + path)
        assert code == 404, path
    _, body = await group.json(f"{X}network.atd.catalog.searchDatasets?q=meadow")
    assert body["datasets"] == []


async def served(group: Group, flowers: Published) -> None:
    for digest in flowers.shards:
        assert (await group.get(f"{X}network.atd.store.getShard?digest={digest}"))[0] == 200


async def test_what_its_publisher_deletes_is_gone_with_the_next_request(
    group: Group, alice: Account, flowers: Published
) -> None:
    await served(group, flowers)
    alice.delete("network.atd.dataset", "flowers")
    await group.services.resolver.publisher(alice.did)
    await gone(group, flowers)


async def test_an_account_that_is_taken_down_is_gone_with_the_next_request(
    group: Group, alice: Account, flowers: Published
) -> None:
    await served(group, flowers)
    group.services.catalog.following.left(
        alice.did, State.INACTIVE, "takendown", AccountInactive("taken down"), now=1.0
    )
    await gone(group, flowers)


async def test_who_is_unfollowed_is_gone_with_the_next_request(
    group: Group, alice: Account, flowers: Published
) -> None:
    await served(group, flowers)
    group.services.catalog.following.remove(alice.did, forget=False)
    await gone(group, flowers)


async def test_a_shard_that_came_later_is_served_and_a_damaged_one_never(
    group: Group, alice: Account, flowers: Published
) -> None:
    clock = [0.0]
    shards = group.shared.shards
    shards._clock = lambda: clock[0]
    await served(group, flowers)
    more = publish(alice, "more", splits={"train": [b"later" * 100]})
    await group.follow(alice, "more")
    digest = next(iter(more.shards))
    path = f"{X}network.atd.store.getShard?digest={digest}"
    assert (await group.get(path))[0] == 404
    clock[0] += REFRESH_S
    assert (await group.get(path))[0] == 200
    file = group.services.store.path(digest)
    assert file is not None
    file.chmod(0o600)
    file.write_bytes(b"wrong" * 100)
    assert (await group.get(path))[0] == 404


async def test_nothing_enters_the_index_for_a_stranger(
    group: Group, world: World, flowers: Published
) -> None:
    """Not even that somebody asked, or that an old memory of a handle were new."""
    world.pass_time(1_000_000)
    with contextlib.closing(
        sqlite3.connect(group.services.config.state_dir / "index.sqlite")
    ) as db:
        before = list(db.iterdump())
        for path in (
            "network.atd.catalog.searchDatasets?q=meadow",
            "network.atd.catalog.getDataset?ref=@alice.test/flowers",
            "network.atd.catalog.getProof?ref=@alice.test/flowers",
            "network.atd.catalog.getRelease?ref=@alice.test/trees",
            f"network.atd.store.getShard?digest={next(iter(flowers.shards))}",
        ):
            await group.get(X + path)
        assert list(db.iterdump()) == before


async def test_nothing_is_ever_fetched_for_a_stranger(
    group: Group, world: World, alice: Account, flowers: Published
) -> None:
    """Neither with a memory that has grown old, nor for names that nobody heard of."""
    group.services.store.remove(next(iter(flowers.shards)))
    world.pass_time(10_000_000)
    calls, questions = len(world.calls), len(world.questions)
    names = ["@alice.test/flowers", f"{alice.did}/flowers", "@evil.test/x", "did:web:evil.test/x"]
    names += ["did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/x", "@127.0.0.1/x", "at://evil.test/a.b.c/d"]
    for name in names:
        for nsid in ("getDataset", "getRelease", "getProof", "listDatasets"):
            key = "actor" if nsid == "listDatasets" else "ref"
            value = name.partition("/")[0] if key == "actor" else name
            await group.get(f"{X}network.atd.catalog.{nsid}?{key}={value}&refresh=true&anew=true")
        group.now[0] += 100
    for digest in (*flowers.shards, NO_SHARD):
        await group.get(
            f"{X}network.atd.store.getShard?digest={digest}&release={flowers.release.uri}"
        )
    assert (len(world.calls), len(world.questions)) == (calls, questions)


@pytest.mark.parametrize(
    "query",
    [
        "network.atd.catalog.searchDatasets?q=a&limit=101",
        "network.atd.catalog.searchDatasets?q=a&cursor=nonsense",
        "network.atd.catalog.getDataset",
        "network.atd.catalog.getDataset?ref=x",
        "network.atd.catalog.getDataset?ref=@alice.test/flowers&ref=@alice.test/other",
        "network.atd.catalog.listDatasets",
        "network.atd.catalog.getProof?ref=at://",
        "com.atproto.sync.getRecord",
        "com.atproto.sync.getRecord?did=x&collection=y&rkey=z",
        "network.atd.store.getShard?digest=x",
        "network.atd.store.getShard?digest=../../etc/passwd",
    ],
)
async def test_nonsense_is_refused(group: Group, query: str) -> None:
    code, body = await group.json(X + query)
    assert code in (400, 404), body
    assert {"error", "message"} <= body.keys()


async def test_every_answer_says_that_it_is_no_page_and_may_be_gone_tomorrow(group: Group) -> None:
    for path in (*ROUTES, "/none"):
        _, headers, _ = await group.get(path)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == "default-src 'none'"
        assert "Access-Control-Allow-Origin" not in headers


async def test_health_is_yes_or_no_and_tells_strangers_no_reasons(
    group: Group, world: World
) -> None:
    assert await group.json("/health/live") == (200, {"ok": True})
    assert await group.json("/health/fresh") == (200, {"ok": True})
    world.pass_time(100_000)
    assert await group.json("/health/fresh") == (503, {"ok": False})


async def test_a_fault_of_this_machine_is_told_to_no_stranger(group: Group) -> None:
    group.services.catalog.close()
    async with aiohttp.ClientSession() as session:
        address = f"{group.origin}{X}network.atd.catalog.searchDatasets?q=a"
        async with session.get(address) as reply:
            assert reply.status in (500, 503)
            assert str(group.services.config.state_dir) not in await reply.text()


async def test_evidence_is_fetched_anew_when_the_keys_may_have_changed(
    group: Group, world: World, alice: Account, flowers: Published
) -> None:
    """By the daemon itself: the next bundle is by the new key."""
    services = group.services
    keeper = EvidenceKeeper(services.directory, group.shared.reading, services.clock)
    world.pass_time(AGAIN_S + 1)
    asked = len(world.calls)
    await keeper.look()
    assert len(world.calls) == asked
    alice.rotate_key(commit=True)
    await services.directory.resolve(alice.did, refresh=True)
    await services.resolver.publisher(alice.did)
    path = f"{X}network.atd.catalog.getProof?ref=@alice.test/flowers"
    assert (await group.get(path))[0] != 200
    await keeper.look()
    code, _, data = await group.get(path)
    assert code == 200
    by = {one.by for one in check_bundle(data, now_s=world.now()).records}
    assert by == {alice.key.public}
    world.lie(status(500), path="log/audit")
    await services.directory.resolve(alice.did, refresh=True)
    world.pass_time(AGAIN_S + 1)
    await services.directory.resolve(alice.did, refresh=True)
    await keeper.look()
    assert (await group.get(path))[0] == 200


async def test_a_preview_is_served_where_somebody_here_has_read_it(
    group: Group, alice: Account
) -> None:
    publish(alice, name="numbers")
    await group.follow(alice, "numbers")
    path = f"{X}network.atd.catalog.getPreview?ref={alice.did}/numbers"
    status, answer = await group.json(path)
    assert (status, answer["error"]) == (404, "RecordAbsent"), "there is none"
    release = alice.value(alice.head.records["network.atd.release/numbers:1.0.0"])
    splits = [
        SplitStatistics(one["name"], one["samples"], one["shards"], one["size"])
        for one in release["splits"]
    ]
    data = Preview("0" * 64, tuple(splits)).to_bytes()
    blob = alice.blob(data, "application/json")
    signed = alice.put("network.atd.release", "numbers:1.0.0", {**release, "preview": blob})
    head = alice.value(alice.head.records["network.atd.dataset/numbers"])
    alice.put("network.atd.dataset", "numbers", {**head, "latest": signed.to_value()})
    await group.services.resolver.publisher(alice.did)
    group.in_step(alice)
    status, answer = await group.json(path)
    assert (status, answer["error"]) == (404, "RecordAbsent"), "nothing is fetched for a stranger"
    await group.client.call(api.GET_PREVIEW, ref=f"{alice.did}/numbers")
    status, answer = await group.json(path)
    assert (status, answer["preview"]["splits"][0]["samples"]) == (
        200,
        release["splits"][0]["samples"],
    )
