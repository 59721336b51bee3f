"""Shards of the atdata package, versions 0.2 and 0.7, read back exactly.

Each sample gets a schema made from what is expected of it, because these shards carry none and one
field may hold arrays of several dtypes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.schema.limits import DTYPES
from atd.shards import arrays
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from support import vectors

SETS = {
    "expected.json": (
        "basic", "arrays", "image", "sharded", "single_manifest", "dictsample", "formats"
    ),
    "expected_legacy.json": ("legacy_npy_arrays", "legacy_basic"),
}  # fmt: skip
CASES = [(listing, name) for listing, names in SETS.items() for name in names]


def meant(value: Any) -> Any:
    """What an expected value stands for: bytes, an array, an infinity."""
    if not isinstance(value, dict):
        return value
    if "__bytes_b64__" in value:
        return base64.b64decode(value["__bytes_b64__"])
    if "__float__" in value:
        return float(value["__float__"])
    if "data_b64" in value.get("__ndarray__", {}):
        array = value["__ndarray__"]
        data = base64.b64decode(array["data_b64"])
        return np.frombuffer(data, array["dtype"]).reshape(array["shape"])
    return value


def kind_of(value: Any) -> fields.Kind:
    match value:
        case bool():
            return fields.Bool()
        case int():
            return fields.Int()
        case float():
            return fields.Float()
        case str():
            return fields.String()
        case np.ndarray() if value.dtype.name in DTYPES:
            return fields.Array(value.dtype.name)
        case bytes() | np.ndarray():
            return fields.Bytes()
        case _:
            return fields.Json()


def equal(read: Any, expected: Any) -> bool:
    if isinstance(expected, np.ndarray):
        array = arrays.read_array(memoryview(read)) if isinstance(read, bytes) else read
        same_type = array.dtype == expected.dtype.newbyteorder("=") or array.dtype == expected.dtype
        return same_type and array.shape == expected.shape and array.tolist() == expected.tolist()
    return type(read) is type(expected) and bool(read == expected)


@pytest.mark.parametrize(("listing", "name"), CASES, ids=[name for _, name in CASES])
def test_samples_are_what_atdata_wrote(listing: str, name: str) -> None:
    folder: Path = vectors("atdata")
    case = json.loads((folder / listing).read_text("utf-8"))[name]
    found = [
        (folder / entry["file"], number, member)
        for entry in case["files"]
        for number, member in enumerate(entry["members"])
    ]
    assert len(found) == len(case["samples"])
    for (path, number, member), expected in zip(found, case["samples"], strict=True):
        values = {key: b"" if name == "formats" else meant(v) for key, v in expected.items()}
        schema = Schema(
            tuple(Field(key, kind_of(value), nullable=True) for key, value in values.items())
        )
        shard = ShardFile(path, schema, default_layout(schema))
        assert shard.key(number) == member["name"].removesuffix(".msgpack")
        stored = shard.members(number)["msgpack"]
        assert hashlib.sha256(stored).hexdigest() == member["sha256"]
        sample = shard.sample(number)
        if name != "formats":
            assert all(equal(sample[key], value) for key, value in values.items())


def test_a_structured_npy_is_bytes_to_us_and_an_array_to_numpy() -> None:
    schema = Schema(
        tuple(
            Field(name, fields.Bytes())
            for name in ("sparse", "structured", "tensor", "table", "safet")
        )
    )
    shard = ShardFile(vectors("atdata/formats.tar"), schema, default_layout(schema))
    structured = np.load(io.BytesIO(shard.sample(0)["structured"]), allow_pickle=False)
    assert structured.tolist() == [(1.0, 2), (3.0, 4)]
