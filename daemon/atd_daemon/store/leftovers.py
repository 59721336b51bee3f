"""What lies in the store's folders and is of no use to anybody.

What belongs here: finding it, and removing it under the lock of whoever might work on it. What
somebody works on is left alone; so is what was written a moment ago and is about to be renamed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from atd.errors import Busy, InvalidSyntax
from atd.protocol.cbor import Cid
from atd_daemon.store.layout import SEAL_SUFFIX, Layout, size_of, storing
from atd_daemon.store.locks import working_now

FRESH_S: Final = 60.0
"""How long a temporary file is left alone: its writer may be about to rename it."""

Kind = Literal["unfinished", "damaged", "sidecar", "temporary", "staging"]


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of no use: ``path`` is a file, or a folder for ``staging``; ``size`` in bytes.

    ``digest`` is that of the download that it is of, whose work lock must be held to remove it.
    """

    kind: Kind
    path: Path
    size: int
    digest: Cid | None = None


def is_fresh(path: Path, fresh_s: float = FRESH_S) -> bool:
    """Whether it was written within the last ``fresh_s``, or is gone."""
    try:
        return path.stat(follow_symlinks=False).st_mtime > time.time() - fresh_s
    except FileNotFoundError:
        return True


def find_leftovers(layout: Layout) -> Iterator[Leftover]:
    """The leftovers of a store; what is being worked on is none."""
    with storing(layout.folder):
        for digest in sorted(layout.begun(), key=str):
            with contextlib.suppress(Busy), working_now(layout.lock(digest)):
                yield from _begun(layout, digest)
        for path in layout.quarantined():
            yield Leftover("damaged", path, size_of(path))
        yield from _seals(layout)


def find_idle(layout: Layout, idle_s: float) -> Iterator[Leftover]:
    """The unfinished downloads that nobody works on, nor wrote to for ``idle_s``."""
    with storing(layout.folder):
        for digest in sorted(layout.begun(), key=str):
            with contextlib.suppress(Busy), working_now(layout.lock(digest)):
                begun = list(_begun(layout, digest))
                if not any(is_fresh(one.path, idle_s) for one in begun):
                    yield from begun


def drop_leftovers(layout: Layout, found: Iterable[Leftover]) -> list[Leftover]:
    """Remove files of `find_leftovers`; returns those that are gone now, by this or anybody."""
    gone: list[Leftover] = []
    for one in found:
        with storing(one.path), contextlib.suppress(Busy):
            if one.digest is None:
                one.path.unlink(missing_ok=True)
            else:
                with working_now(layout.lock(one.digest)):
                    one.path.unlink(missing_ok=True)
            gone.append(one)
    return gone


def _begun(layout: Layout, digest: Cid) -> list[Leftover]:
    """What was begun for a digest that nobody works on: its lock is held."""
    lock = layout.lock(digest)
    paths = [path for path in sorted(layout.partials.glob(f"{digest}.*")) if path != lock]
    return [Leftover("unfinished", path, size_of(path), digest) for path in paths]


def _seals(layout: Layout) -> Iterator[Leftover]:
    """Seals whose shard is gone, and drafts of seals that were never renamed."""
    for path in sorted(layout.folder.glob(f"??/*{SEAL_SUFFIX}*")):
        name, _, draft = path.name.partition(SEAL_SUFFIX)
        try:
            digest = Cid.parse(name)
        except InvalidSyntax:
            continue  # not ours
        if draft and not is_fresh(path):
            yield Leftover("temporary", path, size_of(path))
        elif not draft and not layout.shard(digest).exists() and not is_fresh(path):
            yield Leftover("sidecar", path, size_of(path))
