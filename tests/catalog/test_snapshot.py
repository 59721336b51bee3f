"""A whole repository makes the index equal to it, deletions included."""

from __future__ import annotations

import pytest

from atd import records
from atd.errors import ProofError, StaleRevision
from atd_daemon.catalog import Changes, Flaw


def everything(shelf, did):
    """What the index says of one publisher, in words that can be compared."""
    found = {
        str(r.uri): str(r.cid) for c in records.COLLECTIONS for r in shelf.catalog.records(did, c)
    }
    return found, [e.name for e in shelf.catalog.datasets(did)]


def test_a_snapshot_creates_updates_and_deletes(shelf):
    alice = shelf.author()
    alice.dataset("flowers", title="old")
    alice.dataset("birds")
    alice.release("flowers")
    assert shelf.snapshot(alice) == Changes(created=3, updated=0, deleted=0)
    alice.dataset("flowers", title="new")
    alice.delete("birds")
    alice.dataset("fish")
    assert shelf.snapshot(alice) == Changes(created=1, updated=1, deleted=1)
    found, names = everything(shelf, alice.did)
    assert names == ["fish", "flowers"]
    assert found == {
        f"at://{alice.did}/{key}": str(cid) for key, cid in alice.repo().entries.items()
    }
    assert shelf.names("old") == []
    assert shelf.names("new") == ["flowers"]


def test_a_snapshot_twice_changes_nothing(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    shelf.snapshot(alice)
    before = everything(shelf, alice.did)
    assert shelf.snapshot(alice) == Changes(0, 0, 0)
    assert everything(shelf, alice.did) == before


def test_a_snapshot_touches_nobody_else(shelf):
    alice, bob = shelf.author("alice.test"), shelf.author("bob.test")
    shelf.publish(bob, "boats")
    alice.dataset("flowers")
    shelf.snapshot(alice)
    alice.delete("flowers")
    shelf.snapshot(alice)
    assert shelf.names() == ["boats"]


def test_an_older_repository_deletes_nothing(shelf):
    alice = shelf.author()
    shelf.publish(alice, "flowers")
    with pytest.raises(StaleRevision, match="known as of rev"):
        shelf.snapshot(alice, at=0)
    assert shelf.names() == ["flowers"]


def test_after_a_snapshot_no_earlier_record_comes_back(shelf):
    alice = shelf.author()
    old = alice.proved(alice.dataset("flowers").uri)
    alice.delete("flowers")
    shelf.snapshot(alice)
    with pytest.raises(StaleRevision, match="repository is known"):
        shelf.put(old)
    assert shelf.names() == []


def test_two_repositories_at_one_revision_replace_nothing(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    shelf.snapshot(alice)
    alice.account.replace({}, rev=alice.account.head.commit.rev)
    with pytest.raises(StaleRevision, match="two histories"):
        shelf.snapshot(alice)
    assert shelf.names() == ["flowers"]


def test_a_record_left_out_of_a_snapshot_is_a_defect_not_a_deletion(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    alice.dataset("birds")
    shelf.snapshot(alice)
    alice.account.commit()
    repo = alice.repo()
    good, _ = alice.read(repo)
    with pytest.raises(ValueError, match="account for each"):
        shelf.catalog.publisher_snapshot(repo, good[:1], now=1.0)
    assert sorted(shelf.names()) == ["birds", "flowers"]


def test_a_record_that_is_not_in_the_repository_is_refused(shelf):
    alice = shelf.author()
    alice.dataset("flowers", title="old")
    old = alice.read(alice.repo())[0]
    alice.dataset("flowers", title="new")
    with pytest.raises(ValueError, match="another revision"):
        shelf.catalog.publisher_snapshot(alice.repo(), old, now=1.0)
    bob = shelf.author("bob.test")
    bob.dataset("flowers")
    with pytest.raises(ValueError, match="account for each"):
        shelf.catalog.publisher_snapshot(alice.repo(), bob.read(bob.repo())[0], now=1.0)


def test_a_broken_record_of_a_snapshot_is_a_problem_and_the_rest_is_listed(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    alice.account.put(records.DATASET, "broken", {"name": "broken"})
    shelf.snapshot(alice)
    assert shelf.names() == ["flowers"]
    (problem,) = shelf.catalog.problems(alice.did)
    assert (str(problem.uri).rpartition("/")[2], problem.reason) == ("broken", "LexiconError")
    alice.dataset("broken")
    shelf.snapshot(alice)
    assert shelf.catalog.problems() == []
    assert sorted(shelf.names()) == ["broken", "flowers"]


def test_a_record_that_became_broken_is_listed_no_longer(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    shelf.snapshot(alice)
    alice.account.put(records.DATASET, "flowers", {"name": "flowers"})
    shelf.snapshot(alice)
    assert shelf.names() == []
    assert [p.reason for p in shelf.catalog.problems()] == ["LexiconError"]


def test_a_snapshot_forgets_the_problems_that_are_gone(shelf):
    alice = shelf.author()
    shelf.catalog.problem(alice.uri("ghost"), ProofError, "tampered", now=1.0)
    shelf.catalog.publisher_error(alice.did, ProofError("tampered"), now=1.0)
    shelf.snapshot(alice)
    assert shelf.catalog.problems() == []
    publisher = shelf.catalog.publisher(alice.did)
    assert publisher.error is None
    assert publisher.complete_rev == alice.account.head.commit.rev
    assert publisher.complete_at == shelf.world.now()


def test_what_fails_in_the_middle_of_a_snapshot_leaves_no_trace(shelf):
    alice = shelf.author()
    alice.dataset("flowers")
    shelf.snapshot(alice)
    before = everything(shelf, alice.did), shelf.catalog.publisher(alice.did)
    alice.delete("flowers")
    alice.dataset("birds")
    repo = alice.repo()
    good, _ = alice.read(repo)
    bad = [Flaw(alice.uri("birds"), "LexiconError", "also flawed")]
    with pytest.raises(ValueError, match="account for each"):
        shelf.catalog.publisher_snapshot(repo, good, bad, now=1.0)
    assert (everything(shelf, alice.did), shelf.catalog.publisher(alice.did)) == before


def test_a_commit_that_proved_something_is_known_again(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    assert shelf.catalog.knows_commit(alice.did, verified.commit.cid)
    alice.delete("flowers")
    commit = alice.repo().commit
    assert not shelf.catalog.knows_commit(alice.did, commit.cid)
    shelf.snapshot(alice)
    assert shelf.catalog.knows_commit(alice.did, commit.cid)
    assert not shelf.catalog.knows_commit(alice.did, verified.commit.cid)
