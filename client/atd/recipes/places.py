"""Where prepared data lie, and what is known of them: folders, locks, one state file a resource.

::

    <cache>/prepared/NAME[k=v]/
        train_images          what users read: a resource at its final path, whole and right
        .atd/state/NAME.json  what is known of it: digests, and what it looked like
        .atd/locks/NAME       held while it is made
        .atd/work/NAME/       what is being made; gone when it is complete
        .atd/downloads/NAME   what was downloaded; gone when nothing needs it, unless it is kept

Rules. A state is written before a file becomes visible (what it will be) and after (what it looks
like), each time by rename: killed anywhere, the next run knows which of both holds, and at worst
hashes. Nobody makes or removes a resource without its lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from atd.disk import storing, sync_folder, write_whole
from atd.errors import StorageFault
from atd.files import private_folder
from atd.recipes.model import Recipe
from atd.recipes.variants import Choice
from atd.settings import Settings

PREPARED: Final = "prepared"
"""The folder of all prepared data, in the cache."""

_WAIT_S: Final = 0.1
_MAX_STATE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class State:
    """What is known of one resource.

    Args:
        spec: what it depends on (`atd.recipes.values.digests`).
        download: the sha-256 of what was downloaded; kept when the file is gone.
        url: from where.
        result: the digest of the file, or of the tree, at the final path.
        size: its bytes.
        identity: what it looked like when it had that digest; empty until it is visible.
        removed: it was complete, and then removed because nothing needs it any more.
    """

    spec: str = ""
    download: str = ""
    url: str = ""
    result: str = ""
    size: int = 0
    identity: tuple[int, ...] = ()
    removed: bool = False


class Places:
    """The folder of one data set, and what is in it."""

    def __init__(self, settings: Settings, recipe: Recipe, choice: Choice) -> None:
        self.choice = choice
        self.folder = settings.cache_dir / PREPARED / choice.folder
        self._recipe = recipe
        self._own = self.folder / ".atd"

    def path(self, name: str) -> Path:
        """The final path of the resource ``name``."""
        return self.folder / self._recipe.resources[name].place(name)

    def work(self, name: str) -> Path:
        """The folder in which ``name`` is made; there from now on."""
        return self._made(self._own / "work" / name)

    def download(self, name: str) -> Path:
        """Where what is downloaded for ``name`` goes; its folder is there from now on."""
        return self._made(self._own / "downloads") / name

    def state(self, name: str) -> State:
        """What is known of ``name``; nothing where nothing can be read."""
        try:
            with open(self._state_file(name), "rb") as file:
                said = json.loads(file.read(_MAX_STATE_BYTES))
            found = State(**said)
            return replace(found, identity=tuple(int(one) for one in found.identity))
        except (OSError, ValueError, TypeError):
            return State()

    def used(self) -> int:
        """The bytes of disk that it takes already, by what is known of it and half downloads."""
        known = sum(self.state(name).size for name in self._recipe.resources)
        downloads = self._own / "downloads"
        halves = files_below(downloads) if downloads.is_dir() else ()
        return known + sum(one.stat().st_size for one in halves)

    def note(self, name: str, state: State) -> None:
        """Remember ``state``, so that a power cut does not forget it."""
        path = self._state_file(name)
        self._made(path.parent)
        write_json(path, asdict(state))

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Be the only one who makes or removes ``name``; ``waiting`` is called while others do."""
        path = self._made(self._own / "locks") / name
        with storing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting()
                    time.sleep(_WAIT_S)
                except OSError as error:
                    raise StorageFault(f"cannot lock {path}: {error.strerror}") from error
            yield
        finally:
            os.close(descriptor)

    def _state_file(self, name: str) -> Path:
        return self._own / "state" / f"{name}.json"

    @staticmethod
    def _made(folder: Path) -> Path:
        with storing(folder):
            private_folder(folder)
        return folder


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON: afterwards it is the old one or the new one.

    Raises:
        StorageFault: it cannot be written.
    """
    write_whole(path, json.dumps(value).encode("ascii"))


def looks(path: Path) -> tuple[int, ...] | None:
    """What the file or folder at ``path`` looks like now; None if it is not there, or is a link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return None
    # Without the time of the inode's last change: a rename, which changes no byte, changes that.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def digest_of(path: Path) -> tuple[str, int]:
    """The sha-256 of a file, or of the names and hashes of all files below a folder; and the bytes.

    Raises:
        StorageFault: it cannot be read.
    """
    if not path.is_dir():
        return _hash(path)
    state, total = hashlib.sha256(), 0
    for inner in sorted(files_below(path)):
        digest, size = _hash(inner)
        name = os.fsencode(inner.relative_to(path))
        state.update(b"%d %s %d %b\0" % (len(name), digest.encode(), size, name))
        total += size
    return state.hexdigest(), total


def files_below(folder: Path) -> Iterator[Path]:
    """Every entry below ``folder`` that is not a folder."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def discard(path: Path) -> None:
    """Remove a file, or a folder and what is in it, if it is there."""
    with storing(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def reveal(made: Path, target: Path) -> None:
    """Rename what was made to its final path, in place of whatever lies there."""
    with storing(target):
        private_folder(target.parent)
        if made.is_dir():
            _sync_tree(made)
        if target.is_dir() and not target.is_symlink():
            discard(made.with_name("replaced"))
            os.replace(target, made.with_name("replaced"))
        elif made.is_dir():
            target.unlink(missing_ok=True)
        os.replace(made, target)
        sync_folder(target.parent)


def _sync_tree(folder: Path) -> None:
    for place, _, _ in os.walk(folder):
        sync_folder(Path(place))


def _hash(path: Path) -> tuple[str, int]:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise StorageFault(f"cannot read {path}: {error.strerror}") from error
