"""Several files of tables as one source, and going on without those that cannot be read.

Belongs here: what every kind of table does about bad files. Whether a table that can be read has
the columns of the others is the business of its kind, and never a reason to leave it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from atd.errors import BadSource
from atd.publishing.sources.given import Given, silent
from atd.publishing.sources.source import Progress, Source, Tables, shown

OpenTables = Callable[[Tables, Progress], Source]


def open_files(given: Given, suffixes: Collection[str], open_tables: OpenTables) -> Source:
    """The tables of ``given``, or those that can be read, where the others are to be left out.

    Raises:
        BadSource: as ``open_tables``; or no table can be read.
    """
    tables = given.tables(suffixes)
    if not given.skip_bad or not given.is_folder:
        return open_tables(tables, given.progress)
    kept: dict[str, list[Path]] = {}
    skipped: list[str] = []
    for split, paths in tables.items():
        for path in paths:
            try:
                open_tables({split: [path]}, silent)
                kept.setdefault(split, []).append(path)
            except BadSource as error:
                skipped.append(f"{shown(path)} ({error.message})")
    if not kept:
        raise BadSource(f"{shown(given.path)} holds no table that can be read: {skipped[0]}")
    source = open_tables(kept, given.progress)
    return replace(source, skipped=(*skipped, *source.skipped))
