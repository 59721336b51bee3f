"""``network.atd.release``: one immutable version of a data set.

Everything it means is reached by strong reference from it. Its shard lists, its recipe and its
predecessor are of the same repository; the schema, and what the data was derived from, may be
another's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from atd.errors import InvalidSyntax, LexiconError, LocalError
from atd.names import (
    MAX_INTEGER,
    RECIPE,
    RELEASE,
    SCHEMA,
    SHARDS,
    check_name,
    check_split,
    check_version,
    release_key,
    split_release_key,
)
from atd.protocol.syntax import AtUri, quote
from atd.records.references import (
    BlobRef,
    StrongRef,
    check_count,
    moment,
    moment_value,
    placed,
    present,
)
from atd.records.rules import check_key, leaving, must_be_in
from atd.schema.fields import Schema
from atd.schema.limits import field_name

_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,32}(?:\.[A-Za-z0-9_-]{1,32}){0,3}")


@dataclass(frozen=True)
class Layout:
    """How a sample lies in a shard.

    Args:
        kind: ``packed``: one member ``KEY.msgpack`` per sample; ``members``: several, adjacent.
        members: for ``packed``, the msgpack key of each field, in the order of the map (empty: the
            schema's fields under their own names). For ``members``, the suffix of the tar member
            of each field; fields that share a suffix are keys of one JSON object.
    """

    kind: Literal["packed", "members"] = "packed"
    members: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("packed", "members"):
            raise LocalError(f"expected a layout packed or members, found {quote(self.kind)}")
        if self.kind == "members" and not self.members:
            raise LocalError("expected the members layout to say which member holds which field")
        for name, where in self.members.items():
            field_name(name)
            if self.kind == "members" and not _SUFFIX.fullmatch(where):
                raise InvalidSyntax(f"expected the suffix of a tar member, found {quote(where)}")
        if self.kind == "packed" and len(set(self.members.values())) < len(self.members):
            raise LocalError("two fields of the packed layout have the same key")

    def to_value(self) -> dict[str, Any]:
        """The layout as it stands in a release."""
        place = "suffix" if self.kind == "members" else "key"
        fields = [{"field": name, place: where} for name, where in self.members.items()]
        return {"$type": f"{RELEASE}#{self.kind}", **present(fields=fields)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str = "layout") -> Self:
        """The layout at ``path``; one that this version does not know is refused."""
        kind = {f"{RELEASE}#packed": "packed", f"{RELEASE}#members": "members"}.get(value["$type"])
        if kind is None:
            raise LexiconError(
                f"{path}: expected a layout that this version knows, found {quote(value['$type'])}",
                next_step="a newer atd may know it",
            )
        fields = value.get("fields", [])
        places = [item.get("suffix", item.get("key", item["field"])) for item in fields]
        members = dict(zip([item["field"] for item in fields], places, strict=True))
        if len(members) < len(fields):
            raise LexiconError(f"{path}.fields: a field occurs twice")
        with placed(path):
            return cls("packed" if kind == "packed" else "members", members)

    def check_fits(self, schema: Schema) -> None:
        """Refuse a layout that places a field that the schema has not, or leaves one out."""
        unknown = [name for name in self.members if name not in schema]
        missing = [name for name in schema.names if self.members and name not in self.members]
        if unknown or missing:
            raise LexiconError(
                f"layout.fields: expected each field of the schema once; "
                f"unknown: {', '.join(unknown) or '-'}; missing: {', '.join(missing) or '-'}"
            )


@dataclass(frozen=True)
class CutParameters:
    """How the samples of a split were ordered and cut into shards.

    Args:
        target_bytes: the size of a shard that is aimed at.
        max_bytes: a shard ends before it grows beyond this.
        max_samples: a shard holds at most so many.
        order: ``hash``: by the hash of the key; ``keep``: as they came.
        min_bytes: no cut by hash below this size.
    """

    target_bytes: int = 64_000_000
    max_bytes: int = 128_000_000
    max_samples: int = 10_000
    order: str = "hash"
    min_bytes: int = 0

    def __post_init__(self) -> None:
        check_count("target size of a shard", self.target_bytes)
        check_count("largest size of a shard", self.max_bytes)
        check_count("samples of a shard", self.max_samples)
        if self.order not in ("hash", "keep"):
            raise LocalError(f"expected the order hash or keep, found {quote(self.order)}")
        if not 0 <= self.min_bytes <= self.max_bytes <= MAX_INTEGER:
            raise LocalError("expected the smallest size of a shard from 0 to the largest")

    def to_value(self) -> dict[str, Any]:
        """The parameters as they stand in a release."""
        return {
            "order": self.order,
            "targetBytes": self.target_bytes,
            "minBytes": self.min_bytes,
            "maxBytes": self.max_bytes,
            "maxSamples": self.max_samples,
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str = "cuts") -> Self:
        """The parameters at ``path``, whose shape the lexicon has checked."""
        with placed(path):
            return cls(
                value["targetBytes"],
                value["maxBytes"],
                value["maxSamples"],
                value["order"],
                value.get("minBytes", 0),
            )


@dataclass(frozen=True)
class Split:
    """A named subset of the samples: its shard lists, and their totals."""

    name: str
    parts: tuple[StrongRef, ...]
    samples: int
    shards: int
    size: int

    def __post_init__(self) -> None:
        check_split(self.name)
        check_count("number of parts", len(self.parts))
        check_count("number of samples", self.samples)
        check_count("number of shards", self.shards)
        check_count("size of a split", self.size)
        if not len(self.parts) <= self.shards <= self.samples:
            raise LocalError(
                f"expected no more parts than shards, and no more shards than samples, found "
                f"{len(self.parts)} parts, {self.shards} shards and {self.samples} samples"
            )

    def to_value(self) -> dict[str, Any]:
        """The split as it stands in a release."""
        parts = [part.to_value() for part in self.parts]
        totals = {"samples": self.samples, "shards": self.shards, "size": self.size}
        return {"name": self.name, "parts": parts, **totals}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The split at ``path``, whose shape the lexicon has checked."""
        parts = _references(value["parts"], f"{path}.parts")
        with placed(path):
            return cls(value["name"], parts, value["samples"], value["shards"], value["size"])


@dataclass(frozen=True)
class Release:
    """The record. ``samples`` and ``size`` (bytes of all shards) are the sums over the splits."""

    NSID: ClassVar[str] = RELEASE
    name: str
    version: str
    schema: StrongRef
    layout: Layout
    splits: tuple[Split, ...]
    samples: int
    size: int
    created_at: datetime
    cuts: CutParameters | None = None
    previous: StrongRef | None = None
    notes: str | None = None
    derived_from: tuple[StrongRef, ...] = ()
    preview: BlobRef | None = None
    recipe: StrongRef | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_version(self.version)
        names = [split.name for split in self.splits]
        if not names or len(set(names)) < len(names):
            raise LocalError("expected one or more splits with distinct names")
        for what in ("samples", "size"):
            total = sum(getattr(split, what) for split in self.splits)
            if getattr(self, what) != total:
                found = getattr(self, what)
                raise LocalError(f"expected {what} to be the splits' {total}, found {found}")

    @property
    def rkey(self) -> str:
        """``name:version``."""
        return release_key(self.name, self.version)

    @property
    def shards(self) -> int:
        """Shards of all splits."""
        return sum(split.shards for split in self.splits)

    def to_value(self) -> dict[str, Any]:
        """The record, checked against its lexicon."""
        return leaving(
            {
                "$type": RELEASE,
                "name": self.name,
                "version": self.version,
                "schema": self.schema.to_value(),
                "layout": self.layout.to_value(),
                "splits": [split.to_value() for split in self.splits],
                "samples": self.samples,
                "size": self.size,
                **present(
                    cuts=self.cuts and self.cuts.to_value(),
                    previous=self.previous and self.previous.to_value(),
                    derivedFrom=[source.to_value() for source in self.derived_from],
                    notes=self.notes,
                    preview=self.preview and self.preview.to_value(),
                    recipe=self.recipe and self.recipe.to_value(),
                ),
                "createdAt": moment_value(self.created_at),
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked."""
        splits = enumerate(value["splits"])
        cuts, previous, preview = (value.get(key) for key in ("cuts", "previous", "preview"))
        recipe = value.get("recipe")
        given = {
            "name": value["name"],
            "version": value["version"],
            "schema": StrongRef.from_value(value["schema"], "schema"),
            "layout": Layout.from_value(value["layout"]),
            "splits": tuple(Split.from_value(item, f"splits[{at}]") for at, item in splits),
            "samples": value["samples"],
            "size": value["size"],
            "created_at": moment(value["createdAt"], "createdAt"),
            "cuts": None if cuts is None else CutParameters.from_value(cuts),
            "previous": None if previous is None else StrongRef.from_value(previous, "previous"),
            "notes": value.get("notes"),
            "derived_from": _references(value.get("derivedFrom", ()), "derivedFrom"),
            "preview": None if preview is None else BlobRef.from_value(preview, "preview"),
            "recipe": None if recipe is None else StrongRef.from_value(recipe, "recipe"),
        }
        with placed("record"):
            return cls(**given)

    def check_place(self, uri: AtUri) -> None:
        """The key is ``name:version``; parts, recipe, predecessor are of the same repository."""
        check_key(uri, self.rkey)
        must_be_in(None, SCHEMA, self.schema, "schema")
        for at, split in enumerate(self.splits):
            for index, part in enumerate(split.parts):
                must_be_in(uri.did, SHARDS, part, f"splits[{at}].parts[{index}]")
        if self.recipe is not None:
            must_be_in(uri.did, RECIPE, self.recipe, "recipe")
            with placed("recipe.uri"):
                name, _ = split_release_key(str(self.recipe.uri.rkey))
            if name != self.name:
                raise LexiconError(f"recipe.uri: expected one of {self.name}, found {name}")
        if self.previous is None:
            return
        must_be_in(uri.did, RELEASE, self.previous, "previous")
        with placed("previous.uri"):
            name, version = split_release_key(str(self.previous.uri.rkey))
        if name != self.name or version == self.version:
            raise LexiconError(
                f"previous.uri: expected another version of {self.name}, found {self.previous.uri}"
            )


def _references(value: Any, path: str) -> tuple[StrongRef, ...]:
    return tuple(StrongRef.from_value(item, f"{path}[{at}]") for at, item in enumerate(value))
