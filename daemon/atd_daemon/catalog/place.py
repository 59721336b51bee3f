"""Where a SQLite file may live: on a disk of this machine.

SQLite's locks and its shared memory do not work over a network: two machines, or one that lost its
connection for a moment, damage the file. Such a place is refused before anything is written.

Source: sqlite.org/wal.html ("WAL does not work over a network filesystem").
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from atd.errors import StorageFault

_MOUNTS: Final = Path("/proc/self/mountinfo")
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
    }
)


def refuse_network(folder: Path, mounts: str | None = None) -> None:
    """Refuse a folder on a file system that is shared over a network.

    Args:
        folder: where the database is to be; need not exist.
        mounts: the text of ``/proc/self/mountinfo``; read from there if None, and where there is
            no such file nothing can be said, so nothing is refused.

    Raises:
        StorageFault: it is one.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
        except OSError:
            return
    kind = filesystem_of(Path(os.path.realpath(folder)), mounts)
    if kind in _NETWORK:
        raise StorageFault(
            f"{folder} is on a network file system ({kind}), where SQLite files get damaged",
            next_step="set ATD_HOME to a folder on a disk of this machine",
        )


def filesystem_of(path: Path, mounts: str) -> str | None:
    """The type of the file system that ``path`` (absolute, resolved) is on, by its mounts."""
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        depth = len(point.parts)
        # Of several mounts at one place the last one is on top.
        if path.is_relative_to(point) and (found is None or depth >= found[0]):
            found = depth, kinds[0]
    return None if found is None else found[1]


def _unescaped(text: str) -> str:
    """A mount point as proc(5) writes it: blanks and backslashes as octal."""
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, character)
    return text
