"""Other programs read what was published as files: fsspec, pandas, and HF's webdataset loader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atd.manifest import Manifest, ManifestShard
from atd.records import CutParameters, Layout
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.shards.cut import pack
from story import files
from story.people import Person

SCHEMA = Schema((Field("json", fields.Json()), Field("txt", fields.String())))
LAYOUT = Layout("members", {"json": "json", "txt": "txt"})
SPLITS = {"train": range(20), "test": range(20, 26)}


def pack_members(folder: Path) -> Path:
    """A folder of WebDataset tars, two members a sample, in shards of at most 8 samples."""
    folder.mkdir()
    cuts = CutParameters(order="keep", max_samples=8)
    lists = {}
    for split, numbers in SPLITS.items():
        items = [
            (f"{n:04d}", lambda n=n: {"json": {"n": n}, "txt": f"number {n}"}) for n in numbers
        ]
        found = pack(items, SCHEMA, LAYOUT, cuts, folder, split)
        lists[split] = tuple(ManifestShard(s.name, s.digest, s.size, s.samples) for s in found)
    Manifest(SCHEMA, LAYOUT, cuts, lists, "pairs").save(folder)
    return folder


@pytest.fixture(scope="module")
def packed(desk: Path) -> Path:
    return pack_members(desk / "pairs")


@pytest.fixture(scope="module")
def ref(alice: Person, packed: Path) -> str:
    alice.run("publish", str(packed), "--name", "pairs", "--yes")
    return f"@{alice.handle}/pairs"


def ask(somebody: Person, *words: str) -> Any:
    """What `story.files` finds, as that person."""
    return somebody.python(Path(files.__file__), *words).json["found"]


def test_a_release_is_a_folder_of_splits_with_shards(bob: Person, packed: Path, ref: str) -> None:
    assert ask(bob, "ls", f"atd://{ref}") == [f"{ref}/test", f"{ref}/train"]
    manifest = Manifest.load(packed)
    for split, shards in manifest.splits.items():
        found = ask(bob, "info", f"atd://{ref}/{split}")
        assert [(one["name"], one["size"], one["digest"]) for one in found] == [
            (f"{ref}/{split}/{shard.name}", shard.size, str(shard.digest)) for shard in shards
        ]
    publisher = ref.partition("/")[0]
    assert ref in ask(bob, "ls", f"atd://{publisher}")
    assert bob.shards == set()  # looking fetches nothing


def test_a_file_has_the_bytes_that_were_packed(bob: Person, packed: Path, ref: str) -> None:
    shard = Manifest.load(packed).splits["test"][0]
    for place in (
        f"{ref}/test/{shard.name}",
        f"{ref}@1.0.0/test/{shard.name}",
        f"{ref}:test/{shard.name}",
        f"{ref}/{shard.name}",
    ):
        assert (
            bytes.fromhex(ask(bob, "read", f"atd://{place}")) == (packed / shard.name).read_bytes()
        )
    assert bob.shards == {str(shard.digest)}


def test_globs_and_partial_reads(bob: Person, packed: Path, ref: str) -> None:
    names = [shard.name for shard in Manifest.load(packed).splits["train"]]
    assert ask(bob, "glob", f"atd://{ref}/train/*.tar") == [
        f"{ref}/train/{name}" for name in sorted(names)
    ]
    some = bytes.fromhex(ask(bob, "slice", f"atd://{ref}/train/{names[0]}", "512", "600"))
    assert some == (packed / names[0]).read_bytes()[512:600]


def test_pandas_reads_the_one_file_of_a_shard(alice: Person, bob: Person, desk: Path) -> None:
    schema, layout = Schema((Field("rows", fields.Bytes()),)), Layout("members", {"rows": "csv"})
    folder, cuts = desk / "sheet", CutParameters(order="keep")
    folder.mkdir()
    items = [("sheet", lambda: {"rows": b"a,b\n1,2\n3,4\n"})]
    [shard] = pack(items, schema, layout, cuts, folder, "train")
    lists = {"train": (ManifestShard(shard.name, shard.digest, shard.size, shard.samples),)}
    Manifest(schema, layout, cuts, lists, "sheet").save(folder)
    alice.run("publish", str(folder), "--name", "sheet", "--yes")
    place = f"atd://@{alice.handle}/sheet/train/{shard.name}"
    assert ask(bob, "pandas", place) == {"a": [1, 3], "b": [2, 4]}


def test_what_is_not_there_is_not_found_and_nothing_is_written(bob: Person, ref: str) -> None:
    for place in (f"{ref}/train/other.tar", f"{ref}/valid", f"{ref}:valid", f"{ref}x"):
        assert ask(bob, "exists", f"atd://{place}") is False
        assert ask(bob, "fails", f"atd://{place}") == "FileNotFoundError"
    assert ask(bob, "exists", f"atd://{ref}/train") is True
    assert ask(bob, "write", f"atd://{ref}/train/new.tar") == "OSError"


def test_a_release_stays_the_same_until_the_cache_is_dropped(
    alice: Person, bob: Person, desk: Path
) -> None:
    alice.run("publish", str(csv(desk / "one.csv", 3)), "--name", "table", "--yes")
    ref = f"@{alice.handle}/table"
    process = subprocess.Popen(
        [sys.executable, files.__file__, "newer", f"atd://{ref}/train"],
        env=bob.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    before = process.stdout.readline()
    alice.run("publish", str(csv(desk / "two.csv", 4)), "--name", "table", "--yes")
    process.stdin.write("go\n")
    process.stdin.flush()
    still, after = process.stdout.readline(), process.stdout.readline()
    assert process.wait() == 0
    assert before == still != after


def test_datasets_of_hugging_face_reads_members(bob: Person, ref: str) -> None:
    pytest.importorskip("datasets")
    found = ask(bob, "datasets", f"atd://{ref}/train/*.tar", str(bob.home / "hf"))
    assert sorted(found) == [[n, f"number {n}"] for n in SPLITS["train"]]
    streamed = ask(bob, "streamed", f"atd://{ref}/train/*.tar", str(bob.home / "hf"))
    assert streamed == found


def csv(path: Path, rows: int) -> Path:
    path.write_text("n\n" + "".join(f"{n}\n" for n in range(rows)), "utf-8")
    return path
