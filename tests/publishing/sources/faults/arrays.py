"""Faults of files of arrays: ``.npy``, ``.npz``, ``.safetensors``."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from publishing.sources.faults.case import Case, Cell, Not, giant, unreadable
from publishing.sources.faults.forms import STEMS, Form, Write, cells_of
from publishing.sources.faults.media import written
from publishing.sources.test_array_files import entry, tensors

_EVERY_VALUE = Not("every value of an array is one")
_ROW_NUMBERS = Not("keys are the numbers of rows")
_WHO = "who would say which of the arrays is wrong?"


def _alone(name: str, write: Write) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        write(folder / name)
        return folder

    return make


# ------------------------------------------------------------------ .npz and .safetensors


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _claimed(path: Path) -> None:
    """A member of 2^60 bytes, as the directory of the archive says."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x.npy", _npz(x=np.arange(2)))
        packed.infolist()[0].file_size = 2**60


def _unpacking(path: Path) -> None:
    """An array of 2^60 numbers, as its own header says, in a file of a few hundred bytes."""
    out = io.BytesIO()
    header = {"descr": "<i8", "fortran_order": False, "shape": (2**60,)}
    np.lib.format.write_array_header_1_0(out, header)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("x.npy", out.getvalue() + bytes(64))


def _slipping(path: Path) -> None:
    out = io.BytesIO()
    np.save(out, np.arange(2))
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../x.npy", out.getvalue())


def _one_each(cells: dict[str, Cell], write: Write) -> dict[str, Cell]:
    """A file is a split: so each name is tried in a folder of its own, and not all in one."""

    def make(folder: Path) -> Path:
        for name in (STEMS[2], STEMS[5], STEMS[-1]):
            split = "train" if name == STEMS[2] else "test" if name == STEMS[5] else "val"
            (folder / split).mkdir(parents=True)
            write(folder / split / f"{name}.npz")
        return folder

    return {**cells, "names": Case(make, (), 6)}


_NPZ = Form(".npz", written(_npz(x=np.arange(2))), written(_npz(x=np.arange(2))[:-30]), held=True)
_NPZ_CELLS = cells_of(_NPZ)

NPZ: dict[str, Cell] = {
    **_one_each(_NPZ_CELLS, _NPZ.good),
    "bad row": _EVERY_VALUE,
    "mixed schemas": Case(
        _NPZ.beside(written(_npz(x=np.arange(2.0)))),
        ("x int64 in train; x float64 in test",),
        None,
        _WHO,
    ),
    "duplicate keys": _ROW_NUMBERS,
    "slip": Case(
        _alone("x.npz", _slipping), (r"array \.\./x:",), None, "the array has no other name"
    ),
    "bomb": Case(_NPZ.beside(_unpacking), (r"test-1\.npz",), 2),
    "4 GB": Case(_NPZ.beside(_claimed), (r"test-1\.npz",), 2),
}

_HEADER = {"x": entry("I64", [2], 0, 16)}


def _tensors(path: Path) -> None:
    tensors(path, _HEADER, struct.pack("<2q", 1, 2))


def _large_tensors(path: Path) -> None:
    header = {"x": entry("U8", [2**22, 1024], 0, 2**32)}
    tensors(path, header, b"")
    os.truncate(path, path.stat().st_size + 2**32)


_SAFE = Form(
    ".safetensors",
    _tensors,
    lambda path: tensors(path, _HEADER, b""),
    held=True,
)

SAFETENSORS: dict[str, Cell] = {
    **cells_of(_SAFE),
    "bad row": _EVERY_VALUE,
    "mixed schemas": Case(
        _SAFE.beside(lambda path: tensors(path, {"x": entry("F64", [2], 0, 16)}, bytes(16))),
        ("x int64 in train; x float64 in test",),
        None,
        _WHO,
    ),
    "duplicate keys": _ROW_NUMBERS,
    "slip": Case(
        _alone("x.safetensors", lambda path: tensors(path, {"../x": _HEADER["x"]}, bytes(16))),
        (r"array \.\./x:",),
        None,
        "the array has no other name",
    ),
    "bomb": Case(
        _SAFE.beside(lambda path: tensors(path, {"x": entry("I64", [2**60], 0, 2**63)}, b"")),
        (r"test-1\.safetensors",),
        2,
    ),
    "4 GB": Case(_alone("x.safetensors", _large_tensors), (), 2**22, packed=False),
    "names": Case(_alone(f"{STEMS[-1]}.safetensors", _tensors), (), 2),
}

# ------------------------------------------------------------------ .npy

_FIELD = "a file is a field of every sample"


def _beside(write: Write) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        np.save(folder / "x.npy", np.arange(2))
        write(folder / "y.npy")
        return folder

    return make


def _linked(path: Path) -> None:
    np.save(path.parent.parent / "real.npy", np.arange(2))
    path.symlink_to(path.parent.parent / "real.npy")


def _looped(path: Path) -> None:
    np.save(path, np.arange(2))
    (path.parent / "again").symlink_to(path.parent.resolve())


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    out = io.BytesIO()
    said = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, said)
    return out.getvalue()


def _large(path: Path) -> None:
    giant(path, _header((2**22, 1024), "|u1"))
    os.truncate(path, len(_header((2**22, 1024), "|u1")) + 2**32)


NPY: dict[str, Cell] = {
    "corrupt": Case(_beside(written(_header((2,), "<i8"))), (r"y\.npy",), None, _FIELD),
    "bad row": _EVERY_VALUE,
    "mixed schemas": Case(
        _beside(lambda path: np.save(path, np.arange(3))), (r"x \(2,\), y \(3,\)",), None, _WHO
    ),
    "unreadable": Case(_beside(unreadable), (r"y\.npy",), None, _FIELD),
    "pipe": Case(_beside(os.mkfifo), (r"y\.npy",), None, _FIELD),
    "vanished": Case(
        _beside(lambda path: np.save(path, np.arange(2))),
        (),
        2,
        after=lambda folder: (folder / "y.npy").unlink(),
    ),
    "duplicate keys": _ROW_NUMBERS,
    "empty": Case(_beside(Path.touch), (r"y\.npy",), None, _FIELD),
    "link loop": Case(_beside(_looped), ("again",), 2),
    "link out": Case(_beside(_linked), (), 2),
    "slip": Not("it holds one array, which has the name of the file"),
    "bomb": Case(_beside(written(_header((2**60,), "<i8"))), (r"y\.npy",), None, _FIELD),
    "4 GB": Case(_alone("x.npy", _large), (), 2**22, packed=False),
    "names": Case(
        _alone("שלום.npy", lambda path: np.save(path, np.arange(2))),
        ("שלום",),
        None,
        "a field needs a name that programs can have",
    ),
}
