"""Cards as files of the command line: drafts in an editor, the card as it was, README and its kin.

Belongs here: what ``atd edit`` reads and writes on this machine. A draft that was not taken stays,
and where it is is said; so does the card as it was before the last change.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd import cards
from atd.cli import output
from atd.cli.questions import confirm
from atd.disk import storing, write_whole
from atd.editing import Edited
from atd.errors import AtdError, BadSource, InvalidSyntax, NeedsConsent
from atd.settings import Settings

_EDITORS: Final = ("VISUAL", "EDITOR")
_FALLBACK: Final = "vi"


@dataclass(frozen=True)
class Draft:
    """What somebody made of a card in an editor: arguments of `atd.edit`, and the file."""

    words: dict[str, Any]
    path: Path


def from_folder(folder: Path) -> dict[str, Any]:
    """What README.md, CITATION.cff and LICENSE in ``folder`` say, as arguments of `atd.edit`.

    Raises:
        BadSource: there are none, or they say nothing.
    """
    found = cards.proposed(folder)
    for note in found.notes:
        output.note(output.clean(f"note: {note}"))
    if not found.fields:
        raise BadSource(
            f"nothing is said of the data in {str(folder)!a}",
            next_step="put a README.md, a CITATION.cff or a LICENSE there",
        )
    for name, said in found.fields.items():
        output.note(output.clean(f"{name} from {said.origin}"))
    return found.values


def from_file(path: Path, card: Edited) -> dict[str, Any]:
    """All of the card that a file says, as arguments of `atd.edit`.

    Raises:
        BadSource: it cannot be read.
        InvalidSyntax: it is not such a file.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(cards.MAX_DOCUMENT + 1)
        said = cards.parse(data.decode("utf-8"))
    except OSError as error:
        raise BadSource(f"cannot read {str(path)!a}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSource(f"{str(path)!a} is not UTF-8") from None
    return _words({key: card.before[key] for key in cards.FIELDS if key in card.before}, said)


def edited(card: Edited) -> Draft:
    """Have somebody edit the card; what cannot be understood leads back to the editor.

    Raises:
        NeedsConsent: nobody sits at a terminal.
        InvalidSyntax: it was given up; the draft stays, and is named.
    """
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise NeedsConsent(
            f"what of {card.name} is to be changed? Nobody can edit it: stdin is not a terminal",
            next_step="say it with options, such as --title, or with --file",
        )
    text = cards.render(card.name, card.before)
    before = cards.parse(text)
    path = folder() / f"{card.name}.draft-{os.getpid()}.md"
    write(path, text)
    while True:
        try:
            _run_editor(path)
            return Draft(_words(before, cards.parse(path.read_text("utf-8"))), path)
        except (InvalidSyntax, UnicodeDecodeError) as error:
            problem = error.message if isinstance(error, AtdError) else "it is not UTF-8"
            output.note(output.clean(f"atd: {problem}"))
            if not confirm("Edit it again?", without_terminal="the card was not changed"):
                raise InvalidSyntax(
                    f"the card was not changed: {problem}", next_step=_back(path)
                ) from None
            with contextlib.suppress(UnicodeDecodeError):
                write(path, cards.with_problem(path.read_text("utf-8"), problem))


@contextlib.contextmanager
def keeping(draft: Draft | None) -> Iterator[None]:
    """A draft goes when what is done with it went well; else it stays, and is named."""
    try:
        yield
    except BaseException:
        if draft is not None:
            output.note(output.clean(f"your draft is kept: {draft.path}"))
            output.note(output.clean(f"take it again with: {_back(draft.path)}"))
        raise
    if draft is not None:
        draft.path.unlink(missing_ok=True)


def keep_former(done: Edited) -> Path:
    """Put the card as it was before into a file of this machine; the one before that goes."""
    path = folder() / f"{done.name}.md"
    write(path, cards.render(done.name, done.before))
    return path


def folder() -> Path:
    """Where drafts and former cards are: a folder of their owner's alone."""
    place = Settings.load().state_dir / "cards"
    with storing(place):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place


def write(path: Path, text: str) -> None:
    """The whole file or none."""
    write_whole(path, text.encode())


def _words(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    to_set, clear = cards.changes(before, after)
    return {**to_set, "clear": clear}


def _back(path: Path) -> str:
    return f"atd edit {path.name.split('.draft-')[0]} --file {path}"


def _run_editor(path: Path) -> None:
    said = next((os.environ[name] for name in _EDITORS if os.environ.get(name)), _FALLBACK)
    try:
        command = [*shlex.split(said), str(path)]
        code = subprocess.run(command, check=False).returncode  # noqa: S603 — their own editor
    except (OSError, ValueError) as error:
        raise BadSource(
            f"cannot run the editor {said!a}: {error}",
            next_step="name one in $EDITOR, or say what is to change with options",
        ) from None
    if code:
        raise BadSource(
            f"the editor {said!a} ended with exit code {code}; the draft is {path}",
            next_step=_back(path),
        )
