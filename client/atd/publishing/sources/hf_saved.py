"""Folders that ``save_to_disk`` of Hugging Face's ``datasets`` writes.

Belongs here: ``state.json``, which lists the Arrow files of one data set, and the folders of a
``DatasetDict``, which are its splits. Read with pyarrow; ``datasets`` is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Final

from atd.errors import BadSource
from atd.publishing.sources import files
from atd.publishing.sources.arrow_file import read
from atd.publishing.sources.arrow_tables import open_rows
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Source, shown
from atd.publishing.sources.tables import Readable

STATE: Final = "state.json"
DICT: Final = "dataset_dict.json"
_NEXT: Final = "save it again with save_to_disk"


def open_given(given: Given) -> Source:
    """The rows of a saved ``Dataset`` or ``DatasetDict``.

    Raises:
        BadSource: files are missing or are no Arrow files, or splits differ in their columns.
    """
    states = [one for one in given.found if one.name == STATE]
    several = PurePosixPath(DICT) in given.found
    splits: dict[str, list[Path]] = {}
    for state in states:
        called = state.parent.name if several else ""
        split = files.split_name(called) if called else files.split_of(state, given.split)
        splits.setdefault(split, []).extend(_listed(given.at(state)))
    full = {name: splits[name] for name in files.in_order(iter(splits)) if splits[name]}
    if not full:
        raise BadSource(f"{shown(given.path)} lists no Arrow files", next_step=_NEXT)
    found = Readable(full, read, skip=given.skip_bad)
    what = "saved Hugging Face data set"
    return open_rows(found, what, str(given.path), given.progress, skip_bad=given.skip_bad)


def _listed(state: Path) -> list[Path]:
    try:
        said = json.loads(files.read(state))
        names = [one["filename"] for one in said["_data_files"]]
        chosen = said.get("_indices_data_files")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadSource(f"{shown(state)} does not list the files of a data set") from None
    if chosen:
        raise BadSource(
            f"{shown(state)}: rows are chosen by a table of indices, which old versions wrote",
            next_step=_NEXT,
        )
    for name in names:
        if not isinstance(name, str) or PurePosixPath(name).name != name or name in ("", ".."):
            raise BadSource(f"{shown(state)}: expected the plain name of a file, found {name!a}")
    return [state.parent / name for name in names]
