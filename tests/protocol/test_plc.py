"""Operation logs of did:plc: only a chain that is signed and complete says who had which key."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from atd.errors import IdentityMismatch
from atd.protocol.cbor import Cid, encode
from atd.protocol.plc import MAX_ROTATION_KEYS, is_plc, signing_keys, verify_operations
from atd.protocol.syntax import Did
from world import Account, World
from world.account import key_for
from world.plc import sign

Log = list[dict[str, Any]]


@pytest.fixture
def alice() -> Account:
    account = World().account("alice.test")
    account.rotate_key()
    account.rotate_key()
    return account


def log_of(account: Account) -> Log:
    """The audit log as the directory serves it."""
    return [
        {
            "did": account.did,
            "operation": copy.deepcopy(entry.operation),
            "cid": str(entry.cid),
            "nullified": entry.nullified,
            "createdAt": entry.created_at,
        }
        for entry in account.world.plc.accounts[account.did].log
    ]


def resealed(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An entry with a changed operation and the hash that goes with it, but no new signature."""
    operation = {**entry["operation"], **changes}
    return {**entry, "operation": operation, "cid": str(Cid.of(encode(operation)))}


def test_keys_come_newest_first(alice: Account) -> None:
    expected = [key.public for key in reversed(alice.keys)]
    assert signing_keys(alice.did, log_of(alice)) == expected


def test_a_key_that_came_back_is_listed_once(alice: Account) -> None:
    first = alice.keys[0].public.to_did_key()
    alice.world.plc.update(alice.did, verificationMethods={"atproto": first})
    keys = signing_keys(alice.did, log_of(alice))
    assert [keys[0], len(keys)] == [alice.keys[0].public, 3]


def test_an_operation_with_a_changed_key_is_refused(alice: Account) -> None:
    log = log_of(alice)
    thief = {"atproto": key_for("thief").public.to_did_key()}
    log[1]["operation"]["verificationMethods"] = thief
    with pytest.raises(IdentityMismatch, match="has the hash"):
        signing_keys(alice.did, log)
    log = log_of(alice)
    log[-1] = resealed(log[-1], verificationMethods=thief)
    with pytest.raises(IdentityMismatch, match="not signed by a rotation key"):
        signing_keys(alice.did, log)


def test_an_operation_signed_by_a_stranger_is_refused(alice: Account) -> None:
    log = log_of(alice)
    unsigned = {k: v for k, v in log[-1]["operation"].items() if k != "sig"}
    log[-1] = resealed({**log[-1], "operation": {}}, **sign(unsigned, key_for("thief")))
    with pytest.raises(IdentityMismatch, match="not signed by a rotation key"):
        signing_keys(alice.did, log)


def test_a_log_with_a_gap_is_refused(alice: Account) -> None:
    log = log_of(alice)
    with pytest.raises(IdentityMismatch, match="has a gap"):
        signing_keys(alice.did, [log[0], log[2]])
    with pytest.raises(IdentityMismatch, match="does not begin"):
        signing_keys(alice.did, log[1:])
    with pytest.raises(IdentityMismatch, match="gap"):
        signing_keys(alice.did, [log[0], log[2], log[1]])


def test_another_log_is_refused(alice: Account) -> None:
    other = alice.world.account("bob.test")
    with pytest.raises(IdentityMismatch, match="expected an operation of"):
        signing_keys(alice.did, log_of(other))


def test_a_nullified_operation_gives_no_key(alice: Account) -> None:
    log = alice.world.plc.accounts[alice.did].log
    thief = key_for("thief").public
    alice.world.plc.update(alice.did, verificationMethods={"atproto": thief.to_did_key()})
    log[-1].nullified = True
    assert thief not in signing_keys(alice.did, log_of(alice))


def test_a_malleable_signature_is_refused(alice: Account) -> None:
    log = log_of(alice)
    sig = log[0]["operation"]["sig"]
    for bad in (sig + "==", sig[:-1], sig + "A", "", 5, None, "é" * 86):
        with pytest.raises(IdentityMismatch):
            signing_keys(alice.did, [resealed(log[0], sig=bad)])


def test_a_legacy_first_operation_is_read() -> None:
    signing, recovery = key_for("signing"), key_for("recovery")
    operation = sign(
        {
            "type": "create",
            "signingKey": signing.public.to_did_key(),
            "recoveryKey": recovery.public.to_did_key(),
            "handle": "old.test",
            "service": "https://pds.example.com",
            "prev": None,
        },
        signing,
    )
    from_hash = _did_of(operation)
    entry = {"did": from_hash, "operation": operation, "cid": str(Cid.of(encode(operation)))}
    assert signing_keys(from_hash, [entry]) == [signing.public]


def test_an_operation_with_more_keys_than_anyone_would_try_is_refused() -> None:
    keys = [key_for("rotation", number) for number in range(MAX_ROTATION_KEYS + 1)]

    def made(count: int) -> Did:
        operation = {
            "type": "plc_operation",
            "rotationKeys": [key.public.to_did_key() for key in keys[:count]],
            "verificationMethods": {"atproto": keys[0].public.to_did_key()},
            "alsoKnownAs": [],
            "services": {},
            "prev": None,
        }
        signed = sign(operation, keys[count - 1])
        log.append({"operation": signed, "cid": str(Cid.of(encode(signed)))})
        log[0]["did"] = _did_of(signed)
        return Did(log[0]["did"])

    log: Log = []
    assert signing_keys(made(MAX_ROTATION_KEYS), log) == [keys[0].public]
    log.clear()
    with pytest.raises(IdentityMismatch, match="at most 10"):
        signing_keys(made(MAX_ROTATION_KEYS + 1), log)


def test_a_tombstone_gives_no_key(alice: Account) -> None:
    alice.world.plc.tombstone(alice.did)
    assert len(signing_keys(alice.did, log_of(alice))) == 3


@pytest.mark.parametrize(
    "log", [None, {}, [], [None], [[]], [{}], "log", [{"did": "x"}] * 3, [{}] * 3000]
)
def test_what_is_no_log_is_refused(alice: Account, log: object) -> None:
    with pytest.raises(IdentityMismatch):
        signing_keys(alice.did, log)


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "other"},
        {"rotationKeys": None},
        {"rotationKeys": 5},
        {"rotationKeys": ["did:key:zzz"]},
        {"verificationMethods": {"atproto": 5}},
        {"extra": 1.5},
        {"extra": {"$link": "nonsense"}},
    ],
)
def test_operations_that_make_no_sense_are_refused(alice: Account, changes: dict[str, Any]) -> None:
    entry = log_of(alice)[0]
    entry["operation"] |= changes
    with pytest.raises(IdentityMismatch):
        signing_keys(alice.did, [entry])


@pytest.mark.parametrize("lacking", [{"handle"}, {"service"}, {"handle", "service"}])
def test_an_old_first_operation_that_lacks_a_field_is_no_defect(lacking: set[str]) -> None:
    """Whoever makes up a DID makes up its operations; the hash and the signature are right."""
    key = key_for("forger")
    named = key.public.to_did_key()
    whole = {
        "type": "create",
        "signingKey": named,
        "recoveryKey": named,
        "handle": "alice.test",
        "service": "https://pds.test",
        "prev": None,
    }
    operation = sign({name: whole[name] for name in whole.keys() - lacking}, key)
    history = verify_operations(_did_of(operation), [operation])
    if "service" in lacking:
        with pytest.raises(IdentityMismatch):
            _ = history.identity
    else:
        assert history.identity.claimed == ()


def test_what_a_plc_did_looks_like() -> None:
    assert is_plc(Did("did:plc:abcdefghijklmnopqrstuvwx"))
    for bad in ("did:plc:ABCDEFGHIJKLMNOPQRSTUVWX", "did:plc:abc", "did:web:example.com"):
        assert not is_plc(Did(bad))


def _did_of(operation: dict[str, Any]) -> Did:
    world = World()
    return world.plc.register(operation)
