"""Which reader takes what: the table that `atd.publishing.sources.opening` goes by.

Belongs here: `KINDS`, in the order in which they are tried, and the choice of one for a path. A new
kind is a module with ``open_given(given) -> Source`` and one line here; what users are told is
known comes from the same line. Readers are loaded when they are needed, and so are the libraries
behind them.

A file goes by the end of its name. A folder goes by a file that marks it, else by media that it
holds, else by its tables, which must then be of one kind.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from atd.errors import BadSource
from atd.publishing.sources.given import Given
from atd.publishing.sources.source import Progress, Source, shown

_ROOM: Final = "atd.publishing.sources"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of source.

    Args:
        words: what it is, for messages.
        module: the reader, in this package.
        files: ends of the names of files that it reads, alone or several in a folder.
        members: ends of names: a folder that holds such a file is of this kind.
        markers: file names: a folder that has one, or whose folders have, is of this kind.
        scheme: how its addresses begin, where it is not on this machine; the module has
            ``fetched(address, progress) -> Path`` and ``about(address) -> Path`` then, and what is
            there is of another kind.
        library: what the reader imports that may be missing, and ``extra``: what brings it.
    """

    words: str
    module: str
    files: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    scheme: str = ""
    library: str = ""
    extra: str = ""

    def open(self, given: Given) -> Source:
        """Read ``given``.

        Raises:
            BadSource: as the reader says, or a library is missing.
        """
        opener: Callable[[Given], Source] = door(self.module, self.library, self.extra).open_given
        return opener(given)


_IMAGES: Final = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_SOUNDS: Final = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus")
_MDS: Final = (".mds", *(f".mds.{z}" for z in ("gz", "zstd", "zst", "br", "bz2", "snappy")))
_ARROW: Final = (".arrow", ".feather", ".ipc")

KINDS: Final = (
    Kind("a folder of shards (atd.json)", "packed", markers=("atd.json",)),
    Kind("an MDS folder (index.json)", "mds", members=_MDS),
    Kind(
        "a folder that save_to_disk wrote",
        "hf_saved",
        markers=("dataset_dict.json", "state.json"),
        library="pyarrow",
        extra="arrow",
    ),
    Kind("a folder of images by class", "images", members=_IMAGES),
    Kind("a folder of sounds by class", "sounds", members=_SOUNDS),
    Kind("WebDataset shards (.tar)", "tars", (".tar",)),
    Kind("CSV (.csv, .tsv)", "csv_table", (".csv", ".tsv")),
    Kind("JSON Lines (.jsonl, .ndjson)", "json_lines", (".jsonl", ".ndjson")),
    Kind("Parquet (.parquet)", "parquet", (".parquet", ".pq"), library="pyarrow", extra="parquet"),
    Kind("Arrow (.arrow, .feather)", "arrow_file", _ARROW, library="pyarrow", extra="arrow"),
    Kind(
        "hf://datasets/OWNER/NAME",
        "hub",
        scheme="hf://",
        library="huggingface_hub",
        extra="hf",
    ),
    Kind("arrays (.npz, .npy, .safetensors)", "arrays", (".npz", ".npy", ".safetensors")),
)

KNOWN: Final = ", ".join(kind.words for kind in KINDS)
"""What is known, in words."""


def kind_of(given: Given) -> Kind:
    """The kind that ``given`` is of.

    Raises:
        BadSource: of none, or of several.
    """
    if not given.is_folder:
        name = given.path.name.lower()
        found = next((one for one in KINDS if one.files and name.endswith(one.files)), None)
        if found is None:
            raise BadSource(f"{shown(given.path)} is of no kind that is known here", next_step=GIVE)
        return found
    near = {one.name for one in given.found if len(one.parts) <= 2}
    for one in KINDS:
        if not near.isdisjoint(one.markers) or (one.members and given.ending(one.members)):
            return one
    several = [one for one in KINDS if one.files and given.ending(one.files)]
    if len(several) == 1:
        return several[0]
    if not several:
        what = "holds nothing that is known here" if given.found else "is empty"
        raise BadSource(f"{shown(given.path)} {what}", next_step=GIVE)
    said = "; ".join(f"{one.words}: {shown(given.ending(one.files)[0])}" for one in several)
    raise BadSource(
        f"{shown(given.path)} holds tables of several kinds: {said}",
        next_step="publish one of the files, or a folder with one kind of table",
    )


GIVE: Final = f"give {KNOWN}"


def fetched(address: str, progress: Progress) -> Path:
    """``address`` on this machine: itself, unless it is of a kind that has to be fetched.

    Raises:
        AtdError: as the kind's own module says.
    """
    for one in KINDS:
        if one.scheme and address.startswith(one.scheme):
            found: Path = door(one.module, one.library, one.extra).fetched(address, progress)
            return found
    return Path(address)


def about(address: str) -> Path | None:
    """A folder with what says what the data at ``address`` are; None: it is on this machine.

    Raises:
        AtdError: as the kind's own module says.
    """
    for one in KINDS:
        if one.scheme and address.startswith(one.scheme):
            found: Path = door(one.module, one.library, one.extra).about(address)
            return found
    return None


def door(module: str, library: str = "", extra: str = "") -> ModuleType:
    """A module of this package, loaded now.

    Raises:
        BadSource: it needs ``library``, which is not installed; names the extra.
    """
    try:
        return importlib.import_module(f"{_ROOM}.{module}")
    except ModuleNotFoundError as error:
        if not library or (error.name or "").partition(".")[0] != library:
            raise
        raise BadSource(
            f"reading this needs {library}, which is not installed",
            next_step=f"install it with: pip install 'atd-catalog[{extra}]'",
        ) from None
