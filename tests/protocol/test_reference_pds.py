"""What only a living PDS shows: writes, deletions and the same account over time."""

from __future__ import annotations

import pytest

from atd.errors import ProofError, RecordAbsent
from atd.protocol.cbor import Cid, from_json, to_json
from atd.protocol.identity import Identity
from atd.protocol.proof import verify_commit, verify_record, verify_repo
from atd.protocol.syntax import AtUri, Handle
from protocol.making import COLLECTION
from reference.client import Session, ask, get_document
from reference.network import Network

RKEY = "living"


@pytest.fixture(scope="module")
def bob(reference: Network) -> Session:
    return Session(reference.account("bob.pds1.test"))


@pytest.fixture(scope="module")
def identity(reference: Network, bob: Session) -> Identity:
    return Identity.from_document(get_document(reference.plc_url, bob.account.did))


def uri_of(session: Session, rkey: str = RKEY) -> AtUri:
    return AtUri.parse(f"at://{session.account.did}/{COLLECTION}/{rkey}")


def test_the_document_gives_the_server_and_the_handle(identity: Identity, bob: Session) -> None:
    assert identity.pds == bob.account.pds
    assert identity.proving(Handle(bob.account.handle)).handle == bob.account.handle


def test_a_record_is_what_was_written(identity: Identity, bob: Session) -> None:
    blob = bob.upload_blob(b"a picture", "image/png")
    written = {
        "$type": COLLECTION,
        "text": "🌼 \u0000 \u202e",
        "numbers": [0, 23, 24, 255, 256, 65535, 65536, 2**32, 2**53 - 1, -1, -25, -(2**53) + 1],
        "nested": {"a": [{"b": [[], {}, None, True, False]}], "": "empty key"},
        "bytes": {"$bytes": "AXESIAAA"},
        "link": {"$link": str(Cid.of(b"elsewhere"))},
        "blob": blob,
    }
    answered = bob.put(COLLECTION, RKEY, written)
    record = verify_record(bob.proof(COLLECTION, RKEY), identity, uri_of(bob))
    assert str(record.cid) == answered["cid"]
    assert to_json(record.value) == written
    assert from_json(written) == record.value


def test_after_an_update_the_old_proof_still_proves_the_old_record_at_the_older_rev(
    identity: Identity, bob: Session
) -> None:
    """Which is why the caller must remember the newest rev (step 9)."""
    bob.put(COLLECTION, RKEY, {"$type": COLLECTION, "number": 1})
    before = bob.proof(COLLECTION, RKEY)
    bob.put(COLLECTION, RKEY, {"$type": COLLECTION, "number": 2})
    old = verify_record(before, identity, uri_of(bob))
    new = verify_record(bob.proof(COLLECTION, RKEY), identity, uri_of(bob))
    assert (old.value["number"], new.value["number"]) == (1, 2)
    assert old.commit.rev < new.commit.rev


def test_a_deleted_record_is_proved_absent(identity: Identity, bob: Session) -> None:
    bob.put(COLLECTION, "brief", {"$type": COLLECTION})
    verify_record(bob.proof(COLLECTION, "brief"), identity, uri_of(bob, "brief"))
    bob.delete(COLLECTION, "brief")
    with pytest.raises(RecordAbsent):
        verify_record(bob.proof(COLLECTION, "brief"), identity, uri_of(bob, "brief"))


def test_one_file_proves_several_records_of_a_commit(identity: Identity, bob: Session) -> None:
    for rkey in ("first", "second"):
        bob.put(COLLECTION, rkey, {"$type": COLLECTION})
    repo = bob.repo()
    for rkey in ("first", "second"):
        assert verify_record(repo, identity, uri_of(bob, rkey)).value == {"$type": COLLECTION}


def test_a_repository_in_part_is_incomplete(identity: Identity, bob: Session) -> None:
    rev = verify_commit(bob.repo(), identity).rev
    bob.put(COLLECTION, "later", {"$type": COLLECTION, "text": "since"})
    reply = ask(bob.account.pds, "com.atproto.sync.getRepo", did=bob.account.did, since=rev)
    assert verify_commit(reply.body, identity).rev > rev
    with pytest.raises(ProofError, match="incomplete"):
        verify_repo(reply.body, identity)


def test_the_latest_commit_is_the_root_of_what_is_served(identity: Identity, bob: Session) -> None:
    reply = ask(bob.account.pds, "com.atproto.sync.getLatestCommit", did=bob.account.did)
    commit = verify_commit(bob.repo(), identity)
    assert reply.json() == {"cid": str(commit.cid), "rev": commit.rev}
