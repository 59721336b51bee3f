"""``atd prepare``, ``recipes``, ``new``, ``check`` and ``folder``: data sets made by recipes."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atd import service
from atd.cli import output
from atd.cli.finding import recipe_table
from atd.cli.options import JsonOption, YesOption
from atd.cli.preparing import agree, bars
from atd.cli.words import examples
from atd.errors import DaemonError, DigestMismatch, InvalidSyntax, Unreachable
from atd.recipes import agreements, catalogue, planning, prepare, scaffold
from atd.recipes.engine import Finding, Options
from atd.settings import Settings

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A recipe, also @HANDLE/NAME; NAME[KEY=VALUE] for a variant; or a file.",
    ),
]

_PREPARE = examples(
    "atd prepare com.lecun.mnist",
    "atd prepare 'org.example.letters[size=small]'   # a variant",
    "atd prepare @alice.example.com/mnist            # a recipe that alice published",
    "atd prepare ./letters.toml --yes                # a recipe file; agree beforehand",
    "atd prepare com.lecun.mnist --check             # hash every file",
    "atd prepare com.lecun.mnist --repair            # and fetch altered ones again",
    after="Prints one line of JSON with absolute paths. docs/recipes.md describes recipes.",
)
_RECIPES = examples("atd recipes", "atd recipes lecun mnist --json")
_NEW = examples("atd new org.example.letters", "atd new org.example.letters --to .")
_CHECK = examples(
    "atd check com.lecun.mnist",
    after="Exits 0 if every address answers; else with the code of Unreachable.",
)
_SET = examples("atd folder set imagenet /data/imagenet")
_LS = examples("atd folder ls --json")
_RM = examples("atd folder rm imagenet")
_SHOWN_RESOURCES: Final = 3

folders = typer.Typer(
    help="Data that recipes cannot fetch: where they are on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("prepare", epilog=_PREPARE)(run)
    app.command("recipes", epilog=_RECIPES)(recipes)
    app.command("new", epilog=_NEW)(new)
    app.command("check", epilog=_CHECK)(check)
    app.add_typer(folders, name="folder")


def run(
    name: NameArgument,
    no_downloads: Annotated[
        bool, typer.Option("--no-downloads", help="Fetch nothing: fail if something is missing.")
    ] = False,
    keep_downloads: Annotated[
        bool, typer.Option("--keep-downloads", help="Keep what was downloaded to be unpacked.")
    ] = False,
    encoder: Annotated[
        str,
        typer.Option("--encoder", metavar="normal|xpm", help="How the JSON writes a path."),
    ] = "normal",
    max_bytes: Annotated[
        int | None,
        typer.Option("--max-bytes", min=1, metavar="BYTES", help="How much disk it may take."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Hash what is there, and compare.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make again what is altered or missing.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Prepare a data set by its recipe, and say where it is."""
    if encoder not in prepare.ENCODERS:
        raise InvalidSyntax(
            f"expected an encoder ({', '.join(prepare.ENCODERS)}), found {encoder!a}"
        )
    settings = Settings.load()
    plan = planning.plan(name, settings)
    if check or repair:
        _say_findings(prepare.check(plan, settings, repair=repair), repair)
        if check and not repair:
            return
    for one in plan.everything():
        agree(one, settings, yes)
    options = Options(not no_downloads, keep_downloads, max_bytes=max_bytes)
    with bars() as show:
        made = prepare.run(plan, settings, options, show)
    value = made.to_value(prepare.ENCODERS[encoder])
    output.say(json_module.dumps(value))


def verify(name: str, *, repair: bool, json: bool) -> None:
    """Hash what a recipe prepared; with ``repair``, make again what is altered or missing.

    Raises:
        DigestMismatch: something is not as it was prepared, and is not to be repaired.
    """
    settings = Settings.load()
    plan = planning.plan(name, settings)
    findings = prepare.check(plan, settings, repair=repair)
    if json:
        rows = [
            {"resource": one.resource, "path": str(one.path), "state": one.state}
            for one in findings
        ]
        output.emit({"resources": rows})
    _say_findings(findings, repair)
    if repair and any(one.state != "right" for one in findings):
        for one in plan.everything():
            agree(one, settings, yes=False)
        with bars() as show:
            prepare.run(plan, settings, Options(), show)
        output.note("made again; all right")


def _say_findings(findings: list[Finding], repair: bool) -> None:
    """What is wrong, on stderr; an error unless it is being repaired."""
    bad = [one for one in findings if one.state != "right"]
    for one in bad:
        output.note(f"{one.state}: {output.clean(one.path)}")
    if bad and not repair:
        raise DigestMismatch(
            f"{len(bad)} of {output.plural(len(findings), 'resource')} not as prepared: "
            + ", ".join(one.resource for one in bad[:_SHOWN_RESOURCES]),
            next_step="make them again: atd prepare, with the same name or file, and --repair",
        )
    if not bad:
        output.note(f"{output.plural(len(findings), 'resource')}: all right")


def recipes(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="In the name or the title.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the recipes on this machine.

    With words, those that have all of them in their name or title; and the published ones that the
    daemon knows.
    """
    settings = Settings.load()
    found = catalogue.search(words or [], settings)
    others = _published(words, settings) if words else []
    if json:
        rows = [{"name": one.name, "title": one.title, "path": one.path} for one in found]
        output.emit({"recipes": rows, "published": others})
        return
    if found:
        output.table([(one.name, one.title) for one in found], ("name", "title"))
    if others:
        recipe_table(others)
    if not found and not others:
        output.note("no recipe has these words; see all with: atd recipes")


def _published(words: list[str], settings: Settings) -> list[Any]:
    """What the daemon finds; nothing where there never was one, which is no reason to start it."""
    if not settings.lock_file.exists():
        return []
    try:
        return list(service.recipes(" ".join(words))["recipes"])
    except DaemonError as error:
        output.note(f"published recipes were not searched: {output.clean(error.message)}")
        return []


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as org.example.letters.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Where; the folder of recipes.")
    ] = None,
) -> None:
    """Write a recipe to begin with.

    A file that exists stays as it is.
    """
    path = scaffold.write_recipe(name, to or catalogue.user_folder(Settings.load()))
    output.say(output.clean(path.absolute()))
    target = name if to is None else path
    output.note(f"edit it, then: atd prepare {output.clean(target)}")


def check(name: NameArgument, json: JsonOption = False) -> None:
    """Ask every address of a recipe, without downloading."""
    settings = Settings.load()
    found = []
    for answer in prepare.ask_all(planning.plan(name, settings), settings):
        found.append(answer)
        if not json:
            size = "" if answer.size is None else f"  {output.human_bytes(answer.size)}"
            output.say(f"{'FAIL' if answer.problem else 'ok  '}  {output.clean(answer.url)}{size}")
            if answer.problem:
                output.say(f"        {output.clean(answer.problem)}")
    if json:
        rows = [
            {"resource": one.resource, "url": one.url, "ok": not one.problem}
            | ({} if one.size is None else {"size": one.size})
            | ({"problem": one.problem} if one.problem else {})
            for one in found
        ]
        output.emit({"addresses": rows})
    bad = sum(1 for one in found if one.problem)
    if bad:
        raise Unreachable(f"{bad} of {len(found)} addresses did not answer as they should")


@folders.command("set", epilog=_SET)
def set_folder(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As the recipe names it.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder.")],
) -> None:
    """Say where the data are that a recipe calls KEY."""
    full = agreements.set_folder(key, path, Settings.load())
    output.say(f"{output.clean(key)}  {output.clean(full)}")


@folders.command("ls", epilog=_LS)
def list_folders(json: JsonOption = False) -> None:
    """List the data folders."""
    known = agreements.folders(Settings.load())
    if json:
        output.emit({"folders": known})
        return
    for key, path in sorted(known.items()):
        output.say(f"{output.clean(key)}  {output.clean(path)}")


@folders.command("rm", epilog=_RM)
def remove_folder(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As the recipe names it.")],
) -> None:
    """Forget a data folder; what is in it stays."""
    agreements.remove_folder(key, Settings.load())
    output.say(f"forgot {output.clean(key)}; the folder itself is untouched")
