"""Live, ready, fresh: the daemon says what it does not know, of whom, and why."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from atd import __version__, api
from atd.errors import Unreachable
from atd.protocol.cbor import Cid
from atd.protocol.syntax import Did
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.following import Followed, Head
from atd_daemon.health import HealthWatch, Pulse, judged
from atd_daemon.metrics import Family, expose
from atd_daemon.sync.follow.states import State
from serving import Client
from world import Account, World

CID = Cid.of(b"x")
MINUTE = 60.0


def follow(client: Client, who: Account, *, state: State = State.SYNCHRONIZED) -> None:
    """Followed, and in step as of now."""
    services, now = client.services, client.services.clock()
    store = services.catalog.following
    services.catalog.publisher_seen(who.identity, now=now)
    store.add(who.did, state, now=now)
    head = Head(who.head.commit.rev, who.head.commit.data, who.head.commit.cid)
    store.resynced(who.did, head, host=who.pds.url, complete=True, now=now)
    store.set_state(who.did, state)


async def get(client: Client, path: str) -> tuple[int, Any]:
    async with client.http() as http, http.get(path) as reply:
        return reply.status, await reply.json()


async def test_a_daemon_that_follows_nobody_is_well_and_says_so(client: Client) -> None:
    health = await client.call(api.GET_HEALTH)
    assert [health[check]["ok"] for check in ("live", "ready", "fresh")] == [True] * 3
    assert health["fresh"]["notes"] == ["nobody is followed"]
    for check in ("live", "ready", "fresh"):
        status, body = await get(client, f"/health/{check}")
        assert (status, body["ok"]) == (200, True)


async def test_a_publisher_not_verified_lately_is_named_with_the_reason(
    client: Client, world: World, alice: Account
) -> None:
    bob = world.account("bob.test")
    follow(client, alice)
    follow(client, bob)
    world.pass_time(20 * MINUTE)
    client.services.catalog.following.checked(bob.did, now=world.now())
    assert (await client.call(api.GET_HEALTH))["fresh"]["ok"] is True
    world.pass_time(20 * MINUTE)
    error = Unreachable("pds1.example.com gives no answer")
    client.services.catalog.following.failed(alice.did, error, now=world.now())
    health = await client.call(api.GET_HEALTH)
    assert health["fresh"]["ok"] is False
    assert health["fresh"]["reasons"] == ["1 of 2 followed publishers not verified within 1800 s"]
    assert [(one["did"], one["handle"], one["state"]) for one in health["stale"]] == [
        (alice.did, "alice.test", "synchronized")
    ]
    assert health["stale"][0]["reason"] == (
        "last known 2400 s ago: pds1.example.com gives no answer"
    )
    assert health["ready"]["ok"] is True
    status, body = await get(client, "/health/fresh")
    assert (status, len(body["stale"]), body["followed"]) == (503, 1, 2)


def row(**values: Any) -> Followed:
    fields = {
        "did": Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
        "since_at": 0.0,
        "state": State.SYNCHRONIZED,
        "verified_at": 1000.0,
        "checked_at": 1000.0,
        **dict.fromkeys(("status", "head", "host", "behind_at", "delay_s")),
        **dict.fromkeys(("reason", "message", "error_at")),
        "complete": True,
    }
    return Followed(**{**fields, **values})


@pytest.mark.parametrize(
    ("values", "now_s", "fresh"),
    [
        ({}, 1600.0, True),
        ({}, 1601.0, False),
        ({"verified_at": 0.0}, 1600.0, True),
        ({"checked_at": None}, 1600.0, True),
        ({"checked_at": None, "verified_at": None}, 1000.0, False),
        ({"behind_at": 1000.0}, 1600.0, True),
        ({"behind_at": 1000.0, "checked_at": 1500.0}, 1601.0, False),
        ({"state": State.INACTIVE}, 1600.0, True),
        ({"state": State.INACTIVE, "checked_at": None}, 1000.0, False),
        ({"state": State.SYNCING}, 1100.0, True),
        ({"state": State.UNREACHABLE, "message": "no answer"}, 1100.0, False),
        ({"state": State.FAILED, "message": "does not prove"}, 1100.0, False),
    ],
)
def test_when_a_publisher_is_fresh(values: dict[str, Any], now_s: float, fresh: bool) -> None:
    found = judged(row(**values), now_s, 600.0)
    assert (found is None) is fresh
    assert found is None or values.get("message", "") in found.reason


async def test_what_stopped_working_makes_it_not_ready(client: Client) -> None:
    client.services.follower.stopped.add("the events of https://pds1.example.com")
    health = await client.call(api.GET_HEALTH)
    assert health["ready"]["reasons"] == [
        "following has stopped at the events of https://pds1.example.com"
    ]
    assert (await get(client, "/health/ready"))[0] == 503
    assert (await get(client, "/health/live"))[0] == 200


async def test_folders_that_cannot_be_used_make_it_not_ready(
    client: Client, tmp_path: Path
) -> None:
    readable = tmp_path / "readable"
    readable.mkdir(mode=0o500)
    watch = HealthWatch(
        client.services.catalog,
        Pulse(),
        [("index", tmp_path / "gone"), ("store", readable), ("disk", Path("/proc"))],
        lambda: (),
        client.services.clock,
        within_s=60,
    )
    reasons = (await watch.look()).ready.reasons
    assert "cannot be used" in reasons[0]
    assert os.getuid() == 0 or "cannot be written" in reasons[1]
    assert len(reasons) == 2 + (os.getuid() != 0)


async def test_a_damaged_index_is_neither_ready_nor_fresh(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    catalog = Catalog(path)
    with path.open("r+b") as file:
        file.truncate(4096)
        file.write(b"\xff" * 4096)
    path.with_name("index.sqlite-wal").write_bytes(b"")
    watch = HealthWatch(catalog, Pulse(), [], lambda: (), lambda: 0.0, within_s=60)
    health = await watch.look()
    assert "index" in health.ready.reasons[0]
    assert health.fresh.reasons == health.ready.reasons
    assert health.live.ok


async def test_an_event_loop_that_is_held_up_is_told() -> None:
    pulse = Pulse()
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    pulse.beat(7.5)
    assert pulse.worst_s == 7.5
    for _ in range(60):
        pulse.beat(0.1)
    assert pulse.worst_s == 0.1
    beating.cancel()


async def test_the_metrics_are_what_prometheus_reads(
    client: Client, world: World, alice: Account
) -> None:
    follow(client, alice)
    reject = {(alice.did, "https://pds1.example.com", "bad_signature"): (3, "x")}
    client.services.catalog.following.count_rejects(reject, now=world.now())
    world.pass_time(100)
    async with client.http() as http, http.get("/metrics") as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await reply.text()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    values = {(s.name, *s.labels.values()): s.value for f in families.values() for s in f.samples}
    assert values["atd_info", __version__] == 1
    assert values["atd_health", "ready"] == 1
    assert values["atd_following", "synchronized"] == 1
    assert values["atd_following", "failed"] == 0
    assert values["atd_following_oldest_seconds",] == 100
    assert values["atd_rejects_total", "bad_signature"] == 3
    assert values["atd_resident_memory_bytes",] > 10_000_000
    assert all(one.documentation for one in families.values())
    assert all(one.type in ("gauge", "counter") for one in families.values())


def test_labels_and_numbers_are_escaped_as_the_format_says() -> None:
    label = 'back\\slash "quoted"\nline'
    family = Family.by("x_total", "counter", "Help \\ me\nplease.", "why", {label: 1e20, "b": 0.1})
    (read,) = text_string_to_metric_families(expose([family]))
    assert {s.labels["why"]: s.value for s in read.samples} == {label: 1e20, "b": 0.1}


async def test_there_is_no_other_health(client: Client) -> None:
    assert (await get(client, "/health/other"))[0] == 404
    assert (await get(client, "/health"))[0] == 404
