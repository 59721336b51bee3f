"""Whatever a file holds, a source is made of it or it is a `BadSource`: nothing else comes out."""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atd.errors import BadSource
from atd.publishing.sources.opening import open_source
from publish import pictures
from publishing.sources.test_array_files import entry, tensors
from publishing.sources.test_mds import NUMBERED, folder, numbered
from publishing.sources.test_tars import archive, members


def a_tar(path: Path) -> Path:
    return archive(path / "a.tar", [*members(count=1)])


def an_mds_shard(path: Path) -> Path:
    folder(path, numbered(1, 2), columns=NUMBERED)
    index = json.loads((path / "index.json").read_text())
    index["shards"][0]["raw_data"]["hashes"] = {}
    (path / "index.json").write_text(json.dumps(index))
    return path / "shard.00000.mds"


def an_mds_index(path: Path) -> Path:
    return folder(path, numbered(1), columns=NUMBERED) / "index.json"


def tensors_in_a_file(path: Path) -> Path:
    header = {"x": entry("F32", [2], 0, 8), "y": entry("I64", [2], 8, 24)}
    return tensors(path / "a.safetensors", header, struct.pack("<2f2q", 1, 2, 3, 4))


def an_array(path: Path) -> Path:
    np.save(path / "a.npy", np.arange(6).reshape(3, 2))
    return path / "a.npy"


def arrays(path: Path) -> Path:
    np.savez_compressed(path / "a.npz", x=np.arange(6), y=np.ones((6, 2)))
    return path / "a.npz"


def an_arrow_file(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")
    rows = pa.table({"n": [1, 2, None], "s": ["a", "b", "c"], "l": [[1], [], [2, 3]]})
    name = str(path / "a.arrow")
    with pa.OSFile(name, "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return path / "a.arrow"


def lines(path: Path) -> Path:
    (path / "a.jsonl").write_text('{"n": 1, "s": ["a", {"b": null}]}\n{"n": 2.5}\n')
    return path / "a.jsonl"


def images_with_a_table(path: Path) -> Path:
    pictures.put(path / "1.png")
    (path / "metadata.csv").write_text("file_name,n\n1.png,2\n")
    return path / "metadata.csv"


Make = Callable[[Path], Path]


@pytest.mark.parametrize(
    "make",
    [
        a_tar,
        an_mds_shard,
        an_mds_index,
        tensors_in_a_file,
        an_array,
        arrays,
        an_arrow_file,
        lines,
        images_with_a_table,
    ],
)
def test_damage_is_told_and_nothing_else(make: Make) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = make(Path(name))
        whole = path.read_bytes()
        assert open_source(name).count

        @settings(max_examples=60, deadline=None, database=None, derandomize=True)
        @given(st.data())
        def damaged(data: st.DataObject) -> None:
            at = data.draw(st.integers(0, len(whole) - 1))
            cut = data.draw(st.sampled_from((None, at)))
            new = data.draw(st.binary(min_size=1, max_size=8))
            path.write_bytes((whole[:at] + new + whole[at + len(new) :])[:cut])
            with contextlib.suppress(BadSource):
                source = open_source(name)
                for split in source.splits.values():
                    if source.packed is None:
                        list(split.samples(source.schema))

        damaged()
