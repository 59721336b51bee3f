"""``atd pack``: shards in a folder, without publishing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from atd import publishing
from atd.cli import output
from atd.cli.options import EngineOption, JsonOption, WorkersOption
from atd.cli.progress import progress_line
from atd.cli.sourcewords import (
    DecodeOption,
    Order,
    OrderOption,
    Preview,
    PreviewOption,
    SchemaOption,
    ShardSizeOption,
    SkipBadOption,
    SourceArgument,
    SplitNameOption,
    StripOption,
    class_of,
    source_of,
)
from atd.cli.words import examples
from atd.names import check_split

_PACK = examples(
    "atd pack ./flowers -o ./flowers-shards",
    "atd preview ./flowers-shards",
    "atd publish ./flowers-shards --name flowers",
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("pack", epilog=_PACK)(pack)


def pack(
    path: SourceArgument,
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="The folder for the shards.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The data set's name, if it has one.")
    ] = None,
    split: SplitNameOption = "train",
    schema: SchemaOption = None,
    shard_size: ShardSizeOption = None,
    order: OrderOption = Order.HASH,
    strip_metadata: StripOption = False,
    decode_images: DecodeOption = False,
    skip_bad: SkipBadOption = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    preview: PreviewOption = Preview.FULL,
    json: JsonOption = False,
) -> None:
    """Write shards to a folder, without publishing.

    DIR gets the shards, an atd.json and a preview.json: atd.load("DIR") reads it, and so does
    atd publish.
    """
    source = source_of(path)
    skipped: list[str] = []
    with progress_line(quiet=json) as show:

        def told(event: Mapping[str, Any]) -> None:
            if event.get("step", {}).get("name") == publishing.LEFT_OUT:
                skipped.append(event["step"]["detail"])
            show(event)

        made = publishing.pack_folder(
            source,
            out,
            name=name,
            split=check_split(split),
            schema=class_of(schema),
            shard_size=shard_size,
            order=order and order.value,
            strip_metadata=strip_metadata,
            decode_images=decode_images,
            skip_bad=skip_bad,
            engine=engine,
            workers=workers,
            preview=(preview or Preview.FULL).value,
            on_progress=told,
        )
    if json:
        output.emit(
            {
                "folder": str(out),
                "shards": len(made.shards),
                "samples": made.samples,
                "bytes": made.size,
                "splits": {
                    name: sum(shard.samples for shard in shards)
                    for name, shards in made.splits.items()
                },
                **({"skipped": skipped} if skip_bad else {}),
            }
        )
        return
    output.say(
        f"{output.clean(out)}: {output.plural(len(made.shards), 'shard')}, "
        f"{output.plural(made.samples, 'sample')}, {output.human_bytes(made.size)}"
    )
