"""The release before the one that is being published: its shards, and the keys in them.

Belongs here: `Previous`, asked of the daemon, which proves it; reading the keys of its shards; and
counting by key what came, went and changed. Keys come from the member index that is kept of a
shard that was opened before, else from the shard itself, which is fetched and verified if need be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from atd import api
from atd.comparing import KeyCounts, ShardLike
from atd.connection import Connection
from atd.keeping import held
from atd.manifest import Manifest, ManifestShard
from atd.protocol.cbor import Cid
from atd.publishing.sources.source import Progress
from atd.records import Layout
from atd.schema.fields import Schema
from atd.service import show
from atd.shards.reader import ShardFile
from atd.shards.sidecars import FOLDER, Sidecars

MAX_COMPARED_BYTES: Final = 8 * 2**30
MAX_COMPARED_SAMPLES: Final = 2_000_000
"""More is not read only to say how many samples changed."""

READING: Final = "reading keys"
_NUMBER: Final = re.compile(r"[0-9]{9,18}")


@dataclass(frozen=True, slots=True)
class OldShard:
    """A shard of the release; ``size`` in bytes."""

    name: str
    digest: Cid
    size: int
    samples: int


@dataclass(frozen=True)
class Previous:
    """A release as the daemon proved it.

    Args:
        ref: names exactly this version: ``did:…/NAME@VERSION``.
        splits: the shards of each split, in order.
    """

    ref: str
    uri: str
    version: str
    schema: Schema
    layout: Layout
    splits: Mapping[str, tuple[OldShard, ...]]
    connection: Connection = field(repr=False)

    @classmethod
    def ask(cls, begun: Mapping[str, Any], name: str, connection: Connection) -> Self | None:
        """The release that ``network.atd.publishing.begin`` calls the previous; None: none."""
        if "previous" not in begun:
            return None
        version = begun["previous"]["version"]
        return cls._of(f"{begun['did']}/{name}@{version}", connection)

    def predecessor(self) -> Self | None:
        """The release before it, if one is known."""
        versions = show(self.ref, allow_previous_key=True, connection=self.connection).releases
        older = versions[versions.index(self.version) + 1 :] if self.version in versions else ()
        if not older:
            return None
        return self._of(f"{self.ref.rpartition('@')[0]}@{older[0]}", self.connection)

    @classmethod
    def _of(cls, ref: str, connection: Connection) -> Self:
        answer = connection.call(api.GET_RELEASE, {"ref": ref, "allowPreviousKey": True})
        splits = {
            split["name"]: tuple(
                OldShard(one["name"], Cid.parse(one["digest"]), one["size"], one["samples"])
                for one in split["shards"]
            )
            for split in answer["splits"]
        }
        return cls(
            ref,
            answer["uri"],
            answer["version"],
            Schema.from_value(answer["schema"]["fields"]),
            Layout.from_value(answer["layout"]),
            splits,
            connection,
        )

    def here(self, split: str) -> frozenset[str]:
        """The digests of the shards of ``split`` that are in the store."""
        found = held(self.ref, split, connection=self.connection)["splits"]
        return frozenset(
            one["digest"] for part in found for one in part.get("files", ()) if one["stored"]
        )

    def keys(self, split: str, progress: Progress) -> Iterator[Sequence[str]]:
        """The keys of ``split``, shard by shard.

        Raises:
            AtdError: a shard that is not here cannot be had, or is none.
        """
        sidecars = Sidecars(self.connection.settings.cache_dir / FOLDER)
        shards = self.splits.get(split, ())
        total, done = sum(shard.samples for shard in shards), 0
        for shard in shards:
            progress(f"{READING} of {split}", done, total)
            index = sidecars.read(shard.digest, shard.size)
            if index is None:
                index = self.open(shard).index
                sidecars.keep(shard.digest, index)
            yield index.keys
            done += shard.samples

    def next_row(self, split: str, progress: Progress) -> int:
        """The number after the last that a key of ``split`` is."""
        last = -1
        for keys in self.keys(split, progress):
            last = max(last, *(int(key) for key in keys if _NUMBER.fullmatch(key)), -1)
        return last + 1

    def open(self, shard: OldShard) -> ShardFile:
        """A shard of it; it is fetched and verified if it is not here."""
        question = {"digest": str(shard.digest), "release": self.uri}
        path = Path(self.connection.call(api.LOCATE_SHARD, input=question)["path"])
        return ShardFile(path, self.schema, self.layout, name=shard.name)

    def count(self, manifest: Manifest, folder: Path) -> dict[str, KeyCounts]:
        """What came, went and changed by key in each split whose shards can be read here.

        Nothing is fetched for it. Only shards that differ are read.

        Args:
            manifest: of the release that follows, whose new shards are in ``folder``.
        """
        found: dict[str, KeyCounts] = {}
        for name in {**manifest.splits, **self.splits}:
            old, new = self.splits.get(name, ()), manifest.splits.get(name, ())
            there, here = {one.digest for one in old}, {one.digest for one in new}
            gone = [one for one in old if one.digest not in here]
            come = [one for one in new if one.digest not in there]
            if not gone or not come:
                added, removed = (sum(one.samples for one in part) for part in (come, gone))
                found[name] = KeyCounts(added, removed, 0)
            elif self.readable(name, gone, come):
                found[name] = self._count(gone, come, manifest, folder)
        return found

    def readable(self, split: str, gone: Sequence[OldShard], come: Sequence[ManifestShard]) -> bool:
        """Whether old and new shards are few enough to be read, and the old ones here."""
        differ: list[ShardLike] = [*gone, *come]
        if sum(one.size for one in differ) > MAX_COMPARED_BYTES:
            return False
        if sum(one.samples for one in differ) > MAX_COMPARED_SAMPLES:
            return False
        return self.here(split).issuperset(str(one.digest) for one in gone)

    def _count(
        self,
        gone: Sequence[OldShard],
        come: Sequence[ManifestShard],
        manifest: Manifest,
        folder: Path,
    ) -> KeyCounts:
        left = {key: mark for shard in gone for key, mark in marks(self.open(shard))}
        added = changed = 0
        for shard in come:
            file = ShardFile(folder / shard.name, manifest.schema, manifest.layout)
            for key, mark in marks(file):
                before = left.pop(key, None)
                added += before is None
                changed += before not in (None, mark)
        return KeyCounts(added, len(left), changed)


def marks(file: ShardFile) -> Iterator[tuple[str, bytes]]:
    """Each key of a shard, with a digest of what its sample holds."""
    for i, key in enumerate(file.index.keys):
        mark = hashlib.blake2b(digest_size=16)
        for suffix, data in sorted(file.members(i).items()):
            mark.update(f"{suffix} {len(data)}\n".encode())
            mark.update(data)
        yield key, mark.digest()
