"""From a source to a folder of shards with its manifest.

Belongs here: `pack`, and `pack_folder` (``atd.pack``) from whatever the user gave. The manifest,
``atd.json``, is written last and in one step, so a folder that has one is complete; the shards
themselves appear whole, each under a name made from its content. Packing the same samples again
writes the same files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from atd.disk import storing
from atd.engines.choosing import check_engine
from atd.engines.foreman import Note
from atd.errors import BadSource, DigestMismatch, LocalError, SchemaMismatch
from atd.files import hash_file
from atd.manifest import FILE_NAME, Manifest, ManifestShard
from atd.publishing.previewing import chosen, write_preview
from atd.publishing.sources import files
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Item, Packed, Pair, Progress, Source, SplitSource, shown
from atd.publishing.tasks import done
from atd.publishing.tasks.crew import Crew
from atd.publishing.tasks.done import Made
from atd.publishing.tasks.parts import Parts, Where
from atd.publishing.telling import noting, telling
from atd.records import CutParameters
from atd.schema.fields import Schema
from atd.service import OnProgress
from atd.shards import cut
from atd.shards.layout import default_layout
from atd.statistics.document import FILE_NAME as PREVIEW

LEFT_OUT: Final = "left out"
"""The step that tells of a file that was left out."""

_EVERY: Final = 100
_OURS: Final = (FILE_NAME, PREVIEW)
_OURS_END: Final = (".tar", ".tmp")


def pack(
    source: Source,
    folder: str | os.PathLike[str],
    cuts: CutParameters | None = None,
    progress: Progress | None = None,
    *,
    name: str | None = None,
    engine: str | None = None,
    workers: int | None = None,
    note: Note | None = None,
    resumable: bool = False,
) -> Manifest:
    """Write the samples of ``source`` as shards into ``folder``, and ``atd.json`` last.

    Interrupted by whatever, it goes on with what it finds when it is called again.

    Args:
        folder: made if need be; else empty, or a folder of shards, whose place the new ones take.
        cuts: where shards are cut; 64 MB to a shard where it is None.
        progress: told how many samples are packed.
        name: what the data set is to be called.
        engine: who packs: ``local``, ``dask``, ``ray``, also with an address: ``dask=tcp://…``.
        workers: how many parts are packed at a time; as many as there are processors if None.
        note: told of parts that are tried again, and of what is done in this process instead.
        resumable: leave in the folder what tells which parts are packed, for who calls again
            although it is complete.

    Raises:
        BadSource: the source cannot be read, or the folder holds other things.
        SchemaMismatch: a sample does not fit the schema.
        TooLarge: a sample is larger than a shard may be.
        StorageFault: the disk is full or the folder cannot be written.
        Busy: another process is packing into the folder.
        EngineFault: the engine is not there, or its workers failed at a part each time.
    """
    # Absolute: a worker may start elsewhere.
    target = Path(folder).absolute()
    with Crew(engine, workers, note) as crew:
        old = _prepare(target)
        with done.alone_in(target):
            (target / PREVIEW).unlink(missing_ok=True)  # of what was there before
            if source.packed is not None:
                manifest = _copied(source.packed, target, name)
            else:
                job = _Job(target, cuts or CutParameters(), crew, _Told(progress, source.count))
                manifest = _packed(source, job, name)
                old |= job.superseded
            manifest.save(target)
            _sweep(target, old, manifest)
            if not resumable:
                done.forget(target, frozenset(shard.name for shard in manifest.shards))
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
    decode_images: bool = False,
    skip_bad: bool = False,
    engine: str | None = None,
    workers: int | None = None,
    preview: str = "full",
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
        decode_images: decode every image of a folder or an archive to see whether it is whole,
            where else the structure of its file is checked.
        skip_bad: leave out what cannot be published, and tell of each as a step.
        engine: who packs: ``local`` (processes of this machine), ``dask`` or ``ray``, also with an
            address: ``"dask=tcp://host:8786"``.
        workers: how many parts are packed at a time; as many as there are processors if None.
        preview: what ``preview.json`` beside the shards is to hold: ``"full"`` (statistics and a
            few samples), ``"statistics"``, or ``"none"``: there is no such file then.
        on_progress: called with events ``{"progress": …}`` and ``{"step": …}``, as `atd.publish`
            calls it.

    Raises:
        BadSource, SchemaMismatch, TooLarge, StorageFault: as `pack`.
    """
    check_engine(engine)
    choice = chosen(preview, reachable=True)
    progress = telling(on_progress)
    opened = open_source(
        source,
        schema=schema,
        strip_metadata=strip_metadata,
        decode_images=decode_images,
        skip_bad=skip_bad,
        split=split,
        progress=progress,
    )
    cuts = CutParameters(order=order or "hash")
    if shard_size is not None:
        largest = max(shard_size, cuts.max_bytes)
        cuts = replace(cuts, target_bytes=shard_size, max_bytes=largest)
    note = noting(on_progress)
    crew: dict[str, Any] = {"engine": engine, "workers": workers, "note": note}
    manifest = pack(opened, folder, cuts, progress, name=name, **crew)
    lacking = write_preview(manifest, Path(folder), choice, progress, **crew)
    told = [("warning", line) for line in lacking]
    told += [(LEFT_OUT, line.removeprefix(f"{LEFT_OUT}: ")) for line in opened.left_out]
    if on_progress is not None:
        for step, detail in told:
            on_progress({"step": {"name": step, "detail": detail}})
    return manifest


def _prepare(folder: Path) -> frozenset[str]:
    """Make the folder, or see that it holds nothing but shards; returns the shards it lists."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(entry.name for entry in folder.iterdir())
    others = [one for one in found if one not in _OURS and not one.endswith(_OURS_END)]
    if others:
        raise BadSource(
            f"{shown(folder)} holds other things than shards, such as {shown(others[0])}",
            next_step="give an empty folder, or one that does not exist yet",
        )
    if FILE_NAME not in found:
        return frozenset()
    return frozenset(shard.name for shard in Manifest.load(folder).shards)


def _sweep(folder: Path, old: frozenset[str], manifest: Manifest) -> None:
    """Remove the shards that are not needed any more, and drafts of workers that were killed."""
    with storing(folder):
        for name in old - {shard.name for shard in manifest.shards}:
            (folder / name).unlink(missing_ok=True)
        for draft in folder.glob(".shard-*.tmp"):
            draft.unlink(missing_ok=True)


@dataclass
class _Job:
    """One packing: where to, how to cut, by whom, and what turned out not to be needed."""

    folder: Path
    cuts: CutParameters
    crew: Crew
    told: _Told
    superseded: frozenset[str] = frozenset()


def _packed(source: Source, job: _Job, name: str | None) -> Manifest:
    layout = source.layout or default_layout(source.schema)
    splits: dict[str, tuple[ManifestShard, ...]] = {}
    for split, samples in source.splits.items():
        found = _pack_split(
            source, samples, job, Where(source.schema, layout, job.cuts, job.folder, split)
        )
        if not found:
            raise BadSource(f"the split {split} of {shown(source.origin)} has no samples")
        splits[split] = found
    job.told.end()
    return Manifest(source.schema, layout, job.cuts, splits, name)


def _pack_split(
    source: Source, samples: SplitSource, job: _Job, where: Where
) -> tuple[ManifestShard, ...]:
    how = (where.schema, where.layout, where.cuts, where.folder, where.split)
    try:
        if samples.items is None:
            job.crew.stay(f"the samples of the split {where.split} come one after the other")
            stream = job.told.streaming(samples.samples(where.schema))
            return Made.of(cut.pack_stream(stream, *how)).shards
        if where.cuts.order == "hash":
            return _pack_items(samples.items(where.schema), job, where)
        job.crew.stay(f"the samples of the split {where.split} keep their order")
        items = job.told.loading(samples.items(where.schema))
        return Made.of(cut.pack(items, *how)).shards
    except SchemaMismatch as error:
        if not source.inferred:
            raise
        raise SchemaMismatch(
            f"{error.message} (the schema was inferred from other samples)",
            next_step="say what samples hold with a class: --schema module:Class, or schema=Class",
        ) from error


def _pack_items(items: Iterable[Item], job: _Job, where: Where) -> tuple[ManifestShard, ...]:
    """Pack samples with random access: by tasks, where they are more than one task's worth."""
    parts = Parts(where, items)
    guess = parts.guess()
    depth = parts.depth(guess.size)
    if depth == 0 and not job.crew.chosen:
        counted = job.told.loading(parts.items)
        how = (where.schema, where.layout, where.cuts, where.folder, where.split)
        return Made.of(cut.pack(counted, *how)).shards
    shards, superseded = parts.pack(depth, job.crew.foreman(guess.seconds), job.told.packed)
    job.superseded |= superseded
    return shards


class _Told:
    """Counts samples on their way and tells of them now and then."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def loading(self, items: Iterable[Item]) -> Iterator[Item]:
        """``items``, each counted as it is loaded."""
        return ((key, partial(self._loaded, load)) for key, load in items)

    def _loaded(self, load: Callable[[], Any]) -> Any:
        self.packed(1)
        return load()

    def streaming(self, samples: Iterable[Pair]) -> Iterator[Pair]:
        """``samples``, counted."""
        for pair in samples:
            self.packed(1)
            yield pair

    def packed(self, samples: int) -> None:
        """Count samples that are packed."""
        before = -(-self._done // _EVERY)
        if before < -(-(self._done + samples) // _EVERY):
            self._tell()
        self._done += samples

    def end(self) -> None:
        """Tell the last count."""
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            # What is tried again is counted again.
            done = self._done if self._total is None else min(self._done, self._total)
            self._progress("packing samples", done, self._total)


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
        _copy(packed.files[shard.name], folder / shard.name, shard)
    return Manifest(
        manifest.schema, manifest.layout, manifest.cuts, manifest.splits, name or manifest.name
    )


def _copy(source: Path, target: Path, shard: ManifestShard) -> None:
    """Copy the file, hashing what is read; it appears whole and right, or not at all.

    A copy and not a link: the folder's owner may change the original, and what the store takes
    in must never change.
    """
    draft = target.with_name(f".{target.name}.tmp")

    def write(piece: bytes) -> None:
        with storing(target):
            out.write(piece)

    try:
        with storing(target), draft.open("wb") as out:
            with files.opened(source) as there:
                digest, size = hash_file(there.fileno(), size=shard.size + 1, each=write)
            out.flush()
            os.fsync(out.fileno())
        if (digest, size) != (shard.digest, shard.size):
            raise DigestMismatch(
                f"{shown(source)} changed since it was opened: expected {shard.size} bytes with "
                f"the digest {shard.digest}, found others",
                next_step="run the same command again once nothing writes to the file",
            )
        with storing(target):
            draft.replace(target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
