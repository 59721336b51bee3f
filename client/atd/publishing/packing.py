"""From a source to a folder of shards with its manifest.

Belongs here: `pack`, and `pack_folder` (``atd.pack``) from whatever the user gave. The manifest,
``atd.json``, is written last and in one step, so a folder that has one is complete; the shards
themselves appear whole, each under a name made from its content. Packing the same samples again
writes the same files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from atd.disk import storing
from atd.errors import BadSource, LocalError, SchemaMismatch
from atd.manifest import FILE_NAME, Manifest, ManifestShard, hash_shard
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Packed, Pair, Progress, Source, SplitSource, shown
from atd.records import CutParameters, Layout
from atd.schema.fields import Schema
from atd.service import OnProgress
from atd.shards import cut
from atd.shards.layout import default_layout
from atd.shards.writer import ShardInfo

LEFT_OUT: Final = "left out"
"""The step that tells of a file that was left out."""

_EVERY: Final = 100
_OURS: Final = (".tar", ".tmp")


def pack(
    source: Source,
    folder: str | os.PathLike[str],
    cuts: CutParameters | None = None,
    progress: Progress | None = None,
    *,
    name: str | None = None,
) -> Manifest:
    """Write the samples of ``source`` as shards into ``folder``, and ``atd.json`` last.

    Args:
        folder: made if need be; else empty, or a folder of shards, whose place the new ones take.
        cuts: where shards are cut; 64 MB to a shard where it is None.
        progress: told how many samples are packed.
        name: what the data set is to be called.

    Raises:
        BadSource: the source cannot be read, or the folder holds other things.
        SchemaMismatch: a sample does not fit the schema.
        TooLarge: a sample is larger than a shard may be.
        StorageFault: the disk is full or the folder cannot be written.
    """
    target = Path(folder)
    old = _prepare(target)
    if source.packed is not None:
        manifest = _copied(source.packed, target, name)
    else:
        manifest = _packed(source, target, cuts or CutParameters(), progress, name)
    manifest.save(target)
    _sweep(target, old, manifest)
    return manifest


def pack_folder(
    source: object,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    schema: type[Any] | Schema | None = None,
    split: str = "train",
    shard_size: int | None = None,
    order: str | None = None,
    strip_metadata: bool = False,
    skip_bad: bool = False,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Write samples as shards into ``folder`` without publishing them; `atd.load` reads it.

    The same samples give the same bytes, so a folder can be packed on one machine, served by any
    web server, and published from there (``store="https://…"``).

    Example:
        >>> atd.pack("./flowers", "packed")

    Args:
        source: see `atd.publishing.sources.opening.open_source`: a path, an iterable of samples …
        folder: made if need be; else empty, or a folder of shards, whose place the new ones take.
        name: what the data set is to be called.
        schema: what the samples fit, as a class; inferred where it is None.
        split: the split of samples that do not say theirs.
        shard_size: bytes of a shard to aim at; 64 MB where it is None.
        order: ``"hash"`` (an edit changes one shard; so where it is None) or ``"keep"`` (the order
            of the source).
        strip_metadata: take EXIF and its like out of images.
        skip_bad: leave out files that cannot be published, and tell of each as a step.
        on_progress: called with events ``{"progress": …}`` and ``{"step": …}``, as `atd.publish`
            calls it.

    Raises:
        BadSource, SchemaMismatch, TooLarge, StorageFault: as `pack`.
    """
    progress = telling(on_progress)
    opened = open_source(
        source,
        schema=schema,
        strip_metadata=strip_metadata,
        skip_bad=skip_bad,
        split=split,
        progress=progress,
    )
    if on_progress is not None:
        for line in opened.skipped:
            on_progress({"step": {"name": LEFT_OUT, "detail": line}})
    cuts = CutParameters(order=order or "hash")
    if shard_size is not None:
        largest = max(shard_size, cuts.max_bytes)
        cuts = replace(cuts, target_bytes=shard_size, max_bytes=largest)
    return pack(opened, folder, cuts, progress, name=name)


def telling(on_progress: OnProgress | None) -> Progress | None:
    """What opening and packing call, so that ``on_progress`` hears events like the daemon's."""
    if on_progress is None:
        return None

    def tell(what: str, done: int, total: int | None) -> None:
        state = {"name": what, "done": done, "total": total or 0, "unit": "samples"}
        on_progress({"progress": state})

    return tell


def _prepare(folder: Path) -> frozenset[str]:
    """Make the folder, or see that it holds nothing but shards; returns the shards it lists."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(entry.name for entry in folder.iterdir())
    others = [one for one in found if one != FILE_NAME and not one.endswith(_OURS)]
    if others:
        raise BadSource(
            f"{shown(folder)} holds other things than shards, such as {shown(others[0])}",
            next_step="give an empty folder, or one that does not exist yet",
        )
    if FILE_NAME not in found:
        return frozenset()
    return frozenset(shard.name for shard in Manifest.load(folder).shards)


def _sweep(folder: Path, old: frozenset[str], manifest: Manifest) -> None:
    """Remove the shards that an earlier manifest listed and this one does not."""
    with storing(folder):
        for name in old - {shard.name for shard in manifest.shards}:
            (folder / name).unlink(missing_ok=True)


def _packed(
    source: Source,
    folder: Path,
    cuts: CutParameters,
    progress: Progress | None,
    name: str | None,
) -> Manifest:
    layout = source.layout or default_layout(source.schema)
    told = _Told(progress, source.count)
    splits: dict[str, tuple[ManifestShard, ...]] = {}
    for split, samples in source.splits.items():
        found = _pack_split(source, samples, layout, cuts, folder, split, told)
        if not found:
            raise BadSource(f"the split {split} of {shown(source.origin)} has no samples")
        splits[split] = tuple(
            ManifestShard(one.name, one.digest, one.size, one.samples) for one in found
        )
    told.end()
    return Manifest(source.schema, layout, cuts, splits, name)


def _pack_split(
    source: Source,
    samples: SplitSource,
    layout: Layout,
    cuts: CutParameters,
    folder: Path,
    split: str,
    told: _Told,
) -> list[ShardInfo]:
    schema = source.schema
    try:
        if samples.items is not None:
            items = ((key, told.loading(load)) for key, load in samples.items(schema))
            return cut.pack(items, schema, layout, cuts, folder, split)
        stream = told.streaming(samples.samples(schema))
        return cut.pack_stream(stream, schema, layout, cuts, folder, split)
    except SchemaMismatch as error:
        if not source.inferred:
            raise
        raise SchemaMismatch(
            f"{error.message} (the schema was inferred from other samples)",
            next_step="say what samples hold with a class: --schema module:Class, or schema=Class",
        ) from error


class _Told:
    """Counts samples on their way and tells of them now and then."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def loading(self, load: Callable[[], Any]) -> Callable[[], Any]:
        """``load``, counted."""

        def counted() -> Any:
            self._count()
            return load()

        return counted

    def streaming(self, samples: Iterable[Pair]) -> Iterator[Pair]:
        """``samples``, counted."""
        for pair in samples:
            self._count()
            yield pair

    def end(self) -> None:
        """Tell the last count."""
        if self._progress is not None:
            self._progress("packing samples", self._done, self._total)

    def _count(self) -> None:
        if self._progress is not None and self._done % _EVERY == 0:
            self._progress("packing samples", self._done, self._total)
        self._done += 1


def _copied(packed: Packed, folder: Path, name: str | None) -> Manifest:
    """Shards that exist already, copied as they are, with their cuts.

    Raises:
        DigestMismatch: a file is not what it was when the source was opened.
    """
    manifest = packed.manifest
    for file in packed.files.values():
        if file.parent.resolve() == folder.resolve():
            raise LocalError(f"{shown(folder)} is packed already: give another folder to pack into")
    for shard in manifest.shards:
        _copy(packed.files[shard.name], folder / shard.name)
        hash_shard(folder / shard.name, shard.digest, shard.size)
    return Manifest(
        manifest.schema, manifest.layout, manifest.cuts, manifest.splits, name or manifest.name
    )


def _copy(source: Path, target: Path) -> None:
    """Copy the file; it appears whole or not at all.

    A copy and not a link: the folder's owner may change the original, and what the store takes
    in must never change.
    """
    draft = target.with_name(f".{target.name}.tmp")
    with storing(target):
        try:
            shutil.copyfile(source, draft)
            draft.replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
