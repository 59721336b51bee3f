"""The unusual steps, each against its slow twin."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.shards import texts
from atd.shards.gather import (
    LONG_ROW,
    POOLED,
    Octets,
    Pool,
    rows,
    rows_across,
    rows_by_hand,
    rows_into,
    strided,
)
from atd.shards.texts import listed, string_views, texts_across, texts_by_hand, wrapped


@given(data=st.binary(min_size=1, max_size=300), width=st.integers(1, 40), draw=st.data())
def test_rows_are_those_copied_by_hand(data: bytes, width: int, draw: st.DataObject) -> None:
    octets = np.frombuffer(data, np.uint8)
    if width > len(octets):
        with pytest.raises(IndexError):
            rows(octets, np.zeros(1, np.int64), width)
        return
    places = draw.draw(st.lists(st.integers(0, len(octets) - width), max_size=8))
    offsets = np.array(places, np.int64)
    by_hand = np.empty((len(offsets), width), np.uint8)
    rows_by_hand(octets, offsets, by_hand)
    assert np.array_equal(rows(octets, offsets, width), by_hand)
    even = strided(octets, offsets, width)
    assert even is None or np.array_equal(even, by_hand)


def test_a_row_beyond_the_map_is_an_error_and_no_read() -> None:
    octets = np.frombuffer(bytes(100), np.uint8)
    with pytest.raises(IndexError):
        rows(octets, np.array([97], np.int64), 4)
    assert strided(octets, np.array([92, 96, 100], np.int64), 4) is None


@pytest.mark.parametrize("width", [1, 16, LONG_ROW])
@pytest.mark.parametrize("step", [LONG_ROW + 3, None])
def test_rows_into_a_buffer_even_and_uneven(width: int, step: int | None) -> None:
    octets: Octets = np.random.default_rng(0).integers(0, 256, 10 * LONG_ROW).astype(np.uint8)
    uneven = [7, 0, 7, 3 * LONG_ROW + 1, 9 * LONG_ROW]
    offsets = np.array(uneven if step is None else range(5, 5 + 4 * step, step), np.int64)
    out, by_hand = (np.zeros((len(offsets), width), np.uint8) for _ in range(2))
    even = strided(octets, offsets, width)
    assert (even is None) == (step is None)
    rows_into(octets, offsets, out, even)
    rows_by_hand(octets, offsets, by_hand)
    assert np.array_equal(out, by_hand)


@pytest.mark.parametrize("far", [0, LONG_ROW])
@given(width=st.integers(1, 20), count=st.integers(0, 12), draw=st.data())
def test_rows_across_maps_are_those_of_each(
    far: int, width: int, count: int, draw: st.DataObject
) -> None:
    width += far
    octets = [
        np.random.default_rng(n).integers(0, 256, 40 + far + n).astype(np.uint8) for n in range(3)
    ]
    owners = draw.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    starts = draw.draw(st.lists(st.integers(0, 20), min_size=count, max_size=count))
    out, by_hand = (np.zeros((count, width), np.uint8) for _ in range(2))
    rows_across(octets, np.array(owners, np.uint8), np.array(starts, np.int64), out)
    for at, (owner, start) in enumerate(zip(owners, starts, strict=True)):
        rows_by_hand(octets[owner], np.array([start]), by_hand[at : at + 1])
    assert np.array_equal(out, by_hand)


@pytest.mark.parametrize("offset", [-1, 93, 2**62, -(2**62)])
@pytest.mark.parametrize("width", [8, LONG_ROW])
def test_a_row_outside_of_its_map_is_never_read(offset: int, width: int) -> None:
    maps: list[Octets] = [np.zeros(92 + width, np.uint8), np.zeros(10**6, np.uint8)]
    out = np.empty((3, width), np.uint8)
    offsets = np.array([0, offset, 5], np.int64)
    with pytest.raises((IndexError, ValueError)):
        rows_across(maps, np.array([0, 0, 1], np.uint8), offsets, out)


def test_a_buffer_is_used_again_only_when_nobody_holds_it() -> None:
    pool = Pool()
    first = pool.take(POOLED)
    view = first.view(np.int32).reshape(-1, 2)[5:6]
    address = first.ctypes.data
    del first
    second = pool.take(POOLED)
    assert second.ctypes.data != address
    del view
    assert pool.take(POOLED).ctypes.data == address


def test_small_buffers_are_new() -> None:
    pool = Pool()
    address = pool.take(10).ctypes.data
    held = pool.take(10)
    assert len(held) == 10
    assert address is not None


def mapped(folder: Path, data: bytes) -> Octets:
    path = folder / "map"
    path.write_bytes(data)
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return np.frombuffer(view, np.uint8)


strings = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=8, max_size=30)


@settings(max_examples=50)
@given(words=strings, tail=st.integers(0, 20))
def test_strings_are_those_decoded_by_hand(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], tail: int
) -> None:
    pytest.importorskip("pyarrow")
    texts.Decoded.count = 10**6
    encoded = [word.encode() for word in words]
    octets = mapped(tmp_path_factory.mktemp("s"), b"pad" + b"".join(encoded) + bytes(12 + tail))
    lengths = np.array([len(item) for item in encoded], np.int64)
    offsets = 3 + np.cumsum(lengths) - lengths
    assert texts.worth_arrow(len(words))
    assert listed(string_views(octets, offsets, lengths), wrapped([octets])) == words
    assert texts_by_hand(octets, offsets, lengths) == words
    owners = np.arange(len(words), dtype=np.uint8) % 2
    assert texts_across([octets, octets.copy()], owners, offsets, lengths) == words


def test_a_string_at_the_very_end_of_the_map() -> None:
    octets = np.frombuffer(b"................abc", np.uint8)
    views = string_views(octets, np.array([16], np.int64), np.array([3], np.int64))
    assert views.tobytes() == b"\3\0\0\0abc" + bytes(9)


@pytest.mark.parametrize("length", [4, 16])
def test_bytes_that_are_no_text_are_refused_either_way(length: int) -> None:
    pytest.importorskip("pyarrow")
    texts.Decoded.count = 10**6
    octets = np.frombuffer(b"abc\xff" * 20, np.uint8)
    offsets = np.arange(0, 60, 4)
    lengths = np.full(len(offsets), length)
    assert texts.worth_arrow(len(offsets))
    with pytest.raises(UnicodeDecodeError):
        listed(string_views(octets, offsets, lengths), wrapped([octets]))
    with pytest.raises(UnicodeDecodeError):
        texts_by_hand(octets, offsets, lengths)
