"""The names that our records spell: NSIDs, data set names, versions, record keys, URLs.

Belongs here: every rule about a *string* of ours, each as a function that returns the string or
raises `atd.errors.InvalidSyntax`. NSIDs of record types are spelt here and nowhere else, so that
a change of domain stays one line. Knows nothing of records.

Everything is matched with ``fullmatch``: ``match("^…$")`` accepts a trailing newline.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

GROUP: Final = "network.atd"
SCHEMA: Final = f"{GROUP}.schema"
SHARDS: Final = f"{GROUP}.shards"
RELEASE: Final = f"{GROUP}.release"
DATASET: Final = f"{GROUP}.dataset"
RECIPE: Final = f"{GROUP}.recipe"
COLLECTIONS: Final = (SCHEMA, SHARDS, RECIPE, RELEASE, DATASET)

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer a record may hold: what JSON numbers carry without loss."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_SPLIT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_LIKE_VERSION = re.compile(r"v[0-9]")
_NUMBER = r"(?:0|[1-9][0-9]{0,14})"
_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
)
_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._+=@~-]*"
_RELATIVE = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~:@!$&'()*+,;=%/?-]*)?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.?")


def check_name(text: str) -> str:
    """The data set name ``text``: ``[a-z0-9][a-z0-9._-]{0,127}``, such as ``com.lecun.mnist``."""
    if not _NAME.fullmatch(text):
        raise InvalidSyntax(
            f"expected a data set name, found {quote(text)}",
            next_step="use 1 to 128 of a-z 0-9 . _ - and start with a letter or a digit",
        )
    return text


def domain_of_name(name: str) -> tuple[str, ...]:
    """The domains, one of whose owners may have named ``name``: itself in reverse, or a part of it.

    ``com.lecun.mnist`` begins with ``lecun.com`` in reverse. At least two labels are the domain's
    and at least one is not, so a name without two dots is of no domain.
    """
    labels = name.split(".")
    return tuple(".".join(reversed(labels[:count])) for count in range(2, len(labels)))


def check_split(text: str) -> str:
    """The split name ``text``, such as ``train``: as a data set name, 64 characters at most."""
    if not _SPLIT.fullmatch(text):
        raise InvalidSyntax(
            f"expected the name of a split, found {quote(text)}",
            next_step="use 1 to 64 of a-z 0-9 . _ - and start with a letter or a digit",
        )
    return text


def check_version(text: str) -> str:
    """The version ``text``: semver 2.0.0 without build metadata (``+…`` is no record key)."""
    if len(text) > 64 or not _VERSION.fullmatch(text):
        raise InvalidSyntax(
            f"expected a version such as 1.0.0 or 2.1.0-rc.1, found {quote(text)}",
            next_step="write MAJOR.MINOR.PATCH, with an optional -PRERELEASE and no +BUILD",
        )
    return text


LATEST: Final = "latest"
"""What the head points to; no alias may be called so."""


def check_alias(text: str) -> str:
    """The alias of a release, such as ``stable``: ``[a-z][a-z0-9._-]{0,63}``.

    Never one that people read as a version (``v1``, ``v2.0-rc``), nor ``latest``.
    """
    if not _ALIAS.fullmatch(text) or _LIKE_VERSION.match(text) or text == LATEST:
        raise InvalidSyntax(
            f"expected the alias of a release, found {quote(text)}",
            next_step="use 1 to 64 of a-z 0-9 . _ - and start with a letter; neither latest nor "
            "anything like v1",
        )
    return text


def version_order(text: str) -> tuple[object, ...]:
    """A sort key by semver precedence (https://semver.org, section 11) for a valid version."""
    match = _VERSION.fullmatch(check_version(text))
    assert match is not None
    numbers = tuple(int(match[part]) for part in (1, 2, 3))
    if match[4] is None:
        return (*numbers, 1, ())
    return (*numbers, 0, tuple(_precedence(part) for part in match[4].split(".")))


def _precedence(identifier: str) -> tuple[int, int, str]:
    numeric = identifier.isdecimal()
    return (0, int(identifier), "") if numeric else (1, 0, identifier)


def release_key(name: str, version: str) -> str:
    """The record key ``name:version`` of a schema or a release."""
    return f"{check_name(name)}:{check_version(version)}"


def split_release_key(rkey: str) -> tuple[str, str]:
    """``name`` and ``version`` out of the record key ``name:version``."""
    name, colon, version = rkey.partition(":")
    if not colon:
        raise InvalidSyntax(f"expected a record key NAME:VERSION, found {quote(rkey)}")
    return check_name(name), check_version(version)


def check_relative(text: str) -> str:
    """A shard's name or relative address: plain segments, no scheme, ``..``, ``%``, leading ``/``.

    The result is safe both as a path below a folder and appended to a base URL.
    """
    if len(text) > 512 or not _RELATIVE.fullmatch(text):
        raise InvalidSyntax(
            f"expected a relative name such as train-00000.tar, found {quote(text)}",
            next_step="use segments of A-Z a-z 0-9 . _ + = @ ~ - joined by / and no leading dot",
        )
    return text


def check_url(text: str, *, base: bool = False) -> str:
    """An absolute ``https`` or ``http`` URL, in ASCII, without user, password, braces or fragment.

    Whether ``http`` and the host may be contacted is decided when fetching, by the allow-list.

    Args:
        base: the URL is one that names are appended to: it ends in ``/`` and has no query.
    """
    if len(text) > 2048 or not _URL.fullmatch(text) or not _has_host(text):
        raise InvalidSyntax(
            f"expected an http(s) URL, found {quote(text)}",
            next_step="write https://HOST/PATH: percent-encoded, no user, no {…}, no #fragment",
        )
    if base and (not text.endswith("/") or "?" in text):
        raise InvalidSyntax(
            f"expected a base URL that ends in / and has no query, found {quote(text)}"
        )
    return text


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    bracketed = parts.netloc.startswith("[")  # an IPv6 address, which urlsplit has checked
    return port != 0 and (bracketed or bool(_HOST.fullmatch(parts.hostname or "")))


def is_url(text: str) -> bool:
    """Whether ``text`` has a scheme, and so is an address of its own rather than a relative one."""
    return "://" in text
