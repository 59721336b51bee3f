"""Member indexes on disk: believed only while they are whole, and of this very shard."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters
from atd.schema.fields import Field, Int, Schema
from atd.shards.cut import pack
from atd.shards.index import MemberIndex
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from atd.shards.sidecars import Sidecars

SCHEMA = Schema((Field("x", Int()),))
HEAD = 16 + 32  # of a sidecar, before the index
INDEX_HEAD = 16 + 32  # of the index, before its counts


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shard")
    items = ((f"k{n}", lambda n=n: {"x": n}) for n in range(9))
    cuts = CutParameters(order="keep")
    (info,) = pack(items, SCHEMA, default_layout(SCHEMA), cuts, folder, "all")
    return folder / info.name


@pytest.fixture
def digest(shard: Path) -> Cid:
    return Cid.of(shard.read_bytes(), RAW)


@pytest.fixture
def size(shard: Path) -> int:
    return shard.stat().st_size


@pytest.fixture
def index(shard: Path) -> MemberIndex:
    return MemberIndex.of(memoryview(shard.read_bytes()), shard.name)


@pytest.fixture
def sidecars(tmp_path: Path, digest: Cid, index: MemberIndex) -> Sidecars:
    found = Sidecars(tmp_path / "cache" / "indexes")
    found.write(digest, index)
    return found


def same(one: MemberIndex | None, other: MemberIndex) -> bool:
    return one is not None and one.to_bytes() == other.to_bytes()


def test_what_was_written_is_read(
    sidecars: Sidecars, digest: Cid, size: int, index: MemberIndex, shard: Path
) -> None:
    found = sidecars.read(digest, size)
    assert same(found, index)
    again = ShardFile(shard, SCHEMA, default_layout(SCHEMA), index=found)
    assert [sample["x"] for sample in again] == list(range(9))


def test_nothing_but_the_sidecar_is_left(sidecars: Sidecars, digest: Cid) -> None:
    assert [p for p in sidecars.folder.rglob("*") if p.is_file()] == [sidecars.path(digest)]
    assert sidecars.folder.parent.stat().st_mode & 0o077 == 0


def test_it_is_written_again_over_a_damaged_one(
    sidecars: Sidecars, digest: Cid, size: int, index: MemberIndex
) -> None:
    sidecars.path(digest).write_bytes(b"x")
    assert sidecars.read(digest, size) is None
    sidecars.write(digest, index)
    assert same(sidecars.read(digest, size), index)


def test_one_that_was_read_stays_as_it_was_when_another_takes_its_place(
    sidecars: Sidecars, digest: Cid, index: MemberIndex
) -> None:
    with sidecars.path(digest).open("rb") as file:
        sidecars.write(digest, index)
        assert os.fstat(file.fileno()).st_ino != sidecars.path(digest).stat().st_ino
        assert len(file.read()) > HEAD


def test_a_sidecar_cut_anywhere_is_none(sidecars: Sidecars, digest: Cid, size: int) -> None:
    path = sidecars.path(digest)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert sidecars.read(digest, size) is None, length


def test_a_sidecar_with_any_byte_changed_is_none(
    sidecars: Sidecars, digest: Cid, size: int
) -> None:
    path = sidecars.path(digest)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        assert sidecars.read(digest, size) is None, at


def test_a_sidecar_with_more_behind_it_is_none(sidecars: Sidecars, digest: Cid, size: int) -> None:
    with sidecars.path(digest).open("ab") as file:
        file.write(b"\0")
    assert sidecars.read(digest, size) is None


def test_a_sidecar_larger_than_its_shard_is_not_read_to_its_end(
    sidecars: Sidecars, digest: Cid, size: int
) -> None:
    os.truncate(sidecars.path(digest), 1 << 40)
    assert sidecars.read(digest, size) is None


def test_the_sidecar_of_another_shard_is_none(
    sidecars: Sidecars, digest: Cid, size: int, index: MemberIndex
) -> None:
    other = Cid.of(b"another", RAW)
    sidecars.write(other, index)
    sidecars.path(digest).write_bytes(sidecars.path(other).read_bytes())
    assert sidecars.read(digest, size) is None
    assert sidecars.read(other, size + 512) is None


def forged(data: bytes, change: dict[str, tuple[int, int]], counts: tuple[int, ...] = ()) -> bytes:
    """A sidecar whose seals hold, with numbers of the liar's choice at places in its columns."""
    body = bytearray(data[HEAD + INDEX_HEAD :])
    samples, members = struct.unpack_from("<4Q", body)[1:3]
    starts = {"first": 32, "offsets": 32 + 8 * samples}
    starts["sizes"] = starts["offsets"] + 8 * members
    starts["suffix"] = starts["sizes"] + 8 * members
    for column, (at, value) in change.items():
        form, width = ("<H", 2) if column == "suffix" else ("<q", 8)
        struct.pack_into(form, body, starts[column] + width * at, value)
    if counts:
        struct.pack_into("<4Q", body, 0, *counts)
    magic = data[HEAD : HEAD + 16]
    return data[:HEAD] + magic + hashlib.sha256(body).digest() + bytes(body)


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": (3, 1 << 40)},
        {"offsets": (3, (1 << 63) - 1)},
        {"offsets": (3, -1)},
        {"offsets": (0, 0)},
        {"sizes": (8, 1 << 40)},
        {"sizes": (8, (1 << 63) - 1)},
        {"sizes": (8, -512)},
        {"first": (4, 0)},
        {"first": (4, -(1 << 62))},
        {"first": (4, 1 << 62)},
        {"first": (8, 10)},
        {"suffix": (5, 1)},
        {"suffix": (5, 65535)},
    ],
)
def test_a_forged_sidecar_that_leads_outside_its_shard_is_none(
    sidecars: Sidecars, digest: Cid, size: int, change: dict[str, tuple[int, int]]
) -> None:
    path = sidecars.path(digest)
    path.write_bytes(forged(path.read_bytes(), change))
    assert sidecars.read(digest, size) is None


@pytest.mark.parametrize(
    "counts", [(20_480, 1 << 60, 9, 40), (20_480, 9, 1 << 60, 40), (20_480, 0, 0, 0), (0, 9, 9, 39)]
)
def test_a_forged_sidecar_that_counts_wrong_is_none(
    sidecars: Sidecars, digest: Cid, size: int, counts: tuple[int, ...]
) -> None:
    path = sidecars.path(digest)
    path.write_bytes(forged(path.read_bytes(), {}, counts))
    assert sidecars.read(digest, size) is None


def test_keys_that_a_terminal_would_obey_are_none(
    sidecars: Sidecars, digest: Cid, size: int, index: MemberIndex
) -> None:
    evil = MemberIndex(
        index.size,
        ("\x1b[2J", *index.keys[1:]),
        index.first,
        index.offsets,
        index.sizes,
        index.suffix,
        index.suffixes,
    )
    sidecars.write(digest, evil)
    assert sidecars.read(digest, size) is None


def test_numbers_that_wrap_round_are_none(
    sidecars: Sidecars, digest: Cid, size: int, index: MemberIndex
) -> None:
    first = np.array([0, *(n << 61 for n in range(1, 4)), -(1 << 63), 5, 6, 7, 8, 9], np.int64)
    evil = MemberIndex(
        index.size,
        index.keys,
        first,
        index.offsets,
        index.sizes,
        index.suffix,
        index.suffixes,
    )
    sidecars.write(digest, evil)
    assert sidecars.read(digest, size) is None


@pytest.mark.parametrize("kind", ["nothing", "folder", "link", "pipe"])
def test_what_is_no_plain_file_is_none(
    sidecars: Sidecars, digest: Cid, size: int, tmp_path: Path, kind: str
) -> None:
    path = sidecars.path(digest)
    if kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    assert sidecars.read(digest, size) is None


def test_that_it_cannot_be_written_is_no_error(
    tmp_path: Path, digest: Cid, size: int, index: MemberIndex
) -> None:
    (tmp_path / "file").write_bytes(b"")
    sidecars = Sidecars(tmp_path / "file" / "indexes")
    sidecars.write(digest, index)
    assert sidecars.read(digest, size) is None
