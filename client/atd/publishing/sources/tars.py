"""WebDataset shards, published as they are: no byte of them is packed again.

Belongs here: tar files as shards of a release, and the schema of what they hold, by the suffixes of
their members (`atd.shards.infer`), over every sample. Splits go by the names of the files
(``train-000000.tar``) or of their folders. ``.cls`` members that hold names become a label.

Rules. Every sample is read once by the schema before anything is published, and every picture is
checked: by the structure of its file, or by decoding it (`Given.decode`). What is wrong is said of
each file: no tar archive, a key whose members do not follow each other or that comes twice, a
member that comes twice, keys with dots (which webdataset cuts at the first), a member that is not
what the others of its suffix are. A key is in one shard of a split.

The shards go by names made of their content, as ours do (decision 0005); where they are served
already, `Packed.served` gives them back the names of their files.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from atd.errors import AtdError, BadSource, LocalError, SchemaMismatch, ShardError
from atd.files import hash_file
from atd.manifest import Manifest, ManifestShard
from atd.publishing.sources import files
from atd.publishing.sources.bad import Bad, one_shape, settle_bad
from atd.publishing.sources.given import Given, silent
from atd.publishing.sources.packed import nothing_to_pack
from atd.publishing.sources.source import (
    MAX_VALUE,
    Packed,
    Progress,
    Source,
    SplitSource,
    Tables,
    shown,
)
from atd.records import CutParameters, Layout
from atd.schema.evolve import joined
from atd.schema.fields import Array, Image, Int, Kind, Label, Schema
from atd.schema.limits import MAX_CLASSES
from atd.shards import media, tar
from atd.shards.index import MemberIndex
from atd.shards.infer import Inferred, infer_shards
from atd.shards.reader import ShardFile

_EVERY: Final = 2**62
"""Samples of a shard that are looked at: all."""

_DOTTED: Final = 32
"""Suffixes with dots in one archive; with more of them it is the keys that have dots."""

_MIXED: Final = ("members", "publish them as several data sets, or write them all alike")
_WHAT: Final = "archives cannot be published in place"
_NEXT: Final = "write them again with webdataset.ShardWriter, or publish the files from a folder"


@dataclass(frozen=True)
class _Archive:
    """One file that was found to be a shard."""

    path: Path
    split: str
    count: int
    suffixes: frozenset[str]
    own: Inferred
    """What it is, looked at alone."""


def open_given(given: Given) -> Source:
    """The shards in a tar file, in a folder of them, or that a pattern matches.

    Raises:
        BadSource: some are no shards of this data set; names each.
    """
    bad = Bad()
    archives = list(_archives(given.tables((".tar",)), given.progress, bad))
    skipped = settle_bad(bad, _WHAT, _NEXT, skip=given.skip_bad)
    if not archives:
        raise BadSource(f"{shown(given.path)} holds no archive that can be published")
    _alike(archives)
    found = _infer(archives)
    schema = _labelled(found, archives)
    misfits = _misfits(archives, schema, found.layout, given)
    skipped += settle_bad(Bad(misfits.values()), _WHAT, _NEXT, skip=given.skip_bad)
    kept = [one for one in archives if one.path not in misfits]
    if not kept:
        raise BadSource(f"{shown(given.path)} holds no archive that can be published")
    packed = replace(
        _packed(kept, schema, found.layout), refitted=partial(_refitted, given, kept, found.layout)
    )
    return Source(
        what="WebDataset shards",
        origin=str(given.path),
        schema=schema,
        splits={
            split: SplitSource(nothing_to_pack, count=sum(one.samples for one in shards))
            for split, shards in packed.manifest.splits.items()
        },
        travels=("the shards as they are, with all that their members carry",),
        warnings=tuple(_warnings(kept, found.layout)),
        packed=packed,
        skipped=skipped,
    )


# ------------------------------------------------------------------ the archives


def _archives(paths: Tables, progress: Progress, bad: Bad) -> Iterator[_Archive]:
    """The files that are shards; what is wrong with the others goes into ``bad``."""
    total, done = sum(map(len, paths.values())), 0
    for split, found in paths.items():
        seen: dict[str, Path] = {}
        for path in found:
            progress("checking archives", done, total)
            done += 1
            try:
                yield _archive(path, split, seen)
            except (ShardError, BadSource) as error:
                bad.add(f"{shown(path)} ({error.message})")
            except OSError as error:
                bad.add(f"{shown(path)} ({error.strerror})")


def _archive(path: Path, split: str, seen: dict[str, Path]) -> _Archive:
    index, members = _index(path)
    _check_members(members)
    if not len(index):
        raise BadSource("it holds no samples")
    dotted = sorted(suffix for suffix in index.suffixes if "." in suffix)
    if len(dotted) > _DOTTED or any(one.partition(".")[0].isdigit() for one in dotted):
        raise BadSource(
            f"its keys have dots: {shown(index.keys[0])}.{shown(dotted[0])} is sample "
            f"{shown(index.keys[0])} to all readers"
        )
    twice = next((key for key in index.keys if key in seen), None)
    if twice is not None:
        raise BadSource(f"its sample {shown(twice)} is in {shown(seen[twice].name)} too")
    found = infer_shards([path], _EVERY)
    seen.update(dict.fromkeys(index.keys, path))
    return _Archive(path, split, len(index), frozenset(index.suffixes), found)


def _index(path: Path) -> tuple[MemberIndex, tar.Members]:
    with _mapped(path) as view:
        return MemberIndex.of(view, path.name), tar.scan(view, path.name)


def _check_members(members: tar.Members) -> None:
    """Refuse an archive that writes outside of the folder that a program unpacks it in.

    Nothing is unpacked here; but the archive is handed on as it is. Nor is one taken with a value
    that nobody should have to hold in memory.
    """
    for name, size in zip(members.names, members.sizes.tolist(), strict=True):
        if size > MAX_VALUE:
            raise BadSource(f"its member {shown(name)} has {size} bytes; one may have {MAX_VALUE}")
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise BadSource(f"its member {shown(name)} leads out of the folder it is unpacked in")


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    with files.opened(path) as file:
        if not file.seek(0, 2):
            raise BadSource("it is empty")
        # The index copies what it needs, but numpy may hold views until they are collected.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield memoryview(whole)


# ------------------------------------------------------------------ the schema


def _infer(archives: Sequence[_Archive]) -> Inferred:
    try:
        return infer_shards([one.path for one in archives], _EVERY)
    except ShardError as error:
        raise BadSource(error.message, next_step=_NEXT) from None


def _alike(archives: Sequence[_Archive]) -> None:
    """Refuse archives of which no schema holds all, and say which are how."""
    kinds: dict[str, Kind] = {}
    for archive in archives:
        for field in archive.own.schema:
            before = kinds.setdefault(field.name, field.kind)
            both = joined(before, field.kind)
            if both is None:
                one_shape([(shown(one.path), _words(one.own.schema)) for one in archives], *_MIXED)
            kinds[field.name] = both or before


def _words(schema: Schema) -> str:
    return ", ".join(
        f"{one.name} {one.kind.dtype if isinstance(one.kind, Array) else one.kind.tag}"
        for one in schema
    )


def _labelled(found: Inferred, archives: Sequence[_Archive]) -> Schema:
    """The inferred schema, with names of classes in ``.cls`` members as a label."""
    fields = []
    for field in found.schema:
        suffix = found.layout.members[field.name]
        names = None
        if found.layout.kind == "members" and isinstance(field.kind, Int):
            names = _names(archives, suffix)
        try:
            fields.append(replace(field, kind=Label(names)) if names else field)
        except LocalError:
            fields.append(field)  # no names of classes: the samples that do not fit are told
    return Schema(tuple(fields))


def _names(archives: Sequence[_Archive], suffix: str) -> list[str] | None:
    """The distinct texts in members called so; None where they are numbers, or no names."""
    names: set[str] = set()
    for archive in archives:
        with _mapped(archive.path) as view:
            index = MemberIndex.of(view, archive.path.name)
            if suffix not in index.suffixes:
                continue
            number = index.suffixes.index(suffix)
            for at in (index.suffix == number).nonzero()[0].tolist():
                begin, size = int(index.offsets[at]), int(index.sizes[at])
                names.add(bytes(view[begin : begin + min(size, 4096)]).decode("utf-8", "replace"))
                if len(names) > MAX_CLASSES:
                    return None
    stripped = {name.strip() for name in names}
    if all(name.lstrip("+-").isdecimal() for name in stripped):
        return None
    return sorted(stripped) if all(stripped) else None


def _misfits(
    archives: Sequence[_Archive], schema: Schema, layout: Layout, given: Given
) -> dict[Path, str]:
    """Every archive with a sample that does not fit, and which."""
    found: dict[Path, str] = {}
    total, done = sum(one.count for one in archives), 0
    check = partial(
        _check_pictures,
        [one.name for one in schema if isinstance(one.kind, Image)],
        decode=given.decode,
    )
    for archive in archives:
        given.progress("checking samples", done, total)
        done += archive.count
        wrong = list(_wrong(archive, schema, layout, check))
        if wrong:
            more = f"; and {len(wrong) - 1} more of its samples" if len(wrong) > 1 else ""
            found[archive.path] = f"{shown(archive.path)} ({wrong[0]}{more})"
    return found


def _wrong(
    archive: _Archive, schema: Schema, layout: Layout, check: Callable[[Mapping[str, Any]], None]
) -> Iterator[str]:
    """What is wrong with each sample of an archive that cannot be read by the schema."""
    try:
        shard = ShardFile(archive.path, schema, layout)
    except AtdError as error:
        yield error.message
        return
    for number in range(len(shard)):
        try:
            check(shard.sample(number))
        except AtdError as error:
            yield error.message


def _check_pictures(names: Sequence[str], sample: Mapping[str, Any], *, decode: bool) -> None:
    for name in names:
        if isinstance(value := sample.get(name), media.Image):
            value.check(decode=decode)


def _refitted(given: Given, archives: Sequence[_Archive], layout: Layout, schema: Schema) -> Packed:
    """The same shards read by the publisher's own schema.

    Raises:
        SchemaMismatch: it has fields that no member holds, or samples do not fit it.
    """
    missing = [name for name in schema.names if name not in layout.members]
    if missing:
        raise SchemaMismatch(
            f"no member holds {', '.join(missing)}; there are: {', '.join(layout.members)}",
            next_step="call the fields as the suffixes of the members are",
        )
    places = Layout(layout.kind, {name: layout.members[name] for name in schema.names})
    misfits = _misfits(archives, schema, places, replace(given, progress=silent))
    if misfits:
        more = f"; and {len(misfits) - 1} more archives" if len(misfits) > 1 else ""
        raise SchemaMismatch(f"{next(iter(misfits.values()))}{more}")
    return _packed(archives, schema, places)


# ------------------------------------------------------------------ the manifest


def _packed(archives: Sequence[_Archive], schema: Schema, layout: Layout) -> Packed:
    splits: dict[str, list[ManifestShard]] = {}
    paths: dict[str, Path] = {}
    for archive in archives:
        shard = _shard(archive)
        if shard.name in paths:
            raise BadSource(f"{shown(archive.path)} and {shown(paths[shard.name])} are the same")
        splits.setdefault(archive.split, []).append(shard)
        paths[shard.name] = archive.path
    defaults = CutParameters()
    largest = max(one.size for shards in splits.values() for one in shards)
    most = max(one.samples for shards in splits.values() for one in shards)
    cuts = CutParameters(
        order="keep",
        max_bytes=max(defaults.max_bytes, largest),
        max_samples=max(defaults.max_samples, most),
    )
    ordered: Mapping[str, tuple[ManifestShard, ...]] = {
        name: tuple(splits[name]) for name in files.in_order(iter(splits))
    }
    return Packed(Manifest(schema, layout, cuts, ordered), paths)


def _shard(archive: _Archive) -> ManifestShard:
    with archive.path.open("rb") as file:
        digest, size = hash_file(file.fileno())
    name = f"{archive.split}-{digest.digest.hex()[:16]}.tar"
    return ManifestShard(name, digest, size, archive.count)


def _warnings(archives: Sequence[_Archive], layout: Layout) -> Iterator[str]:
    dotted = sorted(place for place in layout.members.values() if "." in place)
    if layout.kind == "members" and dotted:
        yield f"a name is cut at its first dot: {', '.join(dotted)} are suffixes, not parts of keys"
    lacking = [one for one in archives if one.suffixes != archives[0].suffixes]
    if lacking:
        yield (
            f"{len(lacking)} of {len(archives)} archives have other members than "
            f"{shown(archives[0].path.name)}, such as {shown(lacking[0].path.name)}"
        )
