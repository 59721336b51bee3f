"""Every source and everything that may be wrong with it: what is said, and what is left out.

The table has a cell for each source and each fault (`FAULTS`): a case that is tried, or the reason
why there is none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
pytest.importorskip("pandas", reason="it brings the DataFrames")
pytest.importorskip("soundfile", reason="the extra 'audio' is not installed")

from publishing.sources.faults import (
    archives,
    arrays,
    arrow,
    beside,
    media,
    programs,
    tables,
)
from publishing.sources.faults.case import FAULTS, Case, Cell, check

MATRIX: dict[str, dict[str, Cell]] = {
    "images": media.IMAGES,
    "sounds": media.SOUNDS,
    "metadata.csv": beside.METADATA_CSV,
    "metadata.jsonl": beside.METADATA_JSONL,
    "metadata.parquet": beside.METADATA_PARQUET,
    "CSV": tables.CSV,
    "TSV": tables.TSV,
    "JSON Lines": tables.JSON_LINES,
    "stdin": tables.STDIN,
    "Parquet": arrow.PARQUET,
    "Arrow": arrow.ARROW,
    "npy": arrays.NPY,
    "npz": arrays.NPZ,
    "safetensors": arrays.SAFETENSORS,
    "WebDataset": archives.TAR,
    "MDS": archives.MDS,
    "save_to_disk": arrow.SAVED,
    "hf://": programs.HUB,
    "MODULE:FUNCTION": programs.FUNCTION,
    "iterable": programs.ITERABLE,
    "generator": programs.GENERATOR,
    "DataFrame": arrow.FRAMES,
    "torch": programs.TORCH,
}

CASES = {
    f"{source}: {fault}": cell
    for source, row in MATRIX.items()
    for fault, cell in row.items()
    if isinstance(cell, Case)
}


@pytest.fixture(autouse=True)
def _stdin() -> Iterator[None]:
    before = sys.stdin
    yield
    sys.stdin = before


@pytest.mark.parametrize("source", MATRIX)
def test_every_fault_is_tried_or_said_not_to_be(source: str) -> None:
    row = MATRIX[source]
    assert set(row) == set(FAULTS)
    assert all(isinstance(cell, Case) or cell.why for cell in row.values())


@pytest.mark.parametrize("cell", CASES)
def test_a_fault_is_named_and_left_out(cell: str, tmp_path: Path) -> None:
    check(CASES[cell], tmp_path)


@pytest.mark.parametrize("size", archives.DECLARED)
def test_a_member_that_says_it_is_larger_than_its_archive(size: str, tmp_path: Path) -> None:
    check(Case(archives.DECLARED[size], (r"test-1\.tar",), 2), tmp_path)


MOST_BYTES = 1024**3
"""A quarter of the smallest giant, and twice what the libraries and a line of 64 MiB take."""


def test_no_bomb_and_no_giant_fills_the_memory(tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    command = [sys.executable, str(tests / "publishing/sources/faults/measured.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    peaks = json.loads(done.stdout)
    assert len(peaks) > 20
    assert max(peaks.values()) < MOST_BYTES, peaks
