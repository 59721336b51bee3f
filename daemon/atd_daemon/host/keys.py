"""The key file of an account: its signing key and the key of its session tokens.

The file is made once, by `create`, which fails if there is one; it is readable by its owner alone,
and `load` refuses one that others can read. Nothing else of the host is a secret of that rank:
whoever has this file can sign records as the account.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from atd.errors import InvalidSyntax, StorageFault
from atd.protocol.keys import PrivateKey

_VERSION: Final = 1
_MAX_BYTES: Final = 4096


@dataclass(frozen=True)
class HostKeys:
    """What the account signs with; neither key appears in a ``repr``.

    ``signing`` is secp256k1 or P-256; ``session`` is 32 random bytes for HMAC-SHA256.
    """

    signing: PrivateKey
    session: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """New keys from the system's randomness; the signing key is secp256k1."""
        while True:
            try:
                return cls(
                    PrivateKey.from_bytes("k256", secrets.token_bytes(32)), secrets.token_bytes(32)
                )
            except InvalidSyntax:
                continue  # a number beyond the curve's order: once in 2**128

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file that `create` wrote.

        Raises:
            StorageFault: missing, readable by others, or damaged.
        """
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise StorageFault(
                f"the host's keys cannot be read: {path}: {error.strerror}"
            ) from None
        with open(handle, "rb") as file:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if mode & 0o077:
                raise StorageFault(
                    f"the host's keys can be read by others: {path} has mode {mode:04o}, not 0600",
                    next_step=f"chmod 600 {path}, and think about who may have read it",
                )
            return cls.parse(file.read(_MAX_BYTES), str(path))

    @classmethod
    def parse(cls, data: bytes, origin: str) -> Self:
        """The keys in the file contents ``data``; ``origin`` says where they came from.

        Raises:
            StorageFault: not such contents.
        """
        try:
            value = json.loads(data)
            if value["version"] != _VERSION:
                raise ValueError(value["version"])
            signing = PrivateKey.from_bytes(value["curve"], bytes.fromhex(value["signingKey"]))
            session = bytes.fromhex(value["sessionKey"])
        except (ValueError, KeyError, TypeError):
            # The text of the error is left out: it could quote the key.
            raise StorageFault(
                f"not a key file of version {_VERSION}: {origin}",
                next_step="restore it from a backup of the host",
            ) from None
        if len(session) != 32:
            raise StorageFault(f"not a key file: {origin} has a session key of another length")
        return cls(signing, session)

    def create(self, path: Path) -> None:
        """Write the file, 0600, and reach the disk with it.

        Raises:
            StorageFault: it exists already, or cannot be written.
        """
        text = json.dumps(
            {
                "version": _VERSION,
                "curve": self.signing.curve,
                "signingKey": self.signing.to_bytes().hex(),
                "sessionKey": self.session.hex(),
            }
        )
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(handle, "w", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(handle)
        except OSError as error:
            raise StorageFault(
                f"the host's keys cannot be written: {path}: {error.strerror}"
            ) from None
