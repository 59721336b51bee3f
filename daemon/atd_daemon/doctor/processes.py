"""The daemon: whether it runs, whether it is ours, what it says of itself and its publishers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any, Final

from atd import __version__, api
from atd.connection import Connection
from atd.errors import AtdError
from atd.launch import is_free, log_tail
from atd.settings import Settings
from atd_daemon.doctor.finding import Finding, fail, ok, skipped, warn

_LINES: Final = 500
_NAMED: Final = 10
_FORM: Final = (" ERROR ", " CRITICAL ", '"level": "error"', '"level": "critical"')


def daemon(settings: Settings) -> Iterator[Finding]:
    """Lock and socket, and who answers."""
    path = settings.socket_path
    try:
        kind: int | None = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = None
    if kind is not None and not stat.S_ISSOCK(kind):
        said = f"{path} should be the daemon's socket, but is another kind of file"
        yield fail("daemon", said, f"move it away: mv {path} {path}.old")
        return
    free = is_free(settings.lock_file)
    connection = Connection(settings, start=False)
    if free and kind is None:
        yield ok("daemon", "not running; commands start it when they need it")
    elif free:
        said = f"not running; {path} was left behind, and is replaced at the next start"
        yield ok("daemon", said)
    elif not connection.is_up():
        said = f"a process holds {settings.lock_file}, but nobody listens at {path}"
        yield fail("daemon", said, "see what it does with: atd daemon logs; end it by its id")
    else:
        yield from _answers(connection, settings)


def _answers(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """What a daemon that listens says of itself."""
    try:
        status = connection.call(api.GET_STATUS)
    except AtdError as error:
        yield fail("daemon", f"it listens, but {error.message}", "atd daemon stop")
        return
    if status["version"] != __version__:
        said = f"process {status['pid']} is atd {status['version']}, this is atd {__version__}"
        yield fail("daemon", said, "atd daemon stop (the next command starts it again)")
        return
    if status["settings"] != settings.digest():
        try:
            connection.call(api.LIST_ACCOUNTS)
            said = "it was started with other settings"
        except AtdError as error:
            said = error.message
        yield fail("daemon", said, "atd daemon stop (the next command starts it again)")
        return
    yield ok("daemon", f"process {status['pid']}, atd {status['version']}, at {status['socket']}")
    for face in ("host", "public"):
        if face in status and not status[face]["running"]:
            problem = status[face].get("problem", "it does not listen")
            yield fail(f"listener {face}", problem, "free the port, then: atd daemon stop")
    problems = status["index"]["problems"]
    if problems:
        said = f"{problems} records could not be proved or read"
        yield warn("index", said, "see which and why with: atd ls")
    yield from _health(connection)


def _health(connection: Connection) -> Iterator[Finding]:
    """Whether it can work, and whether it knows the newest of those whom it follows."""
    try:
        health = connection.call(api.GET_HEALTH)
    except AtdError as error:
        yield fail("health", error.message, "see: atd daemon logs")
        return
    for reason in health["ready"]["reasons"]:
        yield fail("health", reason, "see: atd daemon logs")
    followed = health["followed"]
    if not followed:
        yield ok("following", "nobody is followed")
        return
    stale: list[dict[str, Any]] = health["stale"]
    for one in stale[:_NAMED]:
        who = one.get("handle") or one["did"]
        said = f"{who} is {one['state']}: {one['reason']}"
        yield warn("following", said, "see more with: atd following")
    if len(stale) > _NAMED:
        more = f"and {len(stale) - _NAMED} more publishers are not fresh"
        yield warn("following", more, "see all with: atd following")
    if not stale:
        yield ok("following", f"all {followed} followed publishers were verified lately")


def log(settings: Settings) -> Iterator[Finding]:
    """Whether the log tells of defects."""
    lines = log_tail(settings.log_file, lines=_LINES)
    if not lines:
        yield skipped("log", "there is no log yet")
        return
    errors = [line for line in lines if any(form in line for form in _FORM)]
    if errors:
        said = f"{len(errors)} of the last {len(lines)} lines are errors; the last: {errors[-1]}"
        yield warn("log", said[:500], "see: atd daemon logs -n 500")
    else:
        yield ok("log", f"no errors in the last {len(lines)} lines of {settings.log_file}")
