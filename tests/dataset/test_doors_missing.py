"""A door whose library is not installed says so, and how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
sys.modules[sys.argv[1]] = None  # what importing finds where a library is not installed
import atd
from atd.errors import LocalError
try:
    getattr(atd.load(sys.argv[2]), sys.argv[3])()
except LocalError as error:
    print(error, "|", error.next_step)
"""


@pytest.mark.parametrize(
    ("library", "method", "extra"),
    [
        ("pyarrow", "to_arrow", "arrow"),
        ("pandas", "to_pandas", "pandas"),
        ("polars", "to_polars", "polars"),
        ("datasets", "to_hf", "hf"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    leaves: Path, library: str, method: str, extra: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, library, str(leaves), method],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"this needs {library}, which is not installed | ")
    assert f"pip install 'atd-catalog[{extra}]'" in done.stdout
