"""A shard by columns and the same shard sample by sample: the same values, or both refuse."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atd.errors import ShardError
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.schema.row import same
from atd.shards import arrays
from atd.shards.index import _Grouping, _keys_of_one_member_each
from atd.shards.keys import split_name
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from atd.shards.tar import TarWriter
from atd.shards.unfit import Unfit
from atd.shards.writer import ShardWriter
from shards.strategies import schemas_and_samples

anywhere = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

REFUSED = object()


def by_itself(shard: ShardFile, i: int) -> Any:
    try:
        return shard.sample(i)
    except ShardError:
        return REFUSED


def by_column(shard: ShardFile, i: int) -> Any:
    """Sample ``i`` out of the columns; None where they leave it to the strict reader."""
    columns = shard.columns
    assert columns is not None
    row = i if columns.row is None else int(columns.row[i])
    if row < 0:
        return None
    try:
        absent = {name: columns.by_name[name].absent for name in shard.schema.names}
        there = [name for name, mask in absent.items() if mask is None or not mask[row]]
        assert len(there) == len(absent) or not columns.whole
        found = {name: columns.by_name[name].get(row) for name in there}
        many = {name: columns.by_name[name].take(slice(row, row + 1)) for name in found}
    except (Unfit, UnicodeDecodeError):
        return None
    assert all(len(values) == 1 for values in many.values())
    assert repr([values[0] for values in many.values()]) == repr(list(found.values()))
    return found


def compare(shard: ShardFile) -> int:
    """How many samples the columns gave; each is what the strict reader gives."""
    given_ = 0
    for i in range(len(shard)):
        quick = by_column(shard, i)
        if quick is None:
            continue
        given_ += 1
        slow = by_itself(shard, i)
        assert slow is not REFUSED
        assert list(slow) == list(quick)
        # A mutated float may be NaN, which equals nothing.
        assert same(slow, quick) or repr(slow) == repr(quick)
    return given_


def write(path: Path, schema: Schema, samples: list[Any]) -> ShardFile:
    layout = default_layout(schema)
    with ShardWriter(path, schema, layout) as writer:
        for at, sample in enumerate(samples):
            writer.add(f"s{at}", sample)
    return ShardFile(path, schema, layout)


def write_raw(path: Path, schema: Schema, payloads: list[bytes]) -> ShardFile:
    """A shard of payloads that no honest writer makes."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for at, payload in enumerate(payloads):
            writer.add(f"s{at}.msgpack", payload)
        writer.finish()
    return ShardFile(path, schema, default_layout(schema))


@anywhere
@given(drawn=schemas_and_samples(size=6))
def test_columns_give_what_the_strict_reader_gives(tmp_path: Path, drawn: Any) -> None:
    schema, samples = drawn
    shard = write(tmp_path / "s.tar", schema, samples)
    whole = [at for at, sample in enumerate(samples) if len(sample) == len(schema)]
    compare(shard)
    if not any(field.optional for field in schema):
        assert len(whole) == len(samples)


@anywhere
@given(drawn=schemas_and_samples(size=4), data=st.data())
def test_no_mutation_is_accepted_that_the_strict_reader_refuses(
    tmp_path: Path, drawn: Any, data: Any
) -> None:
    schema, samples = drawn
    honest = write(tmp_path / "s.tar", schema, samples)
    payloads = [bytearray(honest.members(i)["msgpack"]) for i in range(len(samples))]
    for payload in payloads:
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(payload) - 1))
            form = data.draw(st.sampled_from(["set", "cut", "grow"]))
            if form == "set":
                payload[at] = data.draw(st.integers(0, 255))
            elif form == "cut" and len(payload) > 1:
                del payload[at]
            else:
                payload.insert(at, data.draw(st.integers(0, 255)))
    compare(write_raw(tmp_path / "m.tar", schema, [bytes(p) for p in payloads]))


SCHEMA = Schema(
    (
        Field("x", fields.Array("float32", (2, 3))),
        Field("ragged", fields.Array("<u2", (None,))),
        Field("label", fields.Label("a", "b", "c")),
        Field("n", fields.Int(16)),
        Field("f", fields.Float()),
        Field("yes", fields.Bool()),
        Field("box", fields.Box()),
        Field("text", fields.Text()),
        Field("maybe", fields.String(), nullable=True),
        Field("tags", fields.List(fields.String())),
    )
)


def sample(n: int) -> dict[str, Any]:
    return {
        "x": np.full((2, 3), n, np.float32),
        "ragged": np.arange(n % 5, dtype=np.uint16),
        "label": n % 3,
        "n": n * 37 - 500,
        "f": n / 7,
        "yes": n % 2 == 0,
        "box": (0.0, n, 1.5, n + 1),
        "text": f"träume {n} " * (n % 40),
        "maybe": None if n % 4 == 0 else f"m{n}",
        "tags": ["t"] * (n % 3),
    }


def test_every_sample_of_our_own_writer_has_a_row(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.tar", SCHEMA, [sample(n) for n in range(100)])
    assert shard.columns is not None
    assert shard.columns.row is None
    assert compare(shard) == 100


def test_many_values_at_once_are_those_one_by_one(tmp_path: Path) -> None:
    shard = write(tmp_path / "s.tar", SCHEMA, [sample(n) for n in range(100)])
    assert shard.columns is not None
    some = np.array([5, 99, 0, 4, 4, 17], np.int64)
    for name, column in shard.columns.by_name.items():
        wanted = [shard.sample(i)[name] for i in range(100)]
        assert same(column.take(slice(0, 100)), wanted), name
        assert same(column.take(some), [wanted[i] for i in some]), name
        for value in column.take(slice(0, 3)):
            assert not isinstance(value, np.ndarray) or not value.flags.writeable


def odd_payloads() -> dict[str, Any]:
    """Samples that are right but unusual, and samples that lie."""
    good = sample(3)
    good["x"], good["ragged"] = arrays.to_compact(good["x"]), arrays.to_compact(good["ragged"])
    good["box"] = list(map(float, good["box"]))
    huge = bytearray(good["x"])
    huge[5:13] = (2**62).to_bytes(8, "little")
    negative = bytearray(good["x"])
    negative[5:13] = (-2).to_bytes(8, "little", signed=True)
    negative[13:21] = (-3).to_bytes(8, "little", signed=True)
    turned = dict(reversed(good.items()))
    short = copy.copy(good)
    del short["text"]
    return {
        "plain": msgpack.packb(good),
        "other order": msgpack.packb(turned),
        "integer for a float": msgpack.packb({**good, "f": 3}),
        "integers in a box": msgpack.packb({**good, "box": [0, 1, 2, 3]}),
        "npy": msgpack.packb({**good, "x": arrays.to_npy(np.zeros((2, 3), np.float32))}),
        "another width of integer": msgpack.packb(good).replace(b"\xa1n", b"\xd9\x01n"),
        "missing": msgpack.packb(short),
        "too large": msgpack.packb({**good, "n": 40_000}),
        "beyond 64 bits": msgpack.packb({**good, "n": 2**64 - 1}),
        "label outside": msgpack.packb({**good, "label": 3}),
        "terabytes": msgpack.packb({**good, "x": bytes(huge)}),
        "negative shape": msgpack.packb({**good, "x": bytes(negative)}),
        "another dtype": msgpack.packb({**good, "x": arrays.to_compact(np.zeros((2, 3)))}),
        "no array": msgpack.packb({**good, "x": b""}),
        "null": msgpack.packb({**good, "label": None}),
        "not UTF-8": msgpack.packb({**good, "text": "ab"}).replace(b"\xa2ab", b"\xa2\xff\xfe"),
        "trailing": msgpack.packb(good) + b"\0",
        "cut": msgpack.packb(good)[:-3],
        "a list": msgpack.packb(list(good.values())),
        "empty": b"",
    }


def test_unusual_samples_among_usual_ones_are_left_to_the_strict_reader(tmp_path: Path) -> None:
    odd = odd_payloads()
    shard = write_raw(tmp_path / "s.tar", SCHEMA, [*odd.values(), odd["plain"]])
    compare(shard)
    good = [name for at, name in enumerate(odd) if by_column(shard, at) is not None]
    assert good == ["plain"]
    readable = [name for at, name in enumerate(odd) if by_itself(shard, at) is not REFUSED]
    assert readable == list(odd)[:6]


@pytest.mark.parametrize("name", odd_payloads())
def test_a_shard_of_nothing_but_one_lie_has_no_rows_or_the_right_ones(
    tmp_path: Path, name: str
) -> None:
    compare(write_raw(tmp_path / "s.tar", SCHEMA, [odd_payloads()[name]] * 3))


names = st.lists(
    st.text("ab./_é", min_size=1, max_size=4)
    | st.sampled_from(["k1.msgpack", "k2.msgpack", "k2.MSGPACK", "a/b.msgpack", ".msgpack"]),
    min_size=1,
    max_size=5,
)


@given(names=names)
def test_an_index_made_at_once_is_the_one_grouped_name_by_name(names: list[str]) -> None:
    quick = _keys_of_one_member_each(names)
    if quick is None:
        return
    slow = _Grouping("s")
    for at, name in enumerate(names):
        parts = split_name(name)
        assert parts is not None
        slow.add(at, *parts)
    assert quick == tuple(slow.keys)
    assert slow.members == slow.first == list(range(len(names)))
    assert tuple(slow.suffixes) == ("msgpack",)


def test_an_index_of_a_packed_shard_is_made_at_once() -> None:
    assert _keys_of_one_member_each(["a.msgpack", "b-1.msgpack"]) == ("a", "b-1")
    assert _keys_of_one_member_each(["a.msgpack", "a.msgpack"]) is None
