"""``network.atd.shards``: one part of a shard list.

A part lists shards or further parts, not both. Where a shard can be fetched, by its entry::

    blob          from the publisher's PDS, by its digest
    urls          absolute, or relative to each base of the part
    neither urls  under its name at each base of the part
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Self

from atd.errors import LocalError
from atd.names import SHARDS, check_relative, check_url, is_url
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Tid
from atd.records.references import (
    BlobRef,
    StrongRef,
    check_address,
    check_count,
    check_digest,
    locations,
    locations_value,
    moment,
    moment_value,
    placed,
    present,
)
from atd.records.rules import leaving, must_be_in

MAX_SOURCES: Final = 16
"""Addresses of one shard that anyone follows. Sixteen names below sixteen bases would be 256."""


@dataclass(frozen=True)
class IndexFile:
    """A published member index: which bytes of a shard are which sample.

    Args:
        digest: of the index file, raw codec.
        size: of the index file, in bytes.
    """

    digest: Cid
    size: int
    blob: BlobRef | None = None
    urls: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_file(self.digest, self.size, self.blob, self.urls)

    def to_value(self) -> dict[str, Any]:
        """The index as it stands in a shard entry."""
        return {"digest": self.digest, "size": self.size, **_where(self.blob, self.urls)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The index at ``path``, whose shape the lexicon has checked."""
        with placed(path):
            return cls(value["digest"], value["size"], *_read_where(value, path))


@dataclass(frozen=True)
class ShardEntry:
    """One shard: a tar file of samples.

    Args:
        name: a relative file name, such as ``train-00000.tar``.
        digest: of the file: CID of the raw codec, SHA-256.
        size: of the file, in bytes.
        samples: how many it holds.
        blob: the same bytes as a blob of the publisher's repository.
        urls: absolute, or relative to the bases of the part.
    """

    name: str
    digest: Cid
    size: int
    samples: int
    blob: BlobRef | None = None
    urls: tuple[str, ...] = ()
    index: IndexFile | None = None

    def __post_init__(self) -> None:
        check_relative(self.name)
        check_count("number of samples", self.samples)
        _check_file(self.digest, self.size, self.blob, self.urls)

    def to_value(self) -> dict[str, Any]:
        """The entry as it stands in a part."""
        numbers = {"digest": self.digest, "size": self.size, "samples": self.samples}
        index = present(index=self.index and self.index.to_value())
        return {"name": self.name, **numbers, **_where(self.blob, self.urls), **index}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The entry at ``path``, whose shape the lexicon has checked."""
        index = value.get("index")
        with placed(path):
            return cls(
                value["name"],
                value["digest"],
                value["size"],
                value["samples"],
                *_read_where(value, path),
                index=None if index is None else IndexFile.from_value(index, f"{path}.index"),
            )


@dataclass(frozen=True)
class ShardPart:
    """The record: shards with their bases, or further parts."""

    NSID: ClassVar[str] = SHARDS
    shards: tuple[ShardEntry, ...]
    created_at: datetime
    bases: tuple[str, ...] = ()
    parts: tuple[StrongRef, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.shards) == bool(self.parts):
            raise LocalError("expected shards or further parts, and not both, in a part")
        for base in self.bases:
            check_url(base, base=True)
        names = [shard.name for shard in self.shards]
        if len(set(names)) < len(names):
            raise LocalError("two shards of a part have the same name")

    @property
    def samples(self) -> int:
        """Samples of the shards listed here (not of further parts)."""
        return sum(shard.samples for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of the shards listed here (not of further parts)."""
        return sum(shard.size for shard in self.shards)

    def sources(self, shard: ShardEntry) -> tuple[str, ...]:
        """The absolute URLs at which ``shard`` of this part can be fetched, best first."""
        found: list[str] = []
        for url in shard.urls or (shard.name,):
            found.extend([url] if is_url(url) else [base + url for base in self.bases])
        return tuple(dict.fromkeys(found))[:MAX_SOURCES]

    def to_value(self) -> dict[str, Any]:
        """The record, checked against its lexicon."""
        return leaving(
            {
                "$type": SHARDS,
                **present(
                    shards=[shard.to_value() for shard in self.shards],
                    parts=[part.to_value() for part in self.parts],
                    bases=locations_value(self.bases),
                ),
                "createdAt": moment_value(self.created_at),
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked."""
        with placed("rkey"):
            Tid.parse(rkey)
        shards = enumerate(value.get("shards", ()))
        parts = enumerate(value.get("parts", ()))
        entries = tuple(ShardEntry.from_value(item, f"shards[{at}]") for at, item in shards)
        further = tuple(StrongRef.from_value(item, f"parts[{at}]") for at, item in parts)
        created_at = moment(value["createdAt"], "createdAt")
        with placed("record"):
            return cls(entries, created_at, locations(value.get("bases", ())), further)

    def check_place(self, uri: AtUri) -> None:
        """Further parts are shard lists of the same repository."""
        for at, part in enumerate(self.parts):
            must_be_in(uri.did, SHARDS, part, f"parts[{at}]")


def _check_file(digest: Cid, size: int, blob: BlobRef | None, urls: tuple[str, ...]) -> None:
    check_digest(digest)
    check_count("size of a file", size)
    for url in urls:
        check_address(url)
    if blob is not None and (blob.cid, blob.size) != (digest, size):
        raise LocalError(
            f"the blob is another file: expected {digest} of {size} bytes, "
            f"found {blob.cid} of {blob.size}"
        )


def _where(blob: BlobRef | None, urls: tuple[str, ...]) -> dict[str, Any]:
    return present(blob=blob and blob.to_value(), urls=locations_value(urls))


def _read_where(value: Mapping[str, Any], path: str) -> tuple[BlobRef | None, tuple[str, ...]]:
    blob = value.get("blob")
    found = None if blob is None else BlobRef.from_value(blob, f"{path}.blob")
    return found, locations(value.get("urls", ()))
