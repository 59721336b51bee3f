"""Zip and tar files as folders: what is unpacked, and everything that is refused.

Rules. An archive is hostile. A member is written only below the folder it is unpacked to, and only
as a plain file: absolute names, ``..``, backslashes, links, devices, sparse files, encrypted
members and names that come twice are `RemoteError`, which names the member, and then nothing of the
archive is kept. Sizes in headers are believed by nobody: bytes are counted as they come.
"""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NoReturn

from atd.disk import storing
from atd.errors import RemoteError
from atd.protocol.syntax import quote
from atd.recipes.streams import PIECE_BYTES, Budget

MAX_MEMBERS: Final = 1_000_000
MAX_LEVELS: Final = 100
"""Folders inside each other: far below what recursion over folders can bear."""
_MAX_READ: Final = 16 << 20
_UNIX: Final = 3


def unpack(archive: Path, do: str, inner: str | None, folder: Path, budget: Budget) -> None:
    """Unpack ``archive`` into the new folder ``folder``.

    Args:
        do: ``unzip`` or ``untar`` (not compressed).
        inner: only what lies below this folder of the archive, without its name.

    Raises:
        RemoteError: it is damaged, or holds something that is refused.
        StorageFault: it cannot be written.
    """
    with storing(folder):
        folder.mkdir(mode=0o700)
    prefix = "" if inner is None else inner.rstrip("/") + "/"
    seen: set[str] = set()
    for name, pieces in _members(archive, do):
        if not name.startswith(prefix):
            continue
        place = name[len(prefix) :]
        if place in seen:
            _refuse(name, "comes twice")
        seen.add(place)
        _write(folder, place, pieces, budget, name)
    if not seen:
        raise RemoteError(f"the archive has no file below {quote(inner or '/')}")


def member(archive: Path, do: str, wanted: str) -> Iterator[bytes]:
    """The bytes of the member ``wanted`` of an archive.

    Raises (while iterating):
        RemoteError: it is not there, or the archive is damaged or holds something that is refused.
    """
    for name, pieces in _members(archive, do):
        if name == wanted:
            yield from pieces
            return
    raise RemoteError(f"the archive has no file {quote(wanted)}")


def _write(folder: Path, place: str, pieces: Iterator[bytes], budget: Budget, name: str) -> None:
    target = folder.joinpath(*place.split("/"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, flags, 0o644)
    except (FileExistsError, NotADirectoryError):
        _refuse(name, "lies where another member lies")
    except OSError as error:
        _refuse(name, f"cannot be written: {error.strerror}")
    with storing(target), open(descriptor, "wb") as out:
        for piece in pieces:
            budget.take(len(piece))
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())


def _members(archive: Path, do: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    return _zip_members(archive) if do == "unzip" else _tar_members(archive)


def _zip_members(archive: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    with _damage(), zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
        if len(infos) > MAX_MEMBERS:
            raise RemoteError(f"the archive has more than {MAX_MEMBERS:,} members")
        for info in infos:
            # zipfile cuts a name at its first NUL and turns separators: judge what was written.
            name = _checked(info.orig_filename.removesuffix("/"))
            mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
            if mode & 0o170000 not in (0, 0o100000, 0o040000):
                _refuse(name, "is a link or a device")
            if info.flag_bits & 1:
                _refuse(name, "is encrypted")
            if not info.is_dir():
                with opened.open(info) as data:
                    yield name, _pieces(data)


def _tar_members(archive: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    count = 0
    with (
        _damage(),
        _Bounded(archive) as file,
        tarfile.open(fileobj=file, mode="r:") as opened,
    ):
        for info in opened:
            opened.members.clear()  # type: ignore[attr-defined]  # it keeps all it saw
            count += 1
            if count > MAX_MEMBERS:
                raise RemoteError(f"the archive has more than {MAX_MEMBERS:,} members")
            if info.isdir() and info.name.rstrip("/") in (".", ""):
                continue
            name = _checked(info.name.removeprefix("./"))
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                _refuse(name, "is a link, a device or a sparse file")
            data = opened.extractfile(info)
            assert data is not None
            yield name, _pieces(data)
        # tarfile takes a damaged header for the end of the archive.
        file.seek(opened.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise RemoteError("the archive is damaged: something follows that is no member")


class _Bounded(io.FileIO):
    """A file that is never read by more than a few megabytes at once, whatever a header says."""

    def read(self, count: int | None = -1) -> bytes:
        """``count`` bytes; RemoteError where that is too much for a header."""
        if count is None or not 0 <= count <= _MAX_READ:
            raise RemoteError(f"the archive has a header of {count} bytes")
        return super().read(count)


def _pieces(data: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a member; read by whoever writes them, so that damage is met here."""
    while True:
        with _damage():
            piece = data.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def _checked(name: str) -> str:
    """``name`` as a path that stays below the folder it is appended to."""
    parts = name.split("/")
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        _refuse(name, "is not relative")
    if any(part in ("", ".", "..") for part in parts):
        _refuse(name, "leads out of its folder")
    if len(parts) > MAX_LEVELS:
        _refuse(name, f"lies more than {MAX_LEVELS} folders deep")
    if any(ord(letter) < 32 or letter == "\x7f" for letter in name):
        _refuse(name, "has control characters in its name")
    encoded = os.fsencode(name)
    if len(encoded) > 2048 or any(len(os.fsencode(part)) > 255 for part in parts):
        _refuse(name, "has too long a name")
    return name


def _refuse(name: str, why: str) -> NoReturn:
    raise RemoteError(f"the member {quote(name, 200)} of the archive {why}: nothing was unpacked")


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise RemoteError(f"the archive is damaged: {quote(str(error), 200)}") from None
    except (NotImplementedError, RuntimeError, ValueError, UnicodeError) as error:
        raise RemoteError(f"the archive cannot be read: {quote(str(error), 200)}") from None
