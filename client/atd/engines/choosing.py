"""Which engine: by its name, with or without an address: ``local``, ``dask=tcp://host:8786``.

Belongs here: finding engines. Those of others are entry points of the group ``atd.engines``: a
function that takes an address (or None) and a number of workers (or None) and gives an `Engine`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from atd.engines import local
from atd.engines.engine import Engine
from atd.engines.here import NAME
from atd.errors import EngineFault

GROUP: Final = "atd.engines"
MAX_WORKERS: Final = 4096

OpenEngine = Callable[[str | None, int | None], Engine]


def open_engine(asked: str | None, workers: int | None) -> AbstractContextManager[Engine]:
    """The engine that ``asked`` names, for a ``with`` block; `atd.engines.local` where it is None.

    Args:
        asked: ``NAME`` or ``NAME=ADDRESS``.
        workers: tasks at a time; None: as many as the engine has processors.

    Raises:
        EngineFault: there is no such engine, its library is not installed, or it cannot be reached.
    """
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise EngineFault(
            f"expected from 1 to {MAX_WORKERS} workers, got {workers}",
            next_step="leave --workers out to use every processor",
        )
    name, equals, address = (asked or NAME).partition("=")
    make = _opener(name)
    return closing(make(address if equals else None, workers))


def check_engine(asked: str | None) -> str | None:
    """``asked``, if there is an engine of that name; before an hour of opening a source.

    Raises:
        EngineFault: there is none, or its library is not installed.
    """
    if asked is not None:
        _opener(asked.partition("=")[0])
    return asked


def _opener(name: str) -> OpenEngine:
    if name == NAME:
        return local.open_engine
    found = _others()
    if name not in found:
        raise EngineFault(
            f"there is no engine {name!a}; there are: {', '.join([NAME, *sorted(found)])}",
            next_step="pip install 'atd-catalog[dask]' or 'atd-catalog[ray]' brings more",
        )
    try:
        opener: OpenEngine = found[name].load()
    except (ImportError, AttributeError) as error:
        raise EngineFault(
            f"the engine {name} cannot be loaded: {error}", next_step=_remedy(found[name])
        ) from error
    return opener


def _remedy(found: EntryPoint) -> str:
    """What brings the library that an engine lacks."""
    package = found.dist.name if found.dist else found.module
    extra = (
        f"[{found.name}]"
        if found.dist and found.name in found.dist.metadata.get_all("Provides-Extra", [])
        else ""
    )
    return f"pip install '{package}{extra}'"


def _others() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}
