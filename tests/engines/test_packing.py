"""Packing on Dask and on Ray: the same bytes as one process makes, whatever happens to a worker."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from atd.errors import BadSource, EngineFault
from atd.publishing import verify_folder
from atd.publishing.packing import pack
from engines.conftest import ENGINES
from engines.troubled import (
    CUTS,
    Fail,
    KillOnce,
    Serial,
    Told,
    Wrong,
    files,
    right,
    source,
)
from publish import pictures


def test_the_same_bytes_come_out_of_every_engine(
    tmp_path: Path, engine: str, serial: Serial
) -> None:
    told: list[tuple[str, int, int | None]] = []
    manifest = pack(source(), tmp_path / "out", CUTS, lambda *now: told.append(now), engine=engine)
    right(tmp_path / "out", manifest, serial)
    assert told[-1] == ("packing samples", 1000, 1000)
    assert len(told) > 4, "each task that ended was told of"


def test_a_worker_killed_in_the_middle_costs_one_task(
    tmp_path: Path, engine: str, marks: Path, serial: Serial
) -> None:
    told = Told()
    manifest = pack(source(KillOnce(marks)), tmp_path / "out", CUTS, engine=engine, note=told)
    assert (marks / "killed").exists()
    right(tmp_path / "out", manifest, serial)
    assert told
    assert all(name == "trying again" for name, _ in told)
    assert re.search(r"part \d+ of \d+ of the split train: a (Dask|Ray) worker died", told[0][1])


def test_a_task_that_fails_twice_is_done_the_third_time(
    tmp_path: Path, engine: str, marks: Path, serial: Serial
) -> None:
    told = Told()
    manifest = pack(source(Fail(marks, 2)), tmp_path / "out", CUTS, engine=engine, note=told)
    right(tmp_path / "out", manifest, serial)
    assert [name for name, _ in told] == ["trying again"] * 2
    assert "the folder is away, for the time number 2 (1 left)" in told[1][1]


def test_a_task_that_fails_always_is_told_and_what_is_done_is_not_done_again(
    tmp_path: Path, engine: str, marks: Path, serial: Serial
) -> None:
    out = tmp_path / "out"
    trouble = Fail(marks, 3)
    with pytest.raises(EngineFault, match=r"part \d+ of \d+ of the split train failed 3 times"):
        pack(source(trouble), out, CUTS, engine=engine)
    assert not (out / "atd.json").exists()
    told = Told()
    right(out, pack(source(trouble), out, CUTS, engine=engine, note=told), serial)
    ((name, _),) = told
    assert name == "packed already"


def test_wrong_data_are_not_tried_again(tmp_path: Path, engine: str, marks: Path) -> None:
    with pytest.raises(BadSource, match="the data are wrong"):
        pack(source(Wrong(marks, BadSource)), tmp_path / "out", CUTS, engine=engine)
    assert len(list(marks.iterdir())) == 1
    assert not (tmp_path / "out" / "atd.json").exists()


def test_a_folder_is_verified_on_every_engine(tmp_path: Path, engine: str) -> None:
    out = tmp_path / "out"
    shards = pack(source(), out, CUTS).shards
    assert verify_folder(out, engine=engine).holds
    (out / shards[5].name).write_bytes(b"not a shard")
    (out / shards[2].name).unlink()
    found = verify_folder(out, engine=engine)
    assert [one.name for one in found.bad] == [shards[2].name, shards[5].name]


@pytest.mark.parametrize("name", ENGINES)
def test_the_command_starts_an_engine_on_this_machine(tmp_path: Path, name: str) -> None:
    pytest.importorskip("distributed" if name == "dask" else name)
    for number in range(200):
        pictures.put(tmp_path / "in" / "rose" / f"{number}.png", seed=number)
    for out, options in (("here", []), ("there", ["--engine", name, "--workers", "2"])):
        command = ["pack", "in", "-o", out, "--shard-size", "65536", *options]
        done = subprocess.run(
            [sys.executable, "-m", "atd", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert "200 samples" in done.stdout
    assert files(tmp_path / "here") == files(tmp_path / "there")


def test_an_address_where_nobody_answers_is_told(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(EngineFault, match=r"no Dask cluster at tcp://127.0.0.1:1:"):
        pack(source(), tmp_path, CUTS, engine="dask=tcp://127.0.0.1:1")


def test_a_cluster_that_is_started_here_runs_nothing_for_other_users_of_the_machine(
    tmp_path: Path,
) -> None:
    """Whoever reaches a scheduler of Dask can run code; the loopback is everybody's."""
    distributed = pytest.importorskip("distributed")
    door = importlib.import_module("atd.engines.dask_door")
    engine = door.open_engine(None, 1)
    try:
        (address,) = [one.scheduler.address for one in engine._ours if hasattr(one, "scheduler")][
            :1
        ]
        assert address.startswith("tls://127.0.0.1:")
        for security in (None, distributed.Security.temporary()):
            scheme = "tcp" if security is None else "tls"
            with pytest.raises(OSError):
                distributed.Client(
                    address.replace("tls", scheme, 1), security=security, timeout=3
                ).close()
        engine.submit(1, files, tmp_path)
        assert engine.wait().value == {}
    finally:
        engine.close()
