"""A terminal with somebody at it: what is typed, what is seen, and Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

from cli.stage import TIMEOUT_S, Person

CTRL_C = "\x03"
CTRL_D = "\x04"


class Terminal:
    """``with Terminal(person, "login", …) as terminal``: a command, and the screen it runs on.

    Args:
        columns: how wide the screen is.
    """

    def __init__(self, person: Person, *arguments: str, columns: int = 80) -> None:
        self.seen = ""
        self._screen, self._inside = pty.openpty()
        fcntl.ioctl(self._inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "atd", *arguments],
            env=person.environ,
            stdin=self._inside,
            stdout=self._inside,
            stderr=self._inside,
            start_new_session=True,
            preexec_fn=_take_the_terminal,
        )
        os.close(self._inside)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` was seen."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} was not seen in {self.seen!r}"
            assert self._read(), f"it ended before {text!r} was seen: {self.seen!r}"

    def type(self, keys: str) -> None:
        """Press keys; a line ends with a newline."""
        os.write(self._screen, keys.encode())

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self._process.wait(TIMEOUT_S)

    @property
    def lines(self) -> list[str]:
        """What is left on the screen: of a line that was drawn over, the last drawing."""
        text = re.sub(r"\r+\n", "\n", self.seen)
        return [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]

    def _read(self) -> bool:
        """Read what is there; False at the end."""
        ready, _, _ = select.select([self._screen], [], [], TIMEOUT_S)
        piece = b""
        if ready:
            with contextlib.suppress(OSError):  # how Linux says that the other side was closed
                piece = os.read(self._screen, 65536)
        self.seen += piece.decode("utf-8", "replace")
        return bool(piece)


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
