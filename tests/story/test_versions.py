"""What happens when a data set is published again: nothing, a card, or the next version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atd
from story.people import Person
from story.sources import counted

ROWS = 240
WIDTH = 1000
SMALL = "65536"  # bytes of a shard: the least that can be asked for


def write(path: Path, rows: int, *, changed: int | None = None) -> Path:
    """An ``.npz`` of ``rows`` rows of noise, of which one may be ``changed``: one shard is then."""
    noise = np.random.default_rng(5).integers(0, 255, (rows, WIDTH), dtype=np.uint8)
    if changed is not None:
        noise[changed] = 0
    np.savez(path, n=np.arange(rows), noise=noise)
    return path


def samples(rows: int, *, changed: int | None = None) -> list[dict[str, Any]]:
    noise = np.random.default_rng(5).integers(0, 255, (rows, WIDTH), dtype=np.uint8)
    if changed is not None:
        noise[changed] = 0
    return [{"n": n, "noise": noise[n]} for n in range(rows)]


@pytest.fixture(scope="module")
def first(alice: Person, desk: Path) -> dict[str, Any]:
    """The first release, of several shards."""
    path = write(desk / "numbers.npz", ROWS)
    answer = alice.json("publish", str(path), "--name", "numbers", "--yes", "--shard-size", SMALL)
    assert answer["shards"] > 4
    return answer


def test_unchanged_data_writes_nothing_and_says_so(
    alice: Person, first: dict[str, Any], desk: Path
) -> None:
    path, rev = str(desk / "numbers.npz"), alice.repository.rev
    again = alice.json("publish", path, "--name", "numbers")
    assert again["unchanged"]
    assert (again["uri"], again["cid"]) == (first["uri"], first["cid"])
    assert (again["uploaded"], again["newShards"]) == (0, 0)
    said = alice.run("publish", path, "--name", "numbers")
    assert said.out.startswith(f"unchanged: @{alice.handle}/numbers 1.0.0")
    released = atd.publish(path, name="numbers", connection=alice.connection)
    assert released.unchanged
    assert alice.repository.rev == rev


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    alice: Person, first: dict[str, Any], desk: Path
) -> None:
    rev, stored = alice.repository.rev, alice.shards
    path = str(write(desk / "planned.npz", ROWS, changed=1))
    for name, previous in (("numbers", True), ("another", False)):
        plan = alice.json("publish", path, "--name", name, "--dry-run")
        assert plan["first"] is not previous
        assert bool(plan["previous"]) == previous
        assert plan["splits"] == {"train": ROWS}
    said = alice.run("publish", path, "--name", "another", "--dry-run").out
    assert "class Another:" in said
    assert "Annotated[NDArray[np.uint8], atd.Shape(1000)]" in said
    assert "none: this is the first publication of the name" in said
    assert f"train: {ROWS} samples" in said
    assert alice.repository.rev == rev
    assert alice.shards == stored
    assert alice.staged == []


def test_a_dry_run_needs_no_account(bob: Person, first: dict[str, Any], desk: Path) -> None:
    path = str(desk / "numbers.npz")
    plan = bob.json("publish", path, "--name", "numbers", "--dry-run")
    assert "not known" in " ".join(plan["warnings"])
    said = bob.run("publish", path, "--name", "numbers", "--yes", code=14)
    assert "atd login" in said.err


def test_a_first_publication_needs_consent(alice: Person, desk: Path) -> None:
    path, rev = str(write(desk / "consent.npz", 10)), alice.repository.rev
    said = alice.run("publish", path, "--name", "consent", code=17)
    assert "cannot be" in said.err
    assert "public" in said.err
    assert alice.repository.rev == rev
    assert alice.staged == []


def test_changed_data_makes_the_next_release_and_sends_only_new_shards(
    alice: Person, bob: Person, first: dict[str, Any], desk: Path
) -> None:
    path = str(write(desk / "changed.npz", ROWS, changed=100))
    before = alice.repository.blobs | alice.repository.previews
    answer = alice.json("publish", path, "--name", "numbers", "--notes", "One row is black.")
    assert answer["version"] == "1.1.0"
    assert answer["newShards"] == 1
    parts = alice.repository.parts("numbers")
    old, new = ({entry["digest"]["$link"] for entry in parts[v]} for v in ("1.0.0", "1.1.0"))
    (added,) = new - old
    assert alice.repository.blobs - alice.repository.previews - before == {added}
    assert answer["uploaded"] == next(
        entry["size"] for entry in parts["1.1.0"] if entry["digest"]["$link"] == added
    )
    release = alice.repository.records("release")["numbers:1.1.0"]
    assert release["notes"] == "One row is black."
    assert release["previous"]["uri"] == first["uri"]
    ref, connection = f"@{alice.handle}/numbers", bob.connection
    assert counted(atd.load(f"{ref}@1.0.0", connection=connection)) == counted(samples(ROWS))
    newest = atd.load(ref, connection=connection, refresh=True)
    assert counted(newest) == counted(samples(ROWS, changed=100))
    assert counted(atd.load(f"{ref}@1.1.0", connection=connection)) == counted(newest)
    assert bob.shards == old | new
    shown = bob.json("show", f"{ref}@1.0.0")
    assert {release["version"] for release in shown["releases"]} == {"1.0.0", "1.1.0"}
    assert bob.json("pull", f"{ref}@1.0.0")["version"] == "1.0.0"


def test_a_new_card_alone_writes_the_head_alone(
    alice: Person, bob: Person, first: dict[str, Any], desk: Path
) -> None:
    path = str(write(desk / "card.npz", 30))
    alice.json("publish", path, "--name", "carded", "--yes", "--license", "CC0-1.0")
    before = {c: alice.repository.records(c) for c in ("release", "schema", "shards")}
    answer = alice.json("publish", path, "--name", "carded", "--title", "Thirty numbers")
    assert answer["unchanged"]
    assert answer["cardChanged"]
    assert answer["version"] == "1.0.0"
    assert {c: alice.repository.records(c) for c in before} == before
    info = bob.json("show", f"@{alice.handle}/carded")["dataset"]
    assert (info["title"], info["license"]) == ("Thirty numbers", "CC0-1.0")
    rev = alice.repository.rev
    alice.json("publish", path, "--name", "carded", "--title", "Thirty numbers")
    assert alice.repository.rev == rev


def test_a_version_may_be_named_and_is_never_used_twice(alice: Person, desk: Path) -> None:
    path = str(write(desk / "named.npz", 20))
    first = alice.json("publish", path, "--name", "named", "--yes", "--version", "0.3.0")
    assert first["version"] == "0.3.0"
    write(desk / "named.npz", 21)
    rev = alice.repository.rev
    for taken in ("0.3.0", "0.2.0"):
        said = alice.run("publish", path, "--name", "named", "--version", taken, code=19)
        assert "0.3.0" in said.err
    assert alice.repository.rev == rev
    assert alice.json("publish", path, "--name", "named", "--version", "2.0.0")["samples"] == 21
    write(desk / "named.npz", 22)
    assert alice.json("publish", path, "--name", "named")["version"] == "2.1.0"
    assert alice.repository.releases("named") == ["0.3.0", "2.0.0", "2.1.0"]


def test_another_schema_makes_a_major_version(alice: Person, bob: Person, desk: Path) -> None:
    table = desk / "table.csv"
    table.write_text("id,petals\na,4\nb,5\n")
    alice.json("publish", str(table), "--name", "table", "--yes")
    table.write_text("id,petals,colour\na,4,red\nb,5,blue\n")
    grown = alice.json("publish", str(table), "--name", "table")
    table.write_text("id,petals,colour\na,four,red\nb,5,blue\n")
    kept = alice.run("publish", str(table), "--name", "table", code=17)
    assert "petals: int64 -> string" in kept.err
    other = alice.json("publish", str(table), "--name", "table", "--yes")
    assert [grown["version"], other["version"]] == ["1.1.0", "2.0.0"]
    ref = f"@{alice.handle}/table"
    found = {
        version: sorted(str(row.petals) for row in atd.load(ref + version, connection=c))
        for c in (bob.connection,)
        for version in ("@1.0.0", "@1.1.0", "@2.0.0", "")
    }
    assert found == {
        "@1.0.0": ["4", "5"],
        "@1.1.0": ["4", "5"],
        "@2.0.0": ["5", "four"],
        "": ["5", "four"],
    }
