"""``atd cache`` at the terminal: what is here, what goes and what stays, and what was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import Busy, DigestMismatch, InvalidSyntax, LocalError, NeedsConsent, StorageFault
from cli.conftest import MakePerson, Town
from cli.stage import Person

REF = "@alice.test/plants"


@pytest.fixture
def reader(stranger: Person) -> Person:
    stranger.run("pull", REF).done()
    return stranger


def shards(person: Person) -> list[Path]:
    return sorted((person.home / "cache" / "shards").glob("??/*.tar"))


def test_what_is_here_is_listed_by_data_set(reader: Person) -> None:
    out = reader.run("cache", "ls").done().out
    assert "@alice.test/plants@1.0.0" in out
    assert "no quota" in out
    said = reader.run("cache", "ls", "--files", "--json").done().json
    (release,) = said["releases"]
    assert (release["name"], release["pinned"]) == ("plants", False)
    assert release["shards"] == len(said["files"]) == len(shards(reader))
    assert said["files"][0]["digest"] in reader.run("cache", "ls", "--files").done().out


def test_pinned_shards_stay_and_others_go(reader: Person) -> None:
    reader.run("cache", "pin", REF).done()
    assert "pinned" in reader.run("cache", "ls").done().out
    stayed = reader.run("cache", "prune", "--to", "0").done().out
    assert "removed 0 shards" in stayed
    assert "1 pinned" in stayed
    reader.run("cache", "rm", REF, "--yes").refused(
        Busy, "1 pinned", advice="unpin", out="removed 0 shards, 0 B freed\n"
    )
    reader.run("cache", "unpin", REF).done()
    assert reader.run("cache", "prune", "--to", "0", "--dry-run", "--json").done().json["removed"]
    assert shards(reader)
    assert reader.run("cache", "prune", "--to", "0", "--json").done().json["removed"] == 1
    assert not shards(reader)


def test_removing_asks_unless_it_is_told_yes(reader: Person) -> None:
    reader.run("cache", "rm", REF).refused(NeedsConsent, "nothing was removed", advice="--yes")
    assert shards(reader)
    reader.run("cache", "rm", REF, "--yes").done()
    assert not shards(reader)
    reader.run("cache", "rm", REF, "--yes").refused(LocalError, "nothing of", advice="cache ls")
    reader.run("cache", "rm", "./plants", "--yes").refused(InvalidSyntax)


def test_a_name_alone_will_do_where_it_is_known(reader: Person) -> None:
    pinned = reader.run("cache", "pin", "plants").done()
    assert "network.atd.release/plants:" in pinned.out
    assert f"plants is {REF}" in pinned.err
    reader.run("cache", "unpin", "plants").done()
    reader.run("cache", "rm", "plants", "--yes").done()
    assert not shards(reader)


def test_a_damaged_shard_is_named_and_fetched_again(reader: Person) -> None:
    assert "all right" in reader.run("cache", "verify").done().out
    (path,) = shards(reader)
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"!")
    name = reader.run("cache", "ls", "--files", "--json").done().json["files"][0]["names"][0]
    ended = reader.run("cache", "verify", "--no-fetch")
    assert ended.code == DigestMismatch.exit_code
    assert name in ended.message
    assert f"FAIL  {name}" in ended.out
    reader.run("pull", REF).done()
    assert path.read_bytes() == data
    path.chmod(0o644)
    path.write_bytes(b"")
    said = reader.run("cache", "verify", "--json").done().json
    assert (said["damaged"], said["repaired"]) == (1, 1)
    assert path.read_bytes() == data
    assert "set aside" in reader.run("cache", "ls").done().out


def test_a_quota_from_the_settings_is_kept(somebody: MakePerson, town: Town) -> None:
    reader = somebody(**town.variables, ATD_CACHE_QUOTA="1KB")
    reader.run("pull", REF).refused(StorageFault, "quota of 1000 bytes", advice="atd cache pin")
    assert not shards(reader)
    reader.run("cache", "pin", REF).done()
    reader.run("pull", REF).done()
    assert "of 1.0 KB" in reader.run("cache", "ls").done().out
    reader.run("cache", "unpin", REF).done()
    done = reader.run("cache", "prune", "--json").done().json
    assert (done["quota"], done["size"]) == (1000, 0)


def test_a_size_that_is_none_is_a_wrong_command_line(stranger: Person) -> None:
    for size in ("lots", "-1", "1.5.2GB", "10 GiB"):
        ended = stranger.run("cache", "prune", f"--to={size}")
        assert ended.code == 2, size
