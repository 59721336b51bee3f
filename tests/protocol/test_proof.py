"""Proofs, step by step, on every maker's output; then the attacks that need no key.

The steps are those of `atd.protocol.proof`; what a lying *publisher* can do, who has the key, is in
test_lying_publisher.py (and with it step 8), and what random damage does in test_damage.py.
"""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from typing import Any

import pytest

from atd.errors import AtdError, IdentityMismatch, InvalidSyntax, ProofError, RecordAbsent
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import _ORDERS
from atd.protocol.proof import (
    VerifiedAbsence,
    VerifiedCommit,
    VerifiedRecord,
    VerifiedRepo,
    verify_commit,
    verify_record,
    verify_repo,
)
from atd.protocol.syntax import AtUri, Nsid, RecordKey
from protocol.making import COLLECTION, Author, pack
from protocol.sources import ABSENT, FILLER, OTHER, PRESENT, RECORDS, Published


def blocks_of(car: bytes) -> list[bytes]:
    """The blocks of a CAR file, the root first."""
    parsed = read_car(car)
    root = parsed.roots[0]
    return [parsed.blocks[root], *(block for cid, block in parsed.blocks.items() if cid != root)]


def with_commit(car: bytes, *others: bytes, **changes: Any) -> bytes:
    """The same file and other blocks, the commit changed but not signed again."""
    root, *rest = blocks_of(car)
    return pack(replace(Commit.decode(root), **changes).encode(), *rest, *others)


def proves(car: bytes, published: Published, rkey: str = PRESENT) -> VerifiedRecord:
    """What ``car`` proves about the publisher's record under ``rkey``."""
    return verify_record(car, published.identity, published.uri(rkey))


def refuses(car: bytes, published: Published, match: str) -> None:
    """``car`` proves nothing about `PRESENT`, and says why."""
    with pytest.raises(ProofError, match=match):
        proves(car, published)


def outcome(car: bytes, published: Published, rkey: str) -> VerifiedRecord | AtdError:
    """What `verify_record` returns or raises."""
    try:
        return proves(car, published, rkey)
    except (ProofError, RecordAbsent) as error:
        return error


# --- what holds -----------------------------------------------------------------------------------


def test_a_record_is_proved(published: Published) -> None:
    record = proves(published.present, published)
    assert record.value == RECORDS[PRESENT]
    assert record.cid == Cid.of(record.block)
    assert record.uri == published.uri(PRESENT)
    assert record.commit.did == published.identity.did


def test_the_absence_of_a_record_is_proved(published: Published) -> None:
    with pytest.raises(RecordAbsent, match="there is no at://") as absent:
        proves(published.absent, published, ABSENT)
    absence = absent.value.proof
    assert isinstance(absence, VerifiedAbsence)
    assert (absence.uri, absence.commit.did) == (published.uri(ABSENT), published.identity.did)
    with pytest.raises(RecordAbsent) as again:
        proves(absence.proof, published, ABSENT)
    assert again.value.proof == absence


def test_a_proof_verifies_again_and_has_nothing_to_spare(published: Published) -> None:
    for car in (published.present, published.repo):
        record = proves(car, published)
        again = proves(record.proof, published)
        assert (again, again.proof) == (record, record.proof)
        root, *rest = blocks_of(record.proof)
        for withheld in range(len(rest)):
            refuses(pack(root, *rest[:withheld], *rest[withheld + 1 :]), published, "incomplete")


def test_a_whole_repository_is_proved(published: Published) -> None:
    repo = verify_repo(published.repo, published.identity)
    assert set(repo.keys(Nsid(COLLECTION))) == {*RECORDS, *FILLER}
    assert list(repo.entries) == sorted(repo.entries)
    for rkey, value in (RECORDS | FILLER).items():
        record = repo.record(published.uri(rkey))
        assert record.value == value
        assert proves(record.proof, published, rkey) == record
    with pytest.raises(RecordAbsent):
        repo.record(published.uri(ABSENT))
    with pytest.raises(IdentityMismatch):
        repo.record(AtUri.parse(f"at://{published.stranger.did}/{COLLECTION}/{PRESENT}"))


def test_records_one_after_the_other_are_those_asked_for_one_by_one(published: Published) -> None:
    repo = verify_repo(published.repo, published.identity)
    for collection in (COLLECTION, OTHER, "com.example.absent"):
        wanted, bad = [], []
        for rkey in repo.keys(Nsid(collection)):
            uri = AtUri(published.identity.did, Nsid(collection), RecordKey(rkey))
            try:
                wanted.append(repo.record(uri))
            except ProofError as error:
                bad.append((uri, str(error)))
        refused: list[tuple[AtUri, str]] = []

        def refuse(uri: AtUri, error: ProofError, into: list[Any] = refused) -> None:
            into.append((uri, str(error)))

        found = list(repo.records(Nsid(collection), refuse))
        assert found == wanted
        assert [record.proof for record in found] == [record.proof for record in wanted]
        assert refused == bad


def test_a_commit_is_proved(published: Published) -> None:
    for car in (published.present, published.absent, published.repo):
        commit = verify_commit(car, published.identity)
        assert commit.did == published.identity.did
        assert commit.cid == read_car(car).roots[0]
        assert (commit.rev, commit.data) == (commit.commit.rev, commit.commit.data)


def test_duplicate_and_extra_blocks_are_legal(published: Published) -> None:
    root, *rest = blocks_of(published.present)
    extra = blocks_of(published.strangers)
    record = proves(pack(root, *extra, *rest, *rest, b"\xf6", root), published)
    assert record.value == RECORDS[PRESENT]
    assert len(blocks_of(record.proof)) <= len(rest) + 1


def test_the_order_of_blocks_does_not_matter(published: Published) -> None:
    parsed = read_car(published.present)
    for order in itertools.islice(itertools.permutations(parsed.blocks.items()), 100):
        assert proves(write_car(parsed.roots[0], order), published).value == RECORDS[PRESENT]


# --- step 4: blocks hash to their CIDs; one root --------------------------------------------------


def test_step_4_two_blocks_that_swapped_places_are_refused(published: Published) -> None:
    parsed = read_car(published.present)
    for (one, one_block), (two, two_block) in itertools.permutations(parsed.blocks.items(), 2):
        swapped = {**parsed.blocks, one: two_block, two: one_block}
        refuses(write_car(parsed.roots[0], swapped.items()), published, "does not hash to its CID")


def test_step_4_another_record_under_the_genuine_cid_is_refused(published: Published) -> None:
    genuine, other = proves(published.present, published), proves(published.other, published, OTHER)
    blocks = {**read_car(published.present).blocks, genuine.cid: other.block}
    refuses(write_car(genuine.commit.cid, blocks.items()), published, "does not hash to its CID")


@pytest.mark.parametrize("count", [0, 2])
def test_step_4_no_root_or_several_are_refused(published: Published, count: int) -> None:
    links = b"\xd8\x2a\x58\x25\x00" + read_car(published.present).roots[0].bytes
    header = b"\xa2eroots" + bytes((0x80 | count,)) + links * count + b"gversion\x01"
    blocks = published.present[published.present[0] + 1 :]
    refuses(bytes((len(header),)) + header + blocks, published, f"one root, got {count}")


def test_step_4_a_root_that_is_not_in_the_file_is_refused(published: Published) -> None:
    root, *rest = blocks_of(published.present)
    car = write_car(Cid.of(root), [(Cid.of(block), block) for block in rest])
    refuses(car, published, "incomplete: the root")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"error":"RecordNotFound"}', bytes(100), b"\xff" * 100]
)
def test_step_4_what_is_no_car_file_is_refused(published: Published, body: bytes) -> None:
    refuses(body, published, "CAR")
    for verify in (verify_commit, verify_repo):
        with pytest.raises(ProofError, match="CAR"):
            verify(body, published.identity)


# --- step 5: the root is this DID's commit --------------------------------------------------------


def test_step_5_another_repositorys_proof_is_refused(published: Published) -> None:
    refuses(published.strangers, published, "expected a commit of")
    with pytest.raises(ProofError, match="expected a commit of"):
        verify_repo(published.strangers, published.identity)


def test_step_5_a_root_that_is_another_block_is_refused(published: Published) -> None:
    _, *rest = blocks_of(published.present)
    for block in rest:
        others = [other for other in rest if other != block]
        refuses(pack(block, *others), published, "expected a commit with")


def test_step_5_a_commit_that_is_not_canonical_is_refused(published: Published) -> None:
    root, *rest = blocks_of(published.present)
    for bad in (
        root.replace(b"gversion\x03", b"gversion\x18\x03"),
        root.replace(b"gversion\x03", b"gversion\x02"),
        root + b"\x00",
    ):
        refuses(pack(bad, *rest), published, r"DAG-CBOR|version")


# --- step 6: the signature ------------------------------------------------------------------------


def test_step_6_another_keys_signature_is_refused(published: Published) -> None:
    for key in (published.stranger.key, Author.named("nobody").key.public):
        impostor = replace(published, identity=published.identity.with_key(key))
        refuses(published.present, impostor, "is not by the current key")


def test_step_6_a_commit_renamed_to_another_did_is_refused(published: Published) -> None:
    """The stranger's commit, with the publisher's DID written into it."""
    stolen = with_commit(published.strangers, did=published.identity.did)
    refuses(stolen, published, "signature")


def test_step_6_a_later_rev_written_into_the_commit_is_refused(published: Published) -> None:
    rev = verify_commit(published.present, published.identity).rev
    later = type(rev).from_micros(rev.micros + 1, 0)
    refuses(with_commit(published.present, rev=later), published, "signature")


def test_step_6_another_tree_written_into_the_commit_is_refused(published: Published) -> None:
    theirs, *nodes = blocks_of(published.strangers)
    tree = Commit.decode(theirs).data
    refuses(with_commit(published.present, *nodes, data=tree), published, "signature")


def test_step_6_the_same_signature_with_a_high_s_is_refused(published: Published) -> None:
    sig = verify_commit(published.present, published.identity).commit.sig
    high = _ORDERS[published.identity.key.curve] - int.from_bytes(sig[32:])
    refuses(
        with_commit(published.present, sig=sig[:32] + high.to_bytes(32)), published, "signature"
    )


@pytest.mark.parametrize("sig", [bytes(64), b"\xff" * 64, bytes(63) + b"\1", b"\1" * 64])
def test_step_6_a_made_up_signature_is_refused(published: Published, sig: bytes) -> None:
    refuses(with_commit(published.present, sig=sig), published, "signature")


def test_step_6_the_signature_of_another_commit_is_refused(published: Published) -> None:
    theirs = verify_commit(published.strangers, published.stranger).commit.sig
    refuses(with_commit(published.present, sig=theirs), published, "signature")


@pytest.mark.parametrize("form", ["long", "front", "short", "empty", "der"])
def test_step_6_a_signature_of_another_form_is_refused(published: Published, form: str) -> None:
    sig = verify_commit(published.present, published.identity).commit.sig
    der = b"\x30\x44\x02\x20" + sig[:32] + b"\x02\x20" + sig[32:]
    forms = {"long": sig + b"\0", "front": b"\0" + sig, "short": sig[1:], "empty": b"", "der": der}
    refuses(with_commit(published.present, sig=forms[form]), published, "exactly 64 bytes")


# --- step 7: the tree -----------------------------------------------------------------------------


def test_step_7_another_paths_proof_proves_nothing_but_the_truth(published: Published) -> None:
    for car, rkey in itertools.product(
        (published.present, published.other, published.absent), (PRESENT, OTHER, ABSENT)
    ):
        found = outcome(car, published, rkey)
        if isinstance(found, VerifiedRecord):
            assert found.value == RECORDS[rkey]
        elif isinstance(found, RecordAbsent):
            assert rkey == ABSENT
        else:
            assert "incomplete" in str(found)


def test_step_7_a_record_without_its_path_is_refused(published: Published) -> None:
    record = proves(published.present, published)
    root, *_ = blocks_of(published.present)
    refuses(pack(root, record.block), published, "incomplete: tree node")


def test_step_7_withheld_blocks_never_prove_absence(published: Published) -> None:
    """Every choice of blocks to withhold from a proof: the record or "incomplete", nothing else."""
    root, *rest = blocks_of(proves(published.present, published).proof)
    for kept in itertools.product((True, False), repeat=len(rest)):
        found = outcome(pack(root, *itertools.compress(rest, kept)), published, PRESENT)
        if all(kept):
            assert isinstance(found, VerifiedRecord)
        else:
            assert isinstance(found, ProofError)
            assert "incomplete" in str(found)


def test_step_7_withheld_blocks_never_prove_presence(published: Published) -> None:
    root, *rest = blocks_of(published.absent)
    for kept in itertools.product((True, False), repeat=min(len(rest), 10)):
        found = outcome(pack(root, *itertools.compress(rest, kept)), published, ABSENT)
        assert isinstance(found, RecordAbsent) or "incomplete" in str(found)


def test_step_7_a_repository_that_lacks_any_block_is_incomplete(published: Published) -> None:
    whole = verify_repo(published.repo, published.identity)
    parsed = read_car(published.repo)
    incomplete = 0
    for withheld in parsed.blocks:
        rest = [(cid, block) for cid, block in parsed.blocks.items() if cid != withheld]
        try:
            found = verify_repo(write_car(parsed.roots[0], rest), published.identity)
        except ProofError as refused:
            incomplete += refused.message.startswith("incomplete")
        else:
            assert found.entries == whole.entries  # an extra block, which a server may send
    records = set(whole.entries.values())
    assert incomplete > len(records) + 1


# --- what is asked --------------------------------------------------------------------------------


def test_a_uri_with_a_handle_is_refused(published: Published) -> None:
    uri = AtUri.parse(f"at://alice.test/{COLLECTION}/{PRESENT}")
    with pytest.raises(InvalidSyntax, match="by handle"):
        verify_record(published.present, published.identity, uri)


def test_a_uri_of_another_did_is_refused(published: Published) -> None:
    uri = AtUri.parse(f"at://{published.stranger.did}/{COLLECTION}/{PRESENT}")
    with pytest.raises(IdentityMismatch, match="cannot be proved with the identity"):
        verify_record(published.present, published.identity, uri)


@pytest.mark.parametrize("path", ["", f"/{COLLECTION}"])
def test_a_uri_of_no_single_record_is_refused(published: Published, path: str) -> None:
    uri = AtUri.parse(f"at://{published.identity.did}{path}")
    with pytest.raises(InvalidSyntax, match="no single record"):
        verify_record(published.present, published.identity, uri)


def test_a_document_a_file_and_a_uri_are_enough(published: Published) -> None:
    """The public contract."""
    did = published.identity.did
    method = {
        "id": f"{did}#atproto",
        "type": "Multikey",
        "controller": did,
        "publicKeyMultibase": published.identity.key.to_multikey(),
    }
    identity = Identity.from_document({"id": did, "verificationMethod": [method]})
    record = verify_record(published.present, identity, published.uri(PRESENT))
    assert record.value == RECORDS[PRESENT]


# --- types carry trust ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VerifiedRecord, VerifiedAbsence, VerifiedCommit, VerifiedRepo])
def test_a_verified_value_cannot_be_made_elsewhere(kind: Any) -> None:
    fields = dict.fromkeys(name for name in kind.__dataclass_fields__ if name != "seal")
    for seal in (None, True, object(), "seal"):
        with pytest.raises(TypeError, match=r"atd\.protocol\.proof only"):
            kind(**fields, seal=seal)
    with pytest.raises(TypeError, match="seal"):
        kind(**fields)


def test_a_verified_value_cannot_be_changed_or_derived(published: Published) -> None:
    record = proves(published.present, published)
    with pytest.raises(AttributeError):
        record.uri = published.uri(OTHER)  # type: ignore[misc]
    with pytest.raises((TypeError, ValueError), match="seal"):
        replace(record, uri=published.uri(OTHER))
    with pytest.raises(TypeError, match=r"atd\.protocol\.proof only"):
        replace(record, uri=published.uri(OTHER), seal=None)


def test_a_verified_record_travels_between_processes(published: Published) -> None:
    record = proves(published.present, published)
    assert pickle.loads(pickle.dumps(record)) == record
