"""What the index remembers of changes: each with its commit, what is odd, and not without end."""

from __future__ import annotations

import pytest

from atd import records
from atd.errors import LexiconError, StaleRevision
from atd_daemon.catalog import history
from atd_daemon.catalog.history import OLD_BLOCKS_PER_RECORD, ROWS_PER_RECORD, Bounds


def log(shelf, **given):
    return shelf.catalog.log(limit=10_000, **given)


def actions(shelf, **given):
    """Oldest first."""
    return [(one.action, str(one.uri.rkey), one.alarm) for one in reversed(log(shelf, **given))]


def test_a_record_that_is_seen_changed_and_deleted_leaves_three_entries(shelf):
    alice = shelf.author()
    first = shelf.publish(alice, "flowers", title="old")
    shelf.world.pass_time(60)
    second = shelf.publish(alice, "flowers", title="new")
    alice.delete("flowers")
    absence = alice.absence(first.uri)
    shelf.catalog.delete(absence, now=shelf.world.now())
    gone, changed, made = log(shelf)
    assert [made.action, changed.action, gone.action] == ["create", "update", "delete"]
    assert (made.cid, made.prev_cid) == (first.cid, None)
    assert (changed.cid, changed.prev_cid) == (second.cid, first.cid)
    assert (gone.cid, gone.prev_cid) == (None, second.cid)
    assert [one.commit for one in (made, changed, gone)] == [
        *(first.commit.cid, second.commit.cid),
        absence.commit.cid,
    ]
    assert [one.rev for one in (made, changed)] == [first.commit.rev, second.commit.rev]
    assert changed.seen_at - made.seen_at == 60
    assert {one.handle for one in (made, changed, gone)} == {"alice.test"}


def test_proving_the_same_again_is_no_change(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    shelf.put(verified)
    alice.dataset("birds")
    shelf.put(alice.proved(verified.uri))  # another commit, the same record
    shelf.snapshot(alice)
    shelf.snapshot(alice)
    assert actions(shelf) == [("create", "flowers", None), ("create", "birds", None)]


def test_an_absence_of_what_was_never_there_is_no_change(shelf):
    alice = shelf.author()
    shelf.catalog.delete(alice.absence(alice.uri("ghost")), now=1.0)
    assert log(shelf) == []


def test_a_snapshot_writes_down_what_came_changed_and_went(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    alice.dataset("birds")
    shelf.snapshot(alice)
    alice.dataset("flowers", title="new")
    alice.delete("birds")
    alice.dataset("trees")
    shelf.snapshot(alice)
    assert set(actions(shelf)[2:]) == {
        ("update", "flowers", None),
        ("delete", "birds", None),
        ("create", "trees", None),
    }
    assert {one.commit for one in log(shelf)[:3]} == {alice.account.head.commit.cid}


def test_what_is_refused_leaves_no_entry(shelf):
    alice = shelf.author()
    old = alice.proved(alice.dataset("flowers", title="old").uri)
    shelf.publish(alice, "flowers", title="new")
    with pytest.raises(StaleRevision):
        shelf.put(old)
    assert actions(shelf) == [("create", "flowers", None)]


def test_a_release_that_changes_under_its_key_is_an_alarm(shelf):
    alice = shelf.author()
    shelf.put(alice.proved(alice.release("flowers").uri))
    shelf.put(alice.proved(alice.release("flowers", notes="swapped").uri))
    assert actions(shelf)[-1] == ("update", "flowers:1.0.0", "moved")
    assert [one.action for one in log(shelf, alarms=True)] == ["update"]


def test_deleting_a_release_first_does_not_hide_that_it_moved(shelf):
    alice = shelf.author()
    release = alice.release("flowers")
    shelf.put(alice.proved(release.uri))
    alice.account.delete(records.RELEASE, "flowers:1.0.0")
    shelf.catalog.delete(alice.absence(release.uri), now=2.0)
    shelf.put(alice.proved(alice.release("flowers", notes="swapped").uri))
    assert actions(shelf)[-1] == ("create", "flowers:1.0.0", "moved")


def test_a_release_that_comes_back_as_it_was_is_no_alarm(shelf):
    alice = shelf.author()
    release = alice.release("flowers")
    shelf.put(alice.proved(release.uri))
    alice.account.delete(records.RELEASE, "flowers:1.0.0")
    shelf.catalog.delete(alice.absence(release.uri), now=2.0)
    shelf.put(alice.proved(alice.release("flowers").uri))
    assert actions(shelf)[-1] == ("create", "flowers:1.0.0", None)


def test_a_head_that_goes_back_to_an_earlier_version_is_an_alarm(shelf):
    alice = shelf.author()
    one, ten = alice.release("flowers", "1.9.0"), alice.release("flowers", "1.10.0")
    shelf.publish(alice, "flowers", latest=one)
    shelf.publish(alice, "flowers", latest=ten)
    shelf.publish(alice, "flowers", latest=ten, title="a word")
    shelf.publish(alice, "flowers", latest=one)
    assert [alarm for _, _, alarm in actions(shelf)] == [None, None, None, "backwards"]


def test_a_head_that_was_deleted_and_comes_back_earlier_is_an_alarm(shelf):
    alice = shelf.author()
    one, two = alice.release("flowers", "1.0.0"), alice.release("flowers", "2.0.0")
    verified = shelf.publish(alice, "flowers", latest=two)
    alice.delete("flowers")
    shelf.catalog.delete(alice.absence(verified.uri), now=2.0)
    shelf.publish(alice, "flowers", latest=one)
    assert actions(shelf)[-1] == ("create", "flowers", "backwards")


def test_a_record_that_became_unreadable_is_an_alarm_and_then_a_change_again(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    shelf.snapshot(alice)
    broken = alice.account.put(records.DATASET, "flowers", {"name": "flowers"})
    shelf.snapshot(alice)
    shelf.snapshot(alice)
    alice.dataset("flowers", title="mended")
    shelf.snapshot(alice)
    assert actions(shelf) == [
        ("create", "flowers", None),
        ("update", "flowers", "unreadable"),
        ("update", "flowers", None),
    ]
    assert log(shelf)[0].prev_cid == broken.cid


def test_old_contents_can_be_compared_and_those_of_others_cannot(shelf):
    alice, bob = shelf.author("alice.test"), shelf.author("bob.test")
    old = shelf.publish(alice, "flowers", title="old")
    new = shelf.publish(alice, "flowers", title="new")
    assert shelf.catalog.content(old.uri, old.cid) == old.block
    assert shelf.catalog.content(new.uri, new.cid) == new.block
    assert shelf.catalog.content(bob.uri("flowers"), old.cid) is None
    alice.delete("flowers")
    shelf.catalog.delete(alice.absence(new.uri), now=2.0)
    assert shelf.catalog.content(new.uri, new.cid) == new.block


def test_a_record_that_changes_all_the_time_is_remembered_within_bounds(shelf):
    alice = shelf.author()
    seen = [
        shelf.publish(alice, "flowers", title=f"number {number}")
        for number in range(ROWS_PER_RECORD + 5)
    ]
    shelf.publish(alice, "birds")
    entries = log(shelf)
    assert len(entries) == ROWS_PER_RECORD + 1
    assert entries[1].cid == seen[-1].cid
    kept = [one for one in seen[:-1] if shelf.catalog.content(one.uri, one.cid) is not None]
    assert kept == seen[-1 - OLD_BLOCKS_PER_RECORD : -1]


def test_of_a_publisher_the_oldest_is_forgotten_and_of_others_nothing(shelf):
    alice, bob = shelf.author("alice.test"), shelf.author("bob.test")
    shelf.publish(bob, "leaves", title="old")
    shelf.publish(bob, "leaves", title="new")
    for number in range(12):
        shelf.publish(alice, f"set-{number % 3}", description=f"number {number}" + "x" * 1000)
    with shelf.catalog._database.write() as db:
        history.forget(db, str(alice.did), Bounds(rows=8, old_bytes=6000))
        kept = db.execute(
            "SELECT sum(length(block)) FROM old_blocks WHERE did = ?", (alice.did,)
        ).fetchone()[0]
        tally = db.execute(
            "SELECT rows, old_bytes FROM history_tallies WHERE did = ?", (alice.did,)
        ).fetchone()
    assert [one.uri.rkey for one in log(shelf, did=alice.did)] == [
        *("set-2", "set-1", "set-0", "set-2", "set-1", "set-0"),
    ]
    assert 0 < kept <= 4500
    assert tally == (6, kept)
    assert len(log(shelf, did=bob.did)) == 2


def test_shard_lists_are_in_the_log_only_if_asked_for_and_their_contents_are_not_kept(shelf):
    alice = shelf.author()
    rkey = alice.account.tid()
    further = [alice.ref(records.SHARDS, "3lrnqk7qs232b")]
    part = {"parts": further, "createdAt": "2025-06-01T12:00:00Z"}
    first = alice.proved(alice.account.put(records.SHARDS, rkey, part).uri)
    shelf.put(first)
    moved = {**part, "createdAt": "2025-06-02T12:00:00Z"}
    shelf.put(alice.proved(alice.account.put(records.SHARDS, rkey, moved).uri))
    assert log(shelf) == []
    assert actions(shelf, shards=True) == [("create", rkey, None), ("update", rkey, "moved")]
    assert shelf.catalog.content(first.uri, first.cid) is None


def test_pages_of_the_log_follow_each_other(shelf):
    alice, bob = shelf.author("alice.test"), shelf.author("bob.test")
    for number in range(7):
        shelf.publish(alice, f"set-{number}")
        shelf.publish(bob, f"set-{number}")
        shelf.world.pass_time(10)
    whole = log(shelf, did=alice.did)
    first = shelf.catalog.log(alice.did, limit=3)
    second = shelf.catalog.log(alice.did, limit=100, below=first[-1].id)
    assert [*first, *second] == whole
    assert len(whole) == 7
    assert len(log(shelf, since=shelf.world.now() - 20)) == 4


def test_the_history_of_a_data_set_is_its_own(shelf):
    alice = shelf.author()
    for name in ("flowers", "flowers-2", "flower"):
        shelf.put(alice.proved(alice.release(name).uri))
        shelf.publish(alice, name)
    shelf.put(alice.proved(alice.release("flowers", "1.1.0").uri))
    found = shelf.catalog.history(alice.did, "flowers", limit=10)
    assert [str(one.uri.rkey) for one in found] == ["flowers:1.1.0", "flowers", "flowers:1.0.0"]
    assert shelf.catalog.history(alice.did, "flowers", limit=1) == found[:1]
    assert shelf.catalog.history(alice.did, "flowers", limit=9, below=found[0].id) == found[1:]
    before = shelf.catalog.release_before(found[0])
    assert str(before.uri.rkey) == "flowers:1.0.0"
    assert shelf.catalog.release_before(found[2]) is None


def test_no_lexicon_means_no_entry(shelf):
    alice = shelf.author()
    post = alice.proved(alice.account.put("app.example.post", "self", {"text": "hi"}).uri)
    dataset = records.parse(alice.proved(alice.dataset("flowers").uri))
    with pytest.raises(LexiconError):
        shelf.catalog.put(post, dataset, now=1.0)
    assert log(shelf) == []
