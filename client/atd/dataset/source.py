"""Where the shards of a data set are, and how one becomes a file that may be read.

What belongs here: `ShardSource` and its kinds. A source knows the shards of one or more splits and
turns each into the path of a file whose bytes were proved: by the daemon's store for a published
release, against ``atd.json`` for a folder. It opens and decodes nothing, and it pickles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atd import api
from atd.connection import Connection
from atd.errors import LocalError
from atd.manifest import Manifest, hash_shard
from atd.protocol.cbor import Cid
from atd.records import Layout
from atd.schema.fields import Schema


@dataclass(frozen=True)
class Shard:
    """One shard: ``size`` in bytes, ``samples`` in it; ``digest`` is its CID (raw, SHA-256)."""

    name: str
    digest: Cid
    size: int
    samples: int


@dataclass(frozen=True)
class ShardSource(ABC):
    """The shards of one or more splits of one version.

    Args:
        what: names the data in messages.
        version: identifies the very content, for saved states: a release's CID, a folder's hash.
        schema: what was written.
        layout: how a sample lies in a shard.
        shards: in the order of the release.
        splits: which splits they are of.
    """

    what: str
    version: str
    schema: Schema
    layout: Layout
    shards: tuple[Shard, ...]
    splits: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples in each shard."""
        return tuple(shard.samples for shard in self.shards)

    @abstractmethod
    def path(self, number: int) -> Path:
        """The file of shard ``number``, complete and proved; blocks until it is there.

        Raises:
            AtdError: it cannot be had, or is not what was signed.
        """


@dataclass(frozen=True)
class ReleaseSource(ShardSource):
    """A published release: the daemon proved its records, and hands out verified files."""

    uri: str
    proof: Mapping[str, Any] = field(compare=False, repr=False)
    connection: Connection = field(compare=False, repr=False)

    def path(self, number: int) -> Path:
        """The file in the daemon's store; it fetches and verifies a shard it does not have."""
        question = {"digest": str(self.shards[number].digest), "release": self.uri}
        return Path(self.connection.call(api.LOCATE_SHARD, input=question)["path"])


@dataclass(frozen=True)
class FolderSource(ShardSource):
    """A folder made by ``atd pack``: its ``atd.json`` says what each file must hash to."""

    folder: Path

    def path(self, number: int) -> Path:
        """The file in the folder, hashed against the manifest.

        Raises:
            DigestMismatch: the file is not the one that was packed.
            StorageFault: it cannot be read.
        """
        shard = self.shards[number]
        path = self.folder / shard.name
        hash_shard(path, shard.digest, shard.size)
        return path


def release_source(
    answer: Mapping[str, Any], split: str | None, connection: Connection
) -> ReleaseSource:
    """The source that ``network.atd.catalog.getRelease`` describes; all splits where it is None."""
    lists = {
        one["name"]: tuple(
            Shard(s["name"], Cid.parse(s["digest"]), s["size"], s["samples"]) for s in one["shards"]
        )
        for one in answer["splits"]
    }
    name = answer["name"]
    what = f"@{answer['handle']}/{name}" if "handle" in answer else f"{answer['did']}/{name}"
    chosen = choose_splits(lists, split, what)
    return ReleaseSource(
        what=f"{what}@{answer['version']}",
        version=answer["cid"],
        schema=Schema.from_value(answer["schema"]["fields"]),
        layout=Layout.from_value(answer["layout"]),
        shards=tuple(shard for one in chosen for shard in lists[one]),
        splits=chosen,
        uri=answer["uri"],
        proof=answer["proof"],
        connection=connection,
    )


def folder_source(folder: Path, split: str | None) -> FolderSource:
    """The source in a folder that ``atd pack`` made.

    Raises:
        LocalError: there is no ``atd.json``, or no such split in it.
    """
    manifest = Manifest.load(folder)
    lists = {
        name: tuple(Shard(s.name, s.digest, s.size, s.samples) for s in shards)
        for name, shards in manifest.splits.items()
    }
    chosen = choose_splits(lists, split, str(folder))
    return FolderSource(
        what=str(folder),
        version=manifest.digest(),
        schema=manifest.schema,
        layout=manifest.layout,
        shards=tuple(shard for one in chosen for shard in lists[one]),
        splits=chosen,
        folder=folder.absolute(),
    )


def choose_splits(known: Iterable[str], split: str | None, what: str) -> tuple[str, ...]:
    """The splits to read: all of them, in the release's order, or the one that was named."""
    names = tuple(known)
    if split is None:
        return names
    if split not in names:
        raise LocalError(
            f"{what} has no split {split!r}; it has {', '.join(names)}",
            next_step="name one of them, or none for all",
        )
    return (split,)
