"""Signing keys: secp256k1 and P-256, as ATProto spells them; the only importer of cryptography.

A signature is exactly 64 bytes, r then s, big-endian, with s in the lower half of the order; over
the SHA-256 of the message. Anything else (DER, padded, high s) is refused, though it may verify,
because a second valid signature would be a second valid commit.

secp256k1 is verified by coincurve (libsecp256k1) where it is installed, ten times faster, behind
the same checks.

Sources: atproto.com/specs/cryptography, w3c-ccg.github.io/did-key-spec.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

try:
    import coincurve as _coincurve
except ImportError:
    _libsecp256k1 = None
else:
    _libsecp256k1 = _coincurve

__all__ = ["ACCELERATED", "Curve", "PrivateKey", "PublicKey"]

ACCELERATED: Final = _libsecp256k1 is not None

Curve: TypeAlias = Literal["k256", "p256"]

_CURVES: Final[dict[Curve, ec.EllipticCurve]] = {"k256": ec.SECP256K1(), "p256": ec.SECP256R1()}
_ORDERS: Final[dict[Curve, int]] = {
    "k256": 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141,
    "p256": 0xFFFFFFFF_00000000_FFFFFFFF_FFFFFFFF_BCE6FAAD_A7179E84_F3B9CAC2_FC632551,
}
_MULTICODECS: Final[dict[bytes, Curve]] = {b"\xe7\x01": "k256", b"\x80\x24": "p256"}
_PREFIXES: Final = {curve: prefix for prefix, curve in _MULTICODECS.items()}
_LEGACY: Final[dict[str, Curve]] = {
    "EcdsaSecp256k1VerificationKey2019": "k256",
    "EcdsaSecp256r1VerificationKey2019": "p256",
}
_ECDSA: Final = ec.ECDSA(SHA256())
_ECDSA_DETERMINISTIC: Final = ec.ECDSA(SHA256(), deterministic_signing=True)


@dataclass(frozen=True)
class PublicKey:
    """A public key, parsed once; equal to another if it is the same point on the same curve.

    ``point`` is the compressed point, 33 bytes.
    """

    curve: Curve
    point: bytes
    _key: ec.EllipticCurvePublicKey = field(compare=False, repr=False)

    @classmethod
    def from_point(cls, curve: Curve, point: bytes) -> PublicKey:
        """The key at ``point``: compressed (33 bytes) or uncompressed (65).

        Raises:
            InvalidSyntax: no point of that curve.
        """
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], point)
        except ValueError as error:
            raise InvalidSyntax(f"no point of {curve}: {quote(point)} ({error})") from None
        compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return cls(curve, compressed, key)

    @classmethod
    def from_multikey(cls, text: str) -> PublicKey:
        """The key that a ``Multikey`` spells: ``z``, then base58 of a curve's code and the point.

        Raises:
            InvalidSyntax: not such a key, or of another curve.
        """
        data = _multibase(text)
        curve = _MULTICODECS.get(data[:2])
        if curve is None or len(data) != 35:
            raise InvalidSyntax(
                f"expected a Multikey of secp256k1 (zQ3s…) or P-256 (zDn…), got {quote(text)}"
            )
        return cls.from_point(curve, data[2:])

    @classmethod
    def from_did_key(cls, text: str) -> PublicKey:
        """The key that a ``did:key:z…`` spells.

        Raises:
            InvalidSyntax: not such a DID.
        """
        if not isinstance(text, str) or not text.startswith("did:key:"):
            raise InvalidSyntax(f"expected a key as did:key:z…, got {quote(text)}")
        return cls.from_multikey(text[8:])

    @classmethod
    def from_legacy(cls, kind: str, text: str) -> PublicKey:
        """The key of an old verification method: the bare point in multibase, no curve code.

        Args:
            kind: ``EcdsaSecp256k1VerificationKey2019`` or ``EcdsaSecp256r1VerificationKey2019``.
            text: its ``publicKeyMultibase``.

        Raises:
            InvalidSyntax: another kind, or no such point.
        """
        curve = _LEGACY.get(kind) if isinstance(kind, str) else None
        if curve is None:
            raise InvalidSyntax(f"unknown type of verification method: {quote(kind)}")
        return cls.from_point(curve, _multibase(text))

    def to_multikey(self) -> str:
        """The key as ``z…``."""
        return "z" + _base58_encode(_PREFIXES[self.curve] + self.point)

    def to_did_key(self) -> str:
        """The key as ``did:key:z…``."""
        return "did:key:" + self.to_multikey()

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` (64 bytes, low s) is this key's over ``message``."""
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        order = _ORDERS[self.curve]
        if not 0 < r < order or not 0 < s <= order >> 1:
            return False
        der = encode_dss_signature(r, s)
        if self._fast is not None:
            return bool(self._fast.verify(der, message))
        try:
            self._key.verify(der, message, _ECDSA)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _fast(self) -> Any:
        if _libsecp256k1 is None or self.curve != "k256":
            return None
        return _libsecp256k1.PublicKey(self.point)

    def __reduce__(self) -> tuple[object, tuple[Curve, bytes]]:
        return PublicKey.from_point, (self.curve, self.point)


@dataclass(frozen=True)
class PrivateKey:
    """A private key; its bytes appear in no ``repr``."""

    public: PublicKey
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def from_bytes(cls, curve: Curve, data: bytes) -> PrivateKey:
        """The key with the secret number ``data``, 32 bytes big-endian.

        Raises:
            InvalidSyntax: not 32 bytes, or not a number from 1 to the curve's order.
        """
        number = int.from_bytes(data)
        if len(data) != 32 or not 0 < number < _ORDERS[curve]:
            raise InvalidSyntax(f"expected the 32 bytes of a {curve} private key")
        key = ec.derive_private_key(number, _CURVES[curve])
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return cls(PublicKey(curve, point, key.public_key()), key)

    @property
    def curve(self) -> Curve:
        """``k256`` or ``p256``."""
        return self.public.curve

    def to_bytes(self) -> bytes:
        """The secret number, 32 bytes big-endian."""
        return self._key.private_numbers().private_value.to_bytes(32)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over ``message``, low s; always the same one (RFC 6979)."""
        r, s = decode_dss_signature(self._key.sign(message, _ECDSA_DETERMINISTIC))
        order = _ORDERS[self.curve]
        return r.to_bytes(32) + min(s, order - s).to_bytes(32)


# --- multibase, of which only base58btc is used for keys ------------------------------------------

_DIGITS: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_LONGEST: Final = 128  # a key has at most 67 bytes; base58 is quadratic


def _multibase(text: str) -> bytes:
    if not isinstance(text, str) or not 2 <= len(text) <= _LONGEST or text[0] != "z":
        raise InvalidSyntax(f"expected a key in base58 that starts with z, got {quote(text)}")
    number = 0
    for digit in text[1:]:
        if digit not in _VALUES:
            raise InvalidSyntax(f"expected base58 after the z, got {quote(text)}")
        number = number * 58 + _VALUES[digit]
    zeros = len(text) - 1 - len(text[1:].lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def _base58_encode(data: bytes) -> str:
    number, digits = int.from_bytes(data), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _DIGITS[rest] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits
