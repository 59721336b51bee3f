"""Sample keys: which are written, how other text becomes one, how they order samples.

A key names a sample within its split and becomes the first part of its tar members' names, so it
must survive webdataset, which cuts a name at the first dot of its last path segment. What we write
is stricter than what we read: ``[A-Za-z0-9][A-Za-z0-9_-]*``, at most 80 characters, which leaves
20 of a ustar name for the suffix. `safe_key` makes such a key of anything, the same each time.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from atd.errors import InvalidSyntax
from atd.shards.unfit import shown

MAX_KEY: Final = 80

_KEY: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_KEY - 1}}}")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_MEMBER: Final = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
_HASH_CHARS: Final = 16


def check_key(key: str) -> str:
    """``key`` itself, if it can be written.

    Raises:
        InvalidSyntax: it holds dots, slashes, spaces or other characters, or is too long.
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise InvalidSyntax(
            f"expected a sample key of 1 to {MAX_KEY} of A-Z a-z 0-9 _ -, found"
            f" {shown(key) if isinstance(key, str) else type(key).__name__}",
            next_step="make keys from any text with atd.shards.keys.safe_key",
        )
    return key


def safe_key(text: str) -> str:
    """A writable key for ``text``: itself if it is one, else what is left of it and a hash of it.

    ``roses/10503.jpg`` becomes ``roses_10503_jpg-`` and 16 hex digits of its SHA-256: different
    texts get different keys, and a text gets the same key in every process.
    """
    if _KEY.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    kept = _UNSAFE.sub("_", text).strip("_-")[: MAX_KEY - _HASH_CHARS - 1].rstrip("_-")
    return f"{kept}-{digest}" if kept else digest


def key_digest(key: str) -> bytes:
    """The SHA-256 of ``key``: what samples are ordered and cut by."""
    return hashlib.sha256(key.encode("utf-8")).digest()


def split_name(name: str) -> tuple[str, str] | None:
    """Key and lower-case suffix of a tar member, as webdataset splits them; None without a dot."""
    match = _MEMBER.fullmatch(name)
    return None if match is None else (match[1], match[2].lower())
