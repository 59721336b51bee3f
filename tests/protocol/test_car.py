"""CAR files: what is read is what the CIDs say, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import ProofError
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import RAW, Cid, encode

BLOCKS = [b"", b"one", b"two" * 100, b"three" * 10_000]
NAMED = [(Cid.of(block), block) for block in BLOCKS]
ROOT = NAMED[0][0]
CAR = write_car(ROOT, NAMED)


def with_header(header: bytes, rest: bytes = b"") -> bytes:
    """A CAR file with an arbitrary header (shorter than 128 bytes)."""
    return bytes((len(header),)) + header + rest


def section(name: bytes, block: bytes, length: bytes | None = None) -> bytes:
    """One block of a CAR file, as it says itself."""
    return (bytes((len(name) + len(block),)) if length is None else length) + name + block


EMPTY = CAR[: 1 + CAR[0]]  # the header alone


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_what_is_written_is_read(blocks: list[bytes]) -> None:
    named = {Cid.of(block): block for block in blocks}
    car = read_car(write_car(ROOT, named.items()))
    assert car.roots == (ROOT,)
    assert dict(car.blocks) == named


def test_duplicate_and_extra_blocks_are_legal() -> None:
    car = read_car(CAR + CAR[len(EMPTY) :])
    assert car.blocks == dict(NAMED)


@pytest.mark.parametrize("count", [0, 2, 3])
def test_any_number_of_roots_is_read(count: int) -> None:
    roots = [cid for cid, _ in NAMED[:count]]
    header = encode({"roots": list(roots), "version": 1})
    length = bytes((len(header) & 127 | 128, len(header) >> 7))
    data = with_header(header) if len(header) < 128 else length + header
    assert read_car(data).roots == tuple(roots)


def test_a_block_that_does_not_hash_to_its_cid_is_refused() -> None:
    for at in range(len(EMPTY) + 1, len(EMPTY) + 37):
        flipped = CAR[:at] + bytes((CAR[at] ^ 1,)) + CAR[at + 1 :]
        with pytest.raises(ProofError, match="CID"):
            read_car(flipped)
    with pytest.raises(ProofError, match="does not hash to its CID"):
        read_car(EMPTY + section(Cid.of(b"one").bytes, b"two"))


def test_two_blocks_that_swapped_their_names_are_refused() -> None:
    swapped = section(Cid.of(b"one").bytes, b"two") + section(Cid.of(b"two").bytes, b"one")
    with pytest.raises(ProofError, match="does not hash"):
        read_car(EMPTY + swapped)


@pytest.mark.parametrize(
    "name",
    [
        Cid.of(b"one", RAW).bytes,
        b"\x12\x20" + Cid.of(b"one").digest,
        b"\x01\x71\x00\x03one",
        b"\x01\x71\x13\x20" + Cid.of(b"one").digest,
        b"\x02\x71\x12\x20" + Cid.of(b"one").digest,
        b"\x01\x71\x12\x1f" + Cid.of(b"one").digest[:-1],
        b"",
    ],
)
def test_a_block_with_another_kind_of_cid_is_refused(name: bytes) -> None:
    with pytest.raises(ProofError, match="CID"):
        read_car(EMPTY + section(name, b"one"))


def test_a_block_too_short_for_its_cid_is_refused_even_if_what_follows_would_do() -> None:
    empty = Cid.of(b"").bytes
    for size in range(36):
        with pytest.raises(ProofError, match="CAR"):
            read_car(EMPTY + section(empty, b"", bytes((size,))))


def test_every_truncation_gives_fewer_blocks_or_a_refusal() -> None:
    whole = dict(NAMED)
    for cut in [*range(700), *range(700, len(CAR), 997)]:
        try:
            blocks = dict(read_car(CAR[:cut]).blocks)
        except ProofError:
            continue
        assert blocks.items() <= whole.items()


def test_a_file_cut_within_a_block_is_refused() -> None:
    for cut in (1, 30, len(EMPTY) - 1, len(EMPTY) + 1, len(EMPTY) + 20, len(CAR) - 1):
        with pytest.raises(ProofError, match="CAR"):
            read_car(CAR[:cut])


@pytest.mark.parametrize(
    "length",
    [
        b"\x80\x00",  # not in its shortest form
        b"\xff\xff\xff\xff\x01",
        b"\xff" * 10,
        b"\xff\xff\xff\x7f",
        b"\x80",
        b"",
    ],
)
def test_a_length_that_lies_is_refused(length: bytes) -> None:
    with pytest.raises(ProofError, match="CAR"):
        read_car(length)
    if length:
        with pytest.raises(ProofError, match="CAR"):
            read_car(EMPTY + length)


def test_a_header_longer_than_the_file_is_refused() -> None:
    with pytest.raises(ProofError, match="cut short"):
        read_car(bytes((EMPTY[0] + 1,)) + EMPTY[1:])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xa0",
        b"\xf6",
        encode({"roots": [ROOT], "version": 2}),
        encode({"roots": [ROOT], "version": True}),
        encode({"roots": [ROOT], "version": "1"}),
        encode({"roots": [ROOT.bytes], "version": 1}),
        encode({"roots": [str(ROOT)], "version": 1}),
        encode({"roots": ROOT, "version": 1}),
        encode({"roots": None, "version": 1}),
        encode({"version": 1}),
        encode({"roots": [ROOT]}),
        encode({"roots": [ROOT], "version": 1, "more": 1}),
        encode({"roots": [ROOT], "version": 1}) + b"\x01",
        b"\x81" * 100,
    ],
)
def test_another_header_is_refused(header: bytes) -> None:
    with pytest.raises(ProofError, match="CAR header"):
        read_car(with_header(header))


def test_a_header_whose_root_is_no_accepted_cid_is_refused() -> None:
    bad = EMPTY.replace(b"\x01\x71\x12\x20", b"\x01\x70\x12\x20")
    with pytest.raises(ProofError, match="CAR header"):
        read_car(bad)


def test_a_file_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(ProofError, match="at most 10 are accepted"):
        read_car(b"\xff" * 11, max_bytes=10)


def test_more_blocks_than_memory_should_hold_are_refused() -> None:
    blocks = [encode(number) for number in range(20)]
    data = write_car(Cid.of(blocks[0]), [(Cid.of(block), block) for block in [*blocks, *blocks]])
    assert len(read_car(data, max_blocks=20).blocks) == 20
    with pytest.raises(ProofError, match="more than 19 blocks"):
        read_car(data, max_blocks=19)


def test_many_tiny_blocks_do_not_take_long() -> None:
    block = section(Cid.of(b"").bytes, b"")
    assert len(read_car(EMPTY + block * 100_000).blocks) == 1


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProofError):
        read_car(data)
