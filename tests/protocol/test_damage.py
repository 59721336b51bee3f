"""Damage: every single bit flipped, every cut, on everyone's proofs.

The law: an altered input gives the genuine record, the genuine absence, or a refusal of the
`ProofError` family. No other exception ever comes out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from atd.errors import ProofError, RecordAbsent
from atd.protocol.proof import verify_record, verify_repo
from protocol.sources import ABSENT, PRESENT, RECORDS, Published, proof_of_absence


def flips(data: bytes) -> Iterator[bytes]:
    """``data`` with each of its bits flipped in turn."""
    for index in range(len(data)):
        for bit in range(8):
            yield data[:index] + bytes((data[index] ^ 1 << bit,)) + data[index + 1 :]


def cuts(data: bytes) -> Iterator[bytes]:
    """``data`` cut after each of its bytes."""
    for index in range(len(data)):
        yield data[:index]


def outcome(car: bytes, published: Published, rkey: str) -> str:
    """``refused``, or what was proved, which must be genuine."""
    try:
        record = verify_record(car, published.identity, published.uri(rkey))
    except RecordAbsent:
        found = ABSENT
    except ProofError:
        return "refused"
    else:
        assert record.value == RECORDS[PRESENT]
        assert record.uri == published.uri(PRESENT)
        found = PRESENT
    assert found == rkey
    return found


def genuine(published: Published, rkey: str) -> bytes:
    """The proof that the server gave."""
    return published.present if rkey == PRESENT else published.absent


def smallest(published: Published, rkey: str) -> bytes:
    """The same proof with nothing to spare."""
    car, identity, uri = genuine(published, rkey), published.identity, published.uri(rkey)
    if rkey == ABSENT:
        return proof_of_absence(car, identity, uri)
    return verify_record(car, identity, uri).proof


@pytest.mark.parametrize("rkey", [PRESENT, ABSENT])
def test_every_bit_flip_is_refused(published: Published, rkey: str) -> None:
    for damaged in flips(genuine(published, rkey)):
        assert outcome(damaged, published, rkey) == "refused"


@pytest.mark.parametrize("rkey", [PRESENT, ABSENT])
def test_every_cut_is_refused_or_still_genuine(published: Published, rkey: str) -> None:
    """Extra blocks at the end are legal, so a file that lost one of them still proves."""
    for damaged in cuts(genuine(published, rkey)):
        assert outcome(damaged, published, rkey) in ("refused", rkey)


@pytest.mark.parametrize("rkey", [PRESENT, ABSENT])
def test_every_cut_of_a_smallest_proof_is_refused(published: Published, rkey: str) -> None:
    for damaged in cuts(smallest(published, rkey)):
        assert outcome(damaged, published, rkey) == "refused"


@pytest.mark.parametrize("rkey", [PRESENT, ABSENT])
def test_a_byte_inserted_or_removed_anywhere_is_refused(published: Published, rkey: str) -> None:
    car = smallest(published, rkey)
    for at in range(len(car)):
        assert outcome(car[:at] + car[at + 1 :], published, rkey) == "refused"
        assert outcome(car[:at] + b"\x80" + car[at:], published, rkey) == "refused"


def test_every_cut_of_a_repository_is_refused_or_lost_nothing(published: Published) -> None:
    whole = verify_repo(published.repo, published.identity).entries
    for cut in range(0, len(published.repo), 7):
        try:
            found = verify_repo(published.repo[:cut], published.identity)
        except ProofError:
            continue
        assert found.entries == whole


def test_every_byte_of_a_repository_matters(published: Published) -> None:
    for at in range(0, len(published.repo), 5):
        damaged = bytearray(published.repo)
        damaged[at] ^= 0x10
        with pytest.raises(ProofError):
            verify_repo(bytes(damaged), published.identity)
