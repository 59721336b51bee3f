"""Targets of `atd.protocol` and `atd.records`: bytes and JSON from servers of strangers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Any

from atd import lexicon_files
from atd.errors import (
    IdentityMismatch,
    InvalidSyntax,
    LexiconError,
    LocalError,
    ProofError,
)
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, decode, encode, from_json, to_json
from atd.protocol.cbor_reader import Reader
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import PublicKey
from atd.protocol.lexicon import Lexicons
from atd.protocol.mst import build
from atd.protocol.mst_node import read_node, write_node
from atd.protocol.proof import verify_record, verify_repo
from atd.protocol.syntax import AtUri, Datetime, Did, Handle, Language, Nsid, RecordKey, Tid
from atd.records import parse_value
from atd.refs import parse_ref
from protocol.making import Author, things
from records import samples

ALICE = Author.named("alice")
RECORDS = things(*(f"key{number}" for number in range(12)))


def text_of(data: bytes) -> str:
    """Any bytes as text."""
    return data.decode("utf-8", "replace")


def json_of(data: bytes) -> Any:
    """The JSON that ``data`` is, or None."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


# ------------------------------------------------------------------ binary


def cbor(data: bytes) -> None:
    """One encoding for each value; the quick way and the strict reader agree."""
    strict: Any = ProofError
    with suppress(ProofError):
        strict = Reader(data, 32).whole()
    try:
        value = decode(data, max_depth=32)
    except ProofError:
        assert strict is ProofError
        return
    assert value == strict
    assert encode(value) == data
    if isinstance(value, dict):
        with suppress(LexiconError):  # what only looks like a link or bytes in JSON
            assert from_json(to_json(value)) == value


def cbor_seeds() -> Iterable[bytes]:
    yield encode({"a": [1, -1, True, None, "text", b"bytes"], "link": Cid.of(b"x")})
    yield from (encode(value) for value in RECORDS.values())


def car(data: bytes) -> None:
    """Blocks are what their CIDs say."""
    try:
        found = read_car(data)
    except ProofError:
        return
    for cid in found.blocks:
        assert Cid.of(found.blocks[cid]) == cid


def car_seeds() -> Iterable[bytes]:
    yield ALICE.repo(RECORDS)
    yield write_car(Cid.of(b"\xa0"), [(Cid.of(b"\xa0"), b"\xa0")])


def mst(data: bytes) -> None:
    """A node has one encoding."""
    try:
        node = read_node(data)
    except ProofError:
        return
    assert write_node(node) == data


def mst_seeds() -> Iterable[bytes]:
    _, blocks = build({key: Cid.of(encode(value)) for key, value in RECORDS.items()})
    yield from blocks.values()


def commit(data: bytes) -> None:
    """A commit has one encoding."""
    try:
        found = Commit.decode(data)
    except ProofError:
        return
    assert found.encode() == data


def commit_seeds() -> Iterable[bytes]:
    yield ALICE.commit(Cid.of(b"tree")).encode()


def proof(data: bytes) -> None:
    """What is proved of Alice is what she wrote; never that it is absent, which she did not say."""
    uri = ALICE.uri("com.example.thing/key3")
    with suppress(ProofError):
        assert verify_record(data, ALICE.identity, uri).value == RECORDS[str(uri.path)]
    with suppress(ProofError):
        assert len(verify_repo(data, ALICE.identity).entries) == len(RECORDS)


def proof_seeds() -> Iterable[bytes]:
    whole = ALICE.repo(RECORDS)
    yield whole
    yield verify_record(whole, ALICE.identity, ALICE.uri("com.example.thing/key3")).proof


# ------------------------------------------------------------------ documents


def identity(data: bytes) -> None:
    """A DID document is read, or refused as one."""
    try:
        found = Identity.from_document(json_of(data))
    except IdentityMismatch:
        return
    assert found.handle is None
    assert PublicKey.from_multikey(found.key.to_multikey()) == found.key


def identity_seeds() -> Iterable[bytes]:
    key = ALICE.key.public.to_multikey()
    document = {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": str(ALICE.did),
        "alsoKnownAs": ["at://alice.example.com", "https://alice.example.com"],
        "verificationMethod": [
            {
                "id": f"{ALICE.did}#atproto",
                "type": "Multikey",
                "controller": str(ALICE.did),
                "publicKeyMultibase": key,
            }
        ],
        "service": [
            {
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": "https://pds.example.com",
            }
        ],
    }
    yield json.dumps(document).encode()
    method = {
        **document["verificationMethod"][0],  # type: ignore[dict-item]
        "type": "EcdsaSecp256k1VerificationKey2019",
        "publicKeyMultibase": key[:1] + key[3:],
    }
    yield json.dumps({**document, "verificationMethod": [method]}).encode()


def lexicon(data: bytes) -> None:
    """What is taken for a lexicon can validate anything."""
    document = json_of(data)
    try:
        made = Lexicons([document])
    except LexiconError:
        return
    for nsid in made.nsids:
        with suppress(LexiconError):
            made.validate_record({"$type": nsid, "a": [1, {"b": "c"}]}, nsid)


@cache
def lexicon_seeds() -> tuple[bytes, ...]:
    return tuple(json.dumps(document).encode() for document in lexicon_files.documents())


def record(data: bytes) -> None:
    """A record of ours that is read can be written, and read again as the same."""
    try:
        value = from_json(json_of(data))
    except LexiconError:
        return
    for uri in map(samples.uri, samples.VALID):
        try:
            found = parse_value(uri, value)
        except LexiconError:
            continue
        assert parse_value(uri, found.to_value()) == found


def record_seeds() -> Iterable[bytes]:
    for name in samples.VALID:
        yield json.dumps(to_json(samples.value(name))).encode()


def syntax(data: bytes) -> None:
    """A name that parses is the text it was parsed from."""
    text = text_of(data)
    for kind in (Did, Handle, Nsid, RecordKey, Tid, Language, Datetime, AtUri, Cid):
        try:
            found = kind.parse(text)
        except InvalidSyntax:
            continue
        if kind not in (Handle, AtUri):
            assert str(found) == text
        assert kind.parse(str(found)) == found
    try:
        ref = parse_ref(text)
    except InvalidSyntax:
        return
    assert parse_ref(str(ref)) == ref
    for key in (PublicKey.from_multikey, PublicKey.from_did_key):
        with suppress(LocalError):
            key(text)


def syntax_seeds() -> Iterable[bytes]:
    for text in (
        *(ALICE.did, "did:web:example.com", "alice.example.com", "com.example.thing", "self"),
        *("3kzyxwvutsr22", "pt-BR", "2024-01-01T00:00:00.000Z", str(Cid.of(b"x"))),
        *(f"at://{ALICE.did}/com.example.thing/self", "@alice.example.com/flowers@1.0.0:train"),
        *("./folder", "https://example.com/{000..009}.tar", ALICE.key.public.to_multikey()),
        ALICE.key.public.to_did_key(),
    ):
        yield str(text).encode()
