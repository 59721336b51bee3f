"""The only way into the index: what was proved goes in, and never backwards.

Every function here runs inside one transaction of `Database.write`. Three rules decide:

1. Only values that `atd.protocol.proof` has made are taken, never something that looks like one,
   and only together with what `atd.records` parsed from them.
2. A publisher's commits are ordered by revision. What is known of a URI (a record, an absence)
   gives way to what was signed later, and a whole repository proved at some revision gives way to
   nothing that was signed before it. Else somebody who kept an old answer could undo a change.
3. Two contents of one URI in one revision mean that the publisher, or whoever has its key, signs
   two histories. Neither replaces the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from atd.errors import IdentityMismatch, LexiconError, StaleRevision
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedAbsence, VerifiedCommit, VerifiedRecord, VerifiedRepo
from atd.protocol.syntax import AtUri, Tid
from atd.records import COLLECTIONS, RECORDS, Record
from atd_daemon.catalog import history, listing
from atd_daemon.catalog.model import Changes, Flaw

_CLASSES: Mapping[str, type] = {cls.NSID: cls for cls in RECORDS}
REPOS: Final = (VerifiedRepo,)
"""The sealed types of a whole repository that `snapshot` takes."""
_ADVICE = "ask again in a while: the server may be behind; if it persists, tell the publisher"


def put(db: sqlite3.Connection, verified: VerifiedRecord, parsed: Record, now: float) -> str | None:
    """Take in one proved record. The CID of what was there before.

    Raises:
        TypeError: one of the two is not what it must be.
        LexiconError: ``parsed`` is of another collection or key than ``verified``.
        StaleRevision: something signed later, or at the same revision, says otherwise.
    """
    _require(verified, VerifiedRecord)
    _require_pair(verified, parsed)
    _refuse_older(db, verified.uri, verified.commit, cid=str(verified.cid))
    _note_commit(db, verified.commit, now)
    db.execute("DELETE FROM absences WHERE uri = ?", (str(verified.uri),))
    before = _store(db, verified, parsed, now)
    db.execute("DELETE FROM problems WHERE uri = ?", (str(verified.uri),))
    return before


def delete(db: sqlite3.Connection, absence: VerifiedAbsence, now: float) -> bool:
    """Take note that a publisher has no such record. Whether the index had it.

    Raises:
        TypeError: it is not a `VerifiedAbsence`.
        StaleRevision: something signed later, or at the same revision, says otherwise.
    """
    _require(absence, VerifiedAbsence)
    _refuse_older(db, absence.uri, absence.commit, cid=None)
    _note_commit(db, absence.commit, now)
    uri = str(absence.uri)
    db.execute(
        "INSERT OR REPLACE INTO absences (uri, did, rev, verified_at, proof)"
        " VALUES (?, ?, ?, ?, ?)",
        (uri, absence.uri.did, absence.commit.rev, now, absence.proof),
    )
    db.execute("DELETE FROM problems WHERE uri = ?", (uri,))
    return _remove(db, absence.uri, absence.commit, now)


def snapshot(
    db: sqlite3.Connection,
    repo: VerifiedRepo,
    parsed: Iterable[tuple[VerifiedRecord, Record]],
    flaws: Iterable[Flaw],
    now: float,
) -> Changes:
    """Make the index equal to a whole repository: what is new, what changed, and what is gone.

    Neither iterable is kept: each record is stored when it comes, so a repository of any size goes
    through. Records in the order of `atd.records.COLLECTIONS` cost least: a data set is then listed
    once, with all that its release and its schema say.

    Args:
        repo: the proved repository.
        parsed: each of its records of our collections that could be read, but for those that
            this very commit brought into the index already.
        flaws: each that could not, with the reason; looked at when ``parsed`` has come to its end,
            so it may be a list that fills meanwhile.

    Raises:
        TypeError, LexiconError: as `put`.
        ValueError: a record of our collections is missing, or is not in ``repo``.
        StaleRevision: something of this publisher was signed later, or otherwise.
    """
    _require(repo, *REPOS)
    commit = repo.commit
    refuse_older_repo(db, commit)
    _note_commit(db, commit, now)
    left = {key for key in repo.entries if key.partition("/")[0] in COLLECTIONS}
    created = updated = 0
    for verified, value in parsed:
        _require(verified, VerifiedRecord)
        _require_pair(verified, value)
        _take(repo, left, verified.uri, verified.cid)
        before = _store(db, verified, value, now)
        created += before is None
        updated += before not in (None, str(verified.cid))
    bad = list(flaws)
    for flaw in bad:
        _take(repo, left, flaw.uri, None)
    if left and not left <= _brought(db, repo):
        raise ValueError(f"a snapshot of {commit.did} must account for each of its records")
    deleted = _remove_others(db, commit, bad, now)
    for flaw in bad:
        cid = repo.entries[f"{flaw.uri.collection}/{flaw.uri.rkey}"]
        deleted += _unreadable(db, flaw.uri, cid, commit, now)
    _replace_problems(db, commit, bad, now)
    db.execute(
        "UPDATE publishers SET complete_rev = ?, complete_commit = ?, complete_at = ?,"
        " error = NULL, error_message = NULL, error_at = NULL WHERE did = ?",
        (commit.rev, str(commit.cid), now, commit.did),
    )
    return Changes(created, updated, deleted)


def advance(db: sqlite3.Connection, commit: VerifiedCommit, since: Tid | None, now: float) -> None:
    """Take note of the commit that followed on ``since``; its changes go in with this transaction.

    If the index had all of the publisher at ``since``, it has all of it again.
    """
    _require(commit, VerifiedCommit)
    db.execute(
        "UPDATE publishers SET complete_rev = ?, complete_commit = ?, complete_at = ?"
        " WHERE did = ? AND complete_rev = ?",
        (commit.rev, str(commit.cid), now, commit.did, since),
    )
    _note_commit(db, commit, now)


def unreadable(
    db: sqlite3.Connection, verified: VerifiedRecord, reason: str, message: str, now: float
) -> None:
    """Take in a proved record that cannot be read: what was known there gave way to it.

    Raises:
        TypeError: it is not a `VerifiedRecord`.
        StaleRevision: something signed later, or at the same revision, says otherwise.
    """
    _require(verified, VerifiedRecord)
    _refuse_older(db, verified.uri, verified.commit, cid=str(verified.cid))
    _unreadable(db, verified.uri, verified.cid, verified.commit, now)
    problem(db, Flaw(verified.uri, reason, message), now)


def problem(db: sqlite3.Connection, flaw: Flaw, now: float) -> None:
    """Take note that a record cannot be proved or read; it is no longer listed.

    What was proved of it earlier stays, for those who ask for exactly that.
    """
    uri = str(flaw.uri)
    db.execute(
        "INSERT INTO problems (uri, did, reason, message, first_seen, last_seen)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uri) DO UPDATE SET"
        " first_seen = CASE reason WHEN excluded.reason THEN first_seen"
        " ELSE excluded.first_seen END,"
        " reason = excluded.reason, message = excluded.message, last_seen = excluded.last_seen",
        (uri, flaw.uri.did, flaw.reason, flaw.message, now, now),
    )
    for table in ("datasets", "recipes"):
        db.execute(f"DELETE FROM {table} WHERE uri = ?", (uri,))  # noqa: S608


def publisher(db: sqlite3.Connection, identity: Identity, now: float) -> None:
    """Take note of who a publisher is; a handle only if it is proved, and then it is no other's."""
    _require(identity, Identity)
    try:
        pds: str | None = identity.pds
    except IdentityMismatch:
        pds = None  # its document names none
    handle = identity.handle
    if handle is not None:
        others = "SELECT did FROM publishers WHERE handle = ? AND did <> ?"
        for (other,) in db.execute(others, (handle, identity.did)).fetchall():
            _set_handle(db, other, None, None)
    db.execute("INSERT OR IGNORE INTO publishers (did) VALUES (?)", (identity.did,))
    db.execute("UPDATE publishers SET pds = ? WHERE did = ?", (pds, identity.did))
    _set_handle(db, identity.did, handle, None if handle is None else now)


def publisher_error(
    db: sqlite3.Connection, did: str, reason: str | None, message: str | None, now: float
) -> None:
    """Take note of what was wrong when a publisher was last asked; None: nothing was."""
    db.execute("INSERT OR IGNORE INTO publishers (did) VALUES (?)", (did,))
    db.execute(
        "UPDATE publishers SET error = ?, error_message = ?, error_at = ? WHERE did = ?",
        (reason, message, None if reason is None else now, did),
    )


# --- what may go in -------------------------------------------------------------------------------


def _require(value: object, *kinds: type) -> None:
    """Exactly one of these types: a subclass or a look-alike has proved nothing."""
    if type(value) not in kinds:
        raise TypeError(f"the index takes a {kinds[0].__name__}, got a {type(value).__name__}")


def _require_pair(verified: VerifiedRecord, parsed: Record) -> None:
    expected = _CLASSES.get(str(verified.uri.collection))
    if expected is None:
        raise LexiconError(f"the index keeps {', '.join(COLLECTIONS)}, got {verified.uri}")
    _require(parsed, expected)
    parsed.check_place(verified.uri)


def _refuse_older(
    db: sqlite3.Connection, uri: AtUri, commit: VerifiedCommit, *, cid: str | None
) -> None:
    """Rules 2 and 3 for one URI; ``cid`` is its content now, None its absence."""
    floor = db.execute("SELECT complete_rev FROM publishers WHERE did = ?", (commit.did,))
    for (complete_rev,) in floor:
        if complete_rev is not None and commit.rev < complete_rev:
            raise _stale(uri, commit, f"its repository is known as of rev {complete_rev}")
    known = db.execute(
        "SELECT rev, cid FROM records WHERE uri = ?"
        " UNION ALL SELECT rev, NULL FROM absences WHERE uri = ?",
        (str(uri), str(uri)),
    )
    for rev, content in known.fetchall():
        if commit.rev < rev:
            raise _stale(uri, commit, f"it is known as of rev {rev}")
        if commit.rev == rev and content != cid:
            raise _stale(uri, commit, f"rev {rev} is known to say otherwise (two histories)")


def refuse_older_repo(db: sqlite3.Connection, commit: VerifiedCommit) -> None:
    """Rules 2 and 3 for a whole repository."""
    row = db.execute(
        "SELECT rev, complete_rev, complete_commit FROM publishers WHERE did = ?", (commit.did,)
    ).fetchone()
    if row is None:
        return
    rev, complete_rev, complete_commit = row
    if rev is not None and commit.rev < rev:
        raise _stale(commit.did, commit, f"it is known as of rev {rev}")
    if commit.rev == complete_rev and str(commit.cid) != complete_commit:
        raise _stale(commit.did, commit, f"rev {rev} is known to say otherwise (two histories)")


def _stale(what: object, commit: VerifiedCommit, known: str) -> StaleRevision:
    return StaleRevision(f"{what} was signed at rev {commit.rev}, but {known}", next_step=_ADVICE)


def _take(repo: VerifiedRepo, left: set[str], uri: AtUri, cid: Cid | None) -> None:
    """Strike one record off what the snapshot still has to account for."""
    key = f"{uri.collection}/{uri.rkey}"
    if uri.authority != repo.commit.did or key not in left:
        raise ValueError(f"a snapshot of {repo.commit.did} must account for each of its records")
    if cid is not None and repo.entries[key] != cid:
        raise ValueError(f"a snapshot of {repo.commit.did} has a record of another revision")
    left.remove(key)


def _brought(db: sqlite3.Connection, repo: VerifiedRepo) -> set[str]:
    """The records that the commit of ``repo`` brought into the index, as they are in ``repo``."""
    start = len(f"at://{repo.commit.did}/")
    rows = db.execute(
        "SELECT uri, cid FROM records WHERE did = ? AND commit_cid = ?",
        (repo.commit.did, str(repo.commit.cid)),
    )
    keys = ((uri[start:], cid) for uri, cid in rows)
    return {key for key, cid in keys if key in repo.entries and str(repo.entries[key]) == cid}


# --- how it goes in -------------------------------------------------------------------------------


def _note_commit(db: sqlite3.Connection, commit: VerifiedCommit, now: float) -> None:
    """Remember the newest revision of its publisher."""
    db.execute(
        "INSERT INTO publishers (did, rev, verified_at) VALUES (?, ?, ?)"
        " ON CONFLICT (did) DO UPDATE SET rev = excluded.rev, verified_at = excluded.verified_at"
        " WHERE rev IS NULL OR rev <= excluded.rev",
        (commit.did, commit.rev, now),
    )


def _store(
    db: sqlite3.Connection, verified: VerifiedRecord, parsed: Record, now: float
) -> str | None:
    """Store one record; gives the CID that was there before."""
    uri = verified.uri
    before = history.note_content(db, uri, verified.cid, verified.commit, now, block=verified.block)
    db.execute(
        "INSERT INTO records (uri, did, collection, rkey, cid, rev, commit_cid, verified_at,"
        " block, proof) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uri) DO UPDATE SET"
        " cid = excluded.cid, rev = excluded.rev, commit_cid = excluded.commit_cid,"
        " verified_at = excluded.verified_at, block = excluded.block, proof = excluded.proof",
        (
            *(str(uri), uri.did, uri.collection, uri.rkey, str(verified.cid)),
            *(verified.commit.rev, str(verified.commit.cid), now, verified.block, verified.proof),
        ),
    )
    listing.store(db, uri, verified.cid, parsed)
    return before


def _remove(db: sqlite3.Connection, uri: AtUri, commit: VerifiedCommit, now: float) -> bool:
    history.note_absence(db, uri, commit, now)
    return listing.drop(db, str(uri))


def _unreadable(
    db: sqlite3.Connection, uri: AtUri, cid: Cid, commit: VerifiedCommit, now: float
) -> bool:
    """What was known of ``uri`` gave way to something that nobody can read."""
    history.note_content(db, uri, cid, commit, now, block=None)
    return listing.drop(db, str(uri))


def _remove_others(
    db: sqlite3.Connection, commit: VerifiedCommit, flaws: list[Flaw], now: float
) -> int:
    """Remove what this commit did not prove, and every absence: the repository says it all now."""
    db.execute("DELETE FROM absences WHERE did = ?", (commit.did,))
    flawed = {str(flaw.uri) for flaw in flaws}
    others = db.execute(
        "SELECT uri FROM records WHERE did = ? AND commit_cid <> ?", (commit.did, str(commit.cid))
    ).fetchall()
    return sum(_remove(db, AtUri.parse(uri), commit, now) for (uri,) in others if uri not in flawed)


def _replace_problems(
    db: sqlite3.Connection, commit: VerifiedCommit, flaws: list[Flaw], now: float
) -> None:
    """The problems of a publisher are now these; one that persists keeps its first date."""
    known = db.execute("SELECT uri FROM problems WHERE did = ?", (commit.did,)).fetchall()
    stay = {str(flaw.uri) for flaw in flaws}
    solved = [(uri,) for (uri,) in known if uri not in stay]
    db.executemany("DELETE FROM problems WHERE uri = ?", solved)
    for flaw in flaws:
        problem(db, flaw, now)


def _set_handle(
    db: sqlite3.Connection, did: str, handle: str | None, handle_at: float | None
) -> None:
    """Change the handle where it is kept, and where it is searched if it is another."""
    db.execute(
        "UPDATE publishers SET handle = ?, handle_at = ? WHERE did = ?", (handle, handle_at, did)
    )
    for table in ("datasets", "recipes"):
        db.execute(
            f"UPDATE {table} SET publisher = ? WHERE did = ? AND publisher IS NOT ?",  # noqa: S608
            (handle, did, handle),
        )
