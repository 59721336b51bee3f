"""``atd publish``: what is asked, shown and said of a publication."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from atd import publishing
from atd.cli import output
from atd.cli.cardwords import (
    AgreementOption,
    CreatorOption,
    NoCardFilesOption,
    TaskOption,
    creators_of,
    given,
    text_of,
)
from atd.cli.changes import print_changes, print_way_back
from atd.cli.options import AccountOption, EngineOption, JsonOption, WorkersOption, YesOption
from atd.cli.plan import print_plan
from atd.cli.progress import progress_line
from atd.cli.questions import confirm
from atd.cli.sourcewords import (
    DecodeOption,
    OrderOption,
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
from atd.errors import InvalidSyntax
from atd.names import check_name, check_split, check_url, check_version
from atd.recipes import publishing as recipes
from atd.refs import parse_authority
from atd.settings import Settings

_PUBLISH = examples(
    "atd publish ./flowers --name flowers --license CC-BY-4.0",
    "atd publish ./flowers --name flowers --dry-run      # only show what would happen",
    "atd publish table.csv --name table --title 'My table' --tag weather --tag hourly",
    "atd publish './shards/train-*.tar' --name flowers   # WebDataset, as it is",
    "atd publish ./new-flowers --name flowers --append   # only what is new",
    "atd publish ./flowers --name flowers --store s3://bucket/data",
    "atd publish recipe:com.lecun.mnist --name mnist     # what a recipe prepares",
    after="Interrupted? The same command again goes on where it was.",
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("publish", epilog=_PUBLISH)(publish)


def publish(
    path: SourceArgument,
    name: Annotated[str, typer.Option(metavar="NAME", help="Its name, such as flowers.")],
    to: AccountOption = None,
    license: Annotated[
        str | None, typer.Option(metavar="SPDX", help="The licence, such as CC-BY-4.0.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="A title for people.")] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT|@FILE", help="What it is; Markdown.")
    ] = None,
    citation: Annotated[str | None, typer.Option(metavar="TEXT", help="How to cite it.")] = None,
    homepage: Annotated[str | None, typer.Option(metavar="URL", help="Where to read more.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD", help="A word to find it by; may be repeated."),
    ] = None,
    task: TaskOption = None,
    creator: CreatorOption = None,
    agreement: AgreementOption = None,
    no_card_files: NoCardFilesOption = False,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="What prepares the data; goes with the release."),
    ] = None,
    notes: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What is new in this version.")
    ] = None,
    split: SplitNameOption = "train",
    schema: SchemaOption = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Where the shards go: pds, a folder, s3://… or https://…"
        ),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a folder or a bucket is served.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Such as 1.2.0; the next one if absent.")
    ] = None,
    force_version: Annotated[
        bool,
        typer.Option("--force-version", help="Take VERSION although more changed than it says."),
    ] = False,
    append: Annotated[
        bool,
        typer.Option("--append", help="PATH holds only what is new; all that is published stays."),
    ] = False,
    shard_size: ShardSizeOption = None,
    order: OrderOption = None,
    strip_metadata: StripOption = False,
    decode_images: DecodeOption = False,
    skip_bad: SkipBadOption = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    preview: PreviewOption = None,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be published; write nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Publish PATH as a data set, or as its next release.

    Packs it into shards, puts them in place, writes signed records, and reads everything back with
    proof. Unchanged data writes nothing; changed data sends only the shards that are new, and says
    what changed. What was said about the data set before (title, licence …) stays, unless an option
    says it anew, or a README.md, CITATION.cff or LICENSE beside the data does.
    """
    _check(name, to, split, version, homepage, store)
    card = given(
        citation=citation,
        homepage=homepage,
        agreement=text_of(agreement),
        tasks=task or None,
        creators=creators_of(creator),
    )
    same: dict[str, Any] = {
        "name": name,
        "schema": class_of(schema),
        "to": to,
        "title": title,
        "description": text_of(description),
        "license": license,
        "tags": tag or (),
        "card": card,
        "card_files": not no_card_files,
        "split": split,
        "store": store,
        "base_url": base_url,
        "version": version,
        "force_version": force_version,
        "append": append,
        "shard_size": shard_size,
        "order": order and order.value,
        "strip_metadata": strip_metadata,
        "decode_images": decode_images,
        "skip_bad": skip_bad,
        "preview": preview and preview.value,
    }
    source = source_of(path)
    made_by = None if recipe is None else recipes.publishable(recipe, Settings.load())
    with progress_line("uploading", quiet=json) as show:
        if dry_run:
            plan = publishing.plan(source, engine=engine, on_progress=show, **same)
            show.clear()
            output.emit(plan.to_json()) if json else print_plan(plan)
            return

        def agreed(plan: Any) -> bool:
            show.clear()
            return yes or _ask(plan)

        release = publishing.publish(
            source,
            notes=notes,
            engine=engine,
            workers=workers,
            recipe=made_by,
            confirm=agreed,
            on_progress=show,
            **same,
        )
    for warning in release.warnings:
        output.note(f"note: {output.clean(warning)}")
    if json:
        output.emit({**release.raw, "warnings": list(release.warnings)})
    else:
        _print_release(release)


def _check(
    name: str,
    to: str | None,
    split: str,
    version: str | None,
    homepage: str | None,
    store: str | None,
) -> None:
    """Whatever can be seen to be wrong before an hour of packing."""
    check_name(name)
    check_split(split)
    if to is not None:
        parse_authority(to)
    if version is not None:
        check_version(version)
    if homepage is not None:
        check_url(homepage)
    scheme, colon, _ = (store or "").partition("://")
    if colon and scheme not in ("s3", "http", "https"):
        raise InvalidSyntax(
            f"shards cannot go to {store!a}",
            next_step="give --store pds, a folder, s3://BUCKET/PREFIX or https://HOST/PATH/",
        )


def _ask(plan: Any) -> bool:
    """Say what a first publication means, or what a release takes away, and ask."""
    if plan.changes is not None:
        print_changes(plan.changes, to=output.note)
        before = output.clean(plan.changes.before)
        output.note(
            f"\n{before} stays loadable by its version; whoever asks for the latest gets this."
        )
        stays = f"{plan.name} stays at {before}"
        return confirm(f"Publish this as the next {plan.name}?", without_terminal=stays)
    print_plan(plan, to=output.note)
    output.note(
        "\nPublishing is public: anyone may find and copy this, and copies cannot be called back."
    )
    return confirm(
        f"Publish {plan.name}?", without_terminal=f"nothing is published under {plan.name} yet"
    )


def _print_release(release: Any) -> None:
    what = f"{output.clean(release.ref)} {output.clean(release.version)}"
    size = (
        f"{output.plural(release.shards, 'shard')}, {output.plural(release.samples, 'sample')}, "
        f"{output.human_bytes(release.bytes)}"
    )
    if not release.unchanged:
        sent = f"{release.new_shards} new, {output.human_bytes(release.uploaded_bytes)} uploaded"
        output.say(f"published {what}: {size} ({sent})")
    elif release.raw.get("cardChanged"):
        output.say(f"card updated: {what}; its data ({size}) is unchanged")
    else:
        output.say(f"unchanged: {what} ({size}) is published already")
    if release.changes is not None:
        print_changes(release.changes, lambda line: output.say(f"  {line}"))
    output.fields([("uri", release.uri), ("cid", release.cid)], indent="  ")
    if not release.unchanged:
        output.say("  read back with proof, from the handle to the last byte")
    print_way_back(release)
