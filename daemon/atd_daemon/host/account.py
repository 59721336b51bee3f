"""One account of the host: its facts, and its parts wired together.

What lies in its folder::

    keys.json     signing key and session key, 0600                       (`keys`)
    repo.sqlite   settings, repository, blob rows, events, sessions       (`database`)
    blobs/        blob files by CID                                       (`blobs`)

An account is made complete beside its place and moved into it, so it is there whole or not at all.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import StorageFault
from atd.lexicon_files import catalog
from atd.protocol.syntax import Did, Handle
from atd_daemon.host.blobs import BlobStore
from atd_daemon.host.database import Connection, Database, keep, setting
from atd_daemon.host.domain import Domain
from atd_daemon.host.events import EventLog, account_body, identity_body, leap
from atd_daemon.host.feed import Feed
from atd_daemon.host.keys import HostKeys
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.reading import Reader
from atd_daemon.host.repo import Repo
from atd_daemon.host.sessions import Sessions, set_password

Clock = Callable[[], float]

KEYS: Final = "keys.json"
DATABASE: Final = "repo.sqlite"
BLOBS: Final = "blobs"
_RESTORE_LEAP: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What ``atd host status`` says about an account; sizes in bytes."""

    domain: str
    did: str
    handle: str
    pds: str
    head: str
    rev: str
    records: int
    blobs: int
    blob_bytes: int
    block_bytes: int
    events: int
    folder: str


class Account:
    """One account, open. Thread-safe."""

    def __init__(self, folder: Path, limits: HostLimits, clock: Clock) -> None:
        """Open the account in ``folder``.

        Raises:
            StorageFault: something is missing, damaged, or readable by others.
        """
        self.folder = folder
        self.limits = limits
        self.clock = clock
        self.keys = HostKeys.load(folder / KEYS)
        self._database = Database(folder / DATABASE)
        with self._database.read() as db:
            self.domain = Domain.parse(_required(db, "domain"))
            self.handle = Handle.parse(_required(db, "handle"))
            clock_id = int(_required(db, "clock_id"))
        self.did: Did = self.domain.did
        self.lexicons = catalog()
        self.events = EventLog(self._database, limits, clock)
        self.feed = Feed(self.events, limits)
        self.blobs = BlobStore(folder / BLOBS, self._database, limits, clock)
        self.repo = Repo(
            self._database, self.did, self.keys.signing, self.blobs, self.events, clock, clock_id
        )
        self.reader = Reader(self._database)
        self.sessions = Sessions(self._database, self.keys.session, self.did, limits, clock)
        self.repo.on_commit(self.feed.announce)

    @classmethod
    def create(
        cls,
        folder: Path,
        domain: Domain,
        handle: Handle,
        password: str,
        limits: HostLimits,
        clock: Clock,
    ) -> Account:
        """Fill the new, empty ``folder`` with an account and its first commit."""
        HostKeys.generate().create(folder / KEYS)
        database = Database.create(folder / DATABASE)
        with database.write() as db:
            keep(db, "domain", domain.name)
            keep(db, "handle", handle)
            keep(db, "clock_id", str(secrets.randbelow(1024)))
            set_password(db, password)
        database.close()
        account = cls(folder, limits, clock)
        with account._database.write() as db:
            account.events.append(db, "#identity", identity_body(account.did, handle))
            account.events.append(db, "#account", account_body(account.did))
            account.repo.begin(db)
        return account

    def close(self) -> None:
        """End its subscriptions and close its database."""
        self.feed.close()
        self._database.close()

    @property
    def origin(self) -> str:
        """The URL of its PDS."""
        return self.domain.origin

    def document(self) -> dict[str, Any]:
        """Its DID document (w3.org/TR/did-core, atproto.com/specs/did)."""
        return {
            "@context": [
                "https://www.w3.org/ns/did/v1",
                "https://w3id.org/security/multikey/v1",
            ],
            "id": self.did,
            "alsoKnownAs": [f"at://{self.handle}"],
            "verificationMethod": [
                {
                    "id": f"{self.did}#atproto",
                    "type": "Multikey",
                    "controller": self.did,
                    "publicKeyMultibase": self.keys.signing.public.to_multikey(),
                }
            ],
            "service": [
                {
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": self.origin,
                }
            ],
        }

    def status(self) -> AccountStatus:
        """How it is."""
        head, totals = self.reader.head(), self.reader.totals()
        return AccountStatus(
            domain=self.domain.name,
            did=self.did,
            handle=self.handle,
            pds=self.origin,
            head=str(head.cid),
            rev=head.rev,
            records=totals.records,
            blobs=totals.blobs,
            blob_bytes=totals.blob_bytes,
            block_bytes=totals.block_bytes,
            events=self.events.newest(),
            folder=str(self.folder),
        )

    def change_password(self, password: str) -> None:
        """Set another password; every session ends."""
        with self._database.write() as db:
            set_password(db, password)

    def sign_anew(self) -> None:
        """Sign the repository under a new revision and say so, under new event numbers.

        For a restored backup: whoever saw the commits that it lacks is told to start anew.
        """
        with self._database.write() as db:
            leap(db, _RESTORE_LEAP)
            self.repo.resign(db)

    def copy_database(self, path: Path) -> None:
        """Write a consistent copy of its database to ``path``."""
        self._database.copy_to(path)


def _required(db: Connection, name: str) -> str:
    value = setting(db, name)
    if value is None:
        raise StorageFault(f"the host's database has no {name}")
    return value
