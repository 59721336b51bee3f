"""Arrow tables as sources, wherever they come from: Parquet, IPC files, DataFrames, HF data sets.

Belongs here: several tables as one source, whose types are in `atd.publishing.sources.arrow_types`,
rows in `atd.publishing.sources.arrow_rows`, and what is wrong with them in
`atd.publishing.sources.arrow_survey`.

Rules. Every row is read once before anything is published. All tables have the same columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from atd.errors import BadSource
from atd.publishing.sources.arrow_rows import Rows, samples
from atd.publishing.sources.arrow_survey import Survey, survey
from atd.publishing.sources.arrow_types import fields_of
from atd.publishing.sources.bad import Bad, one_shape
from atd.publishing.sources.source import Progress, Source, SplitSource, Tables, shown
from atd.publishing.sources.tables import Readable, origin_of
from atd.schema.fields import Schema


def open_row_files(
    paths: Tables, kind: str, read: Callable[[Path], Rows], progress: Progress, *, skip_bad: bool
) -> Source:
    """The rows of files: those of each split, in order; see `open_rows`.

    Args:
        kind: what one of them is called, such as "Parquet table".
        read: opens one of them.
    """
    found = Readable(paths, read, skip=skip_bad)
    count = len(found.tables)
    what = kind if count == 1 else f"{count} {kind}s"
    return open_rows(found, what, origin_of(paths), progress, skip_bad=skip_bad)


def open_rows(
    found: Readable[Rows], what: str, origin: str, progress: Progress, *, skip_bad: bool
) -> Source:
    """The rows of tables: those of each split, in order.

    Args:
        what: the kind of source in words; ``origin``: where it is.
        skip_bad: leave out rows that cannot be published.

    Raises:
        BadSource: columns of different types or of one name, a type without a kind, no rows, or
            rows that cannot be published.
    """
    tables = found.tables
    one_shape(
        [(shown(table.where), _columns(table.schema)) for table in tables],
        "columns or types",
        "write all files of a data set with one schema",
    )
    first = tables[0]
    twice = [name for name, many in Counter(first.schema.names).items() if many > 1]
    if twice:
        raise BadSource(f"{shown(first.where)} has several columns {shown(twice[0])}")
    fields = fields_of(first.schema, first.where)
    seen = {
        split: [survey(table, fields, progress) for table in several]
        for split, several in found.splits.items()
    }
    good = {split: several for split, several in seen.items() if any(one.kept for one in several)}
    bad = sum((one.bad for several in seen.values() for one in several), Bad())
    skipped = found.settle(bad + Bad(_without_rows(seen) if good else ()), kept=bool(good))
    if not good:
        raise BadSource(f"{shown(origin)}: no rows that can be published")
    nulls = set[str]().union(*(one.nulls for several in good.values() for one in several))
    titles = dict(zip((one.name for one in fields), first.schema.names, strict=True))
    return Source(
        what=what,
        origin=origin,
        schema=Schema(tuple(replace(one, nullable=titles[one.name] in nulls) for one in fields)),
        splits={
            split: SplitSource(
                partial(samples, [(one.table, one.left) for one in several], titles),
                count=sum(one.kept for one in several),
            )
            for split, several in good.items()
        },
        skipped=skipped,
        travels=(f"every cell of {len(fields)} columns: {', '.join(map(shown, titles.values()))}",),
    )


def _columns(schema: Any) -> str:
    return ", ".join(f"{shown(one.name)} {one.type}" for one in schema)


def _without_rows(seen: Mapping[str, Sequence[Survey]]) -> Iterator[str]:
    """The tables of splits that would be empty."""
    for split, several in seen.items():
        if not any(one.kept or one.bad for one in several):
            for one in several:
                yield f"{shown(one.table.where)} has no rows, and so has the split {split}"
