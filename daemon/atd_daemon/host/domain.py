"""The name that an account lives at, and what follows from it: its DID, its URL, its folder.

A domain is a host name, served over https by a proxy in front of the listener. For tests and
demonstrations it may be ``localhost:PORT`` (or ``name.localhost:PORT``), served over plain http;
did:web allows a port there and nowhere else (atproto.com/specs/did).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from atd.errors import InvalidSyntax
from atd.protocol.syntax import Did, Handle, quote

_LOCAL: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)?localhost(?::([0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Domain:
    """A checked domain in lower case: ``lab.example.org`` or ``localhost:2583``."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``.

        Raises:
            InvalidSyntax: not a host name, or a port on anything but localhost.
        """
        lowered = text.lower()
        local = _LOCAL.fullmatch(lowered)
        if local is not None and 0 < int(local[1] or 80) < 65536:
            return cls(lowered)
        try:
            return cls(str(Handle.parse(lowered)))
        except InvalidSyntax:
            raise InvalidSyntax(
                f"expected a domain such as lab.example.org, got {quote(text)}",
                next_step="give a host name without https://, port or path (localhost:PORT is"
                " allowed for tests)",
            ) from None

    @property
    def is_local(self) -> bool:
        """Whether it is on loopback, for tests, and served over plain http."""
        return _LOCAL.fullmatch(self.name) is not None

    @property
    def did(self) -> Did:
        """Its did:web, in which the colon before a port is written ``%3A``."""
        return Did.parse("did:web:" + self.name.replace(":", "%3A"))

    @property
    def origin(self) -> str:
        """The URL at which the listener is reached from outside."""
        return f"{'http' if self.is_local else 'https'}://{self.name}"

    @property
    def folder(self) -> str:
        """The name of its folder: the domain without a character that file systems dislike."""
        return self.name.replace(":", "%3A")
