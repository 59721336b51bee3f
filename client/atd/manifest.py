"""The manifest of a folder of shards, ``atd.json``: what a release says, before it is signed.

Belongs here: `Manifest`, its JSON, and checking a shard file against it. ``atd pack`` writes it
beside the shards, the daemon takes the same file as the description of what is staged for
publication, and `atd.load` reads a folder by it.

.. code-block:: json

    {"format": "atd-folder", "version": 1, "name": "flowers",
     "fields": ["… as in a schema record"], "layout": {"$type": "… as in a release record"},
     "cuts": {"order": "hash", "targetBytes": 64000000, "…": 0},
     "splits": {"train": [{"name": "train-0123456789abcdef.tar", "digest": "bafkrei…",
                           "size": 20480, "samples": 7}]}}

A manifest may come from a stranger: names of shards are plain file names, so nothing outside the
folder is ever read, and whatever is wrong ends in `BadSource` with the path of the wrong value.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from atd.disk import write_whole
from atd.errors import AtdError, BadSource, DigestMismatch, LexiconError, LocalError, StorageFault
from atd.files import hash_file
from atd.names import MAX_INTEGER, check_name, check_relative, check_split
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import quote
from atd.records import CutParameters, Layout
from atd.schema.fields import Schema

FILE_NAME: Final = "atd.json"

_FORMAT: Final = "atd-folder"
_VERSION: Final = 1
_MAX_BYTES: Final = 256 * 2**20
_CUTS: Final = {"order": str, "targetBytes": int, "maxBytes": int, "maxSamples": int}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestShard:
    """One shard of a folder.

    Args:
        name: its file name, without any folder.
        digest: CID (raw, SHA-256) of its bytes.
        size: in bytes.
        samples: how many it holds.
    """

    name: str
    digest: Cid
    size: int
    samples: int

    def __post_init__(self) -> None:
        check_relative(self.name)
        if "/" in self.name:
            raise LocalError(f"expected the plain file name of a shard, found {quote(self.name)}")
        if self.digest.codec != RAW:
            raise LocalError(f"expected the CID of a file (raw codec), found {self.digest}")
        for what, number in (("size", self.size), ("samples", self.samples)):
            if not 1 <= number <= MAX_INTEGER:
                raise LocalError(f"expected {what} from 1 to 2^53-1, found {number}")


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Args:
        splits: the shards of each split, in order.
        name: what the data set is to be called, if that is known.
    """

    schema: Schema
    layout: Layout
    cuts: CutParameters
    splits: Mapping[str, tuple[ManifestShard, ...]]
    name: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", {s: tuple(shards) for s, shards in self.splits.items()})
        if self.name is not None:
            check_name(self.name)
        names = [shard.name for shards in self.splits.values() for shard in shards]
        for split in self.splits:
            check_split(split)
        if len(set(names)) < len(names):
            raise LocalError("expected each shard once, found two of the same name")
        self.layout.check_fits(self.schema)

    @property
    def shards(self) -> tuple[ManifestShard, ...]:
        """The shards of all splits."""
        return tuple(shard for shards in self.splits.values() for shard in shards)

    @property
    def samples(self) -> int:
        """Samples in all splits."""
        return sum(shard.samples for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    def digest(self) -> str:
        """SHA-256, in hex, over everything that the manifest says: same digest, same data."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        splits = {
            split: [
                {"name": s.name, "digest": str(s.digest), "size": s.size, "samples": s.samples}
                for s in shards
            ]
            for split, shards in self.splits.items()
        }
        return {
            "format": _FORMAT,
            "version": _VERSION,
            **({} if self.name is None else {"name": self.name}),
            "fields": self.schema.to_value(),
            "layout": self.layout.to_value(),
            "cuts": self.cuts.to_value(),
            "splits": splits,
        }

    @classmethod
    def from_json(cls, value: object, where: str = FILE_NAME) -> Self:
        """The manifest that ``value`` is, called ``where`` in errors.

        Raises:
            BadSource: it is none, of a version that this program does not know, or contradictory.
        """
        try:
            return cls._read(value)
        except (LocalError, LexiconError) as error:
            raise BadSource(
                f"{where}: {error.message}", next_step="make the folder again with: atd pack"
            ) from error

    @classmethod
    def _read(cls, value: object) -> Self:
        top = _typed(value, dict, "manifest")
        if top.get("format") != _FORMAT or top.get("version") != _VERSION:
            found = f"{quote(top.get('format'))} version {quote(top.get('version'))}"
            raise LocalError(f"expected the format {_FORMAT} version {_VERSION}, found {found}")
        splits = _member(top, "splits", dict)
        name = top.get("name")
        return cls(
            Schema.from_value(top.get("fields")),
            _layout(_member(top, "layout", dict)),
            _cuts(_member(top, "cuts", dict)),
            {split: _shards(shards, f"splits.{split}") for split, shards in splits.items()},
            None if name is None else _typed(name, str, "name"),
        )

    def save(self, folder: Path) -> Path:
        """Write ``atd.json`` into ``folder``, whole or not at all; returns its path.

        Raises:
            StorageFault: the folder cannot be written to, or the disk is full.
        """
        path = folder / FILE_NAME
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=True) + "\n"
        write_whole(path, text.encode("ascii"))
        return path

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The manifest in ``folder``.

        Raises:
            BadSource: there is none, or it cannot be read as one.
        """
        path = folder / FILE_NAME
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise BadSource(
                f"cannot read {path}: {error.strerror}",
                next_step="name a folder that was made with: atd pack",
            ) from error
        if len(data) > _MAX_BYTES:
            raise BadSource(f"{path}: expected at most {_MAX_BYTES} bytes, found more")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise BadSource(
                f"{path}: expected JSON, found {quote(data[:40])}",
                next_step="make the folder again with: atd pack",
            ) from None
        return cls.from_json(value, str(path))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def hash_shard(path: Path, digest: Cid, size: int) -> None:
    """Read the file at ``path`` to its end and compare it with what was said of it.

    Raises:
        DigestMismatch: it has another size or another digest.
        StorageFault: it cannot be read.
    """
    with _reading(path):
        # Of a pipe, which a folder of somebody else may hold, nothing is waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        hash_open_shard(descriptor, path, digest, size)
    finally:
        os.close(descriptor)


def hash_open_shard(descriptor: int, path: Path, digest: Cid, size: int) -> None:
    """As `hash_shard`, of a file that is open for reading; ``path`` is what errors call it."""
    with _reading(path):
        actual, found = hash_file(descriptor, size=size + 1)
    if found != size:
        more = "more" if found > size else f"{found}"
        raise DigestMismatch(f"{path}: expected {size} bytes, found {more}")
    if actual != digest:
        raise DigestMismatch(f"{path}: expected the digest {digest}, found {actual}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFault(f"cannot read the shard {path}: {error.strerror}") from error


def _typed(value: object, kind: type[T], path: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise LocalError(f"{path}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _member(holder: Mapping[str, object], key: str, kind: type[T], path: str = "") -> T:
    return _typed(holder.get(key), kind, f"{path}{key}")


def _layout(value: dict[str, Any]) -> Layout:
    _member(value, "$type", str, "layout.")
    for at, item in enumerate(_typed(value.get("fields", []), list, "layout.fields")):
        path = f"layout.fields[{at}]"
        _member(_typed(item, dict, path), "field", str, f"{path}.")
        for place in ("suffix", "key"):
            _typed(item.get(place, ""), str, f"{path}.{place}")
    return Layout.from_value(value)


def _cuts(value: dict[str, Any]) -> CutParameters:
    for key, kind in _CUTS.items():
        _member(value, key, kind, "cuts.")
    _typed(value.get("minBytes", 0), int, "cuts.minBytes")
    return CutParameters.from_value(value)


def _shards(value: object, path: str) -> tuple[ManifestShard, ...]:
    return tuple(
        _shard(_typed(item, dict, f"{path}[{at}]"), f"{path}[{at}]")
        for at, item in enumerate(_typed(value, list, path))
    )


def _shard(value: dict[str, Any], path: str) -> ManifestShard:
    name, digest = (_member(value, key, str, f"{path}.") for key in ("name", "digest"))
    size, samples = (_member(value, key, int, f"{path}.") for key in ("size", "samples"))
    try:
        return ManifestShard(name, Cid.parse(digest), size, samples)
    except AtdError as error:
        raise LocalError(f"{path}: {error.message}") from error
