"""The manifest of a folder: what goes in comes out, and a stranger's cannot reach outside."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import BadSource, DigestMismatch, LocalError, StorageFault
from atd.manifest import Manifest, ManifestShard, hash_shard
from atd.protocol.cbor import RAW, Cid
from atd.records import CutParameters
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards import cut
from atd.shards.layout import default_layout

SCHEMA = Schema((Field("image", fields.Image()), Field("label", fields.Label("a", "b"))))
DIGEST = Cid.of(b"x", RAW)


def manifest(kind: str = "members") -> Manifest:
    return Manifest(
        schema=SCHEMA,
        layout=default_layout(SCHEMA, kind),
        cuts=CutParameters(target_bytes=100_000),
        splits={
            "train": (ManifestShard("train-0.tar", DIGEST, 10240, 7),),
            "test": (ManifestShard("test-0.tar", DIGEST, 20480, 3),),
        },
        name="flowers",
    )


@pytest.mark.parametrize("kind", ["packed", "members"])
def test_what_is_saved_is_loaded(tmp_path: Path, kind: str) -> None:
    made = manifest(kind)
    path = made.save(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["atd.json"] == [path.name]
    read = Manifest.load(tmp_path)
    assert read == made
    assert list(read.splits) == ["train", "test"]
    assert (read.samples, read.size, len(read.shards)) == (10, 30720, 2)
    assert read.digest() == made.digest()
    assert len({manifest(kind).digest() for kind in ("packed", "members")}) == 2


def test_a_packed_split_fits_its_manifest(tmp_path: Path) -> None:
    schema = Schema((Field("x", fields.Int()),))
    layout, cuts = default_layout(schema), CutParameters(target_bytes=20_480)
    infos = cut.pack(
        ((f"k{n}", lambda n=n: {"x": n}) for n in range(50)), schema, layout, cuts, tmp_path, "all"
    )
    shards = tuple(ManifestShard(i.name, i.digest, i.size, i.samples) for i in infos)
    Manifest(schema, layout, cuts, {"all": shards}).save(tmp_path)
    read = Manifest.load(tmp_path)
    assert read.samples == 50
    for shard in read.shards:
        hash_shard(tmp_path / shard.name, shard.digest, shard.size)


def test_a_file_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    path.write_bytes(b"x")
    hash_shard(path, DIGEST, 1)
    for data, said in ((b"y", "expected the digest"), (b"", "found 0"), (b"xx", "found more")):
        path.write_bytes(data)
        with pytest.raises(DigestMismatch, match=said):
            hash_shard(path, DIGEST, 1)
    with pytest.raises(StorageFault, match="No such file"):
        hash_shard(tmp_path / "absent", DIGEST, 1)


@pytest.mark.parametrize(
    "name", ["../s.tar", "/etc/passwd", "a/s.tar", "", ".hidden", "s\n.tar", "s tar", "https://x/y"]
)
def test_shards_lie_in_the_folder_itself(name: str) -> None:
    value = manifest().to_json()
    value["splits"]["train"][0]["name"] = name
    with pytest.raises(BadSource, match=r"atd\.json: splits\.train\[0\]") as caught:
        Manifest.from_json(value)
    assert str(caught.value).isprintable()


def test_two_shards_of_one_name_are_refused() -> None:
    with pytest.raises(LocalError, match="two of the same name"):
        Manifest(
            SCHEMA, default_layout(SCHEMA), CutParameters(),
            {s: (ManifestShard("s.tar", DIGEST, 1, 1),) for s in ("train", "test")},
        )  # fmt: skip


def test_a_folder_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"cannot read .*No such file"):
        Manifest.load(tmp_path)
    for text in ("", "{", "[" * 100_000, "\xff"):
        (tmp_path / "atd.json").write_text(text, "latin-1")
        with pytest.raises(BadSource, match="expected JSON"):
            Manifest.load(tmp_path)
    (tmp_path / "atd.json").write_text("{}")
    with pytest.raises(BadSource, match="expected the format atd-folder version 1"):
        Manifest.load(tmp_path)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document, itself included."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [at, *(path for key, part in inner for path in places(part, (*at, key)))]


WHOLE = json.loads(json.dumps(manifest().to_json()))
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
) | st.just({"a": 1})


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(places(WHOLE)[1:]), junk, st.booleans())
def test_any_damage_is_a_bad_source(place: tuple[Any, ...], value: Any, remove: bool) -> None:
    damaged = copy.deepcopy(WHOLE)
    holder = damaged
    for key in place[:-1]:
        holder = holder[key]
    if remove:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    try:
        read = Manifest.from_json(damaged)
    except BadSource:
        return
    assert Manifest.from_json(read.to_json()) == read
