"""What may enter the index, and what never goes backwards."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from atd import records
from atd.errors import (
    DigestMismatch,
    LexiconError,
    ProofError,
    RecordAbsent,
    StaleRevision,
    Unreachable,
)
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedRecord


def look_alikes(verified: VerifiedRecord) -> list[Any]:
    fields = {name: getattr(verified, name) for name in VerifiedRecord.__slots__}

    class Pretender(VerifiedRecord):
        def __post_init__(self, seal: object) -> None:
            pass

    return [
        verified.value,
        verified.block,
        dict(fields),
        SimpleNamespace(**fields),
        Pretender(**fields, seal=None),
        None,
    ]


def test_a_proved_record_comes_out_as_it_went_in(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers", title="Iris")
    stored = shelf.catalog.record(verified.uri)
    assert (stored.uri, stored.cid, stored.block) == (verified.uri, verified.cid, verified.block)
    assert (stored.rev, stored.commit) == (verified.commit.rev, verified.commit.cid)
    assert stored.verified_at == shelf.world.now()


def test_a_stored_proof_proves_the_record_again(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    stored = shelf.catalog.record(verified.uri)
    again = records.parse(alice.proved(verified.uri))
    assert again == records.parse(verified)
    assert stored.proof == verified.proof


def test_what_only_looks_like_a_proved_record_is_refused(shelf):
    alice = shelf.author()
    verified = alice.proved(alice.dataset("flowers").uri)
    parsed = records.parse(verified)
    for thing in look_alikes(verified):
        with pytest.raises(TypeError, match="VerifiedRecord"):
            shelf.catalog.put(thing, parsed, now=1.0)
    assert shelf.catalog.counts().records == 0
    assert shelf.catalog.rev_floor(alice.did) is None


def test_what_only_looks_like_a_parsed_record_is_refused(shelf):
    alice = shelf.author()
    verified = alice.proved(alice.dataset("flowers").uri)
    parsed = records.parse(verified)
    for thing in (verified.value, dataclasses.asdict(parsed), SimpleNamespace(name="flowers")):
        with pytest.raises(TypeError, match="Dataset"):
            shelf.catalog.put(verified, thing, now=1.0)
    assert shelf.catalog.counts().records == 0


def test_the_parsed_record_of_another_uri_is_refused(shelf):
    alice = shelf.author()
    flowers = alice.proved(alice.dataset("flowers").uri)
    birds = records.parse(alice.proved(alice.dataset("birds").uri))
    with pytest.raises(LexiconError, match="birds"):
        shelf.catalog.put(flowers, birds, now=1.0)
    release = records.parse(alice.proved(alice.release("flowers").uri))
    with pytest.raises(TypeError, match="Dataset"):
        shelf.catalog.put(flowers, release, now=1.0)
    assert shelf.catalog.counts().records == 0


def test_a_record_of_a_foreign_collection_is_refused(shelf):
    alice = shelf.author()
    post = alice.proved(alice.account.put("app.example.post", "self", {"text": "hi"}).uri)
    dataset = records.parse(alice.proved(alice.dataset("flowers").uri))
    with pytest.raises(LexiconError, match=r"app\.example\.post"):
        shelf.catalog.put(post, dataset, now=1.0)


def test_what_only_looks_like_an_absence_or_a_repo_is_refused(shelf):
    alice = shelf.author()
    absence = alice.absence(alice.uri("nothing"))
    repo = alice.repo()
    with pytest.raises(TypeError, match="VerifiedAbsence"):
        shelf.catalog.delete(SimpleNamespace(uri=absence.uri, commit=absence.commit), now=1.0)
    with pytest.raises(TypeError, match="VerifiedRepo"):
        shelf.catalog.publisher_snapshot(
            SimpleNamespace(commit=repo.commit, entries={}), [], now=1.0
        )


def test_the_rev_floor_only_rises(shelf):
    alice = shelf.author()
    assert shelf.catalog.rev_floor(alice.did) is None
    first = alice.dataset("flowers").uri
    second = alice.dataset("birds").uri
    early, late = alice.proved(first, -2), alice.proved(second, -1)
    shelf.put(late)
    shelf.put(early)  # proved a moment earlier, by another task: no harm
    assert shelf.catalog.rev_floor(alice.did) == late.commit.rev
    assert shelf.catalog.counts().records == 2


def test_rolling_a_record_back_is_refused(shelf):
    alice = shelf.author()
    old = alice.proved(alice.dataset("flowers", title="old").uri)
    new = shelf.publish(alice, "flowers", title="new")
    with pytest.raises(StaleRevision, match=f"{old.commit.rev}.*{new.commit.rev}"):
        shelf.put(old)
    assert shelf.catalog.record(new.uri).cid == new.cid
    assert shelf.names("new") == ["flowers"]


def test_bringing_a_deleted_record_back_is_refused(shelf):
    alice = shelf.author()
    old = shelf.publish(alice, "flowers")
    alice.delete("flowers")
    assert shelf.catalog.delete(alice.absence(old.uri), now=2.0)
    with pytest.raises(StaleRevision):
        shelf.put(old)
    assert shelf.catalog.record(old.uri) is None
    assert shelf.catalog.absent_since(old.uri) == alice.account.head.commit.rev
    assert shelf.names() == []


def test_an_absence_older_than_the_record_is_refused(shelf):
    alice = shelf.author()
    absence = alice.absence(alice.uri("flowers"))
    shelf.publish(alice, "flowers")
    with pytest.raises(StaleRevision):
        shelf.catalog.delete(absence, now=2.0)
    assert shelf.names() == ["flowers"]


def test_two_histories_at_one_revision_replace_nothing(shelf):
    alice = shelf.author()
    first = shelf.publish(alice, "flowers", title="for you")
    rev = first.commit.rev
    other = alice.account.store({**first.value, "title": "for others"})
    alice.account.replace({f"{records.DATASET}/flowers": other}, rev=rev)
    with pytest.raises(StaleRevision, match="two histories"):
        shelf.put(alice.proved(first.uri))
    alice.account.replace({}, rev=rev)
    with pytest.raises(StaleRevision, match="two histories"):
        shelf.catalog.delete(alice.absence(first.uri), now=2.0)
    assert shelf.names("you") == ["flowers"]


def test_deleting_what_was_never_known_still_counts(shelf):
    alice = shelf.author()
    assert not shelf.catalog.delete(alice.absence(alice.uri("nothing")), now=1.0)
    assert shelf.catalog.rev_floor(alice.did) == alice.account.head.commit.rev


def test_pinned_gives_the_very_record_or_nothing(shelf):
    alice = shelf.author()
    old = shelf.publish(alice, "flowers", title="old")
    new = shelf.publish(alice, "flowers", title="new")
    assert shelf.catalog.pinned(new.uri, new.cid).block == new.block
    assert shelf.catalog.pinned(new.uri, old.cid) is None


def test_the_head_finds_its_release_by_content_not_by_name(shelf):
    alice = shelf.author()
    release = alice.release("flowers", notes="first")
    shelf.publish(alice, "flowers", latest=release)
    assert shelf.catalog.dataset(alice.did, "flowers").release is None
    shelf.put(alice.proved(release.uri))
    entry = shelf.catalog.dataset(alice.did, "flowers").release
    assert (entry.samples, entry.shards, entry.size, entry.notes) == (10, 2, 1000, "first")
    other = alice.release("flowers", notes="replaced under the same name")
    shelf.put(alice.proved(other.uri))
    assert shelf.catalog.dataset(alice.did, "flowers").release is None


def test_releases_are_listed_newest_version_first(shelf):
    alice = shelf.author()
    for version in ("1.2.0", "1.10.0", "1.10.0-rc.1"):
        shelf.put(alice.proved(alice.release("flowers", version).uri))
    found = [entry.version for entry in shelf.catalog.releases(alice.did, "flowers")]
    assert found == ["1.10.0", "1.10.0-rc.1", "1.2.0"]


# --- problems -------------------------------------------------------------------------------------


def test_a_problem_is_visible_and_its_data_set_is_not_listed(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    error = ProofError("expected a signature, found none")
    shelf.catalog.problem(verified.uri, error, now=5.0)
    (problem,) = shelf.catalog.problems(alice.did)
    assert (problem.uri, problem.reason) == (verified.uri, "ProofError")
    assert problem.message == "expected a signature, found none"
    assert shelf.names() == []
    assert shelf.catalog.datasets(alice.did) == []
    assert shelf.catalog.dataset(alice.did, "flowers") is None
    assert shelf.catalog.pinned(verified.uri, verified.cid) is not None


def test_a_later_proof_settles_a_problem(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    shelf.catalog.problem(verified.uri, LexiconError, "latest: missing", now=5.0)
    shelf.put(verified)
    assert shelf.catalog.problems() == []
    assert shelf.names("flowers") == ["flowers"]


def test_a_problem_remembers_when_it_began(shelf):
    alice = shelf.author()
    uri = alice.uri("flowers")
    shelf.catalog.problem(uri, LexiconError, "one", now=5.0)
    shelf.catalog.problem(uri, LexiconError, "two", now=6.0)
    (problem,) = shelf.catalog.problems()
    assert (problem.first_seen, problem.last_seen, problem.message) == (5.0, 6.0, "two")
    shelf.catalog.problem(uri, DigestMismatch, "three", now=7.0)
    (problem,) = shelf.catalog.problems()
    assert (problem.first_seen, problem.last_seen) == (7.0, 7.0)


def test_silence_of_a_server_is_no_problem_of_a_record(shelf):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    with pytest.raises(ValueError, match="Unreachable"):
        shelf.catalog.problem(verified.uri, Unreachable("timeout"), now=5.0)
    assert shelf.names() == ["flowers"]
    shelf.catalog.problem(verified.uri, RecordAbsent, "its release is absent", now=5.0)
    assert shelf.names() == []


# --- publishers -----------------------------------------------------------------------------------


def test_a_handle_is_kept_only_while_proved(shelf):
    alice = shelf.author()
    shelf.publish(alice, "flowers")
    assert shelf.catalog.publisher(alice.did).handle == "alice.test"
    assert shelf.names("alice") == ["flowers"]
    known = alice.account.identity
    unproved = Identity(known.did, known.key, known.pds, known.claimed, None)
    shelf.catalog.publisher_seen(unproved, now=9.0)
    publisher = shelf.catalog.publisher(alice.did)
    assert (publisher.handle, publisher.handle_at) == (None, None)
    assert publisher.pds == "https://pds1.example.com"
    assert shelf.names("alice") == []
    assert shelf.names() == ["flowers"]


def test_a_reassigned_handle_leaves_its_former_owner(shelf):
    alice, mallory = shelf.author("alice.test"), shelf.author("mallory.test")
    shelf.publish(alice, "flowers")
    known, handle = mallory.account.identity, alice.account.handle
    taken = Identity(known.did, known.key, known.pds, (handle,), handle)
    shelf.catalog.publisher_seen(taken, now=9.0)
    assert shelf.catalog.did_of(handle) == mallory.did
    assert shelf.catalog.publisher(alice.did).handle is None
    assert shelf.names("alice") == []


def test_what_was_wrong_with_a_publisher_is_told_and_forgotten(shelf):
    alice = shelf.author()
    shelf.catalog.publisher_error(alice.did, Unreachable("pds1 did not answer"), now=4.0)
    found = shelf.catalog.publisher(alice.did)
    assert (found.error, found.error_message, found.error_at) == (
        "Unreachable",
        "pds1 did not answer",
        4.0,
    )
    shelf.catalog.publisher_error(alice.did, None, now=5.0)
    assert shelf.catalog.publisher(alice.did).error is None
    assert shelf.catalog.publishers() == [shelf.catalog.publisher(alice.did)]


def test_answers_of_the_directory_are_remembered(shelf):
    assert shelf.catalog.answer("alice.test") is None
    shelf.catalog.put_answer("alice.test", "did:plc:one", 3.0)
    shelf.catalog.put_answer("alice.test", "", 4.0)
    assert shelf.catalog.answer("alice.test") == ("", 4.0)
