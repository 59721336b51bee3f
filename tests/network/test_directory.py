"""Handles and DIDs in a world that may lie: what is accepted, refused and remembered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from atd.errors import (
    AtdError,
    DidAbsent,
    HandleAbsent,
    IdentityMismatch,
    InvalidSyntax,
    Offline,
    RateLimited,
    Unreachable,
)
from atd.protocol.syntax import Did, Handle
from atd_daemon.network.directory import Directory
from atd_daemon.network.fetch import offline_now
from world import Answer, World, hang, html, json_field, redirect, same_as, status, truncated

ALICE = Handle("alice.test")
PLC = "plc.world.example.com"
MALLORY = "did:plc:mmmmmmmmmmmmmmmmmmmmmmmm"


def directory(world: World, **values: Any) -> Directory:
    config = world.config(**values)
    return Directory(world.fetcher_with(config), world.txt, config, clock=world.now)


def text(body: str) -> Answer:
    return Answer(200, {"content-type": "text/plain"}, body.encode())


# --- handles -----------------------------------------------------------------------------------


async def test_a_handle_in_dns_leads_to_an_identity_proved_both_ways(world: World) -> None:
    alice = world.account("alice.test")
    found = await directory(world).resolve("@Alice.test")
    assert found == alice.identity
    assert found.handle == "alice.test"
    assert all(call.host == PLC for call in world.calls), "DNS had it: nothing else is asked"


async def test_a_handle_by_https_is_found_where_dns_has_none(world: World) -> None:
    alice = world.account("alice.test")
    world.name("alice.test")
    alice.serve_handle()
    assert await directory(world).resolve("alice.test") == alice.identity


async def test_https_is_not_asked_where_dns_has_an_answer(world: World) -> None:
    """Else whoever holds the web site could overrule who holds the domain."""
    alice = world.account("alice.test")
    alice.serve_handle(MALLORY)
    assert (await directory(world).resolve("alice.test")).did == alice.did


async def test_two_dids_in_dns_are_refused(world: World) -> None:
    alice = world.account("alice.test")
    world.name("alice.test", alice.did, MALLORY)
    with pytest.raises(IdentityMismatch, match=r"several DIDs.*did:plc:mmmm"):
        await directory(world).resolve("alice.test")


async def test_the_same_did_twice_is_one_answer(world: World) -> None:
    alice = world.account("alice.test")
    world.zone["_atproto.alice.test"] = [f"did={alice.did}", f"did={alice.did}", "other=thing"]
    assert (await directory(world).resolve("alice.test")).did == alice.did


async def test_a_record_that_is_no_did_is_refused(world: World) -> None:
    world.account("alice.test")
    world.zone["_atproto.alice.test"] = ["did=\x1b[31mred"]
    with pytest.raises(IdentityMismatch, match=r"expected a DID.*\\x1b\[31mred"):
        await directory(world).resolve("alice.test")


async def test_a_handle_that_its_did_does_not_claim_is_refused(world: World) -> None:
    world.account("alice.test").claim("other.test")
    with pytest.raises(IdentityMismatch, match=r"does not claim it back but other\.test"):
        await directory(world).resolve("alice.test")


async def test_a_handle_that_points_to_somebody_else_is_refused(world: World) -> None:
    bob = world.account("bob.test")
    world.name("famous.test", bob.did)
    with pytest.raises(IdentityMismatch, match=r"famous\.test points to"):
        await directory(world).resolve("famous.test")


async def test_an_unknown_handle_is_absent(world: World) -> None:
    with pytest.raises(HandleAbsent, match=r"nobody answers for the handle nobody\.test"):
        await directory(world).resolve("nobody.test")


async def test_a_web_site_without_the_file_is_a_no(world: World) -> None:
    world.site("https://alice.test")
    with pytest.raises(HandleAbsent, match=r"has no DID \(status 404\)"):
        await directory(world).resolve("alice.test")


async def test_a_web_site_that_answers_everything_with_a_page_is_a_no(world: World) -> None:
    world.site("https://alice.test")
    world.lie(html(), host="alice.test")
    with pytest.raises(HandleAbsent):
        await directory(world).resolve("alice.test")


@pytest.mark.parametrize("code", [500, 502, 503])
async def test_a_web_site_that_fails_has_not_said_no(world: World, code: int) -> None:
    world.site("https://alice.test")
    world.lie(status(code), host="alice.test")
    with pytest.raises(Unreachable, match=rf"alice\.test answered {code}"):
        await directory(world).resolve("alice.test")


async def test_a_dns_that_fails_has_not_said_no(world: World) -> None:
    world.site("https://alice.test")
    world.broken_names.add("_atproto.alice.test")
    with pytest.raises(Unreachable, match=r"cannot resolve alice\.test: the DNS server failed"):
        await directory(world).resolve("alice.test")


async def test_https_answers_where_dns_fails(world: World) -> None:
    alice = world.account("alice.test")
    world.broken_names.add("_atproto.alice.test")
    alice.serve_handle()
    assert (await directory(world).resolve("alice.test")).did == alice.did


async def test_a_failure_is_not_remembered_as_absence(world: World) -> None:
    alice = world.account("alice.test")
    world.broken_names.add("_atproto.alice.test")
    names = directory(world)
    with pytest.raises(Unreachable):
        await names.resolve("alice.test")
    world.broken_names.clear()
    assert (await names.resolve("alice.test")).did == alice.did


async def test_a_web_site_that_is_not_a_did_but_long_is_unreachable(world: World) -> None:
    world.site("https://alice.test").put("/.well-known/atproto-did", b"did:plc:" + b"a" * 10_000)
    with pytest.raises(Unreachable, match="limit is 4096"):
        await directory(world).resolve("alice.test")


async def test_a_well_known_that_redirects_inside_is_not_followed(world: World) -> None:
    alice = world.account("alice.test")
    world.name("alice.test")
    alice.serve_handle()
    world.lie(redirect("https://169.254.169.254/"), host="alice.test")
    world.addresses["alice.test"] = ["93.184.215.14"]
    with pytest.raises(Unreachable, match=r"169\.254\.169\.254"):
        await directory(world).resolve("alice.test")


async def test_a_handle_at_a_private_address_is_not_asked(world: World) -> None:
    alice = world.account("alice.test")
    world.name("alice.test")
    alice.serve_handle()
    world.addresses["alice.test"] = ["192.168.1.7"]
    with pytest.raises(Unreachable, match=r"192\.168\.1\.7"):
        await directory(world).resolve("alice.test")
    assert not [call for call in world.calls if call.host == "alice.test"]


@pytest.mark.parametrize(
    "tld", ["local", "localhost", "internal", "arpa", "example", "invalid", "alt", "onion"]
)
async def test_reserved_names_are_never_resolved(world: World, tld: str) -> None:
    world.name(f"alice.{tld}", MALLORY)
    with pytest.raises(InvalidSyntax, match=f"ends in .{tld}"):
        await directory(world).resolve(f"alice.{tld}")
    assert not world.questions


async def test_test_names_are_for_those_who_set_up_a_test(world: World) -> None:
    alice = world.account("alice.test")
    with pytest.raises(InvalidSyntax, match="reserved"):
        await directory(world, dns_server=None).resolve("alice.test")
    allowed = directory(world, dns_server=None, allow_hosts=frozenset({"localhost:2583"}))
    assert (await allowed.resolve("alice.test")).did == alice.did


@pytest.mark.parametrize("actor", ["", "@", "alice", "at://alice.test", "did:", "a..b", "x\n.test"])
async def test_what_is_no_actor_is_refused_before_anyone_is_asked(world: World, actor: str) -> None:
    with pytest.raises(InvalidSyntax):
        await directory(world).resolve(actor)
    assert not world.calls
    assert not world.questions


# --- DIDs --------------------------------------------------------------------------------------


async def test_a_did_gets_the_handle_that_leads_back_to_it(world: World) -> None:
    alice = world.account("alice.test")
    assert (await directory(world).resolve(alice.did)).handle == "alice.test"


@pytest.mark.parametrize("why", ["elsewhere", "nowhere", "broken", "reserved"])
async def test_a_did_whose_handle_does_not_lead_back_has_none(world: World, why: str) -> None:
    alice = world.account("alice.test")
    if why == "elsewhere":
        world.name("alice.test", MALLORY)
    elif why == "nowhere":
        world.name("alice.test")
    elif why == "broken":
        world.broken_names.add("_atproto.alice.test")
    else:
        alice.claim("alice.localhost")
    found = await directory(world).resolve(alice.did)
    assert (found.did, found.handle) == (alice.did, None)


async def test_a_did_that_is_not_registered_is_absent(world: World) -> None:
    with pytest.raises(DidAbsent, match=f"{MALLORY} does not exist"):
        await directory(world).resolve(MALLORY)


async def test_a_tombstoned_did_is_absent(world: World) -> None:
    alice = world.account("alice.test")
    world.plc.tombstone(alice.did)
    with pytest.raises(DidAbsent, match="deactivated for ever"):
        await directory(world).resolve("alice.test")


@pytest.mark.parametrize(
    ("lie", "error", "said"),
    [
        (status(500), Unreachable, "answered 500"),
        (status(404, "x"), DidAbsent, "answered 404"),
        (html(404), Unreachable, "answered 404"),
        (html(200), Unreachable, "got a web page"),
        (status(403), Unreachable, "answered 403"),
        (status(429, retry_after="30"), RateLimited, "wait for 30 s"),
        (truncated(100), Unreachable, "got no JSON"),
        (same_as(text("[]")), IdentityMismatch, "got one of"),
        (same_as(text("[" * 50_000)), Unreachable, "got no JSON"),
        (same_as(text(" " * 70_000)), Unreachable, "limit is 65536"),
        (json_field("id", MALLORY), IdentityMismatch, MALLORY),
        (json_field("verificationMethod", []), IdentityMismatch, "#atproto"),
        (json_field("verificationMethod", [{"id": "#atproto"}]), IdentityMismatch, "type"),
    ],
)
async def test_a_directory_that_misbehaves_proves_nothing(
    world: World, lie: Any, error: type[AtdError], said: str
) -> None:
    alice = world.account("alice.test")
    world.lie(lie, host=PLC)
    names = directory(world)
    with pytest.raises(error, match=said):
        await names.resolve("alice.test")
    world.honest()
    world.pass_time(61)
    assert (await names.resolve("alice.test")).did == alice.did, "nothing wrong was remembered"


async def test_a_directory_that_hangs_is_given_up(world: World) -> None:
    world.account("alice.test")
    world.lie(hang(), host=PLC)
    with pytest.raises(Unreachable, match=r"did not answer within 0\.1 s"):
        await directory(world, fetch_timeout_s=0.1).resolve("alice.test")


@pytest.mark.parametrize("did", ["did:plc:short", "did:plc:" + "0" * 24, f"{MALLORY}x"])
async def test_a_malformed_plc_did_is_not_asked_for(world: World, did: str) -> None:
    with pytest.raises(InvalidSyntax, match="24 of a-z 2-7"):
        await directory(world).resolve(did)
    assert not world.calls


async def test_other_did_methods_are_refused(world: World) -> None:
    with pytest.raises(IdentityMismatch, match="did:plc or a did:web"):
        await directory(world).resolve("did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme")


# --- did:web -----------------------------------------------------------------------------------


async def test_a_did_web_is_read_from_its_host(world: World) -> None:
    lab = world.account("lab.test", did="did:web:lab.test")
    assert await directory(world).resolve("lab.test") == lab.identity
    assert "https://lab.test/.well-known/did.json" in [call.url for call in world.calls]


async def test_a_did_web_on_loopback_needs_the_allow_list_and_then_is_plain_http(
    world: World,
) -> None:
    lab = world.account("lab.test", did="did:web:localhost%3A2583")
    world.addresses["localhost"] = ["127.0.0.1"]
    with pytest.raises(Unreachable) as caught:
        await directory(world).resolve(lab.did)
    assert "add localhost:2583 to ATD_ALLOW_HOSTS" in caught.value.next_step
    assert not world.calls
    allowed = directory(world, allow_hosts=frozenset({"localhost:2583"}))
    assert (await allowed.resolve(lab.did)).did == lab.did
    assert world.calls[0].url == "http://localhost:2583/.well-known/did.json"


async def test_a_did_web_at_a_private_address_is_not_fetched(world: World) -> None:
    lab = world.account("lab.test", did="did:web:lab.test")
    world.addresses["lab.test"] = ["10.0.0.8"]
    with pytest.raises(Unreachable, match=r"10\.0\.0\.8"):
        await directory(world).resolve(lab.did)
    assert not world.calls


@pytest.mark.parametrize(
    "did",
    [
        "did:web:127.0.0.1",
        "did:web:localhost",
        "did:web:169.254.169.254",
        "did:web:example.com:path",
        "did:web:example.com%2Fpath",
        "did:web:user%40example.com",
        "did:web:example.com%3A8443",
        "did:web:2130706433",
    ],
)
async def test_a_did_web_that_is_no_public_host_is_refused(world: World, did: str) -> None:
    world.addresses.update({"localhost": ["127.0.0.1"], "2130706433": ["127.0.0.1"]})
    with pytest.raises((InvalidSyntax, Unreachable)):
        await directory(world).resolve(did)
    assert not world.calls


async def test_a_did_web_without_a_document_is_absent(world: World) -> None:
    world.site("https://lab.test")
    with pytest.raises(DidAbsent, match=r"lab\.test answered 404"):
        await directory(world).resolve("did:web:lab.test")


# --- memory ------------------------------------------------------------------------------------


async def test_answers_are_believed_for_an_hour_and_asked_again_on_demand(world: World) -> None:
    world.account("alice.test")
    names = directory(world)
    for _ in range(3):
        await names.resolve("alice.test")
    assert (len(world.calls), len(world.questions)) == (1, 1)
    await names.resolve("alice.test", refresh=True)
    assert (len(world.calls), len(world.questions)) == (2, 2)
    world.pass_time(3601)
    await names.resolve("alice.test")
    assert (len(world.calls), len(world.questions)) == (3, 3)


async def test_absence_is_believed_for_a_minute(world: World) -> None:
    names = directory(world)
    with pytest.raises(HandleAbsent):
        await names.resolve("alice.test")
    alice = world.account("alice.test")
    with pytest.raises(HandleAbsent):
        await names.resolve("alice.test")
    world.pass_time(61)
    assert (await names.resolve("alice.test")).did == alice.did


async def test_an_account_that_took_another_handle_is_found_despite_our_memory(
    world: World,
) -> None:
    alice = world.account("alice.test")
    names = directory(world)
    await names.resolve("alice.test")
    alice.claim("alice.example.com")
    world.name("alice.example.com", alice.did)
    assert (await names.resolve("alice.example.com")).handle == "alice.example.com"


async def test_a_handle_that_changed_hands_is_asked_again_before_it_is_refused(
    world: World,
) -> None:
    alice, bob = world.account("alice.test"), world.account("bob.test")
    names = directory(world)
    await names.resolve("alice.test")
    world.pass_time(1)
    alice.claim("gone.test")
    bob.claim("alice.test")
    world.name("alice.test", bob.did)
    await names.resolve(alice.did, refresh=True)  # hears that alice does not claim it any more
    assert (await names.resolve("alice.test")).did == bob.did


async def test_offline_gives_what_was_once_had_and_says_how_old(world: World) -> None:
    alice = world.account("alice.test")
    names = directory(world)
    await names.resolve("alice.test")
    world.pass_time(100_000)
    token = offline_now.set(True)
    try:
        assert await names.resolve("alice.test") == alice.identity
        assert names.age_s(ALICE) == 100_000
        with pytest.raises(Offline):
            await names.resolve("bob.test")
    finally:
        offline_now.reset(token)
    assert names.age_s(Handle("bob.test")) is None


async def test_a_slow_name_server_is_waited_for_once(world: World) -> None:
    alice = world.account("alice.test")
    world.broken_names.add("_atproto.alice.test")
    names = directory(world)
    for _ in range(5):
        assert (await names.resolve(alice.did)).handle is None
    assert len(world.questions) == 1


# --- previous keys -----------------------------------------------------------------------------


async def test_previous_keys_are_read_from_the_signed_log(world: World) -> None:
    alice = world.account("alice.test")
    assert await directory(world).previous_keys(alice.did) == []
    alice.rotate_key()
    alice.rotate_key()
    alice.claim("other.test")
    keys = [key.public for key in alice.keys]
    assert await directory(world).previous_keys(alice.did) == [keys[1], keys[0]]


async def test_a_did_web_has_no_previous_keys(world: World) -> None:
    lab = world.account("lab.test", did="did:web:lab.test")
    lab.rotate_key()
    assert await directory(world).previous_keys(lab.did) == []


async def test_a_forged_log_gives_no_keys(world: World) -> None:
    alice, mallory = world.account("alice.test"), world.account("mallory.test")
    log = (await _log(world, alice.did))[:1]
    forged = (await _log(world, mallory.did))[0] | {"did": alice.did}
    world.lie(same_as(_json([forged, *log])), path="/log/audit")
    with pytest.raises(IdentityMismatch, match="does not begin with its first operation"):
        await directory(world).previous_keys(alice.did)


@pytest.mark.parametrize("lie", [status(500), html(), truncated(50), status(429)])
async def test_a_log_that_cannot_be_had_is_unreachable(world: World, lie: Any) -> None:
    alice = world.account("alice.test")
    world.lie(lie, path="/log/audit")
    with pytest.raises(Unreachable):
        await directory(world).previous_keys(alice.did)


async def _log(world: World, did: Did) -> list[dict[str, Any]]:
    url = f"{world.plc.url}/{did}/log/audit"
    reply = await world.fetcher.request("GET", url, max_bytes=100_000)
    rows: list[dict[str, Any]] = json.loads(reply.body)
    return rows


def _json(value: object) -> Answer:
    return Answer(200, {"content-type": "application/json"}, json.dumps(value).encode())
