"""Packing by tasks on this machine: the same bytes, whatever dies, fails or was done before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from atd.errors import BadSource, Busy, EngineFault, SchemaMismatch
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Item, SplitSource
from atd.publishing.tasks import done
from atd.records import CutParameters
from atd.schema.fields import Schema
from atd.shards import cut
from atd.shards.layout import default_layout
from engines import troubled
from engines.troubled import (
    CUTS,
    Fail,
    KillOnce,
    Serial,
    Told,
    Wrong,
    files,
    listed,
    right,
    source,
)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_come_out_of_tasks(tmp_path: Path, serial: Serial, workers: int) -> None:
    told: list[tuple[str, int, int | None]] = []
    manifest = pack(
        source(), tmp_path / "out", CUTS, lambda *now: told.append(now), workers=workers
    )
    right(tmp_path / "out", manifest, serial)
    assert told[-1] == ("packing samples", 1000, 1000)
    assert len(told) > 4, "each task that ended was told of"


def test_a_worker_that_is_killed_costs_one_task(
    tmp_path: Path, marks: Path, serial: Serial
) -> None:
    told = Told()
    manifest = pack(source(KillOnce(marks)), tmp_path / "out", CUTS, workers=2, note=told)
    right(tmp_path / "out", manifest, serial)
    ((name, detail),) = told
    assert name == "trying again"
    assert "of the split train: a worker process ended with signal SIGKILL (2 left)" in detail


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_fails_twice_is_done_the_third_time(
    tmp_path: Path, marks: Path, serial: Serial, workers: int
) -> None:
    told = Told()
    manifest = pack(source(Fail(marks, 2)), tmp_path / "out", CUTS, workers=workers, note=told)
    right(tmp_path / "out", manifest, serial)
    assert [name for name, _ in told] == ["trying again"] * 2
    assert "the folder is away, for the time number 1 (2 left)" in told[0][1]
    assert "the folder is away, for the time number 2 (1 left)" in told[1][1]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_fails_three_times_is_given_up_and_nothing_is_committed(
    tmp_path: Path, marks: Path, serial: Serial, workers: int
) -> None:
    with pytest.raises(
        EngineFault, match=r"^part \d+ of \d+ of the split train failed 3 times; "
    ) as e:
        pack(source(Fail(marks, 3)), tmp_path / "out", CUTS, workers=workers)
    assert "the last time: OSError: [Errno 5] the folder is away, for the time number 3" in str(
        e.value
    )
    assert not (tmp_path / "out" / "atd.json").exists()
    # Called again, it goes on: what failed thrice does not fail any more.
    right(tmp_path / "out", pack(source(), tmp_path / "out", CUTS, workers=workers), serial)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("error", [BadSource, SchemaMismatch])
def test_wrong_data_are_not_tried_again(
    tmp_path: Path, marks: Path, workers: int, error: type[Exception]
) -> None:
    told = Told()
    with pytest.raises(error, match="the data are wrong"):
        pack(source(Wrong(marks, error)), tmp_path / "out", CUTS, workers=workers, note=told)
    assert len(list(marks.iterdir())) == 1
    assert told == []
    assert not (tmp_path / "out" / "atd.json").exists()


def test_parts_that_turn_out_to_be_one_shard_are_joined(tmp_path: Path) -> None:
    """Large samples among those looked at: the estimate is wrong, the shards are right."""

    def items(schema: Schema) -> Iterator[Item]:
        for row in range(400):
            array = np.full(100_000 if row in large else 10, row % 256, np.uint8)
            yield f"{row:06d}", partial(dict, noise=array)

    order = sorted(range(400), key=lambda row: cut.place_of(f"{row:06d}"))
    large = frozenset(order[::13])
    schema = open_source([{"noise": b""}]).schema
    folder = tmp_path / "serial"
    folder.mkdir()
    as_bytes = [(key, {"noise": load()["noise"].tobytes()}) for key, load in items(schema)]
    cuts = CutParameters(target_bytes=300_000, max_bytes=300_000)
    wanted = cut.pack_stream(as_bytes, schema, default_layout(schema), cuts, folder, "train")
    split = SplitSource(items=lambda _: ((k, partial(dict, s)) for k, s in as_bytes), count=400)
    opened = replace(source(), schema=schema, splits={"train": split})
    manifest = pack(opened, tmp_path / "out", cuts, workers=2)
    assert listed(manifest) == [shard.name for shard in wanted]
    assert files(folder).keys() == files(tmp_path / "out").keys() - {"atd.json"}


def test_samples_that_cannot_be_sent_are_packed_here(tmp_path: Path, serial: Serial) -> None:
    told = Told()
    secret = os.getpid()

    def load(row: int) -> dict[str, object]:
        assert os.getpid() == secret
        return troubled.noise(row)

    split = SplitSource(
        items=lambda _: ((f"{row:06d}", lambda row=row: load(row)) for row in range(1000)),
        count=1000,
    )
    manifest = pack(
        replace(source(), splits={"train": split}), tmp_path / "out", CUTS, workers=2, note=told
    )
    right(tmp_path / "out", manifest, serial)
    ((name, detail),) = told
    assert name == "done in this process"
    assert "cannot be sent to another process" in detail


def test_a_folder_that_is_being_packed_into_is_busy(tmp_path: Path) -> None:
    with done.alone_in(tmp_path), pytest.raises(Busy, match="another process is packing into"):
        pack(source(), tmp_path, CUTS)
    pack(source(), tmp_path, CUTS)


def test_unknown_engines_and_addresses_are_told_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(EngineFault, match=r"no engine 'slurm'; there are: local") as caught:
        pack(source(), tmp_path, engine="slurm")
    assert "atd-catalog[dask]" in caught.value.next_step
    with pytest.raises(EngineFault, match="has no address"):
        pack(source(), tmp_path, CUTS, engine="local=here")
    with pytest.raises(EngineFault, match="from 1 to"):
        pack(source(), tmp_path, CUTS, workers=0)


def test_streams_and_kept_orders_are_packed_here_and_it_is_said(tmp_path: Path) -> None:
    told = Told()
    rows = [{"n": n} for n in range(10)]
    wanted = pack(open_source(iter(rows)), tmp_path / "a", CUTS)
    assert pack(open_source(iter(rows)), tmp_path / "b", CUTS, workers=2, note=told) == wanted
    kept = replace(CUTS, order="keep")
    wanted = pack(open_source(rows), tmp_path / "c", kept, note=told)
    assert pack(open_source(rows), tmp_path / "d", kept, engine="local", note=told) == wanted
    assert told == [
        ("done in this process", "the samples of the split train come one after the other"),
        ("done in this process", "the samples of the split train keep their order"),
    ]
