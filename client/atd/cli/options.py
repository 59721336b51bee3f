"""Arguments and options that several commands share, spelt once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Agree without being asked.")]
SplitOption = Annotated[
    list[str] | None,
    typer.Option("--split", metavar="NAME", help="Only this split; may be repeated."),
]
ShardOption = Annotated[
    list[int] | None,
    typer.Option(
        "--shard", min=0, metavar="N", help="Only this shard of the split, from 0; may be repeated."
    ),
]
LockOption = Annotated[
    Path | None,
    typer.Option("--lock", metavar="FILE", help="Take what this lockfile pins, and nothing else."),
]
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
