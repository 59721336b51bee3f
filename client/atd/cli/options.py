"""Arguments and options that several commands share, spelt once, and what their values mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import typer

RefArgument = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="A data set: @HANDLE/NAME, did:…/NAME or at://…; also with @VERSION."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, nothing else.")
]
PreviousKeyOption = Annotated[
    bool,
    typer.Option(
        "--allow-previous-key", help="Accept records signed by an earlier key of the publisher."
    ),
]
AccountOption = Annotated[
    str | None, typer.Option(metavar="HANDLE", help="The account; the only one if absent.")
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="HANDLE", help="The account; the only one if absent."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Agree without being asked.")]
SplitOption = Annotated[
    list[str] | None,
    typer.Option("--split", metavar="NAME", help="Only this split; may be repeated."),
]
ShardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shard",
        metavar="N",
        help="Only this shard of the split, from 0; also 0,2 or 0-9; may be repeated.",
    ),
]
LockOption = Annotated[
    Path | None,
    typer.Option("--lock", metavar="FILE", help="Take what this lockfile pins, and nothing else."),
]
MAX_NUMBERS: Final = 100_000
"""How many shards one command can name by their numbers."""
_NUMBERS: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def shard_numbers(given: list[str] | None) -> list[int] | None:
    """The numbers that ``--shard`` names: ``3``, ``0,2``, ``0-9``; None: it was not given."""
    if not given:
        return None
    numbers: set[int] = set()
    for part in ",".join(given).split(","):
        found = _NUMBERS.fullmatch(part.strip())
        if found is None:
            raise typer.BadParameter(f"expected --shard as 3, 0,2 or 0-9, got {part!a}")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= MAX_NUMBERS:
            raise typer.BadParameter(f"expected at most {MAX_NUMBERS:,} shards, got {part!a}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


CachedOption = Annotated[
    bool, typer.Option("--cached", help="Answer from the index where it is fresh (5 minutes).")
]

EngineOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[=ADDRESS]",
        help="Who does the work: local (processes; so if absent), dask, ray.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, max=4096, metavar="N", help="How many at a time; 1 starts no process."),
]
