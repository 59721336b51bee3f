"""A folder of shards made by ``atd pack``: a source with nothing left to pack.

Belongs here: the folder as a source. That its shards are what ``atd.json`` says is checked where
they are published, byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator

from atd.errors import BadSource
from atd.manifest import Manifest
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Packed, Pair, Source, SplitSource, shown
from atd.schema.fields import Schema


def open_given(given: Given) -> Source:
    """The shards in a folder, as its ``atd.json`` lists them.

    Raises:
        AtdError: the manifest cannot be read; see `atd.manifest.Manifest`.
        BadSource: a shard that it lists is not there, or has another size.
    """
    folder = given.path
    manifest = Manifest.load(folder)
    for split, shards in manifest.splits.items():
        for shard in shards:
            path = folder / shard.name
            size = path.stat().st_size if path.is_file() else None
            if size != shard.size:
                found = "no such file" if size is None else f"{size} bytes"
                raise BadSource(
                    f"{shown(folder)}, split {split}: expected the shard {shard.name} of "
                    f"{shard.size} bytes, found {found}",
                    next_step="pack the folder again",
                )
    return Source(
        what="folder of packed shards",
        origin=str(folder),
        schema=manifest.schema,
        splits={
            split: SplitSource(nothing_to_pack, count=sum(shard.samples for shard in shards))
            for split, shards in manifest.splits.items()
        },
        travels=("the shards as they are",),
        inferred=False,
        packed=Packed(manifest, {one.name: folder / one.name for one in manifest.shards}),
    )


def nothing_to_pack(schema: Schema) -> Iterator[Pair]:
    """The samples of a split that is packed already: not to be had."""
    raise BadSource(
        "these shards are packed already",
        next_step="publish the folder, or load it with atd.load",
    )
