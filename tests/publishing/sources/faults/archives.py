"""Faults of archives: WebDataset shards, and MDS folders."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from publish import pictures
from publishing.sources.faults.case import GIANT, Case, Cell, Not, giant, unreadable
from publishing.sources.faults.forms import STEMS, Form, Write, cells_of
from publishing.sources.faults.media import bomb_picture
from publishing.sources.test_mds import NUMBERED, folder, numbered
from publishing.sources.test_mds import entry as described
from publishing.sources.test_tars import archive

_WHOLE = "archives are published as they are, so one is left out as a whole"


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _tar(*members: tuple[str, bytes]) -> Write:
    return lambda path: archive(path, members)


_GOOD = _tar(("a.txt", b"one"), ("b.txt", b"two"))


def _cut(path: Path) -> None:
    _GOOD(path)
    os.truncate(path, 2048)


def _declaring(size: bytes) -> Write:
    """An archive whose first member has a size of ``size``, in base 256, by its header."""

    def write(path: Path) -> None:
        block = bytearray(tarfile.TarInfo("a.txt").tobuf(tarfile.USTAR_FORMAT))
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        path.write_bytes(bytes(block) + bytes(10240))

    return write


def _with_giant(path: Path) -> None:
    """A whole archive with a member of more than 4 GB, which takes no room on the disk."""
    info = tarfile.TarInfo("b.txt")
    info.size = GIANT - GIANT % 512
    giant(path, info.tobuf(tarfile.GNU_FORMAT))
    os.truncate(path, 512 + info.size + 1024)


_KEYS = tuple(stem for stem in STEMS if stem.isprintable() and "." not in stem)


def _named(folder: Path) -> Path:
    archive(folder / "train-0.tar", ((f"{stem}.txt", b"text") for stem in _KEYS))
    for number, stem in enumerate(STEMS):
        archive(folder / "test" / f"{stem}.tar", [(f"{number}.txt", b"text")])
    return folder


_TAR = Form(".tar", _GOOD, _cut)
_OTHER = r"test-1\.tar"

TAR: dict[str, Cell] = {
    **cells_of(_TAR),
    "vanished": Case(
        _TAR.beside(_GOOD),
        (_OTHER,),
        None,
        "it was good when it was opened",
        after=lambda folder: (folder / "test-1.tar").unlink(),
    ),
    "bad row": Case(
        _TAR.beside(_tar(("a.txt", b"x"), ("b.txt", b"\xff"), ("c.txt", b"\xfe"))),
        (rf"{_OTHER} \(.*sample b.*and 1 more of its samples",),
        2,
        _WHOLE,
    ),
    "mixed schemas": Case(
        lambda folder: [
            archive(folder / "train-0.tar", [("a.npy", _npy(np.zeros(2, "f4")))]),
            archive(folder / "test-1.tar", [("a.npy", _npy(np.zeros((2, 2), "i8")))]),
            folder,
        ][-1],
        (r"npy float32 in .*train-0\.tar; npy int64 in .*test-1\.tar",),
        None,
        "who would say which of the archives is wrong?",
    ),
    "duplicate keys": Case(
        _TAR.beside(_tar(("a.txt", b"x"), ("b.txt", b"y"), ("a.txt", b"z"))),
        (rf"{_OTHER} \(.*sample a",),
        2,
    ),
    "slip": Case(
        _TAR.beside(_tar(("a.txt", b"x"), ("../../b.txt", b"y"))),
        (rf"{_OTHER} \(its member \.\./\.\./b\.txt leads out",),
        2,
    ),
    "bomb": Case(
        lambda folder: [
            archive(folder / "train-0.tar", [("a.png", pictures.encoded())]),
            archive(folder / "test-1.tar", [("a.png", bomb_picture())]),
            folder,
        ][-1],
        (rf"{_OTHER} \(.*3600000000 pixels",),
        1,
    ),
    "4 GB": Case(_TAR.beside(_with_giant), (rf"{_OTHER} \(its member b\.txt has 4",), 2),
    "names": Case(_named, (), len(_KEYS) + len(STEMS)),
}

DECLARED = {
    "2^63": _TAR.beside(_declaring(b"\x80" + bytes(3) + (2**63).to_bytes(8, "big"))),
    "2^88": _TAR.beside(_declaring(b"\x80" + b"\xff" * 11)),
    "4 GB": _TAR.beside(_declaring(b"\x80" + (2**32).to_bytes(11, "big"))),
}
"""Archives of a few kilobytes whose header says more."""

# ------------------------------------------------------------------ MDS


def _mds(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A folder of two shards of two samples, after ``change`` has had the second."""

    def make(path: Path) -> Path:
        folder(path, numbered(1, 2), numbered(3, 4), columns=NUMBERED)
        second = path / "shard.00001.mds"
        change(second)
        return path

    return make


def _replaced(write: Write) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        path.unlink()
        write(path)

    return change


def _index(change: Callable[[Any], object]) -> Callable[[Path], object]:
    def with_index(path: Path) -> None:
        there = path.parent / "index.json"
        index = json.loads(there.read_text())
        change(index["shards"][1])
        there.write_text(json.dumps(index))

    return with_index


def _one_picture_bad(path: Path) -> Path:
    columns = {"image": "png"}
    good, bad = pictures.encoded(), pictures.encoded()[:90]
    return folder(path, [{"image": good}, {"image": bad}, {"image": good}], columns=columns)


def _linked(path: Path) -> None:
    outside = path.parent.parent / "elsewhere.mds"
    path.rename(outside)
    path.symlink_to(outside)


def _bomb(path: Path) -> Path:
    """1 GB of zeros in a megabyte of gzip, with an index that says so."""
    folder(path, numbered(1, 2), numbered(3, 4), columns=NUMBERED)
    (path / "shard.00001.mds").unlink()
    made = gzip.compress(bytes(16 * 1024**2))
    (path / "shard.00001.mds.gz").write_bytes(made * 64)
    listed = described("shard.00001.mds", b"", 2, NUMBERED)
    listed["raw_data"] |= {"bytes": 1024**3, "hashes": {}}
    listed |= {"compression": "gz", "zip_data": {"basename": "shard.00001.mds.gz"}}
    index = json.loads((path / "index.json").read_text())
    index["shards"][1] = listed
    (path / "index.json").write_text(json.dumps(index))
    return path


def _giant(path: Path) -> Path:
    """A shard of 4 GB, as its index says too, whose samples are nowhere."""
    folder(path, numbered(1, 2), numbered(3, 4), columns=NUMBERED)
    giant(path / "shard.00001.mds", struct.pack("<I", 2))
    os.truncate(path / "shard.00001.mds", 2**32)
    _index(lambda one: one["raw_data"].update(bytes=2**32, hashes={}))(path / "shard.00001.mds")
    return path


_SECOND = r"shard\.00001\.mds"
_LISTED = "what the index lists is not to be trusted"

MDS: dict[str, Cell] = {
    "corrupt": Case(_mds(lambda path: os.truncate(path, 20)), (_SECOND,), 2),
    "bad row": Case(_one_picture_bad, (r"shard\.00000\.mds \(sample 1: image",), 2),
    "mixed schemas": Case(
        _mds(_index(lambda one: one.update(column_names=["n", "other"]))),
        (rf"{_SECOND} \(it has the columns n int, other str, not n int, text str",),
        2,
    ),
    "unreadable": Case(_mds(_replaced(unreadable)), (_SECOND,), 2),
    "pipe": Case(_mds(_replaced(os.mkfifo)), (_SECOND,), 2),
    "vanished": Case(
        _mds(lambda path: None),
        (_SECOND,),
        None,
        "it was good when it was opened",
        after=lambda folder: (folder / "shard.00001.mds").unlink(),
    ),
    "duplicate keys": Not("keys are the numbers of samples"),
    "empty": Case(_mds(_replaced(Path.touch)), (_SECOND,), 2),
    "link loop": Case(
        _mds(lambda path: (path.parent / "again").symlink_to(path.parent.resolve())),
        ("again",),
        4,
    ),
    "link out": Case(_mds(_linked), (), 4),
    "slip": Case(
        _mds(_index(lambda one: one["raw_data"].update(basename="../x.mds"))),
        (r"shard 1: expected the plain name of a file, found '\.\./x\.mds'",),
        None,
        _LISTED,
    ),
    "bomb": Case(_bomb, (r"shard\.00001\.mds\.gz",), 2),
    "4 GB": Case(_giant, (_SECOND,), 2),
    "names": Not("streaming numbers its files; other names are those of slip"),
}
