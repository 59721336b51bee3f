"""Faults of CSV, TSV and JSON Lines, in files and on stdin."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

from publishing.sources.faults.case import Case, Cell, Not
from publishing.sources.faults.forms import Form, cells_of
from publishing.sources.faults.media import NOTHING_INSIDE, written

_NO_FILE = Not("there is no file: the lines come from another program")


def _one(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _separated(suffix: str, mark: str) -> dict[str, Cell]:
    def text(*rows: str) -> bytes:
        return "".join(f"{row}\n" for row in rows).replace(",", mark).encode()

    good = text("id,n", "a,1", "b,2")
    bad = text("id,n", "a,1", "b", "c,3", 'd,"4"4', "e,5").replace(b"c", b"\xff")
    form = Form(suffix, written(good), written(good.decode().encode("utf-16")))
    return {
        **cells_of(form),
        "bad row": Case(
            _one(f"table{suffix}", bad),
            ("line 3: expected 2 cells", "line 4: byte 0xff", "line 5: .* expected after"),
            2,
        ),
        "mixed schemas": Case(
            form.beside(written(text("id,m", "a,1"))),
            (rf"id, n in .*train-0\{suffix}; id, m in .*test-1\{suffix}",),
            None,
            "who would say which of the tables is wrong?",
        ),
        "duplicate keys": Case(_one(f"t{suffix}", text("id,n", "a,1", "a,2")), (), 2),
        "slip": NOTHING_INSIDE,
        "bomb": Not("text is not compressed; a line that is too long is the case of 4 GB"),
    }


_LINES = b'{"id": "a", "n": 1}\n{"id": "b", "n": 2}\n'
_BAD_LINES = (
    b'{"n": 1}\n{"n": \n{"n": "\xff"}\n[1]\n{"n": 1, "n": 2}\n{"n": 3}\n'
    + b'{"n": '
    + b"[" * 5000
    + b"]" * 5000
    + b"}\n"
)
_WRONG = (
    "line 2: expected JSON",
    "line 3: byte 0xff",
    "line 4: expected an object, found a list",
    "line 5: expected each key",
    "line 7: expected JSON",
)
_FORM = Form(".jsonl", written(_LINES), written("{}".encode("utf-16")))
_MIXED = b'{"id": "a", "n": 1}\n{"id": "b", "n": "two"}\n'
_TWICE = b'{"id": "a", "n": 1}\n{"id": "a", "n": 2}\n'
_MANY = b'{"n": 1}\n{"n": 2}\n{"n": [' + b"0," * 2**22 + b"0]}\n"

JSON_LINES: dict[str, Cell] = {
    **cells_of(_FORM),
    "bad row": Case(_one("x.jsonl", _BAD_LINES), _WRONG, 2),
    "mixed schemas": Case(_FORM.beside(written(_MIXED)), (), 4),
    "duplicate keys": Case(_one("x.jsonl", _TWICE), (), 2),
    "slip": NOTHING_INSIDE,
    "bomb": Case(_one("x.jsonl", _MANY), ("line 3: expected JSON of at most",), 2),
}


def _piped(data: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        sys.stdin = io.TextIOWrapper(io.BytesIO(data))
        return "-"

    return make


STDIN: dict[str, Cell] = {
    **dict.fromkeys(
        ("corrupt", "unreadable", "pipe", "vanished", "link loop", "link out", "names"), _NO_FILE
    ),
    "bad row": Case(_piped(_BAD_LINES), _WRONG, 2),
    "mixed schemas": Case(_piped(_MIXED), (), 2),
    "duplicate keys": Case(_piped(_TWICE), (), 2),
    "bomb": Case(_piped(_MANY), ("line 3: expected JSON of at most",), 2),
    "empty": Case(_piped(b""), ("stdin: .* found none",), None, "nothing is left"),
    "slip": NOTHING_INSIDE,
    "4 GB": Not("lines wait in a temporary file: it would measure the disk; see JSON Lines"),
}

CSV = _separated(".csv", ",")
TSV = _separated(".tsv", "\t")
