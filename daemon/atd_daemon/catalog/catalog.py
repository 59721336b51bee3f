"""The index's face: one object that the rest of the daemon holds.

Its methods are synchronous and may be called from any thread. A lookup takes microseconds, so
calling it from the event loop is meant. Opening, `records_naming`, and `datasets` over all
publishers grow with the index and belong in ``asyncio.to_thread``; so does everything that writes:
a `put` takes well under a millisecond (no write waits for the disk), but one that comes during a
`publisher_snapshot` (about 10,000 records a second) waits for its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from atd.errors import Absent, AtdError, RemoteError
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedAbsence, VerifiedRecord, VerifiedRepo
from atd.protocol.syntax import AtUri, Did, Handle, Tid
from atd.records import Record, StrongRef, version_order
from atd_daemon.catalog import history, listing, queries, recipes, search, writer
from atd_daemon.catalog.database import Database
from atd_daemon.catalog.following import Following
from atd_daemon.catalog.holdings import Holdings
from atd_daemon.catalog.kept import Kept
from atd_daemon.catalog.model import (
    Change,
    Changes,
    Counts,
    DatasetEntry,
    Flaw,
    NamedDataset,
    Problem,
    Publisher,
    RecipeEntry,
    ReleaseEntry,
    SearchPage,
    StoredRecord,
)
from atd_daemon.catalog.query import NO_FILTERS, Filters
from atd_daemon.catalog.search import Sort


class Catalog:
    """The index in the SQLite file at ``path``, which it creates or brings up to date.

    Moments (``now``) are seconds since 1970, by the caller's clock; this never reads one.

    Raises:
        StorageFault: the file is damaged (it was moved aside, the next start makes a new one), of
            a newer atd, of another program, on a network file system, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        with self._database.read() as db:
            current = listing.is_current(db)
        if not current:
            with self._database.write() as db:
                listing.renew(db)
        self.following = Following(self._database)
        self.holdings = Holdings(self._database)
        self.kept = Kept(self._database)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # --- in ---------------------------------------------------------------------------------------

    def put(self, verified: VerifiedRecord, parsed: Record, *, now: float) -> None:
        """Take in one proved record with its typed value; settles a problem that it had.

        Raises:
            TypeError: one of them is something else.
            LexiconError: they do not belong together.
            StaleRevision: something signed later, or at the same revision, says otherwise.
        """
        with self._database.write() as db:
            writer.put(db, verified, parsed, now)

    def put_all(
        self, records: Iterable[tuple[VerifiedRecord, Record]], *, now: float
    ) -> tuple[int, int]:
        """Take in several proved records in one transaction: how many are new, how many other.

        Raises:
            TypeError, LexiconError, StaleRevision: as `put`; then none of them is taken in.
        """
        created = updated = 0
        with self._database.write() as db:
            for verified, parsed in records:
                before = writer.put(db, verified, parsed, now)
                created += before is None
                updated += before not in (None, str(verified.cid))
        return created, updated

    def delete(self, absence: VerifiedAbsence, *, now: float) -> bool:
        """Take in the proof that there is no such record. Whether the index had it.

        Raises:
            TypeError: it is no proof.
            StaleRevision: something signed later, or at the same revision, says otherwise.
        """
        with self._database.write() as db:
            return writer.delete(db, absence, now)

    def check_repo(self, repo: VerifiedRepo) -> None:
        """See that `publisher_snapshot` would not refuse a whole repository for its age.

        Raises:
            StaleRevision: something of this publisher that was signed later is known.
        """
        with self._database.read() as db:
            writer.refuse_older_repo(db, repo.commit)

    def publisher_snapshot(
        self,
        repo: VerifiedRepo,
        parsed: Iterable[tuple[VerifiedRecord, Record]],
        flaws: Iterable[Flaw] = (),
        *,
        now: float,
    ) -> Changes:
        """Make the index equal to a whole proved repository, in one transaction.

        Args:
            repo: the repository.
            parsed: each of its records of our collections, with its typed value (not those that
                this very commit brought in already, with `put_all`) …
            flaws: … or with the reason why it has none.

        Raises:
            TypeError, LexiconError: as `put`.
            ValueError: a record of our collections is missing from both, or is not in ``repo``.
            StaleRevision: something of this publisher that was signed later is known.
        """
        with self._database.write() as db:
            return writer.snapshot(db, repo, parsed, flaws, now)

    def problem(
        self, uri: AtUri, reason: type[AtdError] | AtdError, message: str = "", *, now: float
    ) -> None:
        """Take note that the record at ``uri`` cannot be proved or read; it is listed no longer.

        Args:
            uri: the record, by DID, collection and key.
            reason: the error, or its class. Only what someone published (RemoteError) or did not
                publish (Absent) is a problem of a record: that a server did not answer is not.
            message: what was expected and what came; the error's own if it is empty.
        """
        kind = reason if isinstance(reason, type) else type(reason)
        if not issubclass(kind, RemoteError | Absent):
            raise ValueError(f"{kind.__name__} says nothing about the record {uri}")
        said = message or ("" if isinstance(reason, type) else str(reason))
        with self._database.write() as db:
            writer.problem(db, Flaw(uri, kind.__name__, said), now)

    def publisher_seen(self, identity: Identity, *, now: float) -> None:
        """Take note of a publisher's PDS, and of its handle where that is proved."""
        with self._database.write() as db:
            writer.publisher(db, identity, now)

    def publisher_error(self, did: Did, error: AtdError | None, *, now: float) -> None:
        """Take note of what was wrong when a publisher was last asked; None: nothing was."""
        reason = None if error is None else type(error).__name__
        with self._database.write() as db:
            writer.publisher_error(db, did, reason, None if error is None else str(error), now)

    # --- out --------------------------------------------------------------------------------------

    def record(self, uri: AtUri) -> StoredRecord | None:
        """The record at ``uri`` as it was last proved."""
        with self._database.read() as db:
            return queries.record(db, uri)

    def pinned(self, uri: AtUri, cid: Cid) -> StoredRecord | None:
        """The record at ``uri`` if it is the very one that ``cid`` names."""
        found = self.record(uri)
        return found if found is not None and found.cid == cid else None

    def records(self, did: Did, collection: str) -> list[StoredRecord]:
        """Every record of one collection of one publisher, by key."""
        with self._database.read() as db:
            return queries.records(db, did, collection)

    def records_naming(self, collection: str, cid: Cid) -> list[StoredRecord]:
        """The records of one collection that seem to name ``cid``; looks through all of them."""
        with self._database.read() as db:
            return queries.records_naming(db, collection, cid)

    def absent_since(self, uri: AtUri) -> Tid | None:
        """The revision at which it was last proved that there is no record at ``uri``."""
        with self._database.read() as db:
            return queries.absence(db, uri)

    def rev_floor(self, did: Did) -> Tid | None:
        """The newest revision of this publisher that was proved: nothing older is news."""
        with self._database.read() as db:
            return queries.rev_floor(db, did)

    def knows_commit(self, did: Did, commit: Cid) -> bool:
        """Whether anything in the index was proved by this very commit."""
        with self._database.read() as db:
            return queries.knows_commit(db, did, str(commit))

    def dataset(self, did: Did, name: str) -> DatasetEntry | None:
        """One data set; None if it is not listed."""
        with self._database.read() as db:
            return queries.dataset(db, did, name)

    def datasets(
        self, did: Did | None = None, *, limit: int | None = None, after: str | None = None
    ) -> list[DatasetEntry]:
        """The data sets of one publisher, or of all, by publisher and name.

        Args:
            limit: how many at most; None: all.
            after: begin after this one, as ``DID/NAME``; it need not be there any more.
        """
        with self._database.read() as db:
            return queries.datasets(db, did, limit, after)

    def recipes(self, text: str = "", *, limit: int = 25) -> tuple[list[RecipeEntry], bool]:
        """The recipes with every word of ``text``, best first, and whether there are more.

        Args:
            limit: how many at most, up to 100.
        """
        with self._database.read() as db:
            return recipes.search(db, text, limit)

    def named(self, name: str, limit: int) -> list[NamedDataset]:
        """The data sets of this name, whoever publishes them.

        First those whose name begins with their publisher's proved domain, then the oldest.
        """
        with self._database.read() as db:
            return queries.named(db, name, limit)

    def history(self, did: Did, name: str, *, limit: int, below: int | None = None) -> list[Change]:
        """What was seen of one data set (its card, releases, schemas), newest first.

        Args:
            below: begin with what was seen before this `Change.id`.
        """
        with self._database.read() as db:
            return history.of_dataset(db, did, name, limit, below)

    def log(
        self,
        did: Did | None = None,
        *,
        since: float | None = None,
        alarms: bool = False,
        shards: bool = False,
        limit: int,
        below: int | None = None,
    ) -> list[Change]:
        """What was seen to change, of one publisher or of all, newest first.

        Args:
            since: not what was seen before this moment.
            alarms: only what is worth a second look.
            shards: shard lists as well, of which there are many.
            below: begin with what was seen before this `Change.id`.
        """
        with self._database.read() as db:
            return history.log(db, did, since, alarms, shards, limit, below)

    def content(self, uri: AtUri, cid: Cid) -> bytes | None:
        """The bytes that were proved to be at ``uri`` under this very CID, if they are still known.

        Unlike `pinned`, what was replaced or deleted since counts, as far as it is kept.
        """
        with self._database.read() as db:
            return history.content(db, uri, cid)

    def release_before(self, change: Change) -> StrongRef | None:
        """The release of the same data set that was seen last before this change to one."""
        with self._database.read() as db:
            return history.release_before(db, change)

    def releases(self, did: Did, name: str) -> list[ReleaseEntry]:
        """The releases of a data set that are known, newest version first."""
        with self._database.read() as db:
            found = queries.releases(db, did, name)
        return sorted(found, key=lambda entry: version_order(entry.version), reverse=True)

    def problems(self, did: Did | None = None) -> list[Problem]:
        """What could not be proved or read, of one publisher or of all."""
        with self._database.read() as db:
            return queries.problems(db, did)

    def publisher(self, did: Did) -> Publisher | None:
        """What is known of one publisher."""
        with self._database.read() as db:
            return queries.publisher(db, did)

    def publishers(self) -> list[Publisher]:
        """What is known of every publisher."""
        with self._database.read() as db:
            return queries.publishers(db)

    def did_of(self, handle: Handle) -> Did | None:
        """Who was last proved to have ``handle``; what was true then may no longer be."""
        with self._database.read() as db:
            return queries.did_of(db, handle)

    def search(
        self,
        text: str = "",
        filters: Filters = NO_FILTERS,
        *,
        license: str | None = None,
        tag: str | None = None,
        did: Did | None = None,
        sort: Sort = "relevance",
        facets: bool = False,
        limit: int = 25,
        cursor: str | None = None,
    ) -> SearchPage:
        """The data sets with these words and properties (see `search`, `terms` and `Filters`).

        Args:
            text: whatever a user typed; none finds everything.
            filters: what all that is found must have.
            license: one more licence (an SPDX expression, in any case) …
            tag: … or tag (in any case) …
            did: … or publisher, as a filter.
            sort: ``relevance``: best first; ``newest``: as the index saw them; ``name``.
            facets: count how the matches are distributed.
            limit: how many at most, up to 100.
            cursor: the page before's.

        Raises:
            InvalidSyntax: the cursor is not one of this very search; a regular expression is none,
                or takes too long.
        """
        wanted = replace(
            filters,
            licenses=(*filters.licenses, *(() if license is None else (license,))),
            tags=(*filters.tags, *(() if tag is None else (tag,))),
            publishers=(*filters.publishers, *(() if did is None else (did,))),
        )
        with self._database.read() as db:
            question = search.ask(db, text, wanted, sort, cursor)
            found = search.page(db, question, sort, limit)
            entries = tuple(queries.datasets_by_id(db, found.ids))
            counted = search.facets(db, question) if facets else None
            return SearchPage(entries, found.cursor, counted)

    def counts(self) -> Counts:
        """How much the index holds."""
        with self._database.read() as db:
            return queries.counts(db)

    def size_bytes(self) -> int:
        """What the index takes on disk, its write-ahead log included."""
        return self._database.size_bytes()

    # --- identities: what the directory remembers -------------------------------------------------

    def answer(self, key: str) -> tuple[str, float] | None:
        """What a handle or a DID led to when it was last asked for, and when that was.

        Kept for the directory, which knows what the text means and how long to believe it.
        """
        with self._database.read() as db:
            row = db.execute("SELECT text, at_s FROM identities WHERE key = ?", (key,)).fetchone()
        return None if row is None else (row[0], row[1])

    def put_answer(self, key: str, text: str, at_s: float) -> None:
        """Remember what a handle or a DID led to, in place of an earlier answer."""
        with self._database.write() as db:
            db.execute("INSERT OR REPLACE INTO identities VALUES (?, ?, ?)", (key, text, at_s))
