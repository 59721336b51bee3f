"""Logging in: the app password, and the tokens that it is exchanged for.

The password exists in clear once, when it is made; the database keeps its scrypt hash. A session is
a row; its tokens are JWTs (clients read their expiry) signed with HMAC-SHA256 by the session key
of this account. The access token is good for two hours, the refresh token for ninety days and for
one use: refreshing makes the next *generation*. A generation used again soon is a lost answer and
gets the same successor; used later it was stolen, and the session ends. Ending a session ends its
access tokens too.

Source: com.atproto.server.{createSession,refreshSession,deleteSession}, RFC 7519, RFC 9700 4.14.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from atd.protocol.syntax import Did
from atd_daemon.host.database import Connection, Database, keep, setting
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.refusal import Refusal

Use: TypeAlias = Literal["access", "refresh"]

_HEADERS: Final[dict[Use, bytes]] = {
    "access": b'{"typ":"at+jwt","alg":"HS256"}',
    "refresh": b'{"typ":"refresh+jwt","alg":"HS256"}',
}
_SCOPES: Final[dict[Use, str]] = {
    "access": "com.atproto.appPass",
    "refresh": "com.atproto.refresh",
}
_SCRYPT: Final = {"n": 1 << 14, "r": 8, "p": 1}
_SETTING: Final = "password_hash"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_MAX_TOKEN: Final = 4096
_MAX_PASSWORD: Final = 512


@dataclass(frozen=True, slots=True)
class Tokens:
    """One generation of a session."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


def make_password() -> str:
    """A new app password: four groups of four letters and digits, 80 random bits."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(16))
    return "-".join(letters[at : at + 4] for at in range(0, 16, 4))


def set_password(db: Connection, password: str) -> None:
    """Keep the hash of ``password`` in the open transaction, and end every session."""
    salt = secrets.token_bytes(16)
    keep(db, _SETTING, f"scrypt${salt.hex()}${_hash(password, salt).hex()}")
    db.execute("DELETE FROM session")


class Sessions:
    """The sessions of one account. Thread-safe.

    Args:
        database: where their rows are.
        key: signs the tokens.
        did: the account, which is also the audience.
        limits: how long they last.
        clock: Unix seconds.
    """

    def __init__(
        self,
        database: Database,
        key: bytes,
        did: Did,
        limits: HostLimits,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._key = key
        self._did = did
        self._limits = limits
        self._clock = clock

    def matches(self, password: str) -> bool:
        """Whether ``password`` is the account's. Takes some 50 ms and 16 MB, by design."""
        with self._database.read() as db:
            kept = setting(db, _SETTING)
        if kept is None or len(password) > _MAX_PASSWORD:
            return False
        _, salt, digest = kept.split("$")
        return hmac.compare_digest(_hash(password, bytes.fromhex(salt)), bytes.fromhex(digest))

    def begin(self) -> Tokens:
        """A new session. Where there are too many, the one unused for longest ends."""
        name, now = secrets.token_hex(16), self._clock()
        with self._database.write() as db:
            db.execute("DELETE FROM session WHERE expires_s <= ?", (now,))
            db.execute(
                "DELETE FROM session WHERE id IN"
                " (SELECT id FROM session ORDER BY refreshed_s DESC LIMIT -1 OFFSET ?)",
                (self._limits.max_sessions - 1,),
            )
            expires = now + self._limits.refresh_token_s
            db.execute("INSERT INTO session VALUES (?, 0, ?, ?)", (name, now, expires))
        return self._issue(name, 0)

    def check(self, token: str) -> str:
        """The session that an access token belongs to.

        Raises:
            Refusal: InvalidToken or ExpiredToken.
        """
        claims = self._claims(token, "access")
        with self._database.read() as db:
            if db.execute("SELECT 1 FROM session WHERE id = ?", (claims["sid"],)).fetchone():
                return str(claims["sid"])
        raise Refusal("ExpiredToken", "Session has ended")

    def refresh(self, token: str) -> Tokens:
        """The next generation of the session that a refresh token belongs to.

        Raises:
            Refusal: InvalidToken; ExpiredToken, also where the token was used before.
        """
        claims = self._claims(token, "refresh")
        name, generation, now = claims["sid"], claims["gen"], self._clock()
        with self._database.write() as db:
            row = db.execute(
                "SELECT generation, refreshed_s FROM session WHERE id = ?", (name,)
            ).fetchone()
            if row is None:
                raise Refusal("ExpiredToken", "Token has been revoked")
            current, refreshed_s = row
            answer_lost = now - refreshed_s <= self._limits.refresh_grace_s
            if generation == current:
                current += 1
                db.execute(
                    "UPDATE session SET generation = ?, refreshed_s = ?, expires_s = ?"
                    " WHERE id = ?",
                    (current, now, now + self._limits.refresh_token_s, name),
                )
            elif generation != current - 1 or not answer_lost:
                db.execute("DELETE FROM session WHERE id = ?", (name,))
                current = None
        if current is None:
            raise Refusal("ExpiredToken", "Token has been revoked")
        return self._issue(name, current)

    def end(self, token: str) -> None:
        """End the session that a refresh token belongs to, even one that has expired.

        Raises:
            Refusal: InvalidToken.
        """
        claims = self._claims(token, "refresh", expired_too=True)
        with self._database.write() as db:
            db.execute("DELETE FROM session WHERE id = ?", (claims["sid"],))

    # --- tokens -----------------------------------------------------------------------------------

    def _issue(self, name: str, generation: int) -> Tokens:
        return Tokens(
            self._sign("access", name, generation, self._limits.access_token_s),
            self._sign("refresh", name, generation, self._limits.refresh_token_s),
        )

    def _sign(self, use: Use, name: str, generation: int, life_s: float) -> str:
        now = int(self._clock())
        claims = {
            "scope": _SCOPES[use],
            "aud": self._did,
            "sub": self._did,
            "iat": now,
            "exp": now + int(life_s),
            "sid": name,
            "gen": generation,
            "jti": f"{name}.{generation}",
        }
        signed = f"{_encode(_HEADERS[use])}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{_encode(self._mac(signed))}"

    def _claims(self, token: str, use: Use, *, expired_too: bool = False) -> dict[str, Any]:
        """What a token says, once its signature agreed; only tokens that `_sign` made can."""
        signed, _, signature = token.rpartition(".")
        header, _, payload = signed.partition(".")
        # The header is compared, not read: it cannot choose its own algorithm.
        genuine = len(token) <= _MAX_TOKEN and token.isascii() and header == _encode(_HEADERS[use])
        if not genuine or not hmac.compare_digest(_encode(self._mac(signed)), signature):
            raise Refusal("InvalidToken", "Token could not be verified")
        try:
            claims: dict[str, Any] = json.loads(_decode(payload))
        except (ValueError, binascii.Error):
            raise Refusal("InvalidToken", "Token could not be verified") from None
        if claims["aud"] != self._did or claims["scope"] != _SCOPES[use]:
            raise Refusal("InvalidToken", "Token is for another account or use")
        if claims["exp"] <= self._clock() and not expired_too:
            raise Refusal("ExpiredToken", "Token has expired")
        return claims

    def _mac(self, signed: str) -> bytes:
        return hmac.digest(self._key, signed.encode(), "sha256")


def _hash(password: str, salt: bytes) -> bytes:
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, maxmem=64 * 1024 * 1024, dklen=32, **_SCRYPT)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
