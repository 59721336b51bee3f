"""`open_source`: from whatever the user gave to a `Source`.

Belongs here: a path, ``-`` or a Python object, and what holds for all sources: the user's own
schema, and metadata of images. Which reader takes which path is in `atd.publishing.sources.kinds`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, SchemaMismatch
from atd.publishing.sources import files, json_lines, kinds, objects, recipes
from atd.publishing.sources.bad import Bad, settle_bad
from atd.publishing.sources.fitting import fitting
from atd.publishing.sources.given import Given, silent
from atd.publishing.sources.source import Progress, Source, shown
from atd.publishing.sources.stripping import carries_images, stripped
from atd.schema.classes import schema_of
from atd.schema.fields import Schema

STDIN: Final = "-"
_NO_PATH: Final = "check the spelling; what can be published: atd publish --help, docs/sources.md"
_AS_IS: Final = (
    "images as they are, with the metadata (EXIF, places) that they may carry: "
    "--strip-metadata leaves it out"
)


def open_source(
    what: object,
    *,
    schema: type[Any] | Schema | None = None,
    strip_metadata: bool = False,
    decode_images: bool = False,
    skip_bad: bool = False,
    split: str = "train",
    progress: Progress | None = None,
) -> Source:
    """Open ``what`` to be published or packed.

    Args:
        what: a path or a pattern of paths (`str` or `os.PathLike`), ``"-"`` for JSON Lines on
            stdin; ``"hf://datasets/OWNER/NAME"``; ``"recipe:NAME"``, or what
            `atd.prepare_dataset` gave, or samples of that; an iterable of samples: dicts, dataclass
            instances, named tuples, or pairs (key, sample); a dict of arrays, or of iterables by
            split; a DataFrame of pandas or polars, an Arrow table, a data set of Hugging Face or
            of torch, or a dict of such tables by split.
        schema: what the samples fit, as a class or a schema; inferred where it is None.
        strip_metadata: take EXIF, XMP and comments out of images, without touching a pixel.
        decode_images: decode every image of a folder or an archive to see whether it is whole,
            where else the structure of its file is checked; see `atd.shards.soundness`.
        skip_bad: leave out files, rows and samples that cannot be published; `Source.left_out`
            names them.
        split: the split of samples that do not say theirs.
        progress: told how far the first pass over the data is.

    Raises:
        BadSource: the data cannot be read as samples; names the files and lines.
        SchemaMismatch: the data lack a field that ``schema`` needs.
    """
    split = files.split_name(split)
    wanted = schema if isinstance(schema, Schema) or schema is None else schema_of(schema)
    if recipes.is_recipe(what):
        source = recipes.open_recipe(what, split, progress or silent)
    elif isinstance(what, str | os.PathLike):
        path = os.fspath(what)
        told = progress or silent
        like = Given(Path(path), split, strip_metadata, skip_bad, told, decode_images)
        source = _open_path(path, like)
    else:
        source = objects.open_object(what, split, wanted, skip_bad=skip_bad)
    if wanted is not None:
        source = _with_schema(source, wanted)
    source = _with_images(source, strip_metadata)
    if skip_bad and not (source.exact and source.inferred):
        return fitting(source, progress or silent)
    return source


def _with_images(source: Source, strip_metadata: bool) -> Source:
    """``source`` with the metadata of its images taken out, or spoken of."""
    if source.looked_at or not carries_images(source):
        return source
    if source.packed is not None and not strip_metadata:
        return source  # nothing is left to be done about them
    if strip_metadata:
        return replace(stripped(source), exact=False)
    return replace(source, travels=(*source.travels, _AS_IS))


def _open_path(path: str, like: Given) -> Source:
    if path == STDIN:
        return json_lines.open_stdin(like.split, like.progress, skip_bad=like.skip_bad)
    given = Given.of(str(kinds.fetched(path, like.progress)), like)
    if not files.exists(given.path):
        raise BadSource(f"{shown(path)} does not exist", next_step=_NO_PATH)
    bad = Bad(f"{shown(one)} ({why})" for one, why in given.bad.items())
    try:
        lost = settle_bad(bad, "paths cannot be read", "correct or remove them", skip=like.skip_bad)
    except BadSource as error:
        raise _with_the_rest(error, given) from None
    source = kinds.kind_of(given).open(given)
    origin = path if "://" in path else source.origin
    return replace(source, origin=origin, skipped=(*lost, *source.skipped))


def _with_the_rest(error: BadSource, given: Given) -> BadSource:
    """``error``, of paths that cannot be read, and what is wrong with those that can be."""
    try:
        kinds.kind_of(given).open(given)
    except BadSource as rest:
        return BadSource(f"{error.message}; {rest.message}", next_step=error.next_step)
    return error


def _with_schema(source: Source, schema: Schema) -> Source:
    """``source`` with the user's schema in place of the inferred one."""
    if source.packed is not None and source.packed.refitted is not None:
        return replace(source, schema=schema, packed=source.packed.refitted(schema), inferred=False)
    if source.packed is not None:
        if source.schema.shape_digest() != schema.shape_digest():
            raise SchemaMismatch(
                f"the shards in {shown(source.origin)} were packed with another schema",
                next_step="pack them again with this schema, or publish them without one",
            )
        return source
    missing = [
        field.name for field in schema if not field.optional and field.name not in source.schema
    ]
    if missing:
        raise SchemaMismatch(
            f"the schema needs {', '.join(missing)}, but {shown(source.origin)} offers "
            f"{', '.join(source.schema.names)}",
            next_step="rename the fields, make them optional, or publish without a schema",
        )
    return replace(source, schema=schema, inferred=False)
