"""``atd ls``, ``show``, ``search``, ``preview``, ``schema show``: looking at what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

import atd
from atd import service
from atd.cli import output
from atd.cli.options import CachedOption, JsonOption, PreviousKeyOption, RefArgument
from atd.cli.samples import describe_sample

schema_app = typer.Typer(
    help="Look at the schema of a data set.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ls")(ls)
    app.command("show")(show)
    app.command("search")(search)
    app.command("preview")(preview)
    schema_app.command("show")(schema_show)
    app.add_typer(schema_app, name="schema")


def ls(
    actor: Annotated[
        str | None,
        typer.Argument(metavar="[@HANDLE]", help="A publisher; all that are known if absent."),
    ] = None,
    cached: CachedOption = False,
    json: JsonOption = False,
) -> None:
    """List what a publisher has, each entry proved."""
    answer = service.listing(actor, refresh=not cached)
    if json:
        output.emit(answer)
        return
    found = [service.DatasetInfo.from_json(value) for value in answer["datasets"]]
    _list(found, empty=f"{actor or 'the index'} has no data sets")
    for problem in answer["problems"]:
        reason = f"{output.clean(problem['uri'])}: {output.clean(problem['reason'])}"
        output.note(f"not listed: {reason}")


def search(
    words: Annotated[list[str], typer.Argument(help="Words to find.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 25,
    json: JsonOption = False,
) -> None:
    """Search names, titles, descriptions, tags, licences and publishers that the daemon knows."""
    found = service.search(" ".join(words), limit=limit)
    if json:
        output.emit({"datasets": [info.raw for info in found]})
        return
    _list(found, empty="nothing found; the daemon knows what you listed: atd ls @HANDLE")


def show(
    ref: RefArgument,
    cached: CachedOption = False,
    allow_previous_key: PreviousKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Show card, schema, releases, shards and how each is proved."""
    detail = service.show(ref, refresh=not cached, allow_previous_key=allow_previous_key)
    if json:
        output.emit(detail.raw)
        return
    info = detail.info
    output.say(f"{output.clean(info.ref)}  {output.clean(info.title or '')}".rstrip())
    if info.description:
        output.say(f"\n{output.clean_lines(info.description)}\n")
    card = detail.card
    output.fields(
        [
            ("uri", info.uri),
            ("cid", info.cid),
            ("licence", info.license),
            ("tags", ", ".join(info.tags)),
            ("tasks", ", ".join(card.get("tasks", ()))),
            ("citation", card.get("citation")),
            ("homepage", card.get("homepage")),
            ("agreement", card.get("agreement")),
            ("deprecated", info.raw.get("deprecated")),
            ("pds", detail.raw.get("pds")),
            ("proof", _proof(detail.raw["proof"])),
        ]
    )
    _releases(detail)
    _splits(detail)
    if detail.python:
        output.say(f"\n{output.clean_lines(detail.python)}")
    for reason in detail.problems:
        output.note(f"problem: {output.clean(reason)}")


def schema_show(ref: RefArgument, cached: CachedOption = False, json: JsonOption = False) -> None:
    """Show the schema of a data set as a Python class, or as its record with --json."""
    detail = service.show(ref, refresh=not cached)
    if json:
        output.emit(detail.raw.get("schema", {}))
    else:
        output.say(output.clean_lines(detail.python or "no schema is known"))


def preview(
    ref: Annotated[str, typer.Argument(metavar="REF", help="@HANDLE/NAME or a folder of shards.")],
    count: Annotated[int, typer.Option("-n", min=1, max=100, help="How many samples.")] = 5,
    split: Annotated[str | None, typer.Option(help="Which split; the first if absent.")] = None,
    json: JsonOption = False,
) -> None:
    """Show a few samples, in words."""
    dataset = atd.load(ref, split=split)
    rows = [describe_sample(sample) for sample in dataset.take(count)]
    if json:
        output.emit({"ref": ref, "samples": rows})
        return
    for number, row in enumerate(rows):
        output.say(f"sample {number} of {len(dataset):,}")
        output.fields(row.items(), indent="  ")


def _list(found: list[service.DatasetInfo], *, empty: str) -> None:
    if not found:
        output.note(empty)
        return
    rows = [
        (
            info.ref,
            info.version or "-",
            "-" if info.samples is None else f"{info.samples:,}",
            "-" if info.size is None else output.human_bytes(info.size),
            info.license or "-",
            "deprecated" if info.raw.get("deprecated") else info.proof,
            info.title or "",
        )
        for info in found
    ]
    output.table(rows, ("dataset", "version", "samples", "size", "licence", "proof", "title"))


def _proof(proof: Mapping[str, Any]) -> str:
    if proof["state"] != "proved":
        return f"{proof['state']}: {proof.get('reason', 'no reason is known')}"
    handle = "handle proved both ways" if proof.get("handleProved") else "handle not proved"
    return f"proved by commit {proof.get('commit', '?')} (rev {proof.get('rev', '?')}), {handle}"


def _releases(detail: service.DatasetDetail) -> None:
    if not detail.raw["releases"]:
        return
    output.say("\nreleases")
    for release in detail.raw["releases"]:
        amount = [
            output.plural(release[key], noun)
            for key, noun in (("samples", "sample"), ("shards", "shard"))
            if key in release
        ]
        size = [output.human_bytes(release["size"])] if "size" in release else []
        words = [release["version"], *amount, *size, release.get("createdAt", "")]
        output.say("  " + output.clean("  ".join(words)).rstrip())


def _splits(detail: service.DatasetDetail) -> None:
    splits = detail.raw.get("splits", ())
    if not splits:
        return
    output.say("\nsplits")
    for split in splits:
        stored = sum(1 for shard in split["shards"] if shard.get("stored"))
        output.say(
            f"  {output.clean(split['name'])}  {output.plural(split['samples'], 'sample')}  "
            f"{output.plural(len(split['shards']), 'shard')} ({stored} stored)  "
            f"{output.human_bytes(split['size'])}"
        )
