"""DID documents: what they may look like, and that hostile ones are refused and do no worse."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import IdentityMismatch, InvalidSyntax
from atd.protocol.identity import Identity, parse_origin
from atd.protocol.keys import _base58_encode
from atd.protocol.syntax import Handle
from protocol.making import Author

ALICE = Author.named("alice")
BOB = Author.named("bob", "p256")


def document(**changes: Any) -> dict[str, Any]:
    """Alice's DID document, with changes."""
    return {
        "id": ALICE.did,
        "alsoKnownAs": ["at://alice.test"],
        "verificationMethod": [method()],
        "service": [service()],
        **changes,
    }


def method(**changes: Any) -> dict[str, Any]:
    """Alice's signing key, with changes."""
    key = ALICE.key.public.to_multikey()
    whole = {"id": "#atproto", "type": "Multikey", "controller": ALICE.did}
    return {**whole, "publicKeyMultibase": key, **changes}


def service(**changes: Any) -> dict[str, Any]:
    """Alice's PDS, with changes."""
    return {
        "id": "#atproto_pds",
        "type": "AtprotoPersonalDataServer",
        "serviceEndpoint": "https://pds.example.com",
        **changes,
    }


def test_a_document_gives_key_server_and_claims() -> None:
    identity = Identity.from_document(document())
    assert identity.did == ALICE.did
    assert identity.key == ALICE.key.public
    assert identity.pds == "https://pds.example.com"
    assert identity.claimed == ("alice.test",)
    assert identity.handle is None


def test_ids_may_be_relative_or_full() -> None:
    full = document(
        verificationMethod=[method(id=f"{ALICE.did}#atproto")],
        service=[service(id=f"{ALICE.did}#atproto_pds")],
    )
    assert Identity.from_document(full) == Identity.from_document(document())


@pytest.mark.parametrize("author", [ALICE, BOB])
def test_a_legacy_key_is_the_same_key(author: Author) -> None:
    curve = {"k256": "Secp256k1", "p256": "Secp256r1"}[author.key.curve]
    point = "z" + _base58_encode(author.key.public.point)
    legacy = method(type=f"Ecdsa{curve}VerificationKey2019", publicKeyMultibase=point)
    assert Identity.from_document(document(verificationMethod=[legacy])).key == author.key.public


def test_other_keys_and_services_are_passed_over() -> None:
    crowded = document(
        verificationMethod=[
            method(id="#atproto_label", publicKeyMultibase=BOB.key.public.to_multikey()),
            method(id=f"{BOB.did}#atproto", publicKeyMultibase=BOB.key.public.to_multikey()),
            method(controller=BOB.did, publicKeyMultibase=BOB.key.public.to_multikey()),
            "#atproto",
            method(),
            method(publicKeyMultibase=BOB.key.public.to_multikey()),
        ],
        service=[service(id="#bsky_notif", serviceEndpoint="https://other.test"), None, service()],
    )
    assert Identity.from_document(crowded) == Identity.from_document(document())


def test_only_handles_are_claims() -> None:
    aliases = ["https://alice.test", "at://Alice.TEST", "at://not a handle", 7, None, "at://b.test"]
    assert Identity.from_document(document(alsoKnownAs=aliases)).claimed == ("alice.test", "b.test")


def test_proving_sets_the_handle_only_if_it_is_claimed() -> None:
    identity = Identity.from_document(document())
    proved = identity.proving(Handle("alice.test"))
    assert (proved.handle, proved.did, proved.pds) == ("alice.test", ALICE.did, identity.pds)
    with pytest.raises(IdentityMismatch, match=r"does not claim it back but alice\.test"):
        identity.proving(Handle("mallory.test"))
    nobody = Identity.from_document(document(alsoKnownAs=[]))
    with pytest.raises(IdentityMismatch, match="no handle"):
        nobody.proving(Handle("alice.test"))


def test_another_key_can_be_tried() -> None:
    identity = Identity.from_document(document()).proving(Handle("alice.test"))
    other = identity.with_key(BOB.key.public)
    assert (other.key, other.handle, other.pds) == (BOB.key.public, "alice.test", identity.pds)


@pytest.mark.parametrize("services", [[], None, "x", [service(type="Other")], [service(id="#x")]])
def test_a_document_without_a_server_says_so_when_asked(services: object) -> None:
    identity = Identity.from_document(document(service=services))
    with pytest.raises(IdentityMismatch, match="names no PDS"):
        _ = identity.pds


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://pds.example.com", "https://pds.example.com"),
        ("https://pds.example.com/", "https://pds.example.com"),
        ("HTTPS://PDS.Example.com", "https://pds.example.com"),
        ("http://localhost:2583", "http://localhost:2583"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_an_origin_is_accepted(url: str, origin: str) -> None:
    assert parse_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pds.example.com",
        "//pds.example.com",
        "ftp://pds.example.com",
        "file:///etc/passwd",
        "https://",
        "https://user@pds.example.com",
        "https://user:word@pds.example.com",
        "https://pds.example.com/path",
        "https://pds.example.com//",
        "https://pds.example.com?query",
        "https://pds.example.com/?",
        "https://pds.example.com#fragment",
        "https://pds.example.com#",
        "https://pds.example.com:0",
        "https://pds.example.com:99999",
        "https://pds.example.com:port",
        "https://pds.example.com:",
        "https://pds example.com",
        "https://pds.example.com\n",
        "https://pds.example.com\r\nHost: evil",
        "https://pds.example.com\\@evil.test",
        "https://pds.example.com%00",
        "https://{pds,evil}.example.com",
        "https://pds_example.com",
        "https://.example.com",
        "https://pds.example.com.",
        "https://[::1",
        "https://[zz]",
        "https://xn--é.com",
        "https://" + "a" * 600,
        None,
        7,
        [],
        {"uri": "https://pds.example.com"},
    ],
)
def test_a_server_that_is_no_origin_is_refused(url: Any) -> None:
    with pytest.raises(InvalidSyntax, match="expected a server"):
        parse_origin(url)
    with pytest.raises(IdentityMismatch, match="expected a server"):
        Identity.from_document(document(service=[service(serviceEndpoint=url)]))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": "did:plc"},
        {"id": 7},
        {"id": ["did:plc:abc"]},
        {"verificationMethod": None},
        {"verificationMethod": []},
        {"verificationMethod": {}},
        {"verificationMethod": "zQ3s"},
        {"verificationMethod": [None, 1, "x", [], {}]},
        {"verificationMethod": [method(id=["#atproto"])]},
        {"verificationMethod": [method(id="#atproto_label")]},
        {"verificationMethod": [method(controller=BOB.did)]},
        {"verificationMethod": [method(controller={})]},
        {"verificationMethod": [method(type=None)]},
        {"verificationMethod": [method(type=[])]},
        {"verificationMethod": [method(type="Ed25519VerificationKey2020")]},
        {"verificationMethod": [method(publicKeyMultibase=None)]},
        {"verificationMethod": [method(publicKeyMultibase={})]},
        {"verificationMethod": [method(publicKeyMultibase="z" * 100)]},
        {"verificationMethod": [method(publicKeyMultibase="\x1b[31m")]},
    ],
)
def test_a_document_that_proves_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(IdentityMismatch) as refused:
        Identity.from_document(document(**changes))
    assert refused.value.message.isprintable()


def test_a_bad_first_signing_key_is_not_made_up_for_by_a_second() -> None:
    methods = [method(publicKeyMultibase="zbad"), method()]
    with pytest.raises(IdentityMismatch):
        Identity.from_document(document(verificationMethod=methods))


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=10,
)


@given(junk, st.sampled_from(["id", "alsoKnownAs", "verificationMethod", "service"]))
def test_junk_anywhere_is_refused_as_identity_mismatch_or_ignored(value: Any, section: str) -> None:
    attacks = [
        document(**{section: value}),
        document(**{section: [value]}),
        document(verificationMethod=[method(**{name: value}) for name in ("id", "type")]),
        document(service=[service(serviceEndpoint=value)]),
        value,
    ]
    for attack in attacks:
        try:
            identity = Identity.from_document(attack)
        except IdentityMismatch:
            continue
        assert identity.key == ALICE.key.public
