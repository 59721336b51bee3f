"""Making one resource: download, transform, and let it be seen. The caller holds its lock.

Each step leaves the disk so that the next run can go on from there: the download is whole and right
before it has its name, what is made of it lies in a folder of its own, and the state says what the
final path will hold before it holds it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atd.disk import storing
from atd.errors import AtdError, DigestMismatch, Offline, RecipeError
from atd.recipes.access import Access
from atd.recipes.archives import member, unpack
from atd.recipes.downloads import Got, download
from atd.recipes.model import Recipe, Resource, Transform
from atd.recipes.places import Places, State, digest_of, discard, files_below, looks, reveal
from atd.recipes.rules import UNPACKING
from atd.recipes.streams import PIECE_BYTES, Budget, counted, transformed

Tell = Callable[[str, str, int, int | None], None]
"""Told the resource, what is done to it, how many bytes, and of how many; may raise to stop."""

FETCHING: Final = "fetching"
UNPACKING_WORD: Final = "unpacking"


@dataclass(frozen=True)
class Maker:
    """What making needs to know.

    Args:
        elsewhere: the paths of the resources that lie elsewhere (links, folders of the user).
        may_download: False: a download that is not there is an error.
        keep: downloads stay when what is made of them is complete.
    """

    recipe: Recipe
    places: Places
    access: Access
    elsewhere: Mapping[str, Path]
    may_download: bool
    keep: bool
    tell: Tell

    def make(self, name: str, spec: str) -> None:
        """Make the resource ``name`` and let it be seen.

        Raises:
            AtdError: what `download`, `unpack` and the streams raise, with the resource named.
        """
        one = self.recipe.resources[name]
        work = self.places.work(name)
        discard(work)
        made = self.places.work(name) / "made"
        got = self._download(name, one, spec) if one.is_download else None
        try:
            digest, size = self._made(name, one, made, got)
        except AtdError as error:
            self._discard(work)
            if got is not None:  # it has the right bytes, and they are not what the recipe says
                self._forget(name)
            error.message = f"{self.recipe.name}: {name}: {error.message}"
            raise
        if got is None:
            known = State(spec=spec, result=digest, size=size)
        else:
            known = State(spec, got.sha256, got.url, digest, size)
        target = self.places.path(name)
        self.places.note(name, known)
        reveal(made, target)
        self.places.note(name, replace(known, identity=looks(target) or ()))
        self._discard(work)
        if not self.keep:
            self._discard(self.places.download(name))

    def _discard(self, path: Path) -> None:
        """Remove what is no longer needed; what it took may be taken again."""
        size = sum(one.stat().st_size for one in files_below(path)) if path.is_dir() else 0
        size += path.stat().st_size if path.is_file() else 0
        discard(path)
        self.access.allowance.take(-size)

    def path(self, name: str) -> Path:
        """Where the resource ``name`` lies, here or elsewhere."""
        return self.elsewhere.get(name) or self.places.path(name)

    def _forget(self, name: str) -> None:
        if self.recipe.resources[name].digest is None:
            discard(self.places.download(name))
            self.places.note(name, State())

    def _download(self, name: str, one: Resource, spec: str) -> Got:
        """What is downloaded, from now or from before, with the digest it must have."""
        state, target = self.places.state(name), self.places.download(name)
        known = state.download if state.spec == spec else ""
        expected = one.digest or known or None
        if target.is_file():
            digest, size = digest_of(target)
            if expected in (None, digest):
                return Got(digest, size, state.url)
            discard(target)
        if not self.may_download:
            raise Offline(
                f"{self.recipe.name}: {name} is not there, and nothing is to be downloaded",
                next_step="run the same command without --no-downloads",
            )
        try:
            got = download(
                self.access.addresses(one),
                target,
                sha256=expected,
                size=one.size,
                access=self.access.of(one),
                report=lambda done, total: self.tell(name, FETCHING, done, total),
            )
        except DigestMismatch as error:
            if one.digest is not None or not known:
                error.message = f"{self.recipe.name}: {error.message}"
                raise
            raise DigestMismatch(
                f"{self.recipe.name}: {error.message}; the recipe declares no sha-256, and that is"
                " what it had when it was first prepared",
                next_step="if it was meant to change, declare the new sha-256 in the recipe",
            ) from error
        self.places.note(name, State(spec=spec, download=got.sha256, url=got.url))
        return got

    def _made(self, name: str, one: Resource, made: Path, got: Got | None) -> tuple[str, int]:
        """Make what is to be seen at ``made``; returns its digest and its bytes."""
        if one.kind == "compute":
            assert one.function is not None
            one.function([self.path(need) for need in one.needs], made)
            if not made.exists():
                raise RecipeError(f"the code that makes {name} wrote nothing")
            return digest_of(made)
        sources = [self.places.download(name)] if one.is_download else []
        sources += [self.path(need) for need in one.needs]
        size = sum(source.stat().st_size for source in sources if source.is_file())
        if got is not None and not one.transforms and not self.keep:
            with storing(made):
                os.replace(sources[0], made)
            return got.sha256, got.size
        budget = Budget(one.max_bytes, size, self.access.allowance)
        chunks = _plain(sources)
        for number, step in enumerate(one.transforms):
            # What a later step leaves out was unpacked all the same: that, too, has its end.
            chunks = counted(chunks, Budget.between(one.max_bytes, size).take)
            if step.do not in UNPACKING:
                chunks = transformed(chunks, step)
                continue
            packed = sources[0]
            if number or len(sources) > 1:
                packed = made.with_name(f"stage-{number}")
                self._write(
                    name, packed, chunks, Budget(one.max_bytes, size, self.access.allowance)
                )
            if one.is_folder and number == len(one.transforms) - 1:
                self.tell(name, UNPACKING_WORD, 0, None)
                unpack(packed, step.do, step.path, made, budget)
                return digest_of(made)
            chunks = member(packed, step.do, _wanted(step))
        return self._write(name, made, chunks, budget)

    def _write(
        self, name: str, path: Path, chunks: Iterator[bytes], budget: Budget
    ) -> tuple[str, int]:
        state, at = hashlib.sha256(), 0
        with storing(path), open(path, "xb") as out:
            for chunk in chunks:
                budget.take(len(chunk))
                out.write(chunk)
                state.update(chunk)
                at += len(chunk)
                self.tell(name, UNPACKING_WORD, at, None)
            out.flush()
            os.fsync(out.fileno())
        return state.hexdigest(), at


def _wanted(step: Transform) -> str:
    assert step.path is not None  # a rule of the model
    return step.path


def _plain(sources: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of files, one after the other."""
    for source in sources:
        if source.is_dir():
            raise RecipeError(
                f"{source} is a folder, and a file is expected",
                next_step="name a file inside it: path",
            )
        with storing(source), open(source, "rb") as file:
            while chunk := file.read(PIECE_BYTES):
                yield chunk
