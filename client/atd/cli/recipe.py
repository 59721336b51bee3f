"""``atd recipe``: recipes published, shown and taken back; their sizes and hashes filled in."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

from atd.cli import output
from atd.cli.options import AccountOption, FromOption, JsonOption, YesOption
from atd.cli.preparing import bars, show_plan
from atd.cli.progress import progress_line
from atd.cli.questions import must_agree
from atd.cli.words import examples
from atd.names import check_name
from atd.recipes import planning, publishing, sealing
from atd.recipes.values import to_value
from atd.settings import Settings

WhatArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A recipe of this machine, or a file.")
]

_PUBLISH = examples(
    "atd recipe publish ./letters.toml",
    "atd recipe publish com.lecun.mnist --to alice.example.com",
    "atd recipe publish ./letters.toml --dry-run     # only show what would happen",
    after="Others then say: atd prepare @HANDLE/NAME",
)
_UNPUBLISH = examples("atd recipe unpublish org.example.letters")
_SEAL = examples(
    "atd recipe seal ./letters.toml",
    after="Downloads what does not say its size and sha-256, and writes them into the file.",
)
_SHOW = examples("atd recipe show com.lecun.mnist", "atd recipe show @alice.example.com/mnist")

app = typer.Typer(
    help="Publish recipes, and look at those of others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("publish", epilog=_PUBLISH)
def publish(
    what: WhatArgument,
    to: AccountOption = None,
    yes: YesOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be published; write nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Publish a recipe, or what changed in it.

    It holds no code, and every download in it says its size and sha-256.
    """
    settings = Settings.load()
    recipe = publishing.publishable(what, settings)
    with progress_line("publishing", quiet=json) as show:
        plan = publishing.put(recipe, to, dry_run=True, on_progress=show)
        show.clear()
        if plan["first"] and not dry_run and not yes:
            _ask(recipe, plan, settings)
        said = plan
        if not dry_run and not plan["unchanged"]:
            said = publishing.put(recipe, to, consent=True, on_progress=show)
    if json:
        output.emit(said)
        return
    if dry_run and not said["unchanged"]:
        show_plan(planning.plan(recipe, settings), settings, to=output.say)
    _print_published(said, dry_run)


@app.command("unpublish", epilog=_UNPUBLISH)
def unpublish(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The recipe's name.")],
    account: FromOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a published recipe.

    Recipes that releases carry stay with them, and so do copies that others made.
    """
    check_name(name)
    if not yes:
        output.note("Copies that others made stay where they are.")
        what = f"the recipe {name}"
        must_agree(f"Unpublish {what}?", untouched=f"{what} was not unpublished")
    with progress_line("deleting", quiet=json) as show:
        gone = publishing.remove(name, account, consent=True, on_progress=show)
    output.emit(gone) if json else output.say(f"{output.clean(gone['uri'])} deleted, proved absent")


@app.command("seal", epilog=_SEAL)
def seal(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recipe in TOML or JSON.")],
    json: JsonOption = False,
) -> None:
    """Fill in the sizes and hashes that a recipe lacks.

    Everything that lacks them is downloaded once. What the file says already stays as it is.
    """
    with bars() as show:
        filled = sealing.seal(file, Settings.load(), show)
    if json:
        output.emit({"sealed": {name: {"size": s, "sha256": h} for name, (s, h) in filled.items()}})
        return
    for name, (size, digest) in filled.items():
        output.say(f"{output.clean(name)}  {output.human_bytes(size)}  {digest}")
    if not filled:
        output.note("every download says its size and sha-256 already")


@app.command("show", epilog=_SHOW)
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME|REF|FILE", help="A recipe, also @HANDLE/NAME.")
    ],
    json: JsonOption = False,
) -> None:
    """Show what a recipe would do, without doing it."""
    settings = Settings.load()
    plan = planning.plan(name, settings)
    if not json:
        for one in plan.everything():
            show_plan(one, settings, to=output.say)
        return
    value: dict[str, Any] = {"recipe": to_value(plan.recipe), "hosts": plan.hosts(settings)}
    if plan.origin is not None:
        value |= {"uri": plan.origin.uri, "cid": plan.origin.cid, "did": plan.origin.did}
    output.say(json_module.dumps(value))


def _ask(recipe: Any, plan: Any, settings: Settings) -> None:
    """Say what a first publication means, and ask."""
    show_plan(planning.plan(recipe, settings), settings, to=output.note)
    output.note(f"  as        {output.clean(plan['uri'])}")
    output.note(
        "\nPublishing is public: anyone may find and copy this, and copies cannot be called back."
    )
    what = f"the recipe {recipe.name}"
    must_agree(f"Publish {what}?", untouched=f"{what} is not published")


def _print_published(said: Any, dry_run: bool) -> None:
    handle = said.get("handle")
    where = output.clean(f"@{handle}/{said['name']}" if handle else said["uri"])
    if said["unchanged"]:
        output.say(f"unchanged: {where} is published already")
    elif dry_run:
        output.say(f"would {'publish' if said['first'] else 'update'} {where}")
    else:
        output.say(f"published {where}")
    rows = [(key, said[key]) for key in ("uri", "cid") if key in said]
    output.fields(rows, indent="  ")
    if not dry_run and not said["unchanged"]:
        output.say(f"  read back with proof; others say: atd prepare {where}")
