"""People at their terminals: every test runs the real ``atd`` command as one of them.

Each has a home, and so a daemon, of their own. Names resolve in a DNS zone on loopback; whoever
publishes does so from the embedded host, behind a `cli.front.Front` that can misbehave.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atd.errors import AtdError, BadSettings
from atd.settings import Settings
from atd_daemon import lifecycle

TIMEOUT_S = 90
ADVICE = re.compile(r" {5}\S")
SECRETS = re.compile(r"eyJ[\w-]+\.[\w-]+\.")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)

    @property
    def message(self) -> str:
        """The line that says what went wrong, without its ``atd: ``."""
        return next(line for line in self.err.splitlines() if line.startswith("atd: "))[5:]

    @property
    def advice(self) -> str:
        """The line after it: what to do next."""
        return self.err.splitlines()[-1].strip()

    def done(self) -> Result:
        """This, if it went well."""
        assert self.code == 0, self
        return self

    def refused(self, error: type[AtdError], *words: str, advice: str = "", out: str = "") -> None:
        """It ended as ``error`` does: its own exit code, one line of what and why, one of advice.

        Args:
            words: what the first of the two lines must say.
            advice: what the second must say.
            out: what stdout must be.
        """
        assert self.code == error.exit_code, self
        lines = self.err.splitlines()
        assert "Traceback" not in self.err, self
        assert not SECRETS.search(self.err), self
        assert [line.startswith("atd: ") for line in lines].count(True) == 1, self
        assert lines[-2].startswith("atd: "), self
        assert ADVICE.match(lines[-1]), self
        assert len(lines[-2]) < 500, self
        assert all(line.isprintable() for line in lines), self
        assert self.out == out, self
        for word in words:
            assert word in lines[-2], self
        assert advice in lines[-1], self


@dataclass(frozen=True)
class Person:
    """Somebody with a home, which is the only thing that commands are told."""

    home: Path
    environ: dict[str, str] = field(repr=False)

    @classmethod
    def at(cls, home: Path, **variables: str) -> Person:
        """Somebody whose home is ``home``; nothing of ours comes from the environment outside."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ATD_", "XDG_"))}
        return cls(home, {**kept, "ATD_HOME": str(home), **variables})

    def having(self, **variables: str) -> Person:
        """The same person with further variables."""
        return Person(self.home, {**self.environ, **variables})

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """``atd`` with these arguments, running."""
        return self.python("-m", "atd", *arguments, **options)

    def python(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Python with these arguments, running."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environ,
            **{**pipes, "text": True, "encoding": "utf-8", **options},
        )

    def run(self, *arguments: str, stdin: str = "", **options: Any) -> Result:
        """``atd`` with these arguments, to its end. stdin is no terminal."""
        return finished(self.start(*arguments, **options), stdin)

    def run_python(self, *arguments: str, stdin: str = "", **options: Any) -> Result:
        """Python with these arguments, to its end."""
        return finished(self.python(*arguments, **options), stdin)

    def leave(self) -> None:
        """Stop the daemon, if one runs; in this process, because it is quicker."""
        with contextlib.suppress(BadSettings):  # then none could be started either
            lifecycle.stop(Settings.load(self.environ))

    def daemon_pid(self) -> int:
        """The process of the running daemon."""
        pid: int = self.run("daemon", "status", "--json").done().json["pid"]
        return pid

    def files(self, *parts: str) -> list[str]:
        """Every file below a folder of the home, by its path from there."""
        folder = self.home.joinpath(*parts)
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def finished(process: subprocess.Popen[str], stdin: str = "") -> Result:
    """Wait for the end of a command."""
    try:
        out, err = process.communicate(stdin, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Result(process.returncode, out or "", err or "")


def write(path: Path, data: bytes | str) -> Path:
    """A file with ``data``, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def table(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """A CSV file."""
    return write(path, "".join(",".join(map(str, row)) + "\n" for row in rows))
