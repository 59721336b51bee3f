"""Who an account is, as its DID document says: its signing key, its server, the handles it claims.

The document is hostile until proved otherwise. What it claims (handles) is kept apart from what was
proved: `Identity.handle` stays None until somebody resolved the handle to this DID and says so with
`Identity.proving`.

Source: atproto.com/specs/did, w3.org/TR/did-core.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from atd.errors import IdentityMismatch, InvalidSyntax
from atd.protocol.keys import PublicKey
from atd.protocol.syntax import Did, Handle, quote

__all__ = ["Identity", "parse_origin"]

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\]")


@dataclass(frozen=True, slots=True, init=False)
class Identity:
    """One account: its DID, its current signing key, its PDS, and its handles.

    ``claimed`` are the handles that the document names, in its order; ``handle`` is the one that
    was proved in both directions, or None.
    """

    did: Did
    key: PublicKey
    claimed: tuple[Handle, ...]
    handle: Handle | None
    _pds: str | None

    def __init__(
        self,
        did: Did,
        key: PublicKey,
        pds: str | None,
        claimed: tuple[Handle, ...] = (),
        handle: Handle | None = None,
    ) -> None:
        """``pds`` is the origin of its server, such as ``https://pds.example.com``, or None."""
        for name, value in (
            ("did", did),
            ("key", key),
            ("claimed", claimed),
            ("handle", handle),
            ("_pds", pds),
        ):
            object.__setattr__(self, name, value)

    @property
    def pds(self) -> str:
        """The origin of its PDS, such as ``https://pds.example.com``.

        Raises:
            IdentityMismatch: the document names none.
        """
        if self._pds is None:
            raise IdentityMismatch(f"the DID document of {self.did} names no PDS (#atproto_pds)")
        return self._pds

    @classmethod
    def from_document(cls, document: dict[str, object]) -> Identity:
        """Read a DID document. Pure: proves nothing but that the document can be read.

        Args:
            document: the parsed JSON. Its ``id`` must be compared with the DID asked for.

        Raises:
            IdentityMismatch: no DID, no ``#atproto`` signing key, or a PDS that is no origin.
        """
        if not isinstance(document, dict):
            raise IdentityMismatch(f"expected a DID document, got {quote(document)}")
        try:
            did = Did.parse(document.get("id"))  # type: ignore[arg-type]
            key = _signing_key(document, did)
            return cls(did, key, _pds(document, did), tuple(_claims(document)))
        except InvalidSyntax as error:
            raise IdentityMismatch(
                f"the DID document of {quote(document.get('id'))} cannot be used: {error}",
                next_step="tell the publisher; no record of this account can be proved",
            ) from None

    def proving(self, handle: Handle) -> Identity:
        """The same identity with ``handle`` as proved; the caller resolved it to this DID.

        Raises:
            IdentityMismatch: the document does not claim that handle.
        """
        if handle not in self.claimed:
            claims = ", ".join(self.claimed) or "no handle"
            raise IdentityMismatch(
                f"{handle} points to {self.did}, whose document does not claim it back but {claims}"
            )
        return Identity(self.did, self.key, self._pds, self.claimed, handle)

    def same_document(self, other: Identity) -> bool:
        """Whether the documents of the two say the same, whatever handle was proved."""
        mine = (self.did, self.key, self.claimed, self._pds)
        return mine == (other.did, other.key, other.claimed, other._pds)

    def with_key(self, key: PublicKey) -> Identity:
        """The same identity with another signing key, such as a previous one."""
        return Identity(self.did, key, self._pds, self.claimed, self.handle)


def parse_origin(url: object) -> str:
    """``url`` if it is the bare origin of a server: ``https://host[:port]`` or ``http://…``.

    A lone trailing slash, which means the same, is taken off.

    Raises:
        InvalidSyntax: it has a path, query, fragment or user, or another scheme.
    """
    problem = InvalidSyntax(f"expected a server such as https://pds.example.com, got {quote(url)}")
    if not isinstance(url, str) or len(url) > 512:
        raise problem
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise problem
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")
    if not _HOST.fullmatch(host) or url.removesuffix("/").lower() != origin:
        raise problem
    return origin


def _signing_key(document: dict[str, object], did: Did) -> PublicKey:
    for method in _entries(document, "verificationMethod", did, "#atproto"):
        if method.get("controller", did) != did:
            continue
        kind, text = method.get("type"), method.get("publicKeyMultibase")
        if kind == "Multikey":
            return PublicKey.from_multikey(text)  # type: ignore[arg-type]
        return PublicKey.from_legacy(kind, text)  # type: ignore[arg-type]
    raise InvalidSyntax("it has no verification method #atproto, the key that signs records")


def _pds(document: dict[str, object], did: Did) -> str | None:
    for service in _entries(document, "service", did, "#atproto_pds"):
        if service.get("type") == "AtprotoPersonalDataServer":
            return parse_origin(service.get("serviceEndpoint"))
    return None


def _entries(
    document: dict[str, object], section: str, did: Did, fragment: str
) -> Iterator[dict[str, object]]:
    """The entries of a list whose id is ``#fragment`` of this very DID, relative or in full."""
    entries = document.get(section)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("id") in (fragment, did + fragment):
            yield entry


def _claims(document: dict[str, object]) -> Iterator[Handle]:
    aliases = document.get("alsoKnownAs")
    for alias in aliases if isinstance(aliases, list) else ():
        if isinstance(alias, str) and alias.startswith("at://"):
            try:
                yield Handle.parse(alias[5:])
            except InvalidSyntax:
                continue  # somebody else's use of the field, or a handle that can never resolve
