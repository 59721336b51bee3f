"""The sessions of logged-in accounts: one file that its owner alone can read.

Passwords are never here, only the tokens that a PDS gave for one. The file is replaced as a whole
(written beside, synced, renamed), so that after a crash it holds the old tokens or the new ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from atd.disk import sync_folder
from atd.errors import AtdError, StorageFault
from atd.protocol.identity import parse_origin
from atd.protocol.syntax import Did, Handle

_VERSION: Final = 1


@dataclass(frozen=True)
class Session:
    """One account's tokens at its PDS (an origin); ``handle`` is None where it was not proved."""

    did: Did
    handle: Handle | None
    pds: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)


class SessionFile:
    """All sessions, in memory and in ``accounts.json``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._sessions: dict[Did, Session] | None = None

    def all(self) -> tuple[Session, ...]:
        """Every session, in the order of login.

        Raises:
            StorageFault: the file cannot be read, or others than its owner may read it.
        """
        return tuple(self._read().values())

    def get(self, did: Did) -> Session | None:
        """The session of one account."""
        return self._read().get(did)

    def put(self, session: Session) -> None:
        """Keep a session in place of an earlier one of the same account; on disk on return.

        Raises:
            StorageFault: it cannot be written; the earlier one stays.
        """
        self._write({**self._read(), session.did: session})

    def remove(self, did: Did) -> None:
        """Forget a session; raises as `put`."""
        self._write({key: value for key, value in self._read().items() if key != did})

    def _read(self) -> Mapping[Did, Session]:
        if self._sessions is None:
            try:
                with open(self._file, "rb") as file:
                    if os.fstat(file.fileno()).st_mode & 0o077:
                        os.fchmod(file.fileno(), 0o600)
                    self._sessions = _parse(json.load(file))
            except FileNotFoundError:
                self._sessions = {}
            except OSError as error:
                raise StorageFault(f"cannot read {self._file}: {error.strerror}") from error
            except (AtdError, ValueError, KeyError, TypeError, AttributeError):
                raise StorageFault(
                    f"the sessions in {self._file} are damaged",
                    next_step=f"remove {self._file} and log in again with: atd login HANDLE",
                ) from None
        return self._sessions

    def _write(self, sessions: dict[Did, Session]) -> None:
        rows = [asdict(session) for session in sessions.values()]
        data = json.dumps({"version": _VERSION, "accounts": rows}, indent=1).encode()
        beside = self._file.with_name(self._file.name + ".new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(beside, self._file)
            sync_folder(self._file.parent)
        except OSError as error:
            raise StorageFault(f"cannot write {self._file}: {error.strerror}") from error
        self._sessions = sessions


def _parse(table: Any) -> dict[Did, Session]:
    if table["version"] != _VERSION:
        raise ValueError(table["version"])
    sessions = [
        Session(
            Did.parse(row["did"]),
            None if row["handle"] is None else Handle.parse(row["handle"]),
            parse_origin(row["pds"]),
            str(row["access"]),
            str(row["refresh"]),
        )
        for row in table["accounts"]
    ]
    return {session.did: session for session in sessions}
