"""Shards from strangers: whatever they hold, a sample that fits its schema or a `ShardError`."""

from __future__ import annotations

import fcntl
import io
import multiprocessing
import pickle
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atd.errors import Busy, SchemaMismatch, ShardError, StorageFault
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import arrays, tar
from atd.shards.codec import value_reader
from atd.shards.index import MemberIndex
from atd.shards.layout import SampleReader, default_layout
from atd.shards.media import Image
from atd.shards.reader import ShardFile
from atd.shards.unfit import Unfit
from atd.shards.unpack import MAX_JSON_DEPTH
from atd.shards.writer import ShardWriter
from shards.strategies import PNG

SCHEMA = Schema(
    (
        Field("vec", fields.Array("float32", (4,))),
        Field("image", fields.Image()),
        Field("label", fields.Label("cat", "dog")),
        Field("text", fields.Text(), nullable=True),
        Field("when", fields.Timestamp(), optional=True),
        Field("doc", fields.Json()),
        Field("ok", fields.Bool()),
        Field("n", fields.Int(16)),
        Field("f", fields.Float()),
        Field("raw", fields.Bytes()),
        Field("box", fields.Box()),
        Field("rag", fields.Array("uint8", (None, 2))),
        Field("items", fields.List(fields.Struct((Field("q", fields.String()),)))),
    )
)
SAMPLE: dict[str, Any] = {
    "vec": np.arange(4, dtype="f4"), "image": PNG, "label": 1, "text": "ä", "doc": {"a": [1, None]},
    "when": "2024-01-01T00:00:00Z", "ok": True, "n": -5, "f": 0.5, "raw": b"ab",
    "box": [1, 2, 3, 4], "rag": np.ones((3, 2), "u1"), "items": [{"q": "x"}, {"q": ""}],
}  # fmt: skip
PACKED = default_layout(SCHEMA)
MEMBERS = default_layout(SCHEMA, "members")
READER = SampleReader(SCHEMA, PACKED)


def shard_of(path: Path, layout: Layout = PACKED, samples: int = 3) -> bytes:
    with ShardWriter(path, SCHEMA, layout) as writer:
        for number in range(samples):
            writer.add(f"key-{number}", SAMPLE)
    return path.read_bytes()


def archive(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for name, payload in files:
        writer.add(name, payload)
    writer.finish()
    return out.getvalue()


def opened(
    tmp_path: Path, data: bytes, schema: Schema = SCHEMA, layout: Layout | None = None
) -> Any:
    path = tmp_path / "s.tar"
    path.write_bytes(data)
    return ShardFile(path, schema, layout or default_layout(schema))


def field_error(tmp_path: Path, kind: fields.Kind, payload: bytes, **how: bool) -> str:
    """What is said of ``payload``, the msgpack of a field ``x`` of ``kind``."""
    schema = Schema((Field("x", kind, **how),))
    shard = opened(tmp_path, archive(("k.msgpack", b"\x81\xa1x" + payload)), schema)
    with pytest.raises(ShardError) as caught:
        shard.sample(0)
    message = str(caught.value)
    assert message.startswith("s.tar: sample k: ")
    assert message.isascii()
    assert message.isprintable()
    return message


def valid(sample: dict[str, Any]) -> bool:
    """Whether ``sample`` has the shape that `SCHEMA` promises."""
    moment = sample.get("when")
    return (
        set(sample) - {"when"} == set(SCHEMA.names) - {"when"}
        and sample["vec"].dtype == np.float32
        and sample["vec"].shape == (4,)
        and isinstance(sample["image"], Image)
        and sample["label"] in (0, 1)
        and (sample["text"] is None or isinstance(sample["text"], str))
        and (moment is None or moment.utcoffset() is not None)
        and isinstance(sample["ok"], bool)
        and -32768 <= sample["n"] <= 32767
        and isinstance(sample["f"], float)
        and isinstance(sample["raw"], bytes)
        and len(sample["box"]) == 4
        and sample["rag"].ndim == 2
        and sample["rag"].shape[1] == 2
        and all(isinstance(item["q"], str) for item in sample["items"])
    )


# ------------------------------------------------------------------ fuzz


@pytest.mark.parametrize("layout", [PACKED, MEMBERS], ids=["packed", "members"])
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_flipped_bit_gives_valid_samples_or_a_shard_error(
    tmp_path: Path, layout: Layout, data: st.DataObject
) -> None:
    whole = bytearray(shard_of(tmp_path / "whole.tar", layout, 2))
    for _ in range(data.draw(st.integers(1, 3))):
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
    read_all(tmp_path, bytes(whole), layout)


@pytest.mark.parametrize("layout", [PACKED, MEMBERS], ids=["packed", "members"])
def test_every_flipped_bit_of_a_sample(tmp_path: Path, layout: Layout) -> None:
    whole = shard_of(tmp_path / "whole.tar", layout, 1)
    spans = tar.scan(memoryview(whole), "")
    for start, size in zip(spans.offsets.tolist(), spans.sizes.tolist(), strict=True):
        for bit in range(start * 8, (start + size) * 8):
            altered = bytearray(whole)
            altered[bit // 8] ^= 1 << bit % 8
            read_all(tmp_path, bytes(altered), layout)


def refusal(act: Any) -> str | None:
    """What ``act`` is refused with, if it is refused; any other exception is a failure."""
    try:
        act()
    except ShardError as error:
        return str(error)
    return None


def read_all(tmp_path: Path, data: bytes, layout: Layout) -> None:
    samples: list[dict[str, Any]] = []
    said = refusal(lambda: samples.extend(opened(tmp_path, data, layout=layout)))
    assert said is None or said.startswith("s.tar: ")
    for sample in samples:
        assert valid(sample)
        said = refusal(sample["image"].decode)
        assert said is None or "field image" in said


def test_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = shard_of(tmp_path / "whole.tar")
    members = tar.scan(memoryview(whole), "")
    end = int(members.offsets[-1]) + tar.member_size(int(members.sizes[-1])) - 512 + 1024
    for length in [*range(0, end, 97), *range(0, end, 512), end - 1]:
        with pytest.raises(ShardError, match=r"s\.tar: "):
            opened(tmp_path, whole[:length])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_sample(data: bytes) -> None:
    read_sample(data)


@settings(max_examples=500, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary()
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(SCHEMA.names), inner),
    )
)  # fmt: skip
def test_any_msgpack_as_a_sample(value: Any) -> None:
    read_sample(msgpack.packb(value))


def read_sample(data: bytes) -> None:
    try:
        sample = READER({"msgpack": memoryview(data)})
    except Unfit:
        return
    assert valid(sample)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: b"\x93NUMPY\x01\x00" + b))
def test_any_bytes_as_an_array(data: bytes) -> None:
    try:
        array = arrays.read_array(memoryview(data))
    except Unfit:
        return
    assert not array.flags.writeable


# ------------------------------------------------------------------ what a shard may not hold


def test_keys_that_repeat_or_are_split_are_refused(tmp_path: Path) -> None:
    for names in (["a.msgpack", "a.msgpack"], ["a.msgpack", "b.msgpack", "a.msgpack"]):
        with pytest.raises(ShardError, match=r"s\.tar: sample a: "):
            opened(tmp_path, archive(*((name, b"") for name in names)))
    with pytest.raises(ShardError, match="sample a: expected its members next to each other"):
        opened(tmp_path, archive(("a.jpg", b""), ("b.jpg", b""), ("a.cls", b"")), layout=MEMBERS)
    with pytest.raises(ShardError, match=r"two members a\.jpg"):
        opened(tmp_path, archive(("a.jpg", b""), ("a.JPG", b"")), layout=MEMBERS)


def test_a_packed_shard_holds_nothing_but_packed_samples(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"sample b: expected one member \.msgpack, found \.'jpg'"):
        opened(tmp_path, archive(("a.msgpack", b""), ("b.jpg", b"")))
    with pytest.raises(ShardError, match=r"found \.'json'"):
        opened(tmp_path, archive(("a.msgpack", b""), ("a.json", b"")))
    assert len(opened(tmp_path, archive(("README", b"no dot, no sample")))) == 0


def test_members_that_the_layout_does_not_name_are_left_alone(tmp_path: Path) -> None:
    schema = Schema((Field("label", fields.Label("cat", "dog")),))
    shard = opened(
        tmp_path,
        archive(("dir/a.cls", b"1"), ("dir/a.jpg", b"?"), ("b.jpg", b"?"), ("b.CLS", b"cat")),
        schema,
        Layout("members", {"label": "cls"}),
    )
    assert [shard.key(i) for i in range(2)] == ["dir/a", "b"]
    assert [sample["label"] for sample in shard] == [1, 0]


def test_the_number_of_samples_is_checked_where_it_is_known(tmp_path: Path) -> None:
    shard = opened(tmp_path, shard_of(tmp_path / "whole.tar"))
    shard.expect(3)
    with pytest.raises(ShardError, match=r"s\.tar: expected 4 samples, found 3"):
        shard.expect(4)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\x80", "field vec: expected an array float32 (4,), found nothing"),
        (b"\x81\xa1?\x00", "field : "),
        (b"\x90", "expected a map, found a list"),
        (b"", "0 bytes that end in its middle"),
        (b"\xdf\xff\xff\xff\xff", "a map of 4294967295"),
        (b"\x81\xdb\xff\xff\xff\xffx", "text of 4294967295 bytes"),
        (b"\xc1", "msgpack type 0xc1"),
    ],
)
def test_maps_that_are_no_samples(tmp_path: Path, payload: bytes, said: str) -> None:
    shard = opened(tmp_path, archive(("k.msgpack", payload)))
    with pytest.raises(ShardError) as caught:
        shard.sample(0)
    assert said in str(caught.value) or "no such field" in str(caught.value)


def test_fields_that_repeat_are_unknown_or_trail_are_refused(tmp_path: Path) -> None:
    schema = Schema((Field("x", fields.Int()), Field("y", fields.Int(), optional=True)))
    for payload, said in (
        (b"\x82\xa1x\x01\xa1x\x01", "field x: expected each field once"),
        (b"\x82\xa1x\x01\xa1z\x01", "no such field: the schema has none, found one"),
        (b"\x81\xa1x\x01\x00", "expected the end of the sample, found 1 more bytes"),
        (b"\x81\xa1y\x01", "field x: expected an integer"),
        (b"\x81\x01\x01", "expected text, found an integer"),
    ):
        shard = opened(tmp_path, archive(("k.msgpack", payload)), schema)
        with pytest.raises(ShardError) as caught:
            shard.sample(0)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        (fields.Int(8), b"\xcc\xff", "from -128 to 127, found 255"),
        (fields.Int(), b"\xcb" + bytes(8), "found a number with a fraction"),
        (fields.Int(), b"\xa11", "found text"),
        (fields.Bool(), b"\x01", "true or false"),
        (fields.Label("a"), b"\x01", "found 1"),
        (fields.Label("a"), b"\xff", "found -1"),
        (fields.String(), b"\xa2\xff\xfe", "UTF-8"),
        (fields.String(), b"\xc4\x01a", "found bytes"),
        (fields.Text(), b"\xc0", "not null, found null"),
        (fields.Timestamp(), b"\xaa2024-01-01", "RFC 3339"),
        (fields.Timestamp(), b"\xb42024-13-01T00:00:00Z", "RFC 3339"),
        (fields.Json(), b"\xa3[1,", "JSON text"),
        (fields.Json(), b"\xa3NaN", "JSON text"),
        (fields.Json(), b"\xda\x75\x30" + b"[" * 30000, "JSON text"),
        (fields.Json(), b"\xda\x75\x30" + b"9" * 30000, "JSON text"),
        (fields.Json(), b"\x91" * 5000, "64 levels"),
        (fields.Json(), b"\xc7\x01\x05a", "msgpack type 0xc7"),
        (fields.Bytes(), b"\xc6\xff\xff\xff\xffab", "bytes of 4294967295 bytes"),
        (fields.Bytes(), b"\xd4\x01a", "msgpack type 0xd4"),
        (fields.List(fields.Int()), b"\xdd\xff\xff\xff\xff\x01", "a list of 4294967295"),
        (fields.List(fields.Int()), b"\x92\x01\xa0", "field x[1]: expected an integer"),
        (fields.Box(), b"\x93\x01\x01\x01", "a list of 3"),
        (fields.Struct((Field("y", fields.Int()),)), b"\x81\xa1y\xa0", "field x.y: expected"),
        (fields.Image(), b"\xa1x", "found text"),
        (fields.Array("uint8"), b"\xc4\x00", "0 bytes that are none"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(
    tmp_path: Path, kind: fields.Kind, payload: bytes, said: str
) -> None:
    assert said in field_error(tmp_path, kind, payload)


def compact(code: bytes, shape: tuple[int, ...], data: bytes) -> bytes:
    head = struct.pack(f"<B{len(code)}sB{len(shape)}q", len(code), code, len(shape), *shape)
    return msgpack.packb(head + data)


def npy(text: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    encoded = text.encode()
    return msgpack.packb(b"\x93NUMPY" + version + struct.pack("<H", len(encoded)) + encoded + data)


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999,), }"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (compact(b"<f4", (2**40,), b"1234"), "expected the 4398046511104 bytes"),
        (compact(b"<f4", (2**62, 2**62), b""), "expected the"),
        (compact(b"<f4", (-1,), b"1234"), "claims the shape"),
        (compact(b"<f4", (0, 2**62), b""), "claims the shape"),
        (compact(b"|O", (1,), bytes(8)), "element type of a fixed width, found '|O'"),
        (compact(b"V8", (1,), bytes(8)), "found 'V8'"),
        (compact(b"f4,f4", (1,), bytes(8)), "found 'f4,f4'"),
        (compact(b"<f4", (1,), bytes(8)), "expected the 4 bytes"),
        (compact(b"|b1", (1,), b"\x07"), "bytes 0 and 1"),
        (compact(b"<f8", (1,), bytes(8)), "an array float32, found an array float64"),
        (compact(b"<f4", (1,) * 33, bytes(4)), "33 dimensions"),
        (msgpack.packb(b"\x03<f4\x20"), "32 dimensions"),
        (npy(HUGE), "expected the 7999999999992 bytes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", bytes(8)), "'|O'"),
        (npy("{'descr': '<f4', 'fortran_order': False}"), "header"),
        (npy("{'descr': __import__('os').system('true'), 'shape': ()}"), "header"),
        (npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (), }"), "header"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1,), }", bytes(4)), "header"),
        (npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (), }"), "header"),
        (npy("  "), "header"),
        (npy("", version=b"\x09\x00"), "version 1.0 to 3.0"),
        (msgpack.packb(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(100)), "header of at most"),
    ],
)
def test_array_headers_that_lie(tmp_path: Path, payload: bytes, said: str) -> None:
    assert said in field_error(tmp_path, fields.Array("float32"), payload)


def test_nesting_costs_no_memory_and_no_recursion(tmp_path: Path) -> None:
    """A megabyte of list headers, each claiming a million items; stepped over or decoded."""
    bomb = b"\xdd\x00\x0f\x00\x00" * 200_000
    schema = Schema((Field("x", fields.Json()), Field("y", fields.Int())))
    shard = opened(tmp_path, archive(("k.msgpack", b"\x82\xa1x" + bomb)), schema)
    with pytest.raises(ShardError, match="sample k"):
        shard.sample(0, {"y"})
    with pytest.raises(ShardError, match="sample k"):
        shard.sample(0)


# ------------------------------------------------------------------ the file


def test_fields_that_the_schema_has_not_are_refused(tmp_path: Path) -> None:
    shard = opened(tmp_path, shard_of(tmp_path / "w.tar"))
    with pytest.raises(SchemaMismatch, match="no field nope; there are: vec, image"):
        shard.sample(0, {"nope"})
    with pytest.raises(IndexError):
        shard.sample(3)
    assert shard.sample(-1).keys() == shard.sample(2).keys()


def test_a_file_that_is_not_there_or_empty(tmp_path: Path) -> None:
    with pytest.raises(StorageFault, match="No such file"):
        ShardFile(tmp_path / "absent.tar", SCHEMA, PACKED)
    with pytest.raises(ShardError, match="found 0 bytes"):
        opened(tmp_path, b"")


def test_a_shard_in_use_is_locked_for_as_long_as_a_view_of_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    shard_of(path)
    array = ShardFile(path, SCHEMA, PACKED).sample(0)["vec"]
    with path.open("rb") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert array.tolist() == [0, 1, 2, 3]
        del array
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(Busy, match="being removed"):
            ShardFile(path, SCHEMA, PACKED)


def test_a_shard_that_is_unlinked_stays_readable(tmp_path: Path) -> None:
    shard = opened(tmp_path, shard_of(tmp_path / "w.tar"))
    shard.path.unlink()
    assert shard.sample(1)["n"] == -5


def _read_in_a_worker(shard: ShardFile) -> tuple[Any, ...]:
    sample = shard.sample(1)
    return sample["n"], sample["image"], sample["vec"].tolist()


def test_shards_and_images_pickle_under_spawn(tmp_path: Path) -> None:
    shard = opened(tmp_path, shard_of(tmp_path / "w.tar"))
    image = shard.sample(0)["image"]
    assert pickle.loads(pickle.dumps(image)) == image
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read_in_a_worker, (shard,)) == (-5, image, [0, 1, 2, 3])


def test_the_sidecar_is_the_index(tmp_path: Path) -> None:
    data = shard_of(tmp_path / "w.tar", MEMBERS)
    derived = MemberIndex.of(memoryview(data), "s.tar")
    sidecar = derived.to_bytes()
    read = MemberIndex.from_bytes(sidecar, len(data), "s.idx")
    assert read.to_bytes() == sidecar
    shard = ShardFile(tmp_path / "w.tar", SCHEMA, MEMBERS, index=read)
    assert valid(shard.sample(2))
    for at in range(0, len(sidecar), 3):
        altered = bytearray(sidecar)
        altered[at] ^= 1
        with pytest.raises(ShardError, match=r"s\.idx"):
            MemberIndex.from_bytes(bytes(altered), len(data), "s.idx")
        with pytest.raises(ShardError, match=r"s\.idx"):
            MemberIndex.from_bytes(sidecar[:at], len(data), "s.idx")
    with pytest.raises(ShardError, match="expected the index of a shard of 512 bytes"):
        MemberIndex.from_bytes(sidecar, 512, "s.idx")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_text_nests_no_deeper_than_other_json(opening: str, closing: str) -> None:
    read = value_reader(fields.Json())

    def packed(levels: int) -> memoryview:
        return memoryview(msgpack.packb(opening * levels + "1" + closing * levels))

    assert read(packed(MAX_JSON_DEPTH))
    for levels in (MAX_JSON_DEPTH + 1, 900, 100_000):
        with pytest.raises(Unfit):
            read(packed(levels))
