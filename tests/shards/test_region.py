"""Maps side by side are the maps, for as long as anybody looks at them."""

from __future__ import annotations

import gc
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from atd.shards.column_kinds import Arrays
from atd.shards.gather import Octets, rows, rows_across
from atd.shards.joined import JoinedArrays, Lots, join
from atd.shards.region import side_by_side

linux = pytest.mark.skipif(sys.platform != "linux", reason="the call is Linux's")

SIZES = (1, mmap.PAGESIZE, mmap.PAGESIZE + 1, 3 * mmap.PAGESIZE - 7)


def mapped(folder: Path, number: int, size: int) -> Octets:
    path = folder / f"map-{number}"
    path.write_bytes(np.random.default_rng(number).integers(0, 256, size, np.uint8).tobytes())
    with path.open("rb") as file:
        return np.frombuffer(
            memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), np.uint8
        )


@pytest.fixture
def maps(tmp_path: Path) -> list[Octets]:
    return [mapped(tmp_path, number, size) for number, size in enumerate(SIZES)]


@linux
def test_every_byte_is_that_of_its_map(maps: list[Octets]) -> None:
    found = side_by_side(maps)
    assert found is not None
    region, begins = found
    assert not region.flags.writeable
    for octets, begin in zip(maps, begins, strict=True):
        assert np.array_equal(region[begin : begin + len(octets)], octets)
    # All of it can be read: what is beyond the end of a file is zeros.
    assert int(region.sum(dtype=np.int64)) == sum(int(o.sum(dtype=np.int64)) for o in maps)


@linux
def test_rows_of_the_region_are_those_of_the_maps(maps: list[Octets]) -> None:
    found = side_by_side(maps)
    assert found is not None
    rng = np.random.default_rng(0)
    owners = rng.integers(1, len(maps), 200).astype(np.uint8)
    offsets = np.array([rng.integers(0, SIZES[owner] - 100) for owner in owners])
    by_maps = np.empty((200, 100), np.uint8)
    rows_across(maps, owners, offsets, by_maps)
    assert np.array_equal(rows(found[0], offsets + np.array(found[1])[owners], 100), by_maps)


@linux
def test_the_region_outlives_its_maps_and_then_goes(tmp_path: Path) -> None:
    maps = [mapped(tmp_path, number, mmap.PAGESIZE) for number in range(3)]
    wanted = maps[2].copy()
    found = side_by_side(maps)
    assert found is not None
    part = found[0][found[1][2] :][: len(wanted)]
    del maps, found
    for path in tmp_path.iterdir():
        path.unlink()
    gc.collect()
    assert np.array_equal(part, wanted)
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    del part
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@linux
def test_a_fork_has_the_region_too(maps: list[Octets]) -> None:
    found = side_by_side(maps)
    assert found is not None
    child = os.fork()
    if not child:
        os._exit(int(found[0][found[1][3]]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == maps[3][0]


def test_what_is_no_whole_map_of_a_file_is_left_alone(maps: list[Octets]) -> None:
    heap: Octets = np.zeros(2 * mmap.PAGESIZE, np.uint8)
    for other in (heap, maps[2][mmap.PAGESIZE :], np.frombuffer(bytes(8192), np.uint8)):
        assert side_by_side([maps[1], other]) is None
    anonymous = memoryview(mmap.mmap(-1, mmap.PAGESIZE))
    assert side_by_side([np.frombuffer(anonymous, np.uint8)]) is None
    # A part that was left alone has not spoilt it for others.
    assert (side_by_side(maps) is None) == (sys.platform != "linux")


def arrays_in(octets: Octets, count: int) -> Arrays:
    offsets = np.random.default_rng(count).integers(0, len(octets) - 24, count)
    shapes = np.tile(np.array([2, 3]), (count, 1))
    return Arrays(octets, offsets, np.full(count, 24), np.dtype(np.float32), shapes)


@linux
def test_arrays_joined_in_a_region_are_those_joined_without(maps: list[Octets]) -> None:
    parts, counts = [arrays_in(octets, n + 5) for n, octets in enumerate(maps[1:])], [5, 6, 7]
    quick, slow = join(parts, Lots(counts)), JoinedArrays(parts, Lots(counts))
    assert isinstance(quick, Arrays)
    at = np.random.default_rng(1).permutation(sum(counts))

    def fresh(size: int) -> Octets:
        return np.empty(size, np.uint8)

    assert np.array_equal(quick.stacked(at, fresh), slow.stacked(at, fresh))
    by_one = [slow.one(row) for row in at.tolist()]
    for column in (quick, slow):
        for one, other in zip(column.each(at), by_one, strict=True):
            assert one.tobytes() == other.tobytes()
            assert one.shape == (2, 3)
            assert not one.flags.writeable
