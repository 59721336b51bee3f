"""One account in one file, and back again.

The archive is a plain tar, so that it can be looked into with any tool::

    about.json         {"version": 1, "domain", "did", "made_at"}      first, to be read alone
    keys.json          signing key and session key
    repo.sqlite        a consistent copy, by SQLite's backup API
    blobs/<cid>        every blob that the copy knows

The copy of the database comes first and blob files are held in their place until all are in, so
the archive is one moment of the account although it goes on serving. Restoring trusts nothing: only
these names are taken out, each blob must hash to its name, the database must be sound, and the
repository's signature must verify with the key beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from atd.errors import AtdError, DigestMismatch, InvalidSyntax, ProofError, StorageFault
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import verify_repo
from atd.protocol.syntax import quote
from atd_daemon.host.account import BLOBS, DATABASE, KEYS, Account, Clock
from atd_daemon.host.blobs import Upload
from atd_daemon.host.domain import Domain
from atd_daemon.host.events import timestamp
from atd_daemon.host.limits import HostLimits

_ABOUT: Final = "about.json"
_VERSION: Final = 1
_MAX_SMALL: Final = 65536
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """What was written: where, how many files are in it, how many bytes it has."""

    path: str
    did: str
    files: int
    size: int


def write_backup(account: Account, target: Path) -> BackupInfo:
    """Write ``account`` into the new file ``target``; see `atd_daemon.host.host.Host.backup`."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with contextlib.ExitStack() as undo:
            _private(target).close()  # takes the name, so that nothing is ever replaced
            undo.callback(target.unlink)
            with _private(partial) as file:
                undo.callback(partial.unlink)
                names = _fill(account, file, partial.with_name(partial.name + ".sqlite"))
                file.flush()
                os.fsync(file.fileno())
            partial.rename(target)
            undo.pop_all()
            size = target.stat().st_size
    except OSError as error:
        raise StorageFault(
            f"the backup {target} cannot be written: {error.strerror}",
            next_step="give a path that does not exist yet, in a folder with room",
        ) from None
    return BackupInfo(str(target), account.did, names, size)


def _fill(account: Account, file: IO[bytes], copy: Path) -> int:
    account.blobs.hold()
    try:
        _private(copy).close()  # the copy holds the password's hash: private from the start
        account.copy_database(copy)
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            about = {
                "version": _VERSION,
                "domain": account.domain.name,
                "did": account.did,
                "made_at": timestamp(account.clock()),
            }
            _add_bytes(tar, _ABOUT, json.dumps(about).encode())
            _add_bytes(tar, KEYS, (account.folder / KEYS).read_bytes())
            _add_file(tar, DATABASE, copy)
            for cid in _blobs_of(copy):
                _add_file(tar, f"{BLOBS}/{cid}", account.blobs.path(cid))
            return len(tar.getnames())
    finally:
        account.blobs.release()
        copy.unlink(missing_ok=True)


def _blobs_of(database: Path) -> Iterator[Cid]:
    """The blobs that a copied database knows, whether or not a record refers to them yet."""
    try:
        with contextlib.closing(sqlite3.connect(database)) as db:
            rows = db.execute("SELECT cid FROM blob ORDER BY cid").fetchall()
    except sqlite3.Error as error:
        raise StorageFault(f"{database} cannot be read: {error}") from None
    for (cid,) in rows:
        yield Cid(cid)


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    tar.addfile(_entry(name, len(data)), io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with path.open("rb") as file:
        tar.addfile(_entry(name, os.fstat(file.fileno()).st_size), file)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


# --- back again -----------------------------------------------------------------------------------


def restore_account(archive: Path, folder: Path, limits: HostLimits, clock: Clock) -> Domain:
    """Fill the empty ``folder`` from ``archive``, check all of it, and sign the repository anew.

    Raises:
        StorageFault: the archive cannot be read, or is not one of ours.
        DigestMismatch: a blob is not what its name says.
        ProofError: the repository does not verify with the key in the archive.
    """
    try:
        with tarfile.open(archive, mode="r:") as tar:
            domain = _take_out(tar, folder)
        with contextlib.closing(sqlite3.connect(folder / DATABASE)) as db:
            (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
            db.execute("PRAGMA journal_mode = WAL")
    except (OSError, tarfile.TarError, sqlite3.Error) as error:
        raise StorageFault(f"the backup {archive} cannot be read: {error}") from None
    if verdict != "ok":
        raise StorageFault(f"the database in {archive} is damaged: {quote(verdict)}")
    account = Account(folder, limits, clock)
    try:
        _prove(account, domain)
        account.sign_anew()
    finally:
        account.close()
    return domain


def _take_out(tar: tarfile.TarFile, folder: Path) -> Domain:
    entries = iter(tar)
    first = next(entries, None)
    if first is None or first.name != _ABOUT:
        raise StorageFault("the archive does not begin with about.json: not a backup of a host")
    domain = _about(_small(tar, first))
    for entry in entries:
        if entry.name == KEYS:
            with _private(folder / KEYS) as keys:
                keys.write(_small(tar, entry))
        elif entry.name == DATABASE:
            _copy(tar, entry, folder / DATABASE)
        elif entry.name.startswith(f"{BLOBS}/"):
            _take_blob(tar, entry, folder / BLOBS)
        else:
            raise StorageFault(f"the archive holds {quote(entry.name)}, which no backup does")
    return domain


def _about(data: bytes) -> Domain:
    try:
        about = json.loads(data)
        if about["version"] != _VERSION:
            raise StorageFault(f"the backup has version {quote(about['version'])}, not {_VERSION}")
        return Domain.parse(about["domain"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageFault(f"about.json is not that of a backup: {quote(str(error))}") from None


def _take_blob(tar: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    try:
        cid = Cid.parse(entry.name.removeprefix(f"{BLOBS}/"))
    except InvalidSyntax as error:
        raise StorageFault(f"the archive holds a blob with a bad name: {error}") from None
    target = folder / str(cid)[-2:] / str(cid)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Upload(target.with_suffix(".new"), entry.size) as upload:
        for chunk in _chunks(tar, entry):
            upload.write(chunk)
        upload.finish()
        if upload.cid != cid:
            raise DigestMismatch(f"blob {cid} of the backup hashes to {upload.cid}")
        upload.path.rename(target)


def _copy(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
    with _private(target) as file:
        for chunk in _chunks(tar, entry):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _chunks(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    source = tar.extractfile(entry) if entry.isreg() else None
    if source is None:
        raise StorageFault(f"{quote(entry.name)} in the archive is not a plain file")
    while chunk := source.read(_CHUNK):
        yield chunk


def _small(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    if entry.size > _MAX_SMALL:
        raise StorageFault(f"{quote(entry.name)} in the archive is too large")
    return b"".join(_chunks(tar, entry))


def _private(path: Path) -> IO[bytes]:
    """A new file for its owner alone."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _prove(account: Account, domain: Domain) -> None:
    """The repository verifies with the key beside it, and every blob that it needs is there."""
    if account.domain != domain:
        raise ProofError(f"the archive of {domain.name} holds the account {account.domain.name}")
    try:
        verify_repo(b"".join(account.reader.car(None)), Identity.from_document(account.document()))
    except AtdError as error:
        raise ProofError(f"the repository of {domain.name} does not verify: {error}") from error
    for cid in _blobs_of(account.folder / DATABASE):
        if not account.blobs.path(cid).is_file():
            raise DigestMismatch(f"the backup lacks the blob {cid}, which its database knows")
