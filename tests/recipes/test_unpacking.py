"""Streams and archives: what comes out, and every attack that is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.errors import LocalError, RemoteError
from atd.recipes.archives import member, unpack
from atd.recipes.model import Transform
from atd.recipes.places import digest_of
from atd.recipes.streams import Budget, transformed
from recipes.making import noise

DATA = noise(600_000) + b"a" * 3_000_000
PACK = {"gunzip": gzip.compress, "bunzip2": bz2.compress, "unxz": lzma.compress}


def pieces(data: bytes, size: int = 70_000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@pytest.mark.parametrize("do", PACK)
def test_what_was_packed_comes_out(do: str) -> None:
    packed = PACK[do](DATA)
    assert b"".join(transformed(pieces(packed), Transform(do))) == DATA


@pytest.mark.parametrize("do", PACK)
def test_several_streams_one_after_the_other_are_one(do: str) -> None:
    packed = PACK[do](b"one ") + PACK[do](b"two")
    for size in (1, 7, len(packed)):
        assert b"".join(transformed(pieces(packed, size), Transform(do))) == b"one two"


@pytest.mark.parametrize("do", PACK)
def test_data_cut_short_or_damaged_are_refused(do: str) -> None:
    packed = PACK[do](noise(100_000))
    damaged = packed[:5000] + bytes(20) + packed[5020:]
    for wrong in (packed[:-1], packed[: len(packed) // 2], damaged, b"no such thing"):
        with pytest.raises(RemoteError):
            for _ in transformed(pieces(wrong), Transform(do)):
                pass


@pytest.mark.parametrize("do", PACK)
def test_a_bomb_is_taken_in_small_pieces(do: str) -> None:
    bomb = PACK[do](bytes(16 << 20))
    assert max(len(piece) for piece in transformed(pieces(bomb), Transform(do))) <= 1 << 20


@pytest.mark.parametrize("do", PACK)
def test_a_million_empty_streams_are_not_copied_a_million_times(do: str) -> None:
    """A decoder hands back all that follows a stream: of a long piece, that is quadratic."""
    rest = PACK[do](b"") * 20_000
    tracemalloc.start()
    assert list(transformed(iter([rest]), Transform(do))) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(rest) // 2


def test_a_budget_ends_what_grows_beyond_it() -> None:
    budget = Budget(None, 1000)
    budget.take(1 << 30)
    with pytest.raises(RemoteError, match="more than") as caught:
        budget.take(1)
    assert "max_bytes" in caught.value.next_step


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has zstd")
def test_zstd_says_what_it_needs() -> None:
    with pytest.raises(LocalError, match="zstd"):
        list(transformed(pieces(b"x"), Transform("unzstd")))


def test_lines_are_filtered_across_pieces() -> None:
    text = b"".join(b"%d line %s\n" % (n, b"odd" if n % 2 else b"even") for n in range(100))
    step = Transform("lines", skip=10, take=3, contains=b"odd".decode())
    assert list(transformed(pieces(text, 7), step)) == [
        b"11 line odd\n",
        b"13 line odd\n",
        b"15 line odd\n",
    ]
    assert b"".join(transformed(pieces(b"a\nb", 1), Transform("lines", starts="b"))) == b"b"


# ------------------------------------------------------------------ archives


def zipped(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members:
            out.writestr(name, data, compress_type=zipfile.ZIP_DEFLATED)
    return path


def tarred(path: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def zip_link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return made


def tree(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


BUILD = {"unzip": zipped, "untar": tarred}


@pytest.mark.parametrize("do", BUILD)
def test_a_folder_of_an_archive_is_unpacked_without_its_name(do: str, tmp_path: Path) -> None:
    big = noise(2_500_000)
    archive = BUILD[do](tmp_path / "a", ("x/one", b"1"), ("x/y/two", big), ("z", b"3"))
    unpack(archive, do, "x", tmp_path / "some", Budget(None, 0))
    assert tree(tmp_path / "some") == {"one": b"1", "y/two": big}
    unpack(archive, do, None, tmp_path / "all", Budget(None, 0))
    assert sorted(tree(tmp_path / "all")) == ["x/one", "x/y/two", "z"]
    assert b"".join(member(archive, do, "x/y/two")) == big
    with pytest.raises(RemoteError, match="no file"):
        list(member(archive, do, "nothing"))
    with pytest.raises(RemoteError, match="no file"):
        unpack(archive, do, "nothing", tmp_path / "none", Budget(None, 0))


NAMES = ["../up", "/abs", "a/../../up", "a\\..\\up", "C:/x", "./../up", "a/./b", "a//b", "a\nb"]


@pytest.mark.parametrize("do", BUILD)
@pytest.mark.parametrize("name", NAMES)
def test_a_member_that_leads_out_of_its_folder_is_refused(
    do: str, name: str, tmp_path: Path
) -> None:
    archive = BUILD[do](tmp_path / "a", (name, b"evil"))
    (tmp_path / "in").mkdir()
    with pytest.raises(RemoteError, match="nothing was unpacked"):
        unpack(archive, do, None, tmp_path / "in" / "side", Budget(None, 0))
    assert tree(tmp_path / "in") == {}
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize(
    "bad",
    [
        info("link", tarfile.SYMTYPE, "/etc/passwd"),
        info("link", tarfile.SYMTYPE, "inside"),
        info("hard", tarfile.LNKTYPE, "inside"),
        info("device", tarfile.CHRTYPE),
        info("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda one: one.name,
)
def test_links_and_devices_of_a_tar_file_are_refused(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a", ("inside", b"x"), (bad, b""))
    with pytest.raises(RemoteError, match="link"):
        unpack(archive, "untar", None, tmp_path / "out", Budget(None, 0))


def test_a_link_of_a_zip_file_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", (zip_link("link"), b"/etc/passwd"))
    with pytest.raises(RemoteError, match="link"):
        unpack(archive, "unzip", None, tmp_path / "out", Budget(None, 0))


def test_a_member_that_comes_twice_or_below_another_is_refused(tmp_path: Path) -> None:
    for number, second in enumerate(("one", "one/two")):
        archive = tarred(tmp_path / f"a{number}", ("one", b"1"), (second, b"2"))
        with pytest.raises(RemoteError, match=r"twice|lies where"):
            unpack(archive, "untar", None, tmp_path / f"o{number}", Budget(None, 0))


@pytest.mark.parametrize("do", BUILD)
def test_a_member_deeper_than_recursion_can_bear_is_refused(do: str, tmp_path: Path) -> None:
    archive = BUILD[do](tmp_path / "a", ("a/" * 1000 + "x", b"1"))
    with pytest.raises(RemoteError, match="100 folders deep: nothing was unpacked"):
        unpack(archive, do, None, tmp_path / "out", Budget(None, 0))
    fits = BUILD[do](tmp_path / "b", ("a/" * 99 + "x", b"1"))
    unpack(fits, do, None, tmp_path / "other", Budget(None, 0))
    assert digest_of(tmp_path / "other")[1] == 1


@pytest.mark.parametrize("do", BUILD)
def test_an_archive_that_unpacks_beyond_its_budget_is_ended(do: str, tmp_path: Path) -> None:
    archive = BUILD[do](tmp_path / "a", ("zeros", bytes(3 << 20)))
    with pytest.raises(RemoteError, match="more than"):
        unpack(archive, do, None, tmp_path / "out", Budget(2 << 20, 0))


def test_a_header_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    header = info("long", tarfile.XHDTYPE)
    header.size = 2 << 30
    path = tmp_path / "a"
    with path.open("wb") as out:
        out.write(header.tobuf())
        out.truncate(3 << 30)  # sparse
    with pytest.raises(RemoteError, match="header"):
        unpack(path, "untar", None, tmp_path / "out", Budget(None, 0))


@pytest.mark.parametrize("do", BUILD)
def test_a_damaged_archive_is_refused(do: str, tmp_path: Path) -> None:
    members = [(f"f{n}", noise(5000, n)) for n in range(5)]
    good = BUILD[do](tmp_path / "a", *members).read_bytes()
    cut = good[: len(good) // 2]
    garbled = good[:5632] + noise(512) + good[5632 + 512 :]
    for number, wrong in enumerate((cut, garbled, b"", b"nothing of the kind" * 100)):
        (tmp_path / "b").write_bytes(wrong)
        with pytest.raises(RemoteError):
            unpack(tmp_path / "b", do, None, tmp_path / f"out{number}", Budget(None, 0))
