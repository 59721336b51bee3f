"""Commits: one layout, one encoding, and everything else refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import ProofError
from atd.protocol.cbor import RAW, Cid, decode, encode
from atd.protocol.commit import Commit
from atd.protocol.syntax import Did, Tid
from protocol.making import REV, Author

ALICE = Author.named("alice")
TREE = Cid.of(b"a tree")
COMMIT = ALICE.commit(TREE)
VALUE: dict[str, Any] = decode(COMMIT.encode())  # type: ignore[assignment]


@given(
    st.sampled_from(["did:web:a", "did:plc:" + "a" * 24, "did:web:" + "a." * 150 + "b"])
    | st.just("did:web:crevmcsigX"),
    st.sampled_from([None, TREE, Cid.of(b"", RAW)]),
    st.binary(min_size=64, max_size=64),
)
def test_what_is_encoded_is_decoded(did: str, prev: Cid | None, sig: bytes) -> None:
    commit = Commit(Did.parse(did), REV, TREE, prev, sig)
    assert Commit.decode(commit.encode()) == commit


def test_the_layout_is_the_canonical_encoding() -> None:
    for prev in (None, Cid.of(b"before")):
        commit = Commit.sign(ALICE.did, REV, TREE, ALICE.key, prev)
        fields = {"did": ALICE.did, "rev": REV, "data": TREE, "prev": prev, "version": 3}
        assert commit.unsigned() == encode(fields)
        assert commit.encode() == encode({**fields, "sig": commit.sig})
        assert commit.cid == Cid.of(commit.encode())


def test_a_signature_is_over_the_commit_without_it() -> None:
    assert ALICE.key.public.verify(COMMIT.sig, COMMIT.unsigned())


def changed(**fields: Any) -> bytes:
    """The commit's block with other fields; a field that is `...` is left out."""
    value = {**VALUE, **fields}
    return encode({name: item for name, item in value.items() if item is not ...})


@pytest.mark.parametrize(
    ("block", "match"),
    [
        (changed(version=2), "version 3, got 2"),
        (changed(version=4), "version 3, got 4"),
        (changed(version=True), "version 3, got True"),
        (changed(version="3"), "version 3, got '3'"),
        (changed(version=None), "version 3, got None"),
        (changed(did=...), "expected a commit with"),
        (changed(prev=...), "expected a commit with"),
        (changed(sig=...), "expected a commit with"),
        (changed(version=...), "expected a commit with"),
        (changed(extra=1), "expected a commit with"),
        (changed(did="alice.test"), "expected a commit with a DID"),
        (changed(did=""), "expected a commit with a DID"),
        (changed(did=7), "expected a commit with a DID"),
        (changed(did="did:plc:" + "a" * 2041), "expected a commit with a DID"),
        (changed(did="did:plc:abc\n"), "expected a commit with a DID"),
        (changed(rev="now"), "expected a commit with a DID, a TID"),
        (changed(rev="zzzzzzzzzzzzz"), "expected a commit with a DID, a TID"),
        (changed(rev=7), "expected a commit with a DID, a TID"),
        (changed(data=None), "expected a commit with a DID"),
        (changed(data=str(TREE)), "expected a commit with a DID"),
        (changed(data=TREE.bytes), "expected a commit with a DID"),
        (changed(data=Cid.of(b"", RAW)), "expected a commit with a DID"),
        (changed(prev=False), "expected a commit with a DID"),
        (changed(prev=TREE.bytes), "expected a commit with a DID"),
        (changed(sig=b""), "exactly 64 bytes in the commit, got 0 bytes"),
        (changed(sig=COMMIT.sig + b"\0"), "exactly 64 bytes in the commit, got 65 bytes"),
        (changed(sig=COMMIT.sig[:63]), "exactly 64 bytes in the commit, got 63 bytes"),
        (changed(sig=TREE), "exactly 64 bytes"),
        (changed(sig="x" * 64), "exactly 64 bytes"),
        (changed(sig=None), "exactly 64 bytes"),
        (encode([VALUE]), "expected a commit with"),
        (encode(None), "expected a commit with"),
        (b"", "DAG-CBOR"),
        (COMMIT.encode() + b"\0", "DAG-CBOR"),
        (COMMIT.encode()[:-1], "DAG-CBOR"),
        (COMMIT.encode().replace(b"gversion\x03", b"gversion\x18\x03"), "shortest form"),
        (COMMIT.encode().replace(b"gversion\x03", b"gversion\xf9\x42\x00"), "float"),
        (COMMIT.encode().replace(b"crevm", b"crevx\x0d"), "shortest form"),
        (COMMIT.encode().replace(b"csigX\x40", b"csigY\x00\x40"), "shortest form"),
        (b"\xb8\x06" + COMMIT.encode()[1:], "shortest form"),
        (b"\x81" * 100_000, "DAG-CBOR"),
    ],
)
def test_what_is_no_canonical_commit_is_refused(block: bytes, match: str) -> None:
    with pytest.raises(ProofError, match=match) as refused:
        Commit.decode(block)
    assert refused.value.message.isprintable()


def test_fields_in_another_order_are_refused() -> None:
    block = COMMIT.encode()
    sig_at, data_at = block.index(b"csig"), block.index(b"ddata")
    swapped = block[:sig_at] + block[data_at : data_at + 46] + block[sig_at:data_at]
    with pytest.raises(ProofError, match="out of order"):
        Commit.decode(swapped + block[data_at + 46 :])


def test_a_repeated_field_is_refused() -> None:
    block = b"\xa7" + COMMIT.encode()[1:] + b"gversion\x03"
    with pytest.raises(ProofError, match="repeated or out of order"):
        Commit.decode(block)


def test_any_single_bit_makes_another_commit_or_none() -> None:
    block = COMMIT.encode()
    for bit in range(len(block) * 8):
        flipped = (int.from_bytes(block) ^ 1 << bit).to_bytes(len(block))
        try:
            found = Commit.decode(flipped)
        except ProofError:
            continue
        assert found.encode() == flipped
        assert not ALICE.key.public.verify(found.sig, found.unsigned())


def test_a_rev_orders_as_its_time() -> None:
    later = ALICE.commit(TREE, Tid.from_micros(REV.micros + 1, 0))
    assert later.rev > COMMIT.rev
