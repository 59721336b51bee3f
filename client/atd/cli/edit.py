"""``atd edit``, ``deprecate``, ``tag``: what a data set says of itself, without its data."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from atd import editing
from atd.cli import cardfiles, output
from atd.cli.cardwords import AgreementOption, CreatorOption, TaskOption, creators_of, text_of
from atd.cli.options import AccountOption, JsonOption, YesOption
from atd.cli.progress import progress_line
from atd.cli.questions import must_agree
from atd.cli.words import examples
from atd.editing import Edited
from atd.errors import InvalidSyntax
from atd.names import check_url

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A data set of yours, also as @HANDLE/NAME.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would change; write nothing.")
]

_EDIT: Final = examples(
    "atd edit flowers                                  # in your editor",
    "atd edit flowers --title 'Alpine flowers' --tag alps --remove-tag flower",
    "atd edit flowers --license CC-BY-4.0 --clear homepage",
    "atd edit flowers --description @about.md --yes",
    "atd edit flowers --from ./flowers --dry-run       # README.md, CITATION.cff, LICENSE",
    after="The card as it was is kept in a file, which atd edit NAME --file takes again.",
)
_DEPRECATE: Final = examples(
    "atd deprecate flowers --reason 'Labels are wrong.' --use @alice.example.com/flowers2",
    "atd deprecate flowers --undo",
)
_TAG: Final = examples(
    "atd tag flowers 1.2.0 stable     # @alice.example.com/flowers@stable is 1.2.0",
    "atd tag flowers                  # which there are",
    "atd tag flowers --delete stable",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("edit", epilog=_EDIT)(edit)
    app.command("deprecate", epilog=_DEPRECATE)(deprecate)
    app.command("tag", epilog=_TAG)(tag)


def edit(
    name: NameArgument,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="A title for people.")] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT|@FILE", help="What it is; Markdown.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(metavar="SPDX", help="The licence, such as CC-BY-4.0.")
    ] = None,
    citation: Annotated[str | None, typer.Option(metavar="TEXT", help="How to cite it.")] = None,
    homepage: Annotated[str | None, typer.Option(metavar="URL", help="Where to read more.")] = None,
    agreement: AgreementOption = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="A tag to add; may be repeated.")
    ] = None,
    remove_tag: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="A tag that goes; may be repeated.")
    ] = None,
    task: TaskOption = None,
    creator: CreatorOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="A field that goes, such as tags.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take it from README, CITATION.cff, LICENSE."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take all of it from a file of atd edit.")
    ] = None,
    account: AccountOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Change the card of a data set without its data.

    Title, licence, tags, description …: there is no new release. Shows what changes, and asks.
    Without options it opens the card in your editor ($VISUAL, $EDITOR).
    """
    words: dict[str, Any] = {
        "title": title,
        "description": text_of(description),
        "license": license,
        "citation": citation,
        "homepage": homepage and check_url(homepage),
        "agreement": text_of(agreement),
        "add_tags": tag or (),
        "remove_tags": remove_tag or (),
        "tasks": task,
        "creators": creators_of(creator),
        "clear": clear or (),
    }
    given = {key: value for key, value in words.items() if value not in (None, ())}
    short, owner = editing.own(name, account)
    draft = None
    if file is not None and (given or folder is not None):
        raise InvalidSyntax("--file says all of the card: give it without other options")
    if folder is not None:
        given = {**cardfiles.from_folder(folder), **given}
    elif not given:
        card = editing.edit(short, account=owner, dry_run=True)
        if file is not None:
            given = cardfiles.from_file(file, card)
        else:
            draft = cardfiles.edited(card)
            given = {**draft.words, "base": card.cid}
    with cardfiles.keeping(draft):
        _carry_out(
            lambda **how: editing.edit(short, account=owner, **{**given, **how}),
            lambda done: f"edit {done.name} --file {cardfiles.keep_former(done)}",
            yes=yes,
            dry_run=dry_run,
            json=json,
        )


def deprecate(
    name: NameArgument,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why it should not be used any more.")
    ] = None,
    use: Annotated[
        str | None, typer.Option(metavar="REF", help="What to use instead: @HANDLE/NAME.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It may be used again.")] = False,
    account: AccountOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Say that a data set should no longer be used.

    Whoever lists, shows or loads it is told so, and why. It stays where it is.
    """
    _carry_out(
        lambda **how: editing.deprecate(name, reason, use=use, undo=undo, account=account, **how),
        _deprecate_back,
        yes=yes,
        dry_run=dry_run,
        json=json,
    )


def tag(
    name: NameArgument,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="A release, such as 1.2.0.")
    ] = None,
    word: Annotated[
        str | None, typer.Argument(metavar="TAG", help="What it is to be called, such as stable.")
    ] = None,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="TAG", help="Nothing is called so any more.")
    ] = None,
    account: AccountOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Give a release a name, which can be moved: @HANDLE/NAME@stable.

    Without VERSION it lists those that there are.
    """
    if version is not None and word is None:
        raise InvalidSyntax(
            f"what is {version} to be called?",
            next_step=f"atd tag {name} {version} TAG, with a word such as stable",
        )
    if delete is not None and version is not None:
        raise InvalidSyntax("a tag is either set or deleted", next_step="leave one out")
    called = delete or word
    if called is None:
        short, owner = editing.own(name, account)
        _list(editing.edit(short, account=owner, dry_run=True), json)
        return
    _carry_out(
        lambda **how: editing.tag(name, version, called, account=account, **how),
        lambda done: _tag_back(done, called),
        yes=yes,
        dry_run=dry_run,
        json=json,
    )


def _list(card: Edited, json: bool) -> None:
    aliases = {one["name"]: one["release"] for one in card.after.get("aliases", ())}
    if json:
        output.emit({"name": card.name, "did": card.did, "tags": aliases})
        return
    if not aliases:
        output.note(f"{card.name} has no tags; make one with: atd tag {card.name} VERSION TAG")
    for alias, release in aliases.items():
        version = release["uri"].rpartition(":")[2]
        output.say(output.clean(f"{alias}  {version}  {card.ref}@{alias}"))


def _carry_out(
    ask: Callable[..., Edited],
    back: Callable[[Edited], str],
    *,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Show what changes, ask whether to write it, write it, and say how to go back."""
    with progress_line("writing", quiet=json) as show:
        if yes and not dry_run:
            done = ask(on_progress=show)
        else:
            done = ask(dry_run=True)
            if done.changes and not dry_run:
                show.clear()
                _print_changes(done, output.note)
                untouched = f"{done.ref} was not changed"
                must_agree(f"Write this to {done.ref}?", untouched=untouched)
                done = ask(base=done.cid, on_progress=show)
    undo = back(done) if done.written else None
    if json:
        output.emit(done.raw)
        return
    if not done.changes:
        output.say(output.clean(f"unchanged: {done.ref} says this already"))
        return
    if dry_run or yes:
        _print_changes(done, output.say)
    if done.written:
        output.say(output.clean(f"changed: {done.ref}, read back with proof"))
        output.fields([("uri", done.uri), ("cid", done.cid)], indent="  ")
    if undo is not None:
        output.say(output.clean(f"  to go back: atd {undo}"))


def _deprecate_back(done: Edited) -> str:
    before = done.before.get("deprecated")
    how = "--undo" if before is None else f"--reason {shlex.quote(output.clean(before))}"
    return f"deprecate {done.name} {how}"


def _tag_back(done: Edited, called: str) -> str:
    before = {one["name"]: one["release"]["uri"] for one in done.before.get("aliases", ())}
    if called in before:
        return f"tag {done.name} {before[called].rpartition(':')[2]} {called}"
    return f"tag {done.name} --delete {called}"


def _print_changes(done: Edited, to: Callable[[str], None]) -> None:
    for change in done.changes:
        to(f"  {output.clean(change)}")
