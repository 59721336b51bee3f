"""Rows: samples without a class."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from atd.schema.row import LabelIndex, Row, same


def test_a_row_is_a_mapping_with_attributes() -> None:
    row = Row({"a": 1, "keys": 2})
    assert row["a"] == row.a == 1
    assert row["keys"] == 2
    assert list(row.keys()) == ["a", "keys"]
    assert dict(row) == {"a": 1, "keys": 2}
    assert len(row) == 2
    assert "a" in dir(row)
    with pytest.raises(AttributeError, match=r"no field 'b' in this sample; it has a, keys"):
        _ = row.b
    with pytest.raises(KeyError):
        row["b"]


def test_a_row_cannot_be_changed() -> None:
    row = Row({"a": 1})
    with pytest.raises(AttributeError, match="read-only"):
        row.a = 2
    with pytest.raises(TypeError):
        row["a"] = 2  # type: ignore[index]


def test_rows_pickle_and_compare_by_value() -> None:
    row = Row({"a": np.zeros(3), "label": LabelIndex(1, "cat"), "b": [Row({"c": 1})]})
    again = pickle.loads(pickle.dumps(row))
    assert again == row
    assert again.label.name == "cat"
    assert row != Row({"a": np.ones(3), "label": 1, "b": [Row({"c": 1})]})
    assert row != 3


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1]), np.array([1.0]), False),
        (np.array([1]), np.array([[1]]), False),
        (np.array([1]), [1], False),
        ([np.array([1])], [np.array([1])], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"b": 1}, False),
        ("a", "a", True),
    ],
)
def test_what_is_the_same(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal


def test_a_row_shows_itself_briefly_and_harmlessly() -> None:
    row = Row(
        {
            "image": np.zeros((2, 3), "uint8"),
            "label": LabelIndex(1, "cat"),
            "text": "\x1b[31m" + "x" * 1000,
            "many": list(range(100)),
        }
    )
    shown = repr(row)
    assert shown.startswith("Row(image=uint8[2, 3], label=1 ('cat'), text='\\x1b[31mxxx")
    assert shown.endswith("many=[0, … (100)])")
    assert len(shown) < 200


def test_a_row_can_be_rebuilt_from_its_items() -> None:
    row = Row({"a": 1, "b": np.zeros(2)})
    assert Row((name, value) for name, value in row.items()) == row
