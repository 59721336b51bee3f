"""Shards that lie, in both layouts and by every way of reading.

Each is refused with a `ShardError` that names shard, key and field, before anything of the size
that it claims is made.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atd
from atd.errors import SchemaMismatch, ShardError
from atd.manifest import Manifest, ManifestShard
from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters, Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import arrays, tar
from atd.shards.layout import default_layout
from atd.shards.reader import ShardFile
from atd.shards.room import MAX_VALUES
from atd.shards.writer import ShardWriter
from shards.strategies import PNG, schemas_and_samples
from shards.twins import REFUSED, agree, by_field, by_itself, must_name

SCHEMA = Schema(
    (
        Field("vec", fields.Array("float32", (2,))),
        Field("label", fields.Label("cat", "dog")),
        Field("n", fields.Int(16)),
        Field("text", fields.Text()),
        Field("image", fields.Image()),
        Field("doc", fields.Json(), nullable=True),
    )
)
SAMPLE: dict[str, Any] = {
    "vec": np.array([1, 2], "f4"), "label": 1, "n": 7, "text": "tree", "image": PNG,
    "doc": {"a": [1]},
}  # fmt: skip
PACKED = default_layout(SCHEMA)
MEMBERS = default_layout(SCHEMA, "members")
BOTH = pytest.mark.parametrize("layout", [PACKED, MEMBERS], ids=["packed", "members"])

LITTLE = 4 << 20
"""Bytes that reading may take where terabytes are claimed, beside text that really is there."""


def archive(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    writer = tar.TarWriter(out)
    for name, payload in files:
        writer.add(name, payload)
    writer.finish()
    return out.getvalue()


def opened(
    folder: Path, data: bytes, schema: Schema = SCHEMA, layout: Layout | None = None
) -> ShardFile:
    path = folder / "s.tar"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return ShardFile(path, schema, layout or default_layout(schema))


def whole_shard(folder: Path, layout: Layout, samples: int = 2) -> bytes:
    with ShardWriter(folder / "w.tar", SCHEMA, layout) as writer:
        for number in range(samples):
            writer.add(f"key-{number}", SAMPLE)
    return (folder / "w.tar").read_bytes()


def refusal(act: Callable[[], object], where: str = "s.tar: ") -> str:
    """What ``act`` is refused with, which names ``where``."""
    with pytest.raises(ShardError) as caught:
        act()
    must_name(caught.value, where)
    return str(caught.value)


@contextmanager
def little_memory(payload: int = 0) -> Iterator[None]:
    """Nothing large is allocated inside, not even for a moment; `LIES` would take 70 a byte."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LITTLE + 4 * payload
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------ cut anywhere


@BOTH
def test_a_shard_cut_at_any_byte_is_refused_or_lost_nothing(tmp_path: Path, layout: Layout) -> None:
    """Only the zeros after the end mark may be missing, in whole blocks."""
    whole = whole_shard(tmp_path, layout, 1)
    members = tar.scan(memoryview(whole), "")
    end = int(members.offsets[-1]) + tar.member_size(int(members.sizes[-1])) + 512
    good = by_itself(opened(tmp_path, whole, layout=layout), 0)
    for length in range(len(whole)):
        if length < end or length % 512:
            refusal(lambda: opened(tmp_path, whole[:length], layout=layout))  # noqa: B023
        else:
            shard = opened(tmp_path, whole[:length], layout=layout)
            assert repr(by_itself(shard, 0)) == repr(good)


@BOTH
def test_a_member_cut_at_any_byte_is_refused_by_every_way_of_reading(
    tmp_path: Path, layout: Layout
) -> None:
    """The archive is whole, and one payload in it is not."""
    shard = opened(tmp_path, whole_shard(tmp_path, layout, 1), layout=layout)
    stored = {suffix: bytes(data) for suffix, data in shard.members(0).items()}
    for suffix, payload in stored.items():
        for length in range(len(payload)):
            files = [
                (f"k.{s}", data[:length] if s == suffix else data) for s, data in stored.items()
            ]
            broken = opened(tmp_path, archive(*files), layout=layout)
            agree(broken)
            found = by_itself(broken, 0)
            # Text and pictures have no length of their own.
            assert found is REFUSED or suffix in ("txt", "img")


@BOTH
def test_a_member_that_is_not_there_is_named(tmp_path: Path, layout: Layout) -> None:
    shard = opened(tmp_path, whole_shard(tmp_path, layout, 1), layout=layout)
    stored = {suffix: bytes(data) for suffix, data in shard.members(0).items()}
    if layout is PACKED:
        return
    for missing in stored:
        files = [(f"k.{s}", data) for s, data in stored.items() if s != missing]
        said = refusal(lambda: opened(tmp_path, archive(*files), layout=layout).sample(0))  # noqa: B023
        assert "sample k: field " in said


# ------------------------------------------------------------------ any mutation, twice


anywhere = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def mutated(payload: bytes, data: st.DataObject) -> bytes:
    out = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, max(0, len(out) - 1)))
        how = data.draw(st.sampled_from(["set", "cut", "grow", "drop", "swap"]))
        if how == "set":
            out[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif how == "cut":
            del out[at:]
        elif how == "drop":
            del out[at : at + data.draw(st.integers(1, 9))]
        elif how == "grow":
            out[at:at] = data.draw(st.binary(max_size=9))
        else:
            out.reverse()
    return bytes(out)


@pytest.mark.parametrize("kind", ["packed", "members"])
@anywhere
@given(drawn=schemas_and_samples(size=3), data=st.data())
def test_what_one_way_of_reading_refuses_the_others_refuse(
    tmp_path: Path, kind: str, drawn: Any, data: Any
) -> None:
    schema, samples = drawn
    layout = default_layout(schema, kind)
    with ShardWriter(tmp_path / "w.tar", schema, layout) as writer:
        for at, sample in enumerate(samples):
            with suppress(SchemaMismatch):  # a member cannot say all that a map can
                writer.add(f"s{at}", sample)
    honest = ShardFile(tmp_path / "w.tar", schema, layout)
    files = [
        (f"{honest.key(i)}.{suffix}", mutated(bytes(payload), data))
        for i in range(len(honest))
        for suffix, payload in honest.members(i).items()
    ]
    agree(opened(tmp_path, archive(*files), schema, layout))


# ------------------------------------------------------------------ claims of terabytes


def packed(**values: Any) -> bytes:
    stored = {**SAMPLE, "vec": arrays.to_compact(SAMPLE["vec"]), "doc": "{}", **values}
    return msgpack.packb({name: stored[name] for name in PACKED.members})


def claiming(size: int) -> bytes:
    """An array whose header claims ``size`` elements."""
    head = bytearray(arrays.to_compact(np.array([1, 2], "f4")))
    head[5:13] = size.to_bytes(8, "little")
    return bytes(head)


NPY = b"\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }"
DEEP = b"\x91" * 300_000 + b"\xc0"
WIDE = b"\xdd" + (MAX_VALUES + 1).to_bytes(4, "big") + b"\x90" * (MAX_VALUES + 1)
LIES: dict[str, tuple[bytes, str]] = {
    "an array of terabytes": (packed(vec=claiming(2**41)), "vec"),
    "an array of more than there are numbers": (packed(vec=claiming(2**62)), "vec"),
    "a .npy header of terabytes": (packed(vec=NPY.ljust(128)), "vec"),
    "text of 4 GB": (packed(text="tree").replace(b"\xa4tree", b"\xdb\xff\xff\xff\xf0tree"), "text"),
    "an image of 4 GB": (packed(image=b"t").replace(b"\xc4\1t", b"\xc6\xff\xff\xff\xf0"), "image"),
    "a list of 4 billion": (packed(doc=[]).replace(b"doc\x90", b"doc\xdd\xff\xff\xff\xf0"), "doc"),
    "a map of 4 billion": (packed(doc={}).replace(b"doc\x80", b"doc\xdf\xff\xff\xff\xf0"), "doc"),
    "lists in lists without end": (packed(doc=[]).replace(b"doc\x90", b"doc" + DEEP), "doc"),
    "more empty lists than memory": (packed(doc=[]).replace(b"doc\x90", b"doc" + WIDE), "doc"),
    "JSON text in lists without end": (packed(doc="[" * 1_000_000), "doc"),
    "JSON text of millions of lists": (packed(doc=f"[{'[],' * MAX_VALUES}[]]"), "doc"),
    "JSON with a number of a million digits": (packed(doc="9" * 1_000_000), "doc"),
    "a key twice in JSON": (packed(doc='{"a": 1, "a": 2}'), "doc"),
    "a key twice in a map": (packed(doc={}).replace(b"doc\x80", b"doc\x82\xa1a\1\xa1a\2"), "doc"),
    "a number in JSON that no float holds": (packed(doc="1e999"), "doc"),
    "NaN in JSON": (packed(doc=float("nan")), "doc"),
    "half of a surrogate pair in JSON": (packed(doc='"\\ud800"'), "doc"),
    "an integer for a label": (packed(label=2), "label"),
    "a number out of range": (packed(n=2**15), "n"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_packed_sample_that_lies_costs_nothing_and_is_named(tmp_path: Path, name: str) -> None:
    payload, field = LIES[name]
    shard = opened(tmp_path, archive(("k.msgpack", payload), ("l.msgpack", packed())))
    with little_memory(len(payload)):
        said = refusal(lambda: shard.sample(0))
        assert said.startswith(f"s.tar: sample k: field {field}")
        assert by_field(shard, 0) is REFUSED
    assert agree(shard) == 1
    assert by_itself(shard, 1) is not REFUSED


@pytest.mark.parametrize(
    ("suffix", "payload", "said"),
    [
        ("npy", NPY.ljust(127) + b"\n", "field vec: expected the 3999999999996 bytes"),
        ("npy", b"", "field vec: expected a .npy file"),
        ("npy", arrays.to_npy(np.zeros(3, "f4")), "field vec: expected an array float32 (2,)"),
        ("npy", arrays.to_npy(np.zeros(2, "f4")) + b"\0", "field vec: expected the 8 bytes"),
        ("cls", b"2", "field label: expected an index from 0 to 1"),
        ("cls", b"9" * 5_000_000, "field label: expected an index from 0 to 1"),
        ("cls", b"\xff", "field label: expected"),
        ("txt", b"\xff\xfe", "field text: expected text in UTF-8"),
        ("json", b"[" * 1_000_000, "field n, doc: expected JSON text"),
        ("json", b"[1]", "field n, doc: expected a JSON object"),
        ("json", b'{"doc": [' + b"[]," * MAX_VALUES + b"[]]}", "field n, doc: expected JSON of at"),
        ("json", b'{"n": 1, "n": 2, "doc": null}', "field n, doc: expected each key"),
        ("json", b'{"n": 99999, "doc": null}', "field n: expected an integer"),
        ("json", b'{"doc": null}', "field n: expected an integer"),
    ],
)  # fmt: skip
def test_a_member_that_lies_costs_nothing_and_is_named(
    tmp_path: Path, suffix: str, payload: bytes, said: str
) -> None:
    honest = opened(tmp_path, whole_shard(tmp_path, MEMBERS, 1), layout=MEMBERS)
    stored = {s: bytes(data) for s, data in honest.members(0).items()} | {suffix: payload}
    data = archive(*((f"k.{s}", data) for s, data in stored.items()))
    shard = opened(tmp_path, data, layout=MEMBERS)
    with little_memory(len(payload)):
        assert refusal(lambda: shard.sample(0)).startswith(f"s.tar: sample k: {said}")
    agree(shard)


BIG = """
import resource, sys
from pathlib import Path
from atd.errors import ShardError
from atd.records import Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import tar
from atd.shards.reader import ShardFile

GIGA = 1 << 30
resource.setrlimit(resource.RLIMIT_DATA, (600 << 20, 600 << 20))
kinds = {"bin": fields.Bytes(), "txt": fields.Text(), "json": fields.Json(),
         "img": fields.Image(), "wav": fields.Audio()}
for suffix, kind in kinds.items():
    for layout in ("packed", "members"):
        path = Path(sys.argv[1]) / f"{suffix}-{layout}.tar"
        tag = b"\\xc6" if suffix in ("bin", "img", "wav") else b"\\xdb"
        head = b"\\x81\\xa1x" + tag + GIGA.to_bytes(4, "big") if layout == "packed" else b""
        name = "k.msgpack" if head else f"k.{suffix}"
        size = GIGA + len(head)
        with path.open("wb") as file:  # a hole: a gigabyte that takes no room
            file.write(tar.header(name.encode(), size) + head)
            file.truncate(512 + -(-size // 512) * 512 + 1024)
        schema = Schema((Field("x", kind),))
        place = Layout("packed") if head else Layout("members", {"x": suffix})
        shard = ShardFile(path, schema, place)
        try:
            shard.columns
            value = shard.sample(0)["x"]
            value.bytes
        except ShardError as error:
            print(error)
        else:
            print("read", suffix, layout)
"""


def test_a_sample_larger_than_memory_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BIG, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 10, done.stderr
    for line in lines:
        assert ".tar: sample k: field x: expected at most 629145600 bytes, the memory" in line


# ------------------------------------------------------------------ names and order


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.b.msgpack"], "sample a: expected one member .msgpack, found .'b.msgpack'"),
        (["a.msgpack", "a.b.msgpack"], "sample a: expected one member .msgpack, found .'b.ms"),
        (["a.msgpack", "b.msgpack", "a.msgpack"], "sample a: expected its members next to each"),
        (["a.msgpack", "a.msgpack"], "sample a: two members a.msgpack"),
        (["b.msgpack", "x/a.jpg"], "sample x/a: expected one member .msgpack, found .'jpg'"),
        (["a\n.msgpack"], "a member's name is empty or holds control characters"),
    ],
)
def test_keys_with_dots_twice_or_out_of_order_are_named(
    tmp_path: Path, names: list[str], said: str
) -> None:
    files = [(name.replace("\n", "-"), packed()) for name in names]
    data = bytearray(archive(*files))
    for at, name in enumerate(names):
        if "\n" in name:
            start = sum(tar.member_size(len(payload)) for _, payload in files[:at])
            data[start : start + 512] = tar.header(name.encode(), len(files[at][1]))
    assert refusal(lambda: opened(tmp_path, bytes(data))).startswith(f"s.tar: {said}")


def test_members_of_samples_that_are_mixed_are_refused_and_in_another_order_are_not(
    tmp_path: Path,
) -> None:
    honest = opened(tmp_path, whole_shard(tmp_path, MEMBERS, 1), layout=MEMBERS)
    stored = [(suffix, bytes(data)) for suffix, data in honest.members(0).items()]
    mixed = [(f"{key}.{suffix}", data) for suffix, data in stored for key in "ab"]
    said = refusal(lambda: opened(tmp_path, archive(*mixed), layout=MEMBERS))
    assert "sample a: expected its members next to each other" in said
    turned = [(f"a.{suffix}", data) for suffix, data in reversed(stored)]
    shard = opened(tmp_path, archive(*turned), layout=MEMBERS)
    assert by_itself(shard, 0)["text"] == "tree"


def test_fields_of_a_map_in_another_order_are_the_same_sample(tmp_path: Path) -> None:
    turned = msgpack.packb(dict(reversed(msgpack.unpackb(packed()).items())))
    shard = opened(tmp_path, archive(("a.msgpack", packed()), ("b.msgpack", turned)))
    assert agree(shard) == 1
    assert repr(by_itself(shard, 0)) == repr(by_itself(shard, 1))


@BOTH
def test_an_empty_shard_has_no_samples_and_is_not_what_a_release_says(
    tmp_path: Path, layout: Layout
) -> None:
    shard = opened(tmp_path, bytes(10240), layout=layout)
    assert len(shard) == 0
    assert list(shard) == []
    assert "expected 1 samples, found 0" in refusal(lambda: shard.expect(1))


@pytest.mark.parametrize("claim", [2**33 - 1, 2**62, 10_000])
def test_a_tar_header_that_claims_more_than_the_file_has(tmp_path: Path, claim: int) -> None:
    data = bytearray(archive(("a.msgpack", packed())))
    size = b"%011o\0" % claim if claim < 8**11 else b"\x80" + claim.to_bytes(11, "big")
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with little_memory():
        assert "cut short?" in refusal(lambda: opened(tmp_path, bytes(data)))


# ------------------------------------------------------------------ as a data set


def folder_of(place: Path, payloads: list[bytes]) -> str:
    """A folder that says truly which bytes lie in it, and not what they are."""
    place.mkdir()
    data = archive(*((f"k{at}.msgpack", payload) for at, payload in enumerate(payloads)))
    (place / "s.tar").write_bytes(data)
    shard = ManifestShard("s.tar", Cid.of(data, RAW), len(data), len(payloads))
    Manifest(SCHEMA, PACKED, CutParameters(), {"train": (shard,)}, "lies").save(place)
    return str(place)


@pytest.mark.parametrize("name", ["an array of terabytes", "text of 4 GB", "a key twice in JSON"])
def test_a_data_set_refuses_alike_however_it_is_asked(tmp_path: Path, name: str) -> None:
    payload, field = LIES[name]
    ds = atd.load(folder_of(tmp_path / "lies", [packed()] * 5 + [payload] + [packed()] * 4))
    ways: dict[str, Callable[[], object]] = {
        "one by one": lambda: list(ds),
        "shuffled": lambda: list(ds.shuffled(seed=1)),
        "by number": lambda: ds[5],
        "mapped": lambda: list(ds.map(lambda row: row.n)),
        "projected": lambda: list(ds.select(field)),
        "in batches": lambda: list(ds.batched(4)),
        "shuffled batches": lambda: list(ds.shuffled(seed=1).batched(4)),
        "by a loader": lambda: list(ds.loader(5)),
    }
    for way, act in ways.items():
        with pytest.raises(ShardError, match=f"sample k5: field {field}") as caught:
            act()
        assert type(caught.value) is ShardError, way
    assert len(list(ds.on_error("skip"))) == 9
    assert sum(map(len, ds.on_error("skip").batched(4))) == 9


def outcome(act: Callable[[], list[Any]]) -> tuple[str, Any]:
    """What ``act`` gives, or what it is refused with; any other exception is a failure."""
    try:
        return "gives", [(int(r.n), r.text, r.vec.tolist(), int(r.label), r.doc) for r in act()]
    except ShardError as error:
        return "refuses", str(error)


@anywhere
@given(data=st.data())
def test_a_damaged_data_set_is_the_same_one_by_one_and_in_batches(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 6))
    payloads = [mutated(packed(n=at), data) for at in range(count)]
    ds = atd.load(folder_of(tmp_path_factory.mktemp("damaged") / "shards", payloads))
    ds = ds.select("n", "text", "vec", "label", "doc")
    one_by_one = outcome(lambda: list(ds))
    assert one_by_one == outcome(lambda: [ds[at] for at in range(count)])
    kind, found = outcome(lambda: [row for batch in ds.batched(2) for row in rows_of(batch)])
    # A batch is stacked as a whole: the first error in it may be one of another column.
    assert kind == one_by_one[0]
    assert kind == "refuses" or repr(found) == repr(one_by_one[1])


def rows_of(batch: Any) -> list[atd.Row]:
    """The samples of a batch, as rows have them."""
    return [
        atd.Row({name: batch[name][at] for name in batch.keys()})  # noqa: SIM118
        for at in range(len(batch))
    ]


def test_what_says_nothing_about_its_fields_is_json_and_no_code(tmp_path: Path) -> None:
    """Bytes that a pickle reader would run are bytes here."""
    schema = Schema((Field("x", fields.Bytes()), Field("y", fields.Json())))
    evil = b"cos\nsystem\n(S'touch hacked'\ntR."
    shard = opened(
        tmp_path,
        archive(("a.pkl", evil), ("a.json", json.dumps({"__reduce__": 1}).encode())),
        schema,
        Layout("members", {"x": "pkl", "y": "json"}),
    )
    assert by_itself(shard, 0) == {"x": evil, "y": {"__reduce__": 1}}
