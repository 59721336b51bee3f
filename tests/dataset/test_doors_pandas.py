"""A data set as a DataFrame: dtypes by the schema, whatever the values are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import atd
from kinds import everything, pack_everything


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_everything(tmp_path_factory.mktemp("kinds") / "packed")


def test_dtypes_are_those_of_the_schema(folder: Path) -> None:
    frame = atd.load(str(folder)).to_pandas()
    expected = {
        "small": "int8",
        "large": "uint64",
        "half": "float16",
        "odd": "bool",
        "kind": "category",
        "maybe": "Int64",
        "when": "datetime64[us, UTC]",
        "grid": "object",
    }
    assert {name: str(frame.dtypes[name]) for name in expected} == expected
    assert list(frame["kind"].cat.categories) == ["oak", "elm"]
    even = atd.load(str(folder))[0::2].to_pandas()
    assert str(even.dtypes["maybe"]) == "Int64"


def test_cells_are_the_values(folder: Path) -> None:
    frame = atd.load(str(folder)).to_pandas()
    assert len(frame) == 10
    for n, (_, row) in enumerate(frame.iterrows()):
        want = everything(n)
        assert row["large"] == want.large
        assert row["kind"] == want.kind
        assert row["image"] == want.image.bytes
        assert row["sound"] == want.sound
        assert row["document"] == want.document
        assert row["tags"] == want.tags
        assert row["when"] == want.when
        assert row["box"] == want.box
        for name in ("grid", "flags", "waves", "rows", "any"):
            array = getattr(want, name)
            assert row[name].dtype == array.dtype
            assert np.array_equal(row[name], array)
        assert pd.isna(row["maybe"]) if n % 2 else row["maybe"] == n
        assert (row["perhaps"] is None) == (want.perhaps is None)


def test_an_empty_selection_keeps_its_columns(folder: Path) -> None:
    frame = atd.load(str(folder)).take(0).to_pandas()
    assert len(frame) == 0
    assert list(frame.columns)[:2] == ["small", "large"]
    assert str(frame.dtypes["kind"]) == "category"
