"""A repository read piece by piece: the same as in one piece, however it is cut; bounded."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import ProofError
from atd.protocol.car import Car, car_block, car_header, read_car
from atd.protocol.cbor import Cid
from atd.protocol.proof import prove_repo
from atd.protocol.repo_stream import MAX_BLOCK_BYTES, RepoStream
from protocol.making import COLLECTION, Author, pack, thing, things

ALICE = Author.named("alice")
REPO = ALICE.repo({**things("a", "b", "c"), f"{COLLECTION}/long": thing(7, text="x" * 300)})


class Memory:
    """A spool in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def append(self, data: bytes) -> None:
        self.data += data

    def read(self, start: int, stop: int) -> bytes:
        return bytes(self.data[start:stop])


def streamed(*chunks: bytes, max_blocks: int = 1000) -> Car:
    stream = RepoStream(Memory(), max_blocks=max_blocks)
    for chunk in chunks:
        stream.feed(chunk)
    return stream.finish()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000)))
@settings(max_examples=60)
def test_however_it_is_cut_it_reads_as_in_one_piece(cuts: list[int]) -> None:
    whole, car = read_car(REPO), streamed(*pieces(REPO, cuts))
    assert car.roots == whole.roots
    assert dict(car.blocks) == dict(whole.blocks)
    assert len(car.blocks) == len(whole.blocks)


def test_byte_by_byte_it_proves_what_it_proves_in_one_piece() -> None:
    car = streamed(*(bytes((byte,)) for byte in REPO))
    repo = prove_repo(car, ALICE.identity, max_entries_bytes=10_000)
    assert [key.rpartition("/")[2] for key in repo.entries] == ["a", "b", "c", "long"]
    record = repo.record(ALICE.uri(f"{COLLECTION}/long"))
    assert record.value["number"] == 7


def test_every_cut_is_refused_or_incomplete() -> None:
    """Wherever it ends: within an item it is no file; between two, the tree lacks something."""
    incomplete = 0
    for end in range(len(REPO)):
        with pytest.raises(ProofError) as caught:
            prove_repo(streamed(REPO[:end]), ALICE.identity, max_entries_bytes=10_000)
        incomplete += caught.value.message.startswith("incomplete")
    assert incomplete == len(read_car(REPO).blocks)


def test_every_flipped_bit_of_a_block_is_refused_when_it_comes() -> None:
    start = len(car_header(read_car(REPO).roots[0]))
    for at in range(start, len(REPO), 7):
        bad = bytearray(REPO)
        bad[at] ^= 1
        with pytest.raises(ProofError):
            streamed(bytes(bad))


def test_a_block_that_is_too_large_is_refused_before_it_is_read() -> None:
    stream = RepoStream(Memory())
    stream.feed(car_header(Cid.of(b"")))
    with pytest.raises(ProofError, match="at most"):
        stream.feed(car_block(Cid.of(b""), bytes(MAX_BLOCK_BYTES))[:10])


def test_a_length_without_end_is_refused() -> None:
    with pytest.raises(ProofError, match="length"):
        streamed(b"\xff" * 5)


def test_more_blocks_than_allowed_are_refused() -> None:
    with pytest.raises(ProofError, match="more than 3 blocks"):
        streamed(pack(b"a", b"b", b"c", b"d"), max_blocks=3)


def test_an_empty_file_is_cut_short() -> None:
    with pytest.raises(ProofError, match="cut short"):
        streamed()
