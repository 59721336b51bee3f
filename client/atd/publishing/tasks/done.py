"""What is done already: the results of tasks, kept beside the shards until all are there.

Belongs here: the folder of results, and when a result may be believed. A task has a fingerprint
over everything that its shards depend on, the state of its files included; its result lies under
that name, and lists the shards. It counts as long as every shard that it lists is there with its
digest: each is hashed again. So a run that was killed goes on where it was, and a file that changed
since then, or a shard that was damaged, is packed anew.

Rules. A result appears whole, after its shards. Two workers may write the same one at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from atd.disk import storing, write_whole
from atd.errors import AtdError, Busy
from atd.manifest import ManifestShard, hash_shard
from atd.protocol.cbor import Cid
from atd.publishing.sources.loading import files_read, says
from atd.publishing.sources.source import Item
from atd.shards.parts import Filled
from atd.shards.writer import ShardInfo

FOLDER: Final = ".tasks.tmp"
"""Where results lie, in the folder of the shards; it is gone when they are committed."""

_FORMAT: Final = "atd-task-1"
_MOST_BYTES: Final = 1 << 26
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Made:
    """What a task made: its shards in order, and the bytes of their members.

    ``again``: all of them were there already.
    """

    shards: tuple[ManifestShard, ...]
    members: int
    again: bool = False

    @property
    def filled(self) -> Filled:
        """What lies in its part."""
        return Filled(sum(shard.samples for shard in self.shards), self.members)

    @classmethod
    def of(cls, found: Iterable[ShardInfo]) -> Self:
        """From shards that were just finished."""
        infos = list(found)
        shards = tuple(ManifestShard(one.name, one.digest, one.size, one.samples) for one in infos)
        return cls(shards, sum(one.members for one in infos))


def fingerprint(said: Any, items: Iterable[Item]) -> str | None:
    """The name of the result of packing ``items``; None where one of them is not known again.

    Args:
        said: all else that the shards depend on, as JSON values.

    The state of a file is its size and its times, its inode and its device: whatever a program
    does that writes to it changes one of them.
    """
    state = hashlib.sha256(json.dumps([_FORMAT, said], sort_keys=True).encode())
    looks: dict[Path, str] = {}
    for key, load in items:
        paths = files_read(load)
        if paths is None:
            return None
        try:
            for path in paths:
                if path not in looks:
                    looks[path] = _look(path)
            said = says(load)
        except Exception:  # it cannot be looked at: whoever packs it will say why
            return None
        line = json.dumps([key, len(said), [looks[path] for path in paths]])
        state.update(line.encode())
        state.update(said)
    return state.hexdigest()


def _look(path: Path) -> str:
    found = os.stat(path)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return f"{os.fsdecode(path)!a} {found.st_dev} {found.st_ino} {found.st_size} {times}"


def recall(folder: Path, known: str) -> Made | None:
    """What the task with the fingerprint ``known`` made below ``folder``, if it is all there."""
    made = _read(folder / FOLDER / f"{known}.json")
    if made is None:
        return None
    try:
        for shard in made.shards:
            hash_shard(folder / shard.name, shard.digest, shard.size)
    except AtdError:
        return None
    return Made(made.shards, made.members, again=True)


def remember(folder: Path, known: str, made: Made) -> None:
    """Keep a result; its shards are finished.

    Raises:
        StorageFault: the disk is full, or the folder cannot be written.
    """
    results = folder / FOLDER
    value = {
        "members": made.members,
        "shards": [[s.name, str(s.digest), s.size, s.samples] for s in made.shards],
    }
    with storing(results):
        results.mkdir(exist_ok=True)
    write_whole(results / f"{known}.json", json.dumps(value).encode("ascii"))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder for the time of a ``with`` block; the lock goes with the process.

    Raises:
        Busy: another process packs into it.
        StorageFault: it cannot be opened.
    """
    with storing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another process is packing into {folder}",
                next_step="wait for it, or give another folder",
            ) from None
        except OSError:  # a file system without locks: then nobody can hold it
            pass
        yield
    finally:
        os.close(descriptor)


def forget(folder: Path, kept: frozenset[str]) -> None:
    """Remove all results, and whatever shards they list besides those in ``kept``."""
    results = folder / FOLDER
    for name in {shard.name for made in _all(results) for shard in made.shards} - kept:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(results, ignore_errors=True)


def _all(results: Path) -> Iterator[Made]:
    for path in sorted(results.glob("*.json")):
        made = _read(path)
        if made is not None:
            yield made


def _read(path: Path) -> Made | None:
    """The result in a file; None where there is none, or none that can be read."""
    try:
        # A pipe in its place is not waited for: nobody else than us writes here, or should.
        with open(path, "rb", opener=lambda name, _: os.open(name, _FLAGS)) as file:
            value = json.loads(file.read(_MOST_BYTES))
        shards = tuple(
            ManifestShard(name, Cid.parse(digest), size, samples)
            for name, digest, size, samples in value["shards"]
        )
        members = value["members"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AtdError):
        return None
    return Made(shards, members) if type(members) is int else None
