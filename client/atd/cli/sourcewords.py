"""Words of a source on the command line: options that publishing and packing share.

Belongs here: what a source is and how it becomes samples and shards, and what PATH and MODULE:CLASS
name.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from atd.cli import output
from atd.cli.own_code import OWN_CODE, own
from atd.recipes.publishing import SCHEME


class Order(StrEnum):
    """In which order samples go into shards."""

    HASH = "hash"
    KEEP = "keep"


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A file, a folder or a pattern of them; - for JSON Lines on stdin; MODULE:FUNCTION "
        "for your own code.",
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CLASS", help="What a sample is; inferred if absent."),
]
SplitNameOption = Annotated[
    str,
    typer.Option("--split", metavar="NAME", help="The split of samples that do not say theirs."),
]
StripOption = Annotated[
    bool, typer.Option("--strip-metadata", help="Take EXIF (places, cameras) out of images.")
]
DecodeOption = Annotated[
    bool,
    typer.Option(
        "--decode-images", help="Decode each image; else its file's structure is checked."
    ),
]
SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out what cannot be published; names each.")
]


class Preview(StrEnum):
    """What is stored beside the shards, to be looked at without them."""

    FULL = "full"
    STATISTICS = "statistics"
    NONE = "none"


PreviewOption = Annotated[
    Preview | None,
    typer.Option(
        metavar="full|statistics|none",
        help="What to store beside the shards; full has a few samples, too.",
    ),
]
ShardSizeOption = Annotated[
    int | None,
    typer.Option(min=65536, metavar="BYTES", help="Bytes of a shard to aim at, 65536 or more."),
]
OrderOption = Annotated[
    Order | None,
    typer.Option(
        metavar="hash|keep",
        help="hash: an edit changes one shard; keep: the order of the source.",
    ),
]


def class_of(reference: str | None) -> Any:
    """The class that ``module:Class`` names."""
    return None if reference is None else own(reference, "MODULE:CLASS", "Flower")


def source_of(path: str) -> Any:
    """What PATH says: itself, or what the user's function gives where it is MODULE:FUNCTION.

    Only here, never in the library: a path that a program was given must not become code.
    """
    if path.startswith(SCHEME) or not OWN_CODE.fullmatch(path) or Path(path).exists():
        return path
    output.note(f"{path}: running your own code, from this folder")
    return own(path, "MODULE:FUNCTION", "samples", call=True)
