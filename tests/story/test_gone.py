"""Undoing a publication, and doing without the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from atd.connection import Connection
from atd.settings import Settings
from story.people import COLLECTIONS, Person
from story.sources import counted

OFFLINE = {"ATD_OFFLINE": "1"}


def write(path: Path, rows: int) -> list[dict[str, Any]]:
    noise = np.random.default_rng(rows).integers(0, 255, (rows, 1000), dtype=np.uint8)
    np.savez(path, n=np.arange(rows), noise=noise)
    return [{"n": n, "noise": noise[n]} for n in range(rows)]


def offline(person: Person) -> Connection:
    return Connection(Settings.load(person.environ | OFFLINE))


def test_unpublished_records_and_blobs_are_gone_for_everyone(
    alice: Person, bob: Person, desk: Path
) -> None:
    path = desk / "leaving.npz"
    samples = write(path, 150)
    publish = ["publish", str(path), "--name", "leaving", "--shard-size", "65536", "--yes"]
    alice.json(*publish)
    write(desk / "staying.npz", 3)
    alice.json("publish", str(desk / "staying.npz"), "--name", "staying", "--yes")
    np.savez(path, **{**np.load(path), "n": np.arange(150) + 1})
    alice.json(*publish)
    ref = f"@{alice.handle}/leaving"
    bob.run("ls", f"@{alice.handle}")
    bob.run("pull", f"{ref}@1.0.0")
    entries = [one for many in alice.repository.parts("leaving").values() for one in many]
    blobs = {entry["blob"]["ref"]["$link"] for entry in entries}
    assert blobs < alice.repository.blobs

    said = alice.run("unpublish", "leaving", code=17)
    assert "deletes every record of leaving" in said.err
    answer = alice.json("unpublish", "leaving", "--yes")
    assert len(answer["records"]) == 1 + 2 + 1 + 2  # head, releases, schema, shard lists

    left = {collection: set(alice.repository.records(collection)) for collection in COLLECTIONS}
    assert left["dataset"] == {"staying"}
    assert left["release"] == left["schema"] == {"staying:1.0.0"}
    assert len(left["shards"]) == 1
    assert not blobs & alice.repository.blobs
    assert not any(alice.repository.has_blob(blob) for blob in blobs)

    for command in ("show", "pull", "verify"):
        assert bob.run(command, ref, code=43).err.startswith("atd: ")
    with pytest.raises(atd.errors.RecordAbsent):
        atd.load(ref, connection=bob.connection, refresh=True)
    listed = bob.json("ls", f"@{alice.handle}")
    assert [one["name"] for one in listed["datasets"]] == ["staying"]
    assert bob.json("search", "leaving")["datasets"] == []
    alice.run("unpublish", "leaving", "--yes", code=43)

    # What others copied stays with them; and the name can be used again.
    assert {entry["digest"]["$link"] for entry in entries} & bob.shards
    again = alice.json(*publish)
    assert again["samples"] == len(samples)
    assert bob.json("verify", ref, "--fetch")["holds"]


def test_what_was_pulled_loads_without_the_network(alice: Person, bob: Person, desk: Path) -> None:
    samples = write(desk / "kept.npz", 40)
    alice.json("publish", str(desk / "kept.npz"), "--name", "kept", "--yes")
    ref = f"@{alice.handle}/kept"
    bob.run("pull", ref)
    bob.stop_daemon()
    assert counted(atd.load(ref, connection=offline(bob))) == counted(samples)
    assert counted(atd.load(f"{ref}@1.0.0", connection=offline(bob))) == counted(samples)
    assert "kept" in [info.name for info in atd.ls(alice.handle, connection=offline(bob))]
    assert bob.run("preview", ref, "-n", "1", **OFFLINE).out.startswith("sample 0 of 40")
    assert bob.json("pull", ref, **OFFLINE)["fetched"] == 0
    assert bob.run("show", ref, **OFFLINE).out.startswith(ref)


def test_what_was_not_pulled_says_that_the_network_is_off(
    alice: Person, bob: Person, desk: Path
) -> None:
    write(desk / "far.npz", 10)
    alice.json("publish", str(desk / "far.npz"), "--name", "far", "--yes")
    ref = f"@{alice.handle}/far"
    said = bob.run("pull", ref, code=52, **OFFLINE)
    assert "ATD_OFFLINE" in said.err
    bob.run("ls", f"@{alice.handle}")
    known = atd.load(ref, connection=offline(bob))
    assert len(known) == 10, "the records are known, the shards are not"
    with pytest.raises(atd.errors.Offline):
        known[0]
    assert alice.run("publish", str(desk / "far.npz"), "--name", "far", code=52, **OFFLINE)
