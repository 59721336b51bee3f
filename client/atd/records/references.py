"""What records point with: strong references, where ours are, blobs, addresses, moments.

Belongs here: the small values that several records share, each with its form in a record
(``to_value``, ``from_value``). A constructor checks what it can check alone and raises
`LocalError`; `placed` turns that into a `LexiconError` with the path where the value came from
a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from atd.errors import InvalidSyntax, LexiconError, LocalError
from atd.names import (
    DATASET,
    MAX_INTEGER,
    RECIPE,
    RELEASE,
    SCHEMA,
    check_relative,
    check_url,
    is_url,
    release_key,
)
from atd.protocol.cbor import DAG_CBOR, RAW, Cid
from atd.protocol.syntax import (
    AtUri,
    Did,
    Nsid,
    RecordKey,
    parse_datetime,
    quote,
    spell_datetime,
)


@contextmanager
def placed(path: str) -> Iterator[None]:
    """What a constructor refuses inside is a fault of the record, at ``path``."""
    try:
        yield
    except LocalError as error:
        raise LexiconError(f"{path}: {error.message}") from error


@dataclass(frozen=True)
class StrongRef:
    """A record by its address and its CID: exactly that content, or nothing."""

    uri: AtUri
    cid: Cid

    def __post_init__(self) -> None:
        if not isinstance(self.uri.authority, Did) or self.uri.rkey is None:
            raise InvalidSyntax(f"expected at://DID/COLLECTION/KEY, found {quote(str(self.uri))}")
        if self.cid.codec != DAG_CBOR:
            raise InvalidSyntax(f"expected the CID of a record (dag-cbor), found {self.cid}")

    def to_value(self) -> dict[str, Any]:
        """As ``com.atproto.repo.strongRef``."""
        return {"uri": str(self.uri), "cid": str(self.cid)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The reference at ``path``, whose shape the lexicon has checked."""
        with placed(f"{path}.uri"):
            uri = AtUri.parse(value["uri"])
        with placed(f"{path}.cid"):
            return cls(uri, Cid.parse(value["cid"]))


@dataclass(frozen=True)
class BlobRef:
    """A blob of the same repository, written into a record exactly as ``uploadBlob`` gave it.

    Args:
        cid: raw codec, SHA-256 of the bytes.
        mime: the media type.
        size: in bytes.
        raw: the object as it came, unknown keys and all; made up if not given.
    """

    cid: Cid
    mime: str
    size: int
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_digest(self.cid)
        check_count("size of a blob", self.size)
        if not self.raw:
            made = {"$type": "blob", "ref": self.cid, "mimeType": self.mime, "size": self.size}
            object.__setattr__(self, "raw", made)

    def to_value(self) -> dict[str, Any]:
        """The blob object, a copy."""
        return dict(self.raw)

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str = "blob") -> Self:
        """The blob that ``uploadBlob`` returned or that a record holds (CIDs as `Cid`)."""
        ref, mime, size = (value.get(key) for key in ("ref", "mimeType", "size"))
        whole = isinstance(size, int) and not isinstance(size, bool)
        if not isinstance(ref, Cid) or not isinstance(mime, str) or not whole:
            raise LexiconError(f"{path}: expected a blob with ref, mimeType and size")
        with placed(path):
            return cls(ref, mime, int(size or 0), dict(value))


def head_uri(did: Did, name: str) -> AtUri:
    """Where the head of the data set ``name`` is."""
    return AtUri(did, Nsid(DATASET), RecordKey.parse(name))


def release_uri(did: Did, name: str, version: str) -> AtUri:
    """Where this version of it is."""
    return AtUri(did, Nsid(RELEASE), RecordKey.parse(release_key(name, version)))


def schema_uri(did: Did, name: str, version: str) -> AtUri:
    """Where the schema is that came with this version of it."""
    return AtUri(did, Nsid(SCHEMA), RecordKey.parse(release_key(name, version)))


def recipe_uri(did: Did, name: str, version: str | None = None) -> AtUri:
    """Where the recipe ``name`` is; with a version, the one that its release carries."""
    key = name if version is None else release_key(name, version)
    return AtUri(did, Nsid(RECIPE), RecordKey.parse(key))


def check_digest(cid: Cid) -> Cid:
    """The digest of a file: a CID of the raw codec."""
    if cid.codec != RAW:
        raise InvalidSyntax(f"expected the CID of a file (raw codec), found {cid}")
    return cid


def check_count(what: str, number: int) -> int:
    """A size or a count: an integer from 1 to 2^53-1."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_INTEGER:
        raise LocalError(f"expected the {what} from 1 to 2^53-1, found {quote(number)}")
    return number


def check_address(text: str) -> str:
    """Where a file is: an absolute URL, or a name relative to the bases of its part."""
    return check_url(text) if is_url(text) else check_relative(text)


def locations_value(urls: Sequence[str]) -> list[dict[str, str]]:
    """Addresses as they stand in a record: objects, which can grow."""
    return [{"url": url} for url in urls]


def locations(value: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The addresses of a list of location objects."""
    return tuple(item["url"] for item in value)


def moment_value(moment: datetime) -> str:
    """``moment`` in UTC as records spell it, to the millisecond, or the microsecond if it has any.

    Raises:
        LocalError: it has no time zone.
    """
    if moment.tzinfo is None:
        raise LocalError(f"expected a moment with a time zone, found {moment.isoformat()}")
    return spell_datetime(moment, exact=True)


def moment(text: str, path: str) -> datetime:
    """The moment that a record spells at ``path``, in UTC."""
    with placed(path):
        return parse_datetime(text)


def present(**values: Any) -> dict[str, Any]:
    """The keywords that say something: a record leaves out what is None or empty."""
    return {key: value for key, value in values.items() if value is not None and value != []}
