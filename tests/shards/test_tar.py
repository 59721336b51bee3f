"""Tar archives: agreement with `tarfile`, and what an enemy's archive meets."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import InvalidSyntax, ShardError
from atd.shards import tar

FILES = [("a.msgpack", b"x"), ("b.msgpack", b""), ("c.msgpack", b"y" * 512), ("d.txt", b"z" * 513)]


def written(files: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for name, payload in files:
        offset = writer.add(name, payload)
        assert out.getvalue()[offset : offset + len(payload)] == payload
    assert writer.finish() == len(out.getvalue())
    return out.getvalue()


def by_tarfile(files: Iterable[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, payload in files:
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))
    return out.getvalue()


def read(archive: bytes) -> list[tuple[str, bytes]]:
    members = tar.scan(memoryview(archive), "shard.tar")
    spans = zip(members.names, members.offsets.tolist(), members.sizes.tolist(), strict=True)
    return [(name, archive[at : at + size]) for name, at, size in spans]


def restamped(archive: bytes, at: int, **fields: tuple[int, bytes]) -> bytes:
    """``archive`` with fields of the header at ``at`` replaced and its checksum made right."""
    block = bytearray(archive[at : at + 512])
    for offset, value in fields.values():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return archive[:at] + bytes(block) + archive[at + 512 :]


names = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1)
archives = st.lists(
    st.tuples(
        names.map(lambda name: name.replace("/", "-")[:100]),
        st.binary(max_size=1500),
    ),
    max_size=8,
)


@given(archives)
def test_writes_the_bytes_that_tarfile_writes(files: list[tuple[str, bytes]]) -> None:
    assert written(files) == by_tarfile(files)


@given(archives)
def test_reads_back_what_was_written(files: list[tuple[str, bytes]]) -> None:
    assert read(written(files)) == files


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["short", "x" * 100, "dir/" + "y" * 200 + "/end", "Zürich/☃.txt"])
def test_reads_the_formats_of_other_programs(form: int, name: str) -> None:
    if form == tarfile.USTAR_FORMAT and len(name) > 200:
        name = "p" * 90 + "/" + "n" * 90
    files = [("first", b"1" * 10), (name, b"2" * 5000), ("last", b"3")]
    assert read(by_tarfile(files, form)) == files


def test_directories_are_passed_over() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        info = tarfile.TarInfo("folder/a")
        archive.addfile(info, io.BytesIO(b""))
    assert read(out.getvalue()) == [("folder/a", b"")]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"S", b"V"])
def test_links_devices_and_sparse_files_are_refused(kind: bytes) -> None:
    archive = restamped(written(FILES), 0, kind=(156, kind))
    with pytest.raises(ShardError, match=r"shard\.tar: .*a\.msgpack.*tar type"):
        read(archive)


def test_a_header_inside_a_payload_is_not_a_member() -> None:
    decoy = by_tarfile([("decoy", b"!")])
    files = [("a", b"1"), ("outer", decoy), ("b", b"2")]
    assert read(written(files)) == files


def test_cut_at_any_byte_is_refused() -> None:
    archive = written(FILES)
    for length in range(len(archive) - tar.RECORD, len(archive)):
        end = 4 * 512 + 2048 + 1024  # headers, padded payloads, end mark
        if length % 512 == 0 and length >= end:
            assert read(archive[:length]) == FILES  # only padding is missing
            continue
        with pytest.raises(ShardError):
            read(archive[:length])


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(ShardError, match="end mark"):
        read(written(FILES) + by_tarfile(FILES))
    with pytest.raises(ShardError, match="end mark"):
        read(written([("big", b"x" * 20_000)]) + by_tarfile(FILES))


@pytest.mark.parametrize(
    "size",
    [b"77777777777\0", b"\x80" + b"\xff" * 11, b"\x80" + bytes(3) + b"\xff" * 8, b"00000000009\0"],
)
def test_a_size_that_lies_is_refused_before_anything_is_allocated(size: bytes) -> None:
    archive = restamped(written(FILES), 0, size=(124, size))
    with pytest.raises(ShardError, match=r"shard\.tar: at byte"):
        read(archive)


@pytest.mark.parametrize(
    "record",
    [
        b"99 path=x\n",
        b"no length",
        b"12 size=abc\n",
        b"30 size=99999999999999999999\n",
        b"26 GNU.sparse.major=1\n",
        b"\xff" * 40,
    ],
)
def test_pax_records_that_lie_are_refused(record: bytes) -> None:
    padded = record.ljust(len(record))
    archive = written([("pax", padded), ("a", b"1")])
    archive = restamped(archive, 0, kind=(156, b"x"))
    with pytest.raises(ShardError):
        read(archive)


def test_a_huge_extension_header_is_refused() -> None:
    archive = restamped(written([("pax", b"x" * 70_000), ("a", b"1")]), 0, kind=(156, b"x"))
    with pytest.raises(ShardError, match="extension header of 70000 bytes"):
        read(archive)


@pytest.mark.parametrize("name", [b"a\nb", b"\x1b[31mred", b"caf\xe9"])
def test_names_with_control_characters_or_not_utf8_are_refused(name: bytes) -> None:
    archive = restamped(written([("12345678", b"1")]), 0, name=(0, name.ljust(8, b"\0")))
    with pytest.raises(ShardError) as caught:
        read(archive)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["", "x" * 101, "é", "a b", "/absolute", "tab\t"])
def test_names_that_need_more_than_a_plain_header_are_refused(name: str) -> None:
    with pytest.raises(InvalidSyntax):
        tar.TarWriter(io.BytesIO()).add(name, b"")


SMALL = written(FILES)


@settings(max_examples=300)
@given(st.integers(0, len(SMALL) * 8 - 1))
def test_any_flipped_bit_is_refused_or_leaves_spans_within_the_archive(bit: int) -> None:
    archive = bytearray(SMALL)
    archive[bit // 8] ^= 1 << bit % 8
    try:
        members = tar.scan(memoryview(bytes(archive)), "shard.tar")
    except ShardError:
        return
    assert (members.offsets + members.sizes <= len(archive)).all()


@given(archives)
def test_the_two_ways_of_reading_agree(files: list[tuple[str, bytes]]) -> None:
    archive = written(files)
    at_once = tar._scan_at_once(np.frombuffer(archive, np.uint8))
    walked = tar._Walk(memoryview(archive), "shard.tar").members()
    if at_once is None:
        assert not files or any(b"ustar" in payload for _, payload in files)
        return
    assert at_once.names == walked.names
    assert at_once.offsets.tolist() == walked.offsets.tolist()
    assert at_once.sizes.tolist() == walked.sizes.tolist()
