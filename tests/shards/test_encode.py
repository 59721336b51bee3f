"""The short way from samples to members gives the bytes of the long one, and its refusals."""

from __future__ import annotations

import hashlib
import io
from dataclasses import make_dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from atd.errors import SchemaMismatch
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import cut, encode, tar
from atd.shards.encode import Encode
from atd.shards.layout import SampleWriter, default_layout
from shards.strategies import schemas_and_samples

SCHEMA = Schema(
    (
        Field("label", fields.Label("oak", "elm")),
        Field("x", fields.Array("float32", (4, 2))),
        Field("ragged", fields.Array("int16", (None,))),
        Field("count", fields.Int(16)),
        Field("ratio", fields.Float(32)),
        Field("text", fields.Text()),
    )
)


def sample(**other: Any) -> dict[str, Any]:
    plain = {
        "label": 1,
        "x": np.arange(8, dtype="f4").reshape(4, 2),
        "ragged": np.arange(3, dtype="i2"),
        "count": 7,
        "ratio": 0.1,
        "text": "a café",
    }
    return plain | other


def outcome(write: Any, given_sample: Any) -> Any:
    try:
        return write("k", given_sample)
    except SchemaMismatch as error:
        return str(error)


@pytest.mark.parametrize("kind", ["packed", "members"])
@settings(max_examples=150, deadline=None)
@given(pair=schemas_and_samples())
def test_every_sample_gets_the_bytes_of_the_long_way(kind: str, pair: Any) -> None:
    schema, samples = pair
    layout = default_layout(schema, kind)
    short, long = Encode(schema, layout), SampleWriter(schema, layout)
    for one in samples:
        assert outcome(short, one) == outcome(long, one)


DIFFERENT = {
    "a label by name": {"label": "elm"},
    "a label out of range": {"label": 2},
    "a label below zero": {"label": -1},
    "a truth for a number": {"count": True},
    "a numpy number": {"count": np.int16(7)},
    "a number too large": {"count": 2**15},
    "the largest number": {"count": 2**15 - 1},
    "a number for a ratio": {"ratio": 1},
    "not a number": {"ratio": float("nan")},
    "a ratio too large": {"ratio": 1e300},
    "a lone surrogate": {"text": "\ud800"},
    "bytes for text": {"text": b"x"},
    "null": {"text": None},
    "one field too many": {"other": 1},
    "an array in Fortran order": {"x": np.asfortranarray(sample()["x"])},
    "every second row of an array": {"x": np.arange(16, dtype="f4").reshape(8, 2)[::2]},
    "an array of another byte order": {"x": sample()["x"].astype(">f4")},
    "a wider array": {"x": sample()["x"].astype("f8")},
    "a narrower array": {"x": sample()["x"].astype("f2")},
    "an array of another shape": {"x": sample()["x"].reshape(2, 4)},
    "an array of lists": {"x": sample()["x"].tolist()},
    "no element": {"ragged": np.zeros(0, "i2")},
    "255 bytes in all": {"ragged": np.arange(121, dtype="i2")},
    "65536 bytes in all": {"ragged": np.arange(32762, dtype="i2")},
    "one dimension too many": {"ragged": np.zeros((1, 1), "i2")},
    "a subclass of arrays": {"ragged": np.arange(3, dtype="i2").view(np.recarray)},
}


@pytest.mark.parametrize("kind", ["packed", "members"])
@pytest.mark.parametrize("other", DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_different_takes_the_long_way(kind: str, other: dict[str, Any]) -> None:
    layout = default_layout(SCHEMA, kind)
    short, long = Encode(SCHEMA, layout), SampleWriter(SCHEMA, layout)
    given_sample = sample(**other)
    cls = make_dataclass("Sample", [(name, object) for name in given_sample])
    for one in (given_sample, cls(**given_sample)):
        assert outcome(short, one) == outcome(long, one)
        assert short("k", sample()) == long("k", sample())  # and leaves nothing behind


def test_a_missing_field_is_named() -> None:
    without = {name: value for name, value in sample().items() if name != "text"}
    with pytest.raises(SchemaMismatch, match="sample k: field text: expected"):
        Encode(SCHEMA, default_layout(SCHEMA))("k", without)


def test_plain_samples_do_take_the_short_way() -> None:
    """Or all of the above would compare the long way with itself."""
    for kind in ("packed", "members"):
        layout = default_layout(SCHEMA, kind)
        short, plain = Encode(SCHEMA, layout), sample()
        direct = short._short_way(tuple(plain.values()))
        assert direct == SampleWriter(SCHEMA, layout)("k", plain)


@pytest.mark.parametrize("count", [1, 7, 8, 15, 16, 300])
def test_any_number_of_fields(count: int) -> None:
    schema = Schema(tuple(Field(f"f{n}", fields.Int()) for n in range(count)))
    layout, one = default_layout(schema), {f"f{n}": n for n in range(count)}
    assert Encode(schema, layout)("k", one) == SampleWriter(schema, layout)("k", one)
    assert Encode(schema, layout)._short_way(tuple(one.values()))


def test_shapes_that_never_come_again_are_forgotten() -> None:
    schema = Schema((Field("x", fields.Array("uint8", (None, None))),))
    short = Encode(schema, default_layout(schema))
    long = SampleWriter(schema, default_layout(schema))
    for n in range(encode._MOST_HEADS + 10):
        one = {"x": np.zeros((n, 1), np.uint8)}
        assert short("k", one) == long("k", one)


def test_a_generator_may_use_its_buffer_again(tmp_path: Path) -> None:
    """As one does that reads frames: a shard holds what was there when the sample was given."""
    schema = Schema((Field("x", fields.Array("uint8", (1000,))),))
    buffer = np.zeros(1000, np.uint8)

    def load(n: int) -> dict[str, Any]:
        buffer[:] = n
        return {"x": buffer}

    layout, cuts = default_layout(schema), CutParameters(target_bytes=51_200, order="keep")
    reusing = ((f"k{n}", lambda n=n: load(n)) for n in range(200))
    fresh = ((f"k{n}", lambda n=n: {"x": np.full(1000, n, np.uint8)}) for n in range(200))
    first = cut.pack(reusing, schema, layout, cuts, tmp_path, "train")
    assert first == cut.pack(fresh, schema, layout, cuts, tmp_path, "train")
    assert len(first) > 3


# ------------------------------------------------------------------ many members at once


def test_headers_made_at_once_are_the_headers_made_one_by_one() -> None:
    names = [b"a", b"b" * 100, b"k-1.msgpack", b"~" * 100, *(b"%d.npy" % n for n in range(300))]
    sizes = [0, 1, 511, 512, *(n * n * 31 for n in range(299)), tar.MAX_MEMBER]
    table = tar.headers(names, sizes)
    assert [row.tobytes() for row in table] == [*map(tar.header, names, sizes)]
    assert len(tar.headers([], [])) == 0


def test_members_added_at_once_are_the_members_added_one_by_one() -> None:
    names = [f"k{n}.bin" for n in range(40)]
    payloads = [hashlib.shake_128(name.encode()).digest(n * 41) for n, name in enumerate(names)]
    at_once, in_turn = io.BytesIO(), io.BytesIO()
    one, other = tar.TarWriter(at_once), tar.TarWriter(in_turn)
    for name, payload in zip(names, payloads, strict=True):
        other.add(name, payload)
    ready = bytearray(in_turn.getvalue())
    starts = list(accumulate(map(tar.member_size, map(len, payloads)), initial=0))
    for start in starts[:-1]:
        ready[start : start + tar.BLOCK] = bytes(tar.BLOCK)
    cut = memoryview(ready)
    blocks = [cut[a:b] for a, b in pairwise((0, starts[7], starts[30], starts[-1]))]
    one.add_all(names, [*map(len, payloads)], blocks)
    assert one.position == other.position
    assert one.finish() == other.finish()
    assert at_once.getvalue() == in_turn.getvalue()


def test_the_largest_members_of_an_archive_are_the_most_that_fit() -> None:
    for archive in (10_240, 51_200, 64_000_000, 64_000_001):
        largest = tar.largest_members(archive)
        assert tar.archive_size(largest) <= archive < tar.archive_size(largest + 1)
