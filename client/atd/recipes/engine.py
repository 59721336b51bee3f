"""Running a recipe: what is missing, in which order, several at once, and what may go afterwards.

Rules. What is complete is known by one stat and is not made again; a second run asks the network
for nothing. A file that was altered since is never used and never overwritten unasked: it is
`DigestMismatch` until somebody says ``repair``. A transient resource is made only while something
that is made of it is missing, and goes as soon as all of that is complete. The first error stops
the others at their next piece; what they have so far is kept for the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atd.errors import DigestMismatch
from atd.recipes.access import Access
from atd.recipes.making import Maker
from atd.recipes.model import Recipe
from atd.recipes.places import Places, State, digest_of, discard, looks
from atd.recipes.values import digests

WORKERS: Final = 4
WAITING: Final = "waiting for another process"


@dataclass(frozen=True, slots=True)
class Event:
    """How far the work on one resource is: ``done`` of ``total`` bytes, where that is known."""

    resource: str
    what: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What checking found: ``state`` is right, altered, missing or unknown (never prepared)."""

    resource: str
    path: Path
    state: str


@dataclass(frozen=True, slots=True)
class Options:
    """How a recipe is run.

    Args:
        downloads: False: what is not there is an error.
        keep: downloads and transient resources stay.
        workers: how many resources are made at once.
        max_bytes: of disk, for all data sets of a run together; None: see `prepare_dataset`.
    """

    downloads: bool = True
    keep: bool = False
    workers: int = WORKERS
    max_bytes: int | None = None


class _StoppedError(Exception):
    """Another resource failed, or the user interrupted."""


class Engine:
    """One recipe, of one variant, on this machine."""

    def __init__(
        self,
        recipe: Recipe,
        places: Places,
        access: Access,
        elsewhere: Mapping[str, Path],
        options: Options,
        progress: Callable[[Event], None],
    ) -> None:
        self._recipe, self._places, self._options = recipe, places, options
        self._access, self._progress = access, progress
        self._specs = digests(recipe)
        self._stop = threading.Event()
        self._telling = threading.Lock()
        self._maker = Maker(
            *(recipe, places, access, elsewhere, options.downloads, options.keep, self._tell)
        )

    def run(self) -> None:
        """Make what is missing; afterwards every resource that stays is complete.

        Raises:
            DigestMismatch: what was downloaded, or what lies there, is not what it should be.
            AtdError: what stood in the way, with the name of the resource.
        """
        missing = self._missing()
        if missing:
            self._make_all(missing)
        for name in self._recipe.order:
            self._tidy(name)

    def check(self) -> list[Finding]:
        """Hash every resource that stays, and compare."""
        return [self._find(name) for name in self._staying()]

    def expect_again(self, names: list[str]) -> None:
        """Forget that ``names`` were complete, so that the next run makes them anew."""
        for name in names:
            with self._places.lock(name, self._check_stop):
                self._places.note(name, replace(self._places.state(name), result="", identity=()))

    def _staying(self) -> list[str]:
        resources = self._recipe.resources
        return [
            name
            for name in self._recipe.order
            if not resources[name].is_elsewhere and not resources[name].transient
        ]

    def _find(self, name: str) -> Finding:
        state, path = self._places.state(name), self._places.path(name)
        if state.spec != self._specs[name] or not state.result:
            return Finding(name, path, "unknown")
        if looks(path) is None:
            return Finding(name, path, "missing")
        return Finding(name, path, "right" if digest_of(path)[0] == state.result else "altered")

    def _complete(self, name: str, *, locked: bool = False) -> bool:
        """Whether ``name`` is at its final path as it was made.

        Args:
            locked: we hold its lock, and may note what it looks like now.

        Raises:
            DigestMismatch: it was seen there and is another one now.
        """
        state, path = self._places.state(name), self._places.path(name)
        if state.spec != self._specs[name] or not state.result:
            return False
        shape = looks(path)
        if shape is None:
            return False
        if shape == state.identity:
            return True
        if digest_of(path)[0] == state.result:
            if locked:
                self._places.note(name, replace(state, identity=shape))
            return True
        if not state.identity:  # the run that made it was killed before it was seen
            return False
        raise DigestMismatch(
            f"{path} was altered since it was prepared",
            next_step="fetch it again: atd prepare, with the same name or file, and --repair",
        )

    def _missing(self) -> set[str]:
        """What has to be made; a transient resource only for what is made of it."""
        missing: set[str] = set()
        for name in reversed(self._recipe.order):
            one, dependents = self._recipe.resources[name], self._recipe.dependents(name)
            wanted = not one.transient or not dependents or bool(missing.intersection(dependents))
            if one.is_elsewhere or not wanted:
                continue
            if not self._complete(name):
                missing.add(name)
            elif looks(self._places.path(name)) != self._places.state(name).identity:
                with self._places.lock(name, self._check_stop):
                    self._complete(name, locked=True)
        return missing

    def _make_all(self, missing: set[str]) -> None:
        """Make each of ``missing`` when what it is made of is there."""
        waiting = [name for name in self._recipe.order if name in missing]
        running: dict[Future[None], str] = {}
        with ThreadPoolExecutor(self._options.workers, "atd-prepare") as pool:
            try:
                while waiting or running:
                    busy = {*waiting, *running.values()}
                    for name in list(waiting):
                        if not busy.intersection(self._recipe.resources[name].needs):
                            waiting.remove(name)
                            running[pool.submit(self._make, name)] = name
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        del running[future]
                        future.result()
            except BaseException:
                self._stop.set()
                for future in running:
                    future.cancel()
                raise

    def _make(self, name: str) -> None:
        with self._places.lock(name, lambda: self._tell(name, WAITING, 0, None)):
            if not self._complete(name, locked=True) and self._is_needed(name):
                self._maker.make(name, self._specs[name])
        for need in self._recipe.resources[name].needs:
            self._tidy(need)

    def _is_needed(self, name: str) -> bool:
        """Asked under the lock: another process may have completed all that is made of it."""
        dependents = self._recipe.dependents(name)
        if not self._recipe.resources[name].transient or not dependents:
            return True
        return not all(self._complete(other) for other in dependents)

    def _tidy(self, name: str) -> None:
        """Remove a transient resource that nothing needs any more, and what a killed run left."""
        one, dependents = self._recipe.resources[name], self._recipe.dependents(name)
        if self._options.keep or one.is_elsewhere:
            return
        state = self._places.state(name)
        if not one.transient or not dependents or state.removed or not state.result:
            return
        with self._places.lock(name, self._check_stop):
            if all(self._complete(other) for other in dependents):
                discard(self._places.path(name))
                discard(self._places.download(name))
                self._access.allowance.take(-state.size)
                gone = State(spec=state.spec, download=state.download, url=state.url, removed=True)
                self._places.note(name, gone)

    def _tell(self, name: str, what: str, done: int, total: int | None) -> None:
        self._check_stop()
        with self._telling:
            self._progress(Event(name, what, done, total))

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _StoppedError
