"""What following keeps in the index: who, how far, what was refused; and what is forgotten."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.errors import Unreachable
from atd.protocol.cbor import Cid
from atd.protocol.frames import CommitMessage, read_frame
from atd.protocol.live import VerifiedDiff, verify_diff
from atd.protocol.syntax import Did
from atd.records import COLLECTIONS, parse
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.following import MAX_WORDS, Head, Position
from atd_daemon.host.events import frame
from world import Account
from world.datasets import publish
from world.firehose import commit_of

NOW = 1_750_000_000.0
HOST = "https://pds1.example.com"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "index.sqlite")
    yield catalog
    catalog.close()


def diff_of(account: Account) -> VerifiedDiff:
    """The newest commit of an account, proved."""
    body = commit_of(account, account.history[-2], account.head)
    data = frame("#commit", {"seq": 1, "time": "2025-06-15T00:00:00Z", **body})
    message = read_frame(data)
    assert isinstance(message, CommitMessage)
    return verify_diff(message, account.identity, COLLECTIONS)


def take(catalog: Catalog, account: Account, cursor: int) -> None:
    diff = diff_of(account)
    parsed = [parse(change) for change in diff.changes]  # type: ignore[arg-type]
    catalog.following.apply(diff, parsed, Position(HOST, cursor), now=NOW)


def test_recipes_come_change_and_go_with_commits(catalog: Catalog, alice: Account) -> None:
    def names(text: str) -> list[str]:
        return [entry.name for entry in catalog.recipes(text)[0]]

    catalog.following.add(alice.did, "synchronized", now=NOW)
    how = {"$type": "network.atd.recipe#folder", "key": "k"}
    value = {"resources": [{"name": "a", "how": how}], "createdAt": "2025-06-01T00:00:00Z"}
    for number, title in enumerate(("Old words", "New songs")):
        alice.put("network.atd.recipe", "mine", {**value, "name": "mine", "title": title})
        take(catalog, alice, number)
    assert (names("old"), names("songs")) == ([], ["mine"])
    alice.delete("network.atd.recipe", "mine")
    change = diff_of(alice)
    catalog.following.apply(change, [None], Position(HOST, 9), now=NOW)
    assert names("") == []


def test_a_commit_its_head_and_the_cursor_are_one(catalog: Catalog, alice: Account) -> None:
    catalog.following.add(alice.did, "synchronized", now=NOW)
    publish(alice)
    take(catalog, alice, 7)
    row = catalog.following.row(alice.did)
    assert row is not None
    assert row.head == Head(alice.head.commit.rev, alice.head.commit.data, alice.head.commit.cid)
    assert catalog.following.cursor(HOST) == 7
    assert len(catalog.datasets(alice.did)) == 1


def test_what_cannot_go_in_moves_no_cursor(catalog: Catalog, alice: Account) -> None:
    catalog.following.add(alice.did, "synchronized", now=NOW)
    publish(alice)
    diff = diff_of(alice)
    with pytest.raises(TypeError):
        catalog.following.apply(diff, ["no record"], Position(HOST, 7), now=NOW)  # type: ignore[list-item]
    assert catalog.following.cursor(HOST) is None
    assert catalog.rev_floor(alice.did) is None
    with pytest.raises(TypeError):
        catalog.following.apply("no diff", [], Position(HOST, 7), now=NOW)  # type: ignore[arg-type]


def test_who_is_not_followed_gets_no_commits(catalog: Catalog, alice: Account) -> None:
    publish(alice)
    take(catalog, alice, 7)
    assert catalog.datasets(alice.did) == []
    assert catalog.following.row(alice.did) is None


def test_a_cursor_never_falls_but_by_rewinding(catalog: Catalog) -> None:
    following = catalog.following
    for cursor in (5, 9, 3):
        following.move(Position(HOST, cursor), now=NOW)
    assert following.cursor(HOST) == 9
    following.rewind(HOST)
    assert following.cursor(HOST) is None
    following.move(Position(HOST, 3), now=NOW)
    assert following.cursor(HOST) == 3


def test_rejects_are_added_up_one_row_for_each_reason(catalog: Catalog) -> None:
    did = Did("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
    for message in ("first", "x" * 5000):
        catalog.following.count_rejects({(did, HOST, "stale_rev"): (3, message)}, now=NOW)
    catalog.following.count_rejects({(None, HOST, "bad_frame"): (1, "junk")}, now=NOW)
    of_nobody, of_somebody = catalog.following.rejects()
    assert (of_nobody.did, of_nobody.count) == (None, 1)
    assert (of_somebody.did, of_somebody.count) == (did, 6)
    assert len(of_somebody.message) == MAX_WORDS


def test_an_error_is_kept_until_it_is_over(catalog: Catalog, alice: Account) -> None:
    following = catalog.following
    following.add(alice.did, "synchronized", now=NOW)
    following.failed(alice.did, Unreachable("no answer"), now=NOW)
    row = following.row(alice.did)
    assert row is not None
    assert (row.reason, row.message, row.error_at) == ("Unreachable", "no answer", NOW)
    following.checked(alice.did, now=NOW + 1)
    row = following.row(alice.did)
    assert row is not None
    assert (row.reason, row.message, row.checked_at) == (None, None, NOW + 1)


def test_forgetting_leaves_the_publisher_in_no_table_but_its_revision(
    catalog: Catalog, alice: Account, tmp_path: Path
) -> None:
    following = catalog.following
    following.add(alice.did, "synchronized", now=NOW)
    publish(alice)
    take(catalog, alice, 7)
    publish(alice, title="Another title")
    take(catalog, alice, 8)
    following.count_rejects({(alice.did, HOST, "stale_rev"): (3, "late")}, now=NOW)
    assert following.remove(alice.did, forget=True)
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in db.execute(names) if not name.startswith("search")]
        left = []
        for table in tables:
            rows = db.execute(f"SELECT * FROM {table}").fetchall()
            left += [(table, row) for row in rows if any(alice.did in str(cell) for cell in row)]
    assert [table for table, _ in left] == ["publishers"]
    assert catalog.rev_floor(alice.did) == alice.head.commit.rev
    assert not following.remove(alice.did, forget=True)


def test_what_was_followed_is_known_after_a_restart(tmp_path: Path, alice: Account) -> None:
    first = Catalog(tmp_path / "other.sqlite")
    first.following.add(alice.did, "desynchronized", now=NOW)
    head = Head(alice.head.commit.rev, alice.head.commit.data, Cid.of(b"commit"))
    first.following.resynced(alice.did, head, host=HOST, complete=True, now=NOW)
    first.following.set_state(alice.did, "synchronized")
    first.close()
    second = Catalog(tmp_path / "other.sqlite")
    (row,) = second.following.rows()
    second.close()
    assert (row.did, row.state, row.head, row.host) == (alice.did, "synchronized", head, HOST)
    assert row.complete
