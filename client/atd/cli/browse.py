"""``atd ls``, ``show``, ``preview``, ``schema show``: looking at what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

import atd
from atd import errors, service
from atd.cli import advice, finding, history, keep, output, schema_diff, schemas
from atd.cli.bar import asking
from atd.cli.options import CachedOption, JsonOption, PreviousKeyOption, RefArgument
from atd.cli.samples import describe_sample
from atd.cli.words import examples
from atd.refs import DatasetRef, parse_name, parse_ref

schema_app = typer.Typer(
    help="Look at what a sample of a data set is.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("ls", epilog=_LS)(ls)
    app.command("show", epilog=_SHOW)(show)
    finding.register(app)
    history.register(app)
    app.command("preview", epilog=_PREVIEW)(preview)
    schema_app.command("show", epilog=_SCHEMA)(schema_show)
    schemas.register(schema_app)
    schema_diff.register(schema_app)
    app.add_typer(schema_app, name="schema")


_LS = examples(
    "atd ls @alice.example.com     # asks her PDS, and proves every entry",
    "atd ls                        # what is known here, asking nobody",
    "atd ls --all                  # all of it, not the first 100",
    "atd ls @alice.example.com/flowers         # how much of each split is here",
    "atd ls @alice.example.com/flowers train   # and which shards",
    after="An entry that could not be proved or read is not listed, but named on stderr with the "
    "reason.",
)
_SHOW = examples(
    "atd show @alice.example.com/flowers",
    "atd show @alice.example.com/flowers@1.0.0",
    "atd show did:plc:ewvi7nxzyoun6zhxrhs64oiz/flowers --json",
    "atd show @alice.example.com/flowers --history   # what changed, when, by which commit",
    "atd show flowers                                # if only one of that name is known",
)
_PREVIEW = examples(
    "atd preview @alice.example.com/flowers",
    "atd preview @alice.example.com/flowers:test -n 2",
    "atd preview ./flowers-shards            # a folder made with atd pack",
)
_SCHEMA = examples("atd schema show @alice.example.com/flowers > flowers.py")


def ls(
    actor: Annotated[
        str | None,
        typer.Argument(
            metavar="@HANDLE|REF", help="A publisher, or a data set; all that is known if absent."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Argument(metavar="SPLIT", help="Of a data set, the shards of this split.")
    ] = None,
    cached: CachedOption = False,
    limit: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="How many at most, 1 to 1,000.")
    ] = 100,
    everything: Annotated[bool, typer.Option("--all", help="All, however many.")] = False,
    json: JsonOption = False,
) -> None:
    """List a publisher's data sets, or what is here of one data set.

    By publisher and name, each proved. Of a data set: of the release that was pulled, else of the
    latest.
    """
    if actor is not None and (split is not None or _is_dataset(actor)):
        keep.show_held(actor, split, json)
        return
    with advice.about(actor or ""), asking(actor or "the index", quiet=json):
        answer = _listing(actor, not cached, 1000 if everything else limit, everything)
    if json:
        output.emit(answer)
        return
    found = [service.DatasetInfo.from_json(value) for value in answer["datasets"]]
    nothing = "nothing is known here yet; look at a publisher with: atd ls @HANDLE"
    empty = nothing if actor is None else f"{actor} has no data sets"
    finding.table(found, empty=empty, here=True)
    if "cursor" in answer:
        output.note(f"these are the first {len(found):,}; see all with --all")
    for problem in answer["problems"]:
        reason = f"{output.clean(problem['uri'])}: {output.clean(problem['reason'])}"
        output.note(f"not listed: {reason}")


def _is_dataset(text: str) -> bool:
    """Whether it names a data set: with its publisher, or alone and not as a handle is written."""
    if "." not in text and parse_name(text) is not None:
        return True
    return "/" in text.removeprefix("at://") and isinstance(parse_ref(text), DatasetRef)


def _listing(actor: str | None, refresh: bool, limit: int, everything: bool) -> dict[str, Any]:
    """One page of a list, or all of them in one."""
    answer = dict(service.listing(actor, refresh=refresh, limit=limit))
    while everything and "cursor" in answer:
        cursor = answer.pop("cursor")
        following = service.listing(actor, refresh=False, limit=limit, cursor=cursor)
        answer["datasets"] = [*answer["datasets"], *following["datasets"]]
        if "cursor" in following:
            answer["cursor"] = following["cursor"]
    return answer


def show(
    ref: RefArgument,
    with_history: Annotated[
        bool, typer.Option("--history", help="What changed, when, by which commit.")
    ] = False,
    cached: CachedOption = False,
    allow_previous_key: PreviousKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Show one data set: card, schema, releases, shards, proofs."""
    ref = finding.settled(ref)
    if with_history:
        history.show(ref, cached=cached, json=json)
        return
    with advice.about(ref), asking(ref, quiet=json):
        detail = service.show(ref, refresh=not cached, allow_previous_key=allow_previous_key)
    if json:
        output.emit(detail.raw)
        return
    info = detail.info
    output.say(f"{output.clean(info.ref)}  {output.clean(info.title or '')}".rstrip())
    if info.description:
        # Indented: nothing that a publisher writes can pass for a line of ours.
        indented = output.clean_lines(info.description).replace("\n", "\n  ")
        output.say(f"\n  {indented}\n")
    card = detail.card
    output.fields(
        [
            ("uri", info.uri),
            ("cid", info.cid),
            ("licence", info.license),
            ("tags", ", ".join(info.tags)),
            ("tasks", ", ".join(card.get("tasks", ()))),
            ("creators", ", ".join(one["name"] for one in card.get("creators", ()))),
            ("citation", card.get("citation")),
            ("homepage", card.get("homepage")),
            ("agreement", card.get("agreement")),
            ("deprecated", info.raw.get("deprecated")),
            ("pds", detail.raw.get("pds")),
            ("preview", _stored_preview(detail.raw)),
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
    """Show the schema of a data set as a Python class.

    With --json, as the record has it.
    """
    ref = finding.settled(ref)
    with advice.about(ref), asking(ref, quiet=json):
        detail = service.show(ref, refresh=not cached)
    if detail.python is None:
        problem: dict[str, str] = next(iter(detail.raw["problems"]), {})
        reason = problem.get("reason", "its schema is not known")
        raise errors.rebuild(problem.get("error", "RecordAbsent"), reason)
    if json:
        output.emit(detail.raw["schema"])
    else:
        output.say(output.clean_lines(detail.python))


def preview(
    ref: Annotated[str, typer.Argument(metavar="REF", help="@HANDLE/NAME, or a folder of shards.")],
    count: Annotated[
        int, typer.Option("-n", min=1, max=100, metavar="COUNT", help="How many, 1 to 100.")
    ] = 5,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which split; the first if absent.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a few samples, in words.

    The shards that hold them are fetched, and verified. The samples that are stored with a release
    are shown without that by: atd stats REF --samples
    """
    ref = finding.settled_unless_folder(ref)
    with advice.about_folder(ref), asking(ref, quiet=json):
        dataset = atd.load(ref, split=split)
        rows = [describe_sample(sample) for sample in dataset.take(count)]
    if json:
        output.emit({"ref": ref, "samples": rows})
        return
    for number, row in enumerate(rows):
        output.say(f"sample {number} of {len(dataset):,}")
        output.fields(row.items(), indent="  ")


def _proof(proof: Mapping[str, Any]) -> str:
    if proof["state"] != "proved":
        return f"{proof['state']}: {proof.get('reason', 'no reason is known')}"
    handle = "handle proved both ways" if proof.get("handleProved") else "handle not proved"
    return f"proved by commit {proof.get('commit', '?')} (rev {proof.get('rev', '?')}), {handle}"


def _stored_preview(raw: Mapping[str, Any]) -> str | None:
    size = raw.get("release", {}).get("previewSize")
    return None if size is None else f"{output.human_bytes(size)}, shown by: atd stats"


def _releases(detail: service.DatasetDetail) -> None:
    if not detail.raw["releases"]:
        return
    output.say("\nreleases")
    called: dict[str, list[str]] = {}
    for alias, meant in detail.aliases.items():
        called.setdefault(meant, []).append(alias)
    for release in detail.raw["releases"]:
        amount = [
            output.plural(release[key], noun)
            for key, noun in (("samples", "sample"), ("shards", "shard"))
            if key in release
        ]
        size = [output.human_bytes(release["size"])] if "size" in release else []
        names = called.get(release["version"])
        shown = [f"({', '.join(names)})"] if names else []
        words = [release["version"], *shown, *amount, *size, release.get("createdAt", "")]
        output.say("  " + output.clean("  ".join(words)).rstrip())


def _splits(detail: service.DatasetDetail) -> None:
    splits = detail.raw.get("splits", ())
    if not splits:
        return
    release = detail.raw.get("release", {})
    output.say("\n" + output.clean(f"splits of {release['version']}" if release else "splits"))
    rows = [
        (
            output.clean(split["name"]),
            output.plural(split["samples"], "sample"),
            f"{output.plural(len(split['shards']), 'shard')} "
            f"({sum(1 for shard in split['shards'] if shard.get('stored'))} stored)",
            output.human_bytes(split["size"]),
        )
        for split in splits
    ]
    for line in output.columns(rows):
        output.say(f"  {line}")
