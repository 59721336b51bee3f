"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from atd.errors import AtdError
from atd.settings import Settings
from atd_daemon.doctor import libraries, places, processes, reach
from atd_daemon.doctor.finding import Finding, fail, skipped

_BY_SETTINGS: tuple[tuple[str, Callable[[Settings], Iterable[Finding]]], ...] = (
    ("folders", places.folders),
    ("disk", places.space),
    ("quota", places.quota),
    ("databases", places.databases),
    ("daemon", processes.daemon),
    ("log", processes.log),
    ("network", reach.network),
)


def examine() -> Iterator[Finding]:
    """Every finding, as it is made."""
    yield from _told("libraries", libraries.libraries)
    yield from _told("settings", places.settings)
    found = places.loaded()
    for name, check in _BY_SETTINGS:
        if isinstance(found, Settings):
            yield from _told(name, partial(check, found))
        else:
            yield skipped(name, "needs settings that can be used")


def _told(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What ``check`` finds. That it breaks is found as well: the next one may still tell why."""
    try:
        yield from check()
    except AtdError as error:
        yield fail(name, error.message, error.next_step or "see: atd doctor --help")
    except OSError as error:
        yield fail(name, f"{error.filename or name}: {error.strerror or error}", "see docs/cli.md")
    except Exception as error:  # a doctor who faints helps nobody
        said = f"the check itself broke: {type(error).__name__}: {error}"
        yield fail(name, said, "please report it, with what atd doctor --json says")
