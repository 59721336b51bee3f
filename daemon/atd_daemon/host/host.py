"""All the accounts of one host folder, and what an owner can do with them.

One process at a time holds a host folder (an exclusive lock on ``lock``), because live subscribers
learn of commits from the process that makes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from atd.disk import sync_folder
from atd.errors import Busy, Conflict, InvalidSyntax, LocalError, StorageFault
from atd.protocol.syntax import Handle
from atd_daemon.host.account import KEYS, Account, AccountStatus, Clock
from atd_daemon.host.backup import BackupInfo, restore_account, write_backup
from atd_daemon.host.domain import Domain
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.sessions import make_password

_LOCK: Final = "lock"
_UNFINISHED: Final = ".new-"
_MIN_PASSWORD: Final = 12


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What ``atd host init`` shows. ``password`` is shown here and never again."""

    domain: str
    did: str
    handle: str
    pds: str
    key_file: str
    password: str = field(repr=False)


class Host:
    """The accounts of one folder, by domain. Thread-safe."""

    def __init__(self, folder: Path, clock: Clock, limits: HostLimits, lock: int) -> None:
        """Use `open`."""
        self.folder = folder
        self.limits = limits
        self.clock = clock
        self._lock = lock
        self._accounts: dict[str, Account] = {}
        self._changing = threading.Lock()

    @classmethod
    def open(cls, folder: Path, clock: Clock = time.time, limits: HostLimits | None = None) -> Self:
        """Open a host folder with all its accounts; a new one is made, for its owner alone.

        Args:
            folder: where the accounts are, such as ``state/host``.
            clock: Unix seconds.
            limits: the defaults, where not given.

        Raises:
            Busy: another process has it open.
            StorageFault: it cannot be read, or an account in it is damaged.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFault(f"the host folder {folder}: {error.strerror}") from None
        host = cls(folder, clock, limits or HostLimits(), lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            host._open_accounts()
        except BlockingIOError:
            os.close(lock)
            raise Busy(f"another process serves the host folder {folder}") from None
        except BaseException:
            host.close()
            raise
        return host

    def close(self) -> None:
        """Close every account and let go of the folder."""
        with self._changing:
            for account in self._accounts.values():
                account.close()
            self._accounts.clear()
            os.close(self._lock)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Every account, in the order of their domains."""
        return tuple(account for _, account in sorted(self._accounts.items()))

    def account(self, domain: str | None = None) -> Account:
        """The account of ``domain``; the only one where no domain is given.

        Raises:
            LocalError: there is none, or there are several to choose from.
        """
        known = ", ".join(sorted(self._accounts)) or "none"
        if domain is None and len(self._accounts) == 1:
            return next(iter(self._accounts.values()))
        found = self._accounts.get((domain or "").lower())
        if found is None:
            raise LocalError(
                f"no account for the domain {domain or '(not given)'}; there are: {known}",
                next_step="make one with: atd host init DOMAIN",
            )
        return found

    def find(self, authority: str) -> Account | None:
        """The account that a request's ``Host`` header asks for: by domain, or by handle.

        A handle is looked for without the port, because whoever resolves a handle asks for it at
        the usual one.
        """
        lowered = authority.lower()
        found = self._accounts.get(lowered)
        if found is not None:
            return found
        name = lowered.partition(":")[0]
        by_name = self._accounts.get(name)
        if by_name is not None:
            return by_name
        return next((each for each in self._accounts.values() if each.handle == name), None)

    # --- what an owner can do ---------------------------------------------------------------------

    def init(
        self, domain: str, handle: str | None = None, password: str | None = None
    ) -> NewAccount:
        """Make an account: keys, did:web, an empty signed repository, an app password.

        Args:
            domain: where it is served, such as ``lab.example.org`` (tests: ``localhost:2583``).
            handle: its handle, if that is another name than the domain.
            password: its app password, at least 12 characters; made up where not given.

        Raises:
            InvalidSyntax: no such domain or handle, or the password is too short.
            Conflict: the domain or the handle is taken.
            StorageFault: it cannot be written.
        """
        where = Domain.parse(domain)
        name = _handle(where, handle)
        if password is not None and len(password) < _MIN_PASSWORD:
            raise InvalidSyntax(f"the password of a host has {_MIN_PASSWORD} characters at least")
        secret = password or make_password()
        with self._changing:
            for other in self._accounts.values():
                if where == other.domain or name == other.handle:
                    raise Conflict(f"{where.name} (@{name}) is taken by {other.did}")
            with self._place() as unfinished:
                Account.create(unfinished, where, name, secret, self.limits, self.clock).close()
                account = self._move_in(unfinished, where)
        return NewAccount(
            domain=where.name,
            did=account.did,
            handle=name,
            pds=account.origin,
            key_file=str(account.folder / KEYS),
            password=secret,
        )

    def status(self) -> tuple[AccountStatus, ...]:
        """How each account is."""
        return tuple(account.status() for account in self.accounts)

    def new_password(self, domain: str | None = None) -> str:
        """Give the account another app password, ending all its sessions; returns it, once."""
        password = make_password()
        self.account(domain).change_password(password)
        return password

    def backup(self, target: Path, domain: str | None = None) -> BackupInfo:
        """Write one account, as it is at one moment, into the new archive ``target``, mode 0600.

        It holds the signing key: whoever has the archive can be the account.

        Raises:
            LocalError: no such account.
            StorageFault: the archive exists already, or cannot be written.
        """
        return write_backup(self.account(domain), target)

    def restore(self, archive: Path) -> AccountStatus:
        """Put back the account in ``archive``, which `backup` wrote, and sign it anew.

        Raises:
            Conflict: the account is here already.
            StorageFault: the archive cannot be read.
            ProofError, DigestMismatch: what is in it does not prove; nothing was changed.
        """
        with self._changing, self._place() as unfinished:
            domain = restore_account(archive, unfinished, self.limits, self.clock)
            if domain.name in self._accounts:
                raise Conflict(
                    f"{domain.name} is here already; nothing was restored",
                    next_step="restore into another folder, or move this account away first",
                )
            return self._move_in(unfinished, domain).status()

    # --- folders ----------------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(_UNFINISHED):
                shutil.rmtree(path, ignore_errors=True)  # a crash while making an account
            elif path.is_dir():
                account = Account(path, self.limits, self.clock)
                self._accounts[account.domain.name] = account
                account.blobs.sweep(incoming=True)

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """A new folder to fill; what was not moved in when the block ends is gone."""
        path = self.folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            path.mkdir(mode=0o700)
        except OSError as error:
            raise StorageFault(f"{path} cannot be made: {error.strerror}") from None
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _move_in(self, filled: Path, domain: Domain) -> Account:
        target = self.folder / domain.folder
        try:
            if target.exists():
                raise Conflict(f"{target} exists already; nothing was written")
            filled.rename(target)
            sync_folder(self.folder)
        except OSError as error:
            raise StorageFault(f"{target} cannot be made: {error.strerror}") from None
        account = Account(target, self.limits, self.clock)
        # A new dict each time: requests go on reading the old one meanwhile.
        self._accounts = {**self._accounts, domain.name: account}
        return account


def _handle(domain: Domain, handle: str | None) -> Handle:
    if handle is not None:
        return Handle.parse(handle.removeprefix("@"))
    if domain.is_local:
        raise InvalidSyntax(
            f"{domain.name} cannot be a handle, because it is not a public name",
            next_step="give a handle for it, such as alice.test",
        )
    return Handle.parse(domain.name)
