"""What the demo is played on: a folder, two homes with their daemons, and names that resolve.

Everything is real: each command of the story is the ``atd`` command in a process of its own. Only
the names are the demo's: a small DNS server on loopback answers for ``alice.test`` and
``bob.test``, whose hosts are ``did:web`` on loopback ports, admitted by ``ATD_ALLOW_HOSTS`` alone.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from atd_daemon.demo import zone


@dataclass(frozen=True)
class Person:
    """Somebody in the story: a handle, and a home with a daemon and a host of its own."""

    handle: str
    domain: str
    environ: dict[str, str]

    @property
    def home(self) -> Path:
        """Everything this person's daemon keeps."""
        return Path(self.environ["ATD_HOME"])

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """``atd`` with these arguments, as this person."""
        return self.python("-m", "atd", *arguments, stdin=stdin)

    def python(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Python with these arguments, as this person."""
        return subprocess.run(  # noqa: S603 - our own interpreter, arguments of the story's
            [sys.executable, *arguments],
            input=stdin,
            env=self.environ,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass(frozen=True)
class Stage:
    """The folder of the demo, and who plays."""

    folder: Path
    alice: Person
    bob: Person


@contextmanager
def prepared(*, keep: bool) -> Iterator[Stage]:
    """Set the stage, and clear it away: daemons stopped, folder removed, unless ``keep``."""
    folder = Path(tempfile.mkdtemp(prefix="atd-demo-"))
    with ExitStack() as ending:
        ports = _free_ports(2)
        domains = [f"localhost:{port}" for port in ports]
        handles = ["alice.test", "bob.test"]
        texts = {
            f"_atproto.{handle}": f"did=did:web:{domain.replace(':', '%3A')}"
            for handle, domain in zip(handles, domains, strict=True)
        }
        server = ending.enter_context(zone.serving(texts))
        people = [
            Person(
                handle, domain, _environ(folder / handle.partition(".")[0], server, domains, port)
            )
            for handle, domain, port in zip(handles, domains, ports, strict=True)
        ]
        if not keep:
            ending.callback(shutil.rmtree, folder, ignore_errors=True)
        for person in people:
            ending.callback(person.run, "daemon", "stop")
        yield Stage(folder, *people)


def _environ(home: Path, server: str, domains: list[str], port: int) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("ATD_")}
    return mine | {
        "ATD_HOME": str(home),
        "ATD_DNS_SERVER": server,
        "ATD_ALLOW_HOSTS": ",".join(domains),
        "ATD_HOST_LISTEN": f"127.0.0.1:{port}",
        "PYTHONUNBUFFERED": "1",
    }


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
