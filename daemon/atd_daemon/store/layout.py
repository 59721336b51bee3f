"""Where the files of the store lie, and how a finished one becomes visible.

::

    <folder>/3f/bafkrei….tar             whole, verified, read-only; 3f: the digest's first byte
    <folder>/3f/bafkrei….seal            what the file looked like when it was verified
    <folder>/partial/bafkrei….<mark>     a download that is not finished, from one source
    <folder>/partial/bafkrei….<mark>.json   its journal: from where, and which version of it
    <folder>/partial/bafkrei….lock       held while somebody works on this digest
    <folder>/quarantine/bafkrei….<n>     a file that is not what its name says any more

Every name is made of a CID that was parsed and of hex digits, so none can leave the folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atd.disk import sync_folder
from atd.errors import InvalidSyntax, StorageFault
from atd.protocol.cbor import Cid
from atd_daemon.store.sources import Source, source_mark

SHARD_SUFFIX: Final = ".tar"
SEAL_SUFFIX: Final = ".seal"
_MARK: Final = re.compile(r"\.[0-9a-f]{16}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
MAX_SET_ASIDE: Final = 8
# Left free for everything else that lives on the disk: journals, indexes, the user's own files.
SPARE_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one store folder. Knows names; opens nothing but folders."""

    folder: Path

    def prepare(self) -> None:
        """Create the folders that every store has, for the owner alone.

        Raises:
            StorageFault: they cannot be created.
        """
        with storing(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.partials.mkdir(mode=0o700, exist_ok=True)

    @property
    def partials(self) -> Path:
        """The folder of unfinished downloads and locks."""
        return self.folder / "partial"

    def shard(self, digest: Cid) -> Path:
        """Where the whole file is, if it is there."""
        return self.folder / digest.digest[:1].hex() / f"{digest}{SHARD_SUFFIX}"

    def seal(self, digest: Cid) -> Path:
        """Where it is remembered that the file was verified."""
        return self.folder / digest.digest[:1].hex() / f"{digest}{SEAL_SUFFIX}"

    def partial(self, digest: Cid, source: Source) -> Path:
        """Where a download from ``source`` grows."""
        return self.partials / f"{digest}.{source_mark(source)}"

    def lock(self, digest: Cid) -> Path:
        """The file whose lock means: I work on this digest."""
        return self.partials / f"{digest}.lock"

    def adopted(self, digest: Cid) -> Path:
        """Where a file from another file system is copied to before it becomes visible."""
        return self.partials / f"{digest}.adopted"

    @property
    def quarantine(self) -> Path:
        """The folder of files that were found damaged."""
        return self.folder / "quarantine"

    def set_aside(self, digest: Cid) -> None:
        """Move the file of ``digest`` into the quarantine: whoever has it mapped keeps it.

        The oldest there go, so that a disk that loses bits does not fill itself.
        """
        self.quarantine.mkdir(mode=0o700, exist_ok=True)
        os.rename(self.shard(digest), self.quarantine / f"{digest}.{time.time_ns():020}")
        for path in sorted(self.quarantined(), key=lambda path: path.suffix)[:-MAX_SET_ASIDE]:
            path.unlink(missing_ok=True)

    def quarantined(self) -> list[Path]:
        """The files that were found damaged."""
        return sorted(self.quarantine.iterdir()) if self.quarantine.is_dir() else []

    def unfinished(self, digest: Cid | None = None) -> list[Path]:
        """The unfinished downloads of ``digest``, or all, without their journals."""
        found = self.partials.glob("*" if digest is None else f"{digest}.*")
        return [path for path in found if _MARK.fullmatch(path.suffix)]

    def begun(self) -> set[Cid]:
        """The digests that something was begun for, or is; foreign names are passed over."""
        names = {path.name.partition(".")[0] for path in self.partials.iterdir()}
        found = {_digest_of(name + SHARD_SUFFIX) for name in names}
        return {digest for digest in found if digest is not None}

    def sweep(self, digest: Cid) -> None:
        """Remove everything that was begun for ``digest``. Its work lock must be held."""
        for path in self.partials.glob(f"{digest}.*"):
            if path != self.lock(digest):
                path.unlink(missing_ok=True)

    def digests(self) -> Iterator[Cid]:
        """The digests of the whole files, in no order; what is foreign, or no file, is passed
        over."""
        for folder in _folders(self.folder):
            for entry in os.scandir(folder):
                digest = _digest_of(entry.name)
                if digest is None or self.shard(digest) != Path(entry.path):
                    continue
                if entry.is_file(follow_symlinks=False):
                    yield digest


def _folders(root: Path) -> Iterator[Path]:
    for entry in os.scandir(root):
        if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)


def _digest_of(name: str) -> Cid | None:
    if not name.endswith(SHARD_SUFFIX):
        return None
    try:
        return Cid.parse(name.removesuffix(SHARD_SUFFIX))
    except InvalidSyntax:
        return None


def publish(source: Path, target: Path) -> None:
    """Make the finished file ``source`` visible as ``target``: whole, on disk, read-only.

    The bytes reach the disk before the name does, and the name before this returns: after a power
    cut the file is either not there or right. What was at ``target`` is replaced, and stays alive
    for those who have it open.
    """
    target.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(source, target)
    sync_folder(target.parent)
    sync_folder(target.parent.parent)


def size_of(path: Path) -> int:
    """The size of a file in bytes, of a link that of itself; 0 if it is gone."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start on what cannot fit.

    Raises:
        StorageFault: the file system of ``folder`` has less than ``needed`` bytes to spare.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise StorageFault(
            f"{needed} bytes (and {SPARE_BYTES} to spare) are needed in {folder},"
            f" which has {free} left"
        )


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Say as StorageFault what the operating system says of ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFault(f"no space left to write {path}: {error.strerror}") from error
        raise StorageFault(f"cannot use {path}: {error.strerror or error}") from error
