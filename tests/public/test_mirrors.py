"""Other daemons as mirrors: asked first for shards, last for proofs, and believed in nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atd import api
from atd.errors import (
    AccountInactive,
    DigestMismatch,
    InvalidSyntax,
    LexiconError,
    Offline,
    ProofError,
    RateLimited,
    Unreachable,
)
from atd.protocol.cbor import Cid
from atd.settings import Settings
from atd_daemon.config import Config
from atd_daemon.network.fetch import offline_now
from atd_daemon.store.mirrors import AWAY_S, LIED_S, Mirrors
from public.conftest import Group
from serving import Client, serving
from world import Account, World, body, status
from world.daemons import Reader
from world.datasets import Published, publish
from world.wire import Answer, Call, json_answer, text_answer

MIRROR = "https://mirror.example.com"


class Passing:
    """A server of the world that is a group's public mode."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.asked: list[str] = []

    async def __call__(self, call: Call) -> Answer:
        path = call.url.removeprefix(MIRROR)
        self.asked.append(path)
        headers = {k: v for k, v in call.headers.items() if k in ("range", "if-range")}
        code, said, data = await self._group.get(path, **headers)
        kept = ("Content-Type", "Content-Range", "ETag", "Accept-Ranges")
        return Answer(code, {k.lower(): said[k] for k in kept if k in said}, data)


@pytest.fixture
def mirror(group: Group, world: World) -> Passing:
    mirror = Passing(group)
    world.serve(MIRROR, mirror)
    return mirror


@contextlib.asynccontextmanager
async def reader(world: World, folder: Path) -> AsyncIterator[Reader]:
    """Somebody who has set the mirror."""
    found = Reader.of(world, folder, mirrors=(MIRROR,))
    try:
        yield found
    finally:
        await found.store.close()
        found.catalog.close()


async def test_shards_come_from_the_mirror_first(
    mirror: Passing, world: World, tmp_path: Path, flowers: Published
) -> None:
    async with reader(world, tmp_path / "bob") as bob:
        resolved = await bob.resolver.dataset("@alice.test/flowers")
        for shard in resolved.shards:
            path = await bob.store.ensure(shard.want)
            assert path.read_bytes() == flowers.shards[shard.entry.digest]
    assert sum("getShard" in path for path in mirror.asked) == 3
    assert not [call for call in world.calls if "getBlob" in call.url][3:]


async def test_a_mirror_that_lies_is_found_out_and_left_alone(
    mirror: Passing, world: World, tmp_path: Path, flowers: Published
) -> None:
    world.lie(body(lambda data: data[:-1] + b"!"), host="mirror.example.com", path="getShard")
    async with reader(world, tmp_path / "bob") as bob:
        resolved = await bob.resolver.dataset("@alice.test/flowers")
        for shard in resolved.shards:
            path = await bob.store.ensure(shard.want)
            assert path.read_bytes() == flowers.shards[shard.entry.digest]
    lies = [c for c in world.calls if c.host == "mirror.example.com" and "getShard" in c.url]
    assert len(lies) <= 2  # once more from the first byte, and never again


async def test_a_mirror_that_is_away_costs_a_moment_not_one_with_every_shard(
    world: World, tmp_path: Path, alice: Account, flowers: Published
) -> None:
    world.site(MIRROR)
    world.lie(status(503), host="mirror.example.com")
    async with reader(world, tmp_path / "bob") as bob:
        resolved = await bob.resolver.dataset("@alice.test/flowers")
        for shard in resolved.shards:
            await bob.store.ensure(shard.want)
    assert sum(call.host == "mirror.example.com" for call in world.calls) == 1


async def test_a_mirror_that_has_it_not_is_asked_again_for_the_next(
    mirror: Passing, world: World, tmp_path: Path, alice: Account
) -> None:
    publish(alice, "other", splits={"train": [b"one" * 50, b"two" * 50]})
    async with reader(world, tmp_path / "bob") as bob:
        resolved = await bob.resolver.dataset("@alice.test/other")
        for shard in resolved.shards:
            await bob.store.ensure(shard.want)
    assert sum("getShard" in path for path in mirror.asked) == 2


def test_who_failed_rests_and_who_lied_rests_longer() -> None:
    now = [0.0]
    known = Mirrors(("https://a.example", "https://b.example"), lambda: now[0])
    digest = Cid.of(b"x", 0x55)

    def asked() -> list[str]:
        return [origin for origin, _ in known.sources(digest)]

    known.failed("https://a.example", Unreachable("away"))
    known.failed("https://b.example", DigestMismatch("lied"))
    assert asked() == []
    now[0] = AWAY_S
    assert asked() == ["https://a.example"]
    now[0] = LIED_S
    assert asked() == ["https://a.example", "https://b.example"]


# ------------------------------------------------------------------ proofs


async def test_where_the_publishers_server_is_silent_the_mirror_proves_its_records(
    mirror: Passing, world: World, tmp_path: Path, alice: Account, flowers: Published
) -> None:
    world.lie(status(500), host="pds1.example.com")
    async with reader(world, tmp_path / "bob") as bob:
        resolved = await bob.resolver.dataset("@alice.test/flowers")
        assert resolved.release.cid == flowers.release.cid
        assert resolved.identity == alice.identity
        assert bob.listed() == ["flowers"]


async def test_a_proof_of_the_mirror_must_be_by_the_key_of_today(
    mirror: Passing, world: World, tmp_path: Path, alice: Account, flowers: Published
) -> None:
    """A mirror that kept old answers, or makes them up, proves nothing."""
    alice.rotate_key(commit=True)
    world.lie(status(500), host="pds1.example.com")
    async with reader(world, tmp_path / "bob") as bob:
        with pytest.raises(ProofError):
            await bob.resolver.dataset("@alice.test/flowers")
        assert bob.listed() == []


async def test_an_account_that_its_server_calls_gone_is_gone(
    mirror: Passing, world: World, tmp_path: Path, alice: Account, flowers: Published
) -> None:
    world.lie(status(400, "RepoTakendown"), host="pds1.example.com")
    async with reader(world, tmp_path / "bob") as bob:
        with pytest.raises(AccountInactive):
            await bob.resolver.dataset("@alice.test/flowers")
    assert not [path for path in mirror.asked if "getRecord" in path]


async def test_a_mirror_is_asked_for_no_proof_while_the_server_answers_or_the_network_is_off(
    mirror: Passing, world: World, tmp_path: Path, flowers: Published
) -> None:
    async with reader(world, tmp_path / "bob") as bob:
        await bob.resolver.dataset("@alice.test/flowers")
        assert mirror.asked == []
        token = offline_now.set(True)
        try:
            with pytest.raises(Offline):
                await bob.resolver.record(flowers.head.uri, refresh=True)
        finally:
            offline_now.reset(token)
    assert mirror.asked == []


# ------------------------------------------------------------------ searching there


@pytest.fixture
async def bob(world: World, tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(world, tmp_path / "bob") as client:
        yield client


async def test_what_a_mirror_lists_is_shown_as_unproved_and_without_the_handle(
    mirror: Passing, bob: Client, alice: Account, flowers: Published
) -> None:
    answer = await bob.call(api.SEARCH_AT, at=MIRROR, q="meadow")
    (found,) = answer["datasets"]
    assert found["proof"]["state"] == "unproved"
    assert MIRROR in found["proof"]["reason"]
    assert "handle" not in found
    assert (found["did"], found["name"]) == (alice.did, "flowers")
    assert bob.services.catalog.counts().records == 0


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_answer({"datasets": [{"uri": "x"}]}), LexiconError),
        (json_answer({"datasets": {}}), LexiconError),
        (json_answer({}), LexiconError),
        (json_answer([]), LexiconError),  # type: ignore[arg-type]
        (text_answer("<html>"), LexiconError),
        (text_answer("x" * 5_000_000), Unreachable),
        (text_answer("no", 404), Unreachable),
        (text_answer("no", 400), InvalidSyntax),
        (text_answer("slow down", 429), RateLimited),
    ],
)
async def test_what_is_no_list_of_data_sets_is_refused(
    world: World, bob: Client, answer: Answer, error: type[Exception]
) -> None:
    async def lie(call: Call) -> Answer:
        return answer

    world.serve(MIRROR, lie)
    with pytest.raises(error):
        await bob.call(api.SEARCH_AT, at=MIRROR, q="meadow")


@pytest.mark.parametrize("at", ["mirror", "file:///etc/passwd", f"{MIRROR}/path", ""])
async def test_an_address_that_is_no_server_is_refused(bob: Client, at: str) -> None:
    with pytest.raises(InvalidSyntax):
        await bob.call(api.SEARCH_AT, at=at, q="meadow")


async def test_a_private_address_is_asked_only_if_the_owner_says_so(bob: Client) -> None:
    with pytest.raises(Unreachable, match="https"):
        await bob.call(api.SEARCH_AT, at="http://10.0.0.7:2584", q="meadow")


def test_a_mirror_over_plain_http_may_be_contacted_because_it_was_set(tmp_path: Path) -> None:
    variables = {"ATD_HOME": str(tmp_path), "ATD_MIRRORS": "http://10.0.0.7:2584,https://b.example"}
    config = Config.from_settings(Settings.load(variables))
    assert config.mirrors == ("http://10.0.0.7:2584", "https://b.example")
    assert config.allow_hosts == {"10.0.0.7:2584"}


def test_what_is_no_mirror_is_no_setting(tmp_path: Path) -> None:
    for bad in ("mirror", "https://x.example/path", "https://u@x.example"):
        with pytest.raises(Exception, match="ATD_MIRRORS should be"):
            Settings.load({"ATD_HOME": str(tmp_path), "ATD_MIRRORS": bad})
