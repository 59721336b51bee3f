"""Signing keys: the shared vectors, and every other signature that a lenient verifier accepts."""

from __future__ import annotations

import pickle
from base64 import b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import InvalidSyntax
from atd.protocol.keys import _ORDERS, Curve, PrivateKey, PublicKey, _base58_encode, _multibase
from support import json_vectors

CURVES: tuple[Curve, ...] = ("k256", "p256")
MESSAGE = b"a message"
KEYS = {curve: PrivateKey.from_bytes(curve, bytes(31) + b"\x07") for curve in CURVES}


def test_the_signature_fixtures_verify_or_not_as_they_say() -> None:
    for case in json_vectors("atproto-interop/crypto/signature-fixtures.json"):
        key = PublicKey.from_did_key(case["publicKeyDid"])
        signature = b64decode(case["signatureBase64"] + "==")
        message = b64decode(case["messageBase64"] + "==")
        assert key.verify(signature, message) is case["validSignature"], case["comment"]


def test_a_key_is_the_same_in_both_its_spellings() -> None:
    for case in json_vectors("atproto-interop/crypto/signature-fixtures.json"):
        key = PublicKey.from_did_key(case["publicKeyDid"])
        assert PublicKey.from_legacy(case["didDocSuite"], case["publicKeyMultibase"]) == key
        assert key.to_did_key() == case["publicKeyDid"]


def test_private_keys_have_the_public_keys_of_the_fixtures() -> None:
    for case in json_vectors("atproto-interop/crypto/w3c_didkey_K256.json"):
        key = PrivateKey.from_bytes("k256", bytes.fromhex(case["privateKeyBytesHex"]))
        assert key.public.to_did_key() == case["publicDidKey"]
    for case in json_vectors("atproto-interop/crypto/w3c_didkey_P256.json"):
        secret = _multibase("z" + case["privateKeyBytesBase58"])
        assert PrivateKey.from_bytes("p256", secret).public.to_did_key() == case["publicDidKey"]


@pytest.mark.parametrize("curve", CURVES)
@given(message=st.binary(max_size=64))
@settings(max_examples=30)
def test_what_a_key_signs_verifies_and_is_always_the_same(curve: Curve, message: bytes) -> None:
    signature = KEYS[curve].sign(message)
    assert len(signature) == 64
    assert KEYS[curve].public.verify(signature, message)
    assert KEYS[curve].sign(message) == signature


@pytest.mark.parametrize("curve", CURVES)
def test_any_single_bit_of_signature_or_message_matters(curve: Curve) -> None:
    signature, public = KEYS[curve].sign(MESSAGE), KEYS[curve].public
    for bit in range(512):
        flipped = (int.from_bytes(signature) ^ 1 << bit).to_bytes(64)
        assert not public.verify(flipped, MESSAGE)
    assert not public.verify(signature, MESSAGE + b"\0")


@pytest.mark.parametrize("curve", CURVES)
class TestOtherSignatures:
    """Each of these verifies somewhere, and would be a second signature of the same commit."""

    def test_a_high_s_is_refused(self, curve: Curve) -> None:
        signature = KEYS[curve].sign(MESSAGE)
        high = _ORDERS[curve] - int.from_bytes(signature[32:])
        assert not KEYS[curve].public.verify(signature[:32] + high.to_bytes(32), MESSAGE)

    def test_a_65_byte_signature_is_refused(self, curve: Curve) -> None:
        signature, public = KEYS[curve].sign(MESSAGE), KEYS[curve].public
        padded = signature[:32] + b"\0" + signature[32:]
        for attack in (signature + b"\0", b"\0" + signature, padded, signature + b"\x1b"):
            assert not public.verify(attack, MESSAGE)

    def test_a_short_or_empty_signature_is_refused(self, curve: Curve) -> None:
        signature, public = KEYS[curve].sign(MESSAGE), KEYS[curve].public
        for size in range(64):
            assert not public.verify(signature[:size], MESSAGE)

    def test_a_der_signature_is_refused(self, curve: Curve) -> None:
        signature = KEYS[curve].sign(MESSAGE)
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        assert not KEYS[curve].public.verify(der, MESSAGE)

    def test_numbers_out_of_range_are_refused(self, curve: Curve) -> None:
        signature, public = KEYS[curve].sign(MESSAGE), KEYS[curve].public
        order = _ORDERS[curve]
        r, s = signature[:32], signature[32:]
        for number in (0, order, order + 1, (1 << 256) - 1):
            assert not public.verify(number.to_bytes(32) + s, MESSAGE)
            assert not public.verify(r + number.to_bytes(32), MESSAGE)

    def test_another_keys_signature_is_refused(self, curve: Curve) -> None:
        other = PrivateKey.from_bytes(curve, bytes(31) + b"\x08")
        assert not KEYS[curve].public.verify(other.sign(MESSAGE), MESSAGE)

    def test_the_same_secret_on_the_other_curve_is_refused(self, curve: Curve) -> None:
        other = KEYS["p256" if curve == "k256" else "k256"]
        assert not KEYS[curve].public.verify(other.sign(MESSAGE), MESSAGE)


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_survives_every_spelling(curve: Curve) -> None:
    key = KEYS[curve].public
    assert PublicKey.from_multikey(key.to_multikey()) == key
    assert PublicKey.from_did_key(key.to_did_key()) == key
    assert pickle.loads(pickle.dumps(key)) == key
    assert pickle.loads(pickle.dumps(key)).verify(KEYS[curve].sign(MESSAGE), MESSAGE)
    assert PrivateKey.from_bytes(curve, KEYS[curve].to_bytes()).public == key
    assert len({key, PublicKey.from_did_key(key.to_did_key())}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "z",
        None,
        17,
        b"zQ3s",
        "Q3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJw0",
        "zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwcc",
        "uQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
        "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",  # ed25519
        "z" + "1" * 64,
        "z" + "Q" * 1_000_000,
        "z" + _base58_encode(b"\xe7\x01\x02" + b"\xff" * 32),  # no point of the curve
        "z" + _base58_encode(b"\xe7\x01\x04" + bytes(32)),
        "z" + _base58_encode(b"\xe7\x01\x00"),
        "z" + _base58_encode(b"\xe7\x01" + bytes(33)),
    ],
)
def test_what_is_no_multikey_is_refused(text: Any) -> None:
    with pytest.raises(InvalidSyntax):
        PublicKey.from_multikey(text)
    with pytest.raises(InvalidSyntax):
        PublicKey.from_did_key(f"did:key:{text}")


@pytest.mark.parametrize("text", ["did:web:example.com", "zQ3s", "did:key:", None, 5])
def test_what_is_no_did_key_is_refused(text: Any) -> None:
    with pytest.raises(InvalidSyntax):
        PublicKey.from_did_key(text)


@pytest.mark.parametrize("kind", ["Ed25519VerificationKey2018", "Multikey", "", None, 5, []])
def test_an_unknown_legacy_type_is_refused(kind: Any) -> None:
    with pytest.raises(InvalidSyntax, match="unknown type"):
        PublicKey.from_legacy(kind, "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t")


def test_an_uncompressed_multikey_is_refused_but_an_uncompressed_legacy_key_accepted() -> None:
    numbers = KEYS["k256"].public._key.public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    with pytest.raises(InvalidSyntax, match="Multikey"):
        PublicKey.from_multikey("z" + _base58_encode(b"\xe7\x01" + point))
    legacy = "EcdsaSecp256k1VerificationKey2019"
    assert PublicKey.from_legacy(legacy, "z" + _base58_encode(point)) == KEYS["k256"].public


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_private_key_of_another_length_is_refused(curve: Curve, size: int) -> None:
    with pytest.raises(InvalidSyntax, match="32 bytes"):
        PrivateKey.from_bytes(curve, b"\1" * size)


@pytest.mark.parametrize("curve", CURVES)
def test_a_private_key_out_of_range_is_refused(curve: Curve) -> None:
    for number in (0, _ORDERS[curve], (1 << 256) - 1):
        with pytest.raises(InvalidSyntax, match="private key"):
            PrivateKey.from_bytes(curve, number.to_bytes(32))


def test_a_private_key_does_not_show_its_secret() -> None:
    key = PrivateKey.from_bytes("k256", b"\x42" * 32)
    assert "4242" not in repr(key)
    assert "BBBB" not in repr(key)


@given(st.binary(max_size=40))
def test_base58_goes_both_ways(data: bytes) -> None:
    if data:
        assert _multibase("z" + _base58_encode(data)) == data
