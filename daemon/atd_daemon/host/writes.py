"""What a client asks to write, checked as far as it can be without looking at the repository.

`prepare` turns the value of a record into its block: the data model (no floats, integers that
JSON carries without loss), the ``$type``, the size, and, where the collection's lexicon is known
here, the lexicon. `Write` is one operation of a commit. Neither touches the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from atd.errors import InvalidSyntax, LexiconError
from atd.protocol.cbor import RAW, Cid, Value, encode
from atd.protocol.lexicon import Lexicons
from atd.protocol.syntax import Nsid, RecordKey, quote
from atd_daemon.host.limits import MAX_RECORD_BYTES
from atd_daemon.host.refusal import invalid

MAX_INTEGER: Final = 2**53 - 1

Action: TypeAlias = Literal["create", "update", "delete", "put", "discard"]
"""``put`` creates or updates, ``discard`` deletes what may be absent; the others insist."""

Validity: TypeAlias = Literal["valid", "unknown"]


@dataclass(frozen=True, slots=True)
class BlobUse:
    """A blob as a record refers to it; ``size`` in bytes."""

    cid: Cid
    mime: str
    size: int

    def to_value(self) -> dict[str, Value]:
        """The blob object that goes into records."""
        return {"$type": "blob", "ref": self.cid, "mimeType": self.mime, "size": self.size}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record ready to be stored. ``status`` is None where nobody wanted it validated."""

    cid: Cid
    block: bytes
    blobs: tuple[BlobUse, ...]
    status: Validity | None


@dataclass(frozen=True, slots=True)
class Swap:
    """What the record must be at this moment for the write to happen; None: it must not exist."""

    cid: Cid | None


@dataclass(frozen=True, slots=True)
class Write:
    """One operation. ``record`` is what to store; None for ``delete`` and ``discard``."""

    action: Action
    collection: Nsid
    rkey: RecordKey
    record: Prepared | None = None
    swap: Swap | None = None

    @property
    def path(self) -> str:
        """Its key in the tree."""
        return f"{self.collection}/{self.rkey}"


def prepare(
    value: dict[str, Value],
    collection: Nsid,
    rkey: RecordKey,
    *,
    validate: bool | None,
    lexicons: Lexicons,
) -> Prepared:
    """Check a record and encode it.

    Args:
        value: the record; ``$type`` may be left out.
        collection: where it goes, which is also its ``$type``.
        rkey: its key.
        validate: True demands a known lexicon, False looks at none, None validates where one is
            known (com.atproto.repo.createRecord).
        lexicons: the known ones.

    Raises:
        Refusal: InvalidRequest, says what is wrong.
    """
    kind = value.get("$type", collection)
    if kind != collection:
        raise invalid(f"Invalid $type: expected {collection}, got {quote(kind)}")
    value = {**value, "$type": str(collection)}
    status = _validate(value, collection, rkey, validate, lexicons)
    blobs = tuple(_blobs(value))
    try:
        block = encode(value)
    except InvalidSyntax as error:
        raise invalid(f"Invalid record: {error}") from None
    if len(block) > MAX_RECORD_BYTES:
        raise invalid(f"Record of {len(block)} bytes, at most {MAX_RECORD_BYTES} are allowed")
    return Prepared(Cid.of(block), block, blobs, status)


def _validate(
    value: dict[str, Value],
    collection: Nsid,
    rkey: RecordKey,
    validate: bool | None,
    lexicons: Lexicons,
) -> Validity | None:
    if validate is False:
        return None
    if not _known(lexicons, collection):
        if validate:
            raise invalid(f"Unknown lexicon type: {collection}")
        return "unknown"
    try:
        lexicons.check_key(collection, rkey)
        lexicons.validate_record(value, collection)
    except LexiconError as error:
        raise invalid(f"Invalid {collection} record: {error}") from None
    return "valid"


def _known(lexicons: Lexicons, collection: Nsid) -> bool:
    try:
        return bool(lexicons.definition(collection)["type"] == "record")
    except LexiconError:
        return False


def _blobs(value: Value) -> Iterator[BlobUse]:
    """Every blob that a value refers to; refuses integers that JSON readers would garble."""
    if isinstance(value, dict):
        if value.get("$type") == "blob":
            yield _blob(value)
        for item in value.values():
            yield from _blobs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _blobs(item)
    elif isinstance(value, int) and not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise invalid(f"Invalid record: an integer has at most 53 bits, got {value}")


def _blob(value: dict[str, Value]) -> BlobUse:
    ref, mime, size = value.get("ref"), value.get("mimeType"), value.get("size")
    if not (isinstance(ref, Cid) and ref.codec == RAW and isinstance(mime, str)):
        raise invalid(f"Invalid blob: expected ref (raw CID) and mimeType, got {quote(value)}")
    if not isinstance(size, int) or isinstance(size, bool):
        raise invalid(f"Invalid blob: expected a size in bytes, got {quote(size)}")
    return BlobUse(ref, mime, size)
