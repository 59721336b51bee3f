"""``atd search``, the table of what was found, and what a name alone means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atd import service
from atd.cli import output
from atd.cli.options import JsonOption
from atd.cli.words import examples
from atd.connection import Param
from atd.errors import InvalidSyntax, RecordAbsent
from atd.refs import parse_name

_SIZE: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,3}))?\s?([KMGTP]?)B?", re.IGNORECASE)
_FACETS: Final = ("licenses", "tags", "tasks", "modalities", "publishers")
_SHOWN_VALUES: Final = 8
_NO_PROPERTIES: Final = frozenset({"sort", "facets"})

_Words = Annotated[
    list[str] | None, typer.Argument(metavar="WORD", help="Words, and search terms (tag:vision).")
]


def _option(flag: str, name: str, help: str) -> Any:
    return typer.Option(flag, metavar=name, help=f"{help}; may be repeated.")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("search", epilog=_SEARCH)(search)


_SEARCH = examples(
    "atd search handwritten digits --license CC0-1.0 --min-samples 10000",
    "atd search '\"optical recognition\" -synthetic'  # a phrase, and not that word",
    "atd search flow                                  # the last word may be a beginning",
    "atd search tag:vision field:image kind:uint8     # search terms",
    "atd search --publisher @alice --since 2026-01 --sort newest",
    "atd search '/^com[.]lecun[.]/' --facets           # a regular expression on the name",
    after="Finds what was listed, loaded or followed on this machine before: atd follow @HANDLE.",
)


def search(
    words: _Words = None,
    license: Annotated[
        list[str] | None, _option("--license", "SPDX", "The licence, one of several")
    ] = None,
    tag: Annotated[list[str] | None, _option("--tag", "WORD", "A tag")] = None,
    task: Annotated[list[str] | None, _option("--task", "TASK", "A task")] = None,
    modality: Annotated[
        list[str] | None,
        _option("--modality", "WHAT", "image, audio, video, text, array or tabular"),
    ] = None,
    field: Annotated[list[str] | None, _option("--field", "NAME", "A field of a sample")] = None,
    kind: Annotated[
        list[str] | None, _option("--kind", "KIND", "A kind of field or a dtype, such as uint8")
    ] = None,
    publisher: Annotated[
        list[str] | None,
        _option("--publisher", "@WHO", "A handle, a word of one, or a DID; one of several"),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Changed then or later: 2026-01, 7d …")
    ] = None,
    min_samples: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Samples of the latest release.")
    ] = None,
    max_samples: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The same, at most.")
    ] = None,
    min_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Such as 10GB.")] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="Such as 500MB.")] = None,
    sort: Annotated[
        str, typer.Option(metavar="ORDER", help="relevance, newest or name.")
    ] = "relevance",
    facets: Annotated[
        bool, typer.Option("--facets", help="Count by licence, tag, task, modality, publisher.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="How many at most, 1 to 1,000.")
    ] = 25,
    at: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Search what another daemon serves; unproved hints."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Search names, titles, tags, fields, licences, publishers.

    Descriptions and tasks too. All words must be found, among what the daemon knows: what you
    listed, loaded or follow.
    """
    filters: dict[str, Param] = {
        "licenses": license,
        "tags": tag,
        "tasks": task,
        "modalities": modality,
        "fields": field,
        "kinds": kind,
        "publishers": publisher,
        "since": since,
        "minSamples": min_samples,
        "maxSamples": max_samples,
        "minSize": None if min_size is None else parse_size(min_size),
        "maxSize": None if max_size is None else parse_size(max_size),
        "sort": sort,
        "facets": facets or None,
    }
    text = " ".join(words or ())
    answer = service.searching(text, filters, limit=limit, at=at)
    # Recipes have none of the properties that filters and search terms are about.
    if words and at is None and not any(filters[name] for name in filters.keys() - _NO_PROPERTIES):
        answer = {**answer, "recipes": service.recipes(text, limit=limit)["recipes"]}
    if json:
        output.emit(answer)
        return
    found = [service.DatasetInfo.from_json(value) for value in answer["datasets"]]
    others = answer.get("recipes", [])
    if found or not others:
        nothing = "nothing found; the daemon knows what you listed or follow: atd ls @HANDLE"
        table(found, empty=nothing)
    if others:
        output.say("\nrecipes, to be prepared with: atd prepare REF" if found else "recipes:")
        recipe_table(others)
    if "facets" in answer:
        _facets(answer["facets"])
    if at is not None and found:
        output.note(f"said by {output.clean(at)}, not proved here; prove one with: atd show REF")
    if "cursor" in answer:
        output.note(f"there may be more: --limit {limit}")


def settled(ref: str) -> str:
    """``ref``, or what it means where it is a name alone; says on stderr which one and why."""
    name = parse_name(ref)
    if name is None:
        return ref
    found = service.find_name(name)
    output.note(output.clean(f"{name.name} is {found.friendly}: {found.reason}"))
    return str(found.ref)


def settled_unless_folder(ref: str) -> str:
    """As `settled`, where ``ref`` may also be a folder: one that is there, or that is missing."""
    if Path(ref).exists():
        return ref
    try:
        return settled(ref)
    except RecordAbsent:
        return ref


def table(found: Sequence[service.DatasetInfo], *, empty: str, here: bool = False) -> None:
    """Print data sets, a line each, or ``empty`` on stderr where there are none.

    Args:
        here: say also how many shards of each are on this machine.
    """
    if not found:
        output.note(empty)
        return
    columns = {
        "dataset": [info.ref for info in found],
        "version": [info.version or "-" for info in found],
        "samples": ["-" if info.samples is None else f"{info.samples:,}" for info in found],
        "size": ["-" if info.size is None else output.human_bytes(info.size) for info in found],
        "here": [_here(info) for info in found] if here else [],
        "licence": [info.license or "-" for info in found],
        "proof": ["deprecated" if "deprecated" in info.raw else info.proof for info in found],
        "title": [info.title or "" for info in found],
    }
    shown = {name: values for name, values in columns.items() if values}
    output.table(list(zip(*shown.values(), strict=True)), tuple(shown))


def _here(info: service.DatasetInfo) -> str:
    """The shards that are on this machine, ``2/3``; with their version, if it is another."""
    here = info.raw.get("here")
    if here is None:
        return "-"
    total = f"{here['shards']:,}" if "shards" in here else "?"
    version = "" if here["version"] == info.version else f" of {here['version']}"
    return f"{here['stored']:,}/{total}{version}"


def recipe_table(found: Sequence[Mapping[str, Any]]) -> None:
    """Print published recipes, a line each."""
    rows = [
        (
            f"@{one['handle']}/{one['name']}" if "handle" in one else f"{one['did']}/{one['name']}",
            output.human_bytes(one["size"]),
            one.get("license", "-"),
            one["proof"]["state"],
            one.get("title", ""),
        )
        for one in found
    ]
    output.table(rows, ("recipe", "downloads", "licence", "proof", "title"))


def parse_size(text: str) -> int:
    """Bytes: ``1000``, ``500MB``, ``1.5 GB``; powers of 1,000, as sizes are shown.

    Raises:
        InvalidSyntax: it is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidSyntax(f"expected a size such as 500MB, got {output.clean(text)[:40]!r}")
    whole, part, unit = match.groups()
    scale: int = 1000 ** ("KMGTP".index(unit.upper()) + 1 if unit else 0)
    return int(whole) * scale + int((part or "").ljust(3, "0")) * scale // 1000


def _facets(facets: Mapping[str, Any]) -> None:
    count = facets["counted"]
    which = f"all {count:,} found" if facets["complete"] else f"the newest {count:,}, of more"
    output.say(f"\nof {which}")
    shown = []
    for name in _FACETS:
        values = facets[name][:_SHOWN_VALUES]
        more = ", …" if len(facets[name]) > _SHOWN_VALUES else ""
        shown.append((name, ", ".join(f"{v['value']} {v['count']:,}" for v in values) + more))
    output.fields(shown, indent="  ")
