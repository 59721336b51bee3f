"""Faults of tables beside media: ``metadata.csv``, ``.jsonl`` and ``.parquet``."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from publish import pictures
from publishing.sources.faults.case import Case, Cell, Not, giant, unreadable
from publishing.sources.faults.forms import STEMS, Write

Rows = Sequence[Mapping[str, Any]]

_WHY = "without its table nobody can say what the files are"
_SEE = Not("only the files that a table lists can be bad in this way: see images")
_GOOD = ({"file_name": "1.png", "n": 1}, {"file_name": "2.png", "n": 2})


def text_table(rows: Rows) -> bytes:
    """CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*rows[0]])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def lines(rows: Rows) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(rows: Rows) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), out)
    return out.getvalue()


def _beside(name: str, write: Write) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pictures.put(folder / "1.png")
        pictures.put(folder / "2.png")
        write(folder / name)
        return folder

    return make


def _by_split(name: str, first: bytes, second: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for split, data in (("train", first), ("test", second)):
            pictures.put(folder / split / "1.png")
            (folder / split / name).write_bytes(data)
        return folder

    return make


def _named(name: str, encode: Callable[[Rows], bytes]) -> Callable[[Path], Path]:
    stems = [stem for stem in STEMS if stem.isprintable() or "\n" in stem]

    def make(folder: Path) -> Path:
        for stem in stems:
            pictures.put(folder / f"{stem}.png")
        rows = [{"file_name": f"{stem}.png", "n": n} for n, stem in enumerate(stems)]
        (folder / name).write_bytes(encode(rows))
        return folder

    return make


def _outside(data: bytes) -> Write:
    def link(path: Path) -> None:
        (path.parent.parent / "table").write_bytes(data)
        path.symlink_to(path.parent.parent / "table")

    return link


def _cells(name: str, encode: Callable[[Rows], bytes], mixed: Case, bomb: Cell) -> dict[str, Cell]:
    def table(data: bytes) -> Callable[[Path], Path]:
        return _beside(name, lambda path: path.write_bytes(data))

    def with_row(file_name: str) -> Callable[[Path], Path]:
        return table(encode([*_GOOD, {"file_name": file_name, "n": 3}]))

    called = name.replace(".", r"\.")
    return {
        "corrupt": Case(table("\ufeff#".encode("utf-16")), (called,), None, _WHY),
        "bad row": Case(with_row("lost.png"), (rf"lost\.png \({called} lists it",), 2),
        "mixed schemas": mixed,
        "unreadable": Case(_beside(name, unreadable), (called,), None, _WHY),
        "pipe": Case(_beside(name, os.mkfifo), (called,), None, _WHY),
        "vanished": Case(table(encode(_GOOD)), (), 2, after=lambda path: (path / name).unlink()),
        "duplicate keys": Case(with_row("2.png"), (rf"{called}, row 3: 2\.png \(listed twice",), 2),
        "empty": Case(table(b""), (called,), None, _WHY),
        "link loop": _SEE,
        "link out": Case(_beside(name, _outside(encode(_GOOD))), (), 2),
        "slip": Case(with_row("../1.png"), (rf"{called}, row 3: \.\./1\.png \(expected",), 2),
        "bomb": bomb,
        "4 GB": Case(_beside(name, giant), (called,), None, _WHY),
        "names": Case(
            _named(name, encode), (), len([s for s in STEMS if s.isprintable() or "\n" in s])
        ),
    }


_NO_BOMB = Not("text is not compressed; a line that is too long is the case of 4 GB")
_OTHER = ({"file_name": "1.png", "weight": 1.5},)
_WHO = "who would say which of the tables is wrong?"


def _mixed(name: str, encode: Callable[[Rows], bytes]) -> Case:
    find = (rf"weight.* in .*test/{name}; .*n\b.* in .*train/{name}",)
    return Case(_by_split(name, encode(_GOOD[:1]), encode(_OTHER)), find, None, _WHO)


METADATA_CSV = _cells("metadata.csv", text_table, _mixed("metadata.csv", text_table), _NO_BOMB)
METADATA_JSONL = _cells(
    "metadata.jsonl",
    lines,
    Case(_by_split("metadata.jsonl", lines(_GOOD[:1]), lines(_OTHER)), (), 2),
    _NO_BOMB,
)
METADATA_PARQUET = _cells(
    "metadata.parquet",
    parquet,
    _mixed("metadata.parquet", parquet),
    Not("see Parquet: it is read by the same reader"),
)
