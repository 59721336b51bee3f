"""Asking whoever sits at the terminal. Questions go to stderr: stdout is for the answer.

Only a person can answer: without a terminal at stdin a question is an error that says how to answer
beforehand, and so is the end of input. Ctrl-C at a question is an interrupt like any other.
"""

from __future__ import annotations

import getpass
import sys

from atd.cli import output
from atd.errors import LoginRefused, NeedsConsent

_YES = {"y", "yes"}
_NO = {"", "n", "no"}


def confirm(question: str, *, without_terminal: str) -> bool:
    """Ask a question whose answer is no unless it is yes.

    Args:
        without_terminal: what was not done, said where nobody can be asked.

    Raises:
        NeedsConsent: nobody can be asked.
    """
    if not _is_terminal():
        output.note(question)
        raise NeedsConsent(
            f"{without_terminal}: nobody can be asked, because stdin is not a terminal",
            next_step="read what it says, then pass --yes",
        )
    while True:
        sys.stderr.write(f"{output.clean(question)} [y/N] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        answer = line.strip().lower() if line else "no"
        if not line:
            output.note("")
        if answer in _YES | _NO:
            return answer in _YES


def must_agree(question: str, *, untouched: str) -> None:
    """Ask a question, and go on only if the answer is yes.

    Args:
        untouched: what was not done otherwise.

    Raises:
        NeedsConsent: the answer is no, or nobody can be asked.
    """
    if not confirm(question, without_terminal=untouched):
        raise NeedsConsent(f"{untouched}: you did not agree")


def app_password(handle: str, *, from_stdin: bool) -> str:
    """The app password of ``handle``: from the first line of stdin, or typed unseen.

    Raises:
        LoginRefused: nothing was given, or nobody can be asked.
    """
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif _is_terminal():
        try:
            password = getpass.getpass(f"App password of {output.clean(handle)}: ", sys.stderr)
        except EOFError:
            output.note("")
            password = ""
    else:
        raise LoginRefused(
            "a password is needed, and nobody can be asked, because stdin is not a terminal",
            next_step=f"pass it with: atd login {handle} --password-stdin < FILE",
        )
    if not password:
        raise LoginRefused(
            "expected an app password, got nothing",
            next_step="make one in the settings of the account; it is not the main password",
        )
    return password


def _is_terminal() -> bool:
    """Whether somebody can read a question and answer it."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None for stream in streams) and sys.stdin.isatty()
