"""Packing that was interrupted goes on with what is done, and believes only what it can see."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.tasks import done
from atd.publishing.tasks.parts import Parts, Where, pack_part
from atd.records import CutParameters
from atd.schema.fields import Array, Field, Schema
from atd.shards.layout import default_layout
from engines import troubled
from engines.troubled import CUTS, SCHEMA, Load, Serial, Told, files, right, source
from publish import pictures

DRIVER = """
# A script as users write them, without any: if __name__ == "__main__"
import sys
from pathlib import Path
from atd.publishing.packing import pack
from engines import troubled
marks, out, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
pack(troubled.source(troubled.KillDriver(marks)), out, troubled.CUTS, workers=workers)
"""


def killed_in_the_middle(out: Path, marks: Path, workers: int) -> None:
    """Pack in a process that gets a SIGKILL when one of the last parts is packed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = marks / "script.py"
    script.write_text(DRIVER)
    command = [sys.executable, str(script), str(marks), str(out), str(workers)]
    killed = subprocess.run(command, env=env, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (out / "atd.json").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_driver_that_was_killed_goes_on_with_what_is_done(
    tmp_path: Path, marks: Path, serial: Serial, workers: int
) -> None:
    killed_in_the_middle(tmp_path / "out", marks, workers)
    told = Told()
    same = source(troubled.KillDriver(marks))
    manifest = pack(same, tmp_path / "out", CUTS, workers=workers, note=told)
    right(tmp_path / "out", manifest, serial)
    ((name, detail),) = told
    assert name == "packed already"
    assert re.fullmatch(r"[1-9]\d* of \d+ parts of the split train", detail)


def test_a_shard_that_was_damaged_meanwhile_is_packed_anew(
    tmp_path: Path, marks: Path, serial: Serial
) -> None:
    out = tmp_path / "out"
    killed_in_the_middle(out, marks, 1)
    for shard in out.glob("*.tar"):
        data = bytearray(shard.read_bytes())
        data[600] ^= 1
        shard.write_bytes(data)
    told = Told()
    right(out, pack(source(troubled.KillDriver(marks)), out, CUTS, workers=1, note=told), serial)
    assert told == [], "nothing was taken for done"


def photographs(folder: Path, count: int = 300) -> Path:
    for number in range(count):
        pictures.put(folder / "rose" / f"{number:03d}.png", seed=number)
    return folder


SMALL = CutParameters(target_bytes=20_480, max_bytes=40_960)


def test_a_file_that_changed_meanwhile_is_packed_anew_and_no_other_part(tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in"), tmp_path / "out"
    first = pack(open_source(folder), out, SMALL, workers=1, resumable=True)
    told = Told()
    assert pack(open_source(folder), out, SMALL, workers=2, note=told, resumable=True) == first
    ((_, all_of_them),) = told
    done_before, parts = map(int, re.findall(r"\d+", all_of_them))
    assert done_before == parts > 4
    pictures.put(folder / "rose" / "123.png", seed=1_000)
    told.clear()
    changed = pack(open_source(folder), out, SMALL, workers=1, note=told)
    assert told == [("packed already", f"{parts - 1} of {parts} parts of the split train")]
    assert changed == pack(open_source(folder), tmp_path / "anew", SMALL)
    assert files(out) == files(tmp_path / "anew"), "shards of before are gone, and all results"


def test_a_result_that_is_no_result_is_packed_anew(tmp_path: Path) -> None:
    folder, out = photographs(tmp_path / "in"), tmp_path / "out"
    first = pack(open_source(folder), out, SMALL, workers=1, resumable=True)
    for path, text in zip(
        sorted((out / done.FOLDER).iterdir()),
        ["", "{", "[]", '{"shards": [["../x", "y", 1, 1]], "members": 3}', '{"shards": []}'],
        strict=False,
    ):
        path.write_text(text)
    told = Told()
    assert pack(open_source(folder), out, SMALL, workers=1, note=told) == first
    ((_, detail),) = told
    done_before, parts = map(int, re.findall(r"\d+", detail))
    assert parts - done_before == 5


def test_the_same_task_may_run_twice_at_once(tmp_path: Path, serial: Serial) -> None:
    """As where a worker is thought dead and is not: both make the same files."""
    where = Where(SCHEMA, default_layout(SCHEMA), CUTS, tmp_path, "train")
    parts = Parts(where, ((f"{row:06d}", Load(row)) for row in range(troubled.COUNT)))
    tasks = [task for task in parts.tasks(2) for _ in range(3)]
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(pack_part, tasks))
    assert all(made[at].shards == made[at - at % 3].shards for at in range(len(made)))
    done.forget(tmp_path, frozenset(shard.name for one in made for shard in one.shards))
    assert files(tmp_path) == serial[0]


def test_loaders_of_every_source_with_random_access_can_be_sent(tmp_path: Path) -> None:
    """And if they are of files they are known again, so that what is packed is not packed twice."""
    folder = photographs(tmp_path / "in", 100)
    np.save(tmp_path / "x.npy", np.arange(9_000, dtype=np.int64).reshape(300, 30))
    np.savez(tmp_path / "x.npz", x=np.arange(9_000.0).reshape(300, 30), t=["a"] * 300)
    for what, options in (
        (folder, {}),
        (folder, {"strip_metadata": True}),
        (folder, {"schema": Schema((Field("image", Array("uint8", (16, 16, 3))),))}),
        (tmp_path / "x.npy", {}),
        (tmp_path / "x.npz", {}),
        ({"x": np.arange(9_000.0).reshape(300, 30), "t": np.array(["a"] * 300)}, {}),
    ):
        told = Told()
        here = pack(open_source(what, **options), tmp_path / "here", SMALL)
        out = tmp_path / "out"
        sent = pack(open_source(what, **options), out, SMALL, workers=2, note=told, resumable=True)
        assert sent == here
        assert told == []
        pack(open_source(what, **options), out, SMALL, workers=1, note=told, resumable=True)
        assert [name for name, _ in told] == ["packed already"] * (not isinstance(what, dict))
        shutil.rmtree(out)
