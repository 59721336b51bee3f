"""``atd publish``, ``atd pack``, ``atd unpublish``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from atd import publishing, service
from atd.cli import output
from atd.cli.options import JsonOption, YesOption
from atd.cli.progress import progress_line
from atd.errors import InvalidSyntax, NeedsConsent

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="A folder of images by class, a CSV or Parquet file, an .npz, or a packed folder.",
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option(metavar="MODULE:CLASS", help="What a sample is; inferred if absent."),
]
SplitNameOption = Annotated[
    str, typer.Option("--split", help="The split of samples that do not say theirs.")
]
StripOption = Annotated[
    bool, typer.Option("--strip-metadata", help="Take EXIF (places, cameras) out of images.")
]
ShardSizeOption = Annotated[
    int | None, typer.Option(min=1, metavar="BYTES", help="Bytes of a shard to aim at.")
]
OrderOption = Annotated[
    str | None,
    typer.Option(help="hash: an edit changes one shard; keep: the order of the source."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("publish")(publish)
    app.command("pack")(pack)
    app.command("unpublish")(unpublish)


def publish(
    path: SourceArgument,
    name: Annotated[str, typer.Option(help="The data set's name, such as flowers.")],
    to: Annotated[
        str | None, typer.Option(metavar="HANDLE", help="The account; the only one if absent.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(metavar="SPDX", help="The licence, such as CC-BY-4.0.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="A title for people.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is; Markdown.")] = None,
    citation: Annotated[str | None, typer.Option(help="How to cite it.")] = None,
    homepage: Annotated[str | None, typer.Option(metavar="URL", help="Where to read more.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="A word to find it by; may be repeated.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="What is new in this version.")] = None,
    split: SplitNameOption = "train",
    schema: SchemaOption = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="pds|DIR|s3://…|https://…", help="Where the shards go."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a folder or a bucket is served.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="The version; the next one if absent.")
    ] = None,
    shard_size: ShardSizeOption = None,
    order: OrderOption = None,
    strip_metadata: StripOption = False,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be published; write nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Publish PATH as the next release of a data set, signed; unchanged data writes nothing."""
    same: dict[str, Any] = {
        "name": name,
        "schema": _class(schema),
        "to": to,
        "license": license,
        "split": split,
        "store": store,
        "base_url": base_url,
        "version": version,
        "shard_size": shard_size,
        "order": order,
        "strip_metadata": strip_metadata,
    }
    with progress_line(quiet=json) as show:
        if dry_run:
            plan = publishing.plan(path, progress=show, **same)
            show.clear()
            output.emit(plan.to_json()) if json else _print_plan(plan)
            return
        card = {"citation": citation, "homepage": homepage}

        def agreed(plan: Any) -> bool:
            show.clear()
            return yes or _ask(plan)

        release = publishing.publish(
            path,
            title=title,
            description=description,
            tags=tag or (),
            card={key: value for key, value in card.items() if value is not None},
            notes=notes,
            confirm=agreed,
            progress=show,
            **same,
        )
    for warning in release.warnings:
        output.note(f"note: {output.clean(warning)}")
    if json:
        output.emit(release.raw)
    else:
        _print_release(release)


def pack(
    path: SourceArgument,
    out: Annotated[Path, typer.Option("-o", "--output", help="The folder for the shards.")],
    name: Annotated[str | None, typer.Option(help="The data set's name.")] = None,
    split: SplitNameOption = "train",
    schema: SchemaOption = None,
    shard_size: ShardSizeOption = None,
    order: OrderOption = None,
    strip_metadata: StripOption = False,
    json: JsonOption = False,
) -> None:
    """Write shards and atd.json to a folder without publishing; atd.load reads it."""
    with progress_line(quiet=json) as show:
        made = publishing.pack_folder(
            path,
            out,
            name=name,
            split=split,
            schema=_class(schema),
            shard_size=shard_size,
            order=order or "hash",
            strip_metadata=strip_metadata,
            progress=show.packing,
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
            }
        )
        return
    output.say(
        f"{output.clean(out)}: {output.plural(len(made.shards), 'shard')}, "
        f"{output.plural(made.samples, 'sample')}, {output.human_bytes(made.size)}"
    )


def unpublish(
    name: Annotated[str, typer.Argument(help="The data set's name.")],
    account: Annotated[
        str | None, typer.Option("--from", metavar="HANDLE", help="The account; the only one.")
    ] = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete the records of a data set. Copies that others made stay where they are."""
    if not yes:
        warning = (
            f"This deletes every record of {name}, in all versions. Copies that others made, and "
            "shards outside the PDS, stay where they are."
        )
        if not _confirmed(warning, f"Unpublish {name}?"):
            raise NeedsConsent(f"{name} was not unpublished")
    with progress_line(quiet=json) as show:
        result = service.unpublish(name, account=account, consent=True, on_progress=show)
    if json:
        output.emit(result)
        return
    output.say(f"{name}: {output.plural(len(result['records']), 'record')} deleted, proved absent")
    for place in result.get("kept", ()):
        output.say(f"  may stay: {output.clean(place)}")


def _class(reference: str | None) -> Any:
    """The class that ``module:Class`` names: the user's own code, from the user's own command."""
    if reference is None:
        return None
    module, colon, name = reference.partition(":")
    if not colon or not name:
        raise InvalidSyntax(f"expected MODULE:CLASS, got {reference!a}")
    sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidSyntax(f"cannot load {reference!a}: {error}") from None


def _ask(plan: Any) -> bool:
    """Say what a first publication means, and ask."""
    _print_plan(plan, to=output.note)
    warning = (
        "\nPublishing is public: anyone may find and copy this, and copies cannot be called back."
    )
    return _confirmed(warning, f"Publish {plan.name}?")


def _confirmed(warning: str, question: str) -> bool:
    if not sys.stdin.isatty():
        raise NeedsConsent(f"{warning.strip()} Nobody can be asked: stdin is not a terminal")
    output.note(warning)
    return typer.confirm(question, err=True)


def _print_plan(plan: Any, to: Any = output.say) -> None:
    to(f"{output.clean(plan.source)}: {output.clean(plan.origin)}")
    to("")
    to(output.clean_lines(plan.python).rstrip())
    to("")
    unknown = "not known before it is read"
    for split, count in plan.splits.items():
        to(f"split     {output.clean(split)}: {unknown if count is None else f'{count:,} samples'}")
    if plan.shards is not None:
        to(f"shards    about {plan.shards:,}, {output.human_bytes(plan.size or 0)}")
    to(f"store     {output.clean(plan.store)}")
    to(f"licence   {output.clean(plan.license or 'none given (add --license SPDX)')}")
    if plan.account:
        who = plan.account.get("handle") or plan.account.get("did")
        to(f"account   {output.clean(who)} at {output.clean(plan.account.get('pds', '?'))}")
    if plan.previous:
        to(f"previous  {output.clean(plan.previous['version'])} (schema change: {plan.step})")
    elif plan.first:
        to("previous  none: this is the first publication of the name")
    for item in plan.travels:
        to(f"travels   {output.clean(item)}")
    for warning in plan.warnings:
        to(f"note      {output.clean(warning)}")


def _print_release(release: Any) -> None:
    what = f"{output.clean(release.ref)} {output.clean(release.version)}"
    size = (
        f"{output.plural(release.shards, 'shard')}, {output.plural(release.samples, 'sample')}, "
        f"{output.human_bytes(release.bytes)}"
    )
    if release.unchanged:
        output.say(f"unchanged: {what} ({size}) is published already")
    else:
        sent = f"{release.new_shards} new, {output.human_bytes(release.uploaded_bytes)} uploaded"
        output.say(f"published {what}: {size} ({sent})")
    output.fields([("uri", release.uri), ("cid", release.cid)], indent="  ")
    if not release.unchanged:
        output.say("  read back with proof, from the handle to the last byte")
