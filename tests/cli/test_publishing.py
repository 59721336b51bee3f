"""Publishing while servers, other processes and the publisher's own mind get in the way.

After every failure the repository has what it had before, and the same command, run again, ends as
if nothing had happened.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd.errors import (
    Busy,
    Conflict,
    LoginRefused,
    NeedsConsent,
    RateLimited,
    RecordAbsent,
    TooLarge,
    Unreachable,
)
from cli import front
from cli.conftest import Town
from cli.stage import Person, Result, finished, table
from reference.client import ask

MANY = ("--shard-size", "65536")
"""Shards as small as they can be."""


def rows(folder: Path, name: str, count: int = 30) -> str:
    """A table whose rows only this name has."""
    lines = [("n", "name"), *((n, f"{name} {n}") for n in range(count))]
    return str(table(folder / f"{name}.csv", lines))


def noise(folder: Path, name: str, count: int = 600) -> str:
    """A kilobyte of noise to a sample: about ten of the smallest shards."""
    made = np.random.default_rng(sum(name.encode())).integers(0, 255, (count, 1000), np.uint8)
    path = folder / f"{name}.npz"
    np.savez(path, noise=made)
    return str(path)


def published(town: Town) -> dict[str, str]:
    """Every record of ours in alice's repository: key to CID, by what is served."""
    found = {}
    for kind in ("dataset", "release", "schema", "shards"):
        answer = ask(
            f"http://{town.front.domain}",
            "com.atproto.repo.listRecords",
            repo=town.front.did,
            collection=f"network.atd.{kind}",
            limit=100,
        )
        found |= {one["uri"].rpartition("/")[2]: one["cid"] for one in answer.json()["records"]}
    return found


def unfinished(person: Person) -> set[str]:
    """The names that are still being published, by the journal and by what is staged."""
    with closing(sqlite3.connect(person.home / "state" / "journal.sqlite")) as journal:
        names = dict(journal.execute("SELECT id, name FROM publications WHERE open"))
    staged = {one.partition("/")[0] for one in person.files("cache", "staging")}
    assert staged <= set(names)
    return set(names.values())


def uploads(town: Town) -> int:
    return sum("uploadBlob" in address for address in town.front.asked)


def publish(town: Town, source: str, name: str, *more: str, **options: Any) -> Result:
    return town.alice.run("publish", source, "--name", name, "--yes", *more, **options)


# ------------------------------------------------------------------ who


def test_somebody_who_is_not_logged_in(town: Town) -> None:
    result = town.bob.run("publish", str(town.folder / "plants.csv"), "--name", "x", "--yes")
    result.refused(LoginRefused, "no account is logged in", advice="atd login HANDLE")
    assert town.bob.files("cache", "staging") == []


def test_an_account_that_is_not_among_those_logged_in(town: Town) -> None:
    result = publish(town, str(town.folder / "plants.csv"), "x", "--to", "bob.test")
    result.refused(LoginRefused, "bob.test is not logged in", advice="atd login bob.test")


def test_a_wrong_password(town: Town) -> None:
    result = town.bob.run("login", "alice.test", "--password-stdin", stdin="hunter2\n")
    result.refused(LoginRefused, town.front.domain, "refused the password", advice="app password")
    assert town.bob.run("accounts", "--json").done().json == {"accounts": []}
    assert "hunter2" not in "".join(
        path.read_text("utf-8", "replace") for path in (town.bob.home / "state").glob("*.log")
    )


def test_an_empty_password(town: Town) -> None:
    result = town.bob.run("login", "alice.test", "--password-stdin", stdin="\n")
    result.refused(LoginRefused, "got nothing")


def test_a_pds_that_is_not_the_one_of_the_identity(town: Town) -> None:
    result = town.bob.run(
        *("login", "alice.test", "--pds", "http://localhost:1", "--password-stdin"),
        stdin=town.password,
    )
    assert result.code != 0
    assert result.out == ""
    assert town.password not in result.err


def test_a_first_publication_that_nobody_agreed_to(town: Town) -> None:
    before = published(town)
    result = town.alice.run("publish", rows(town.folder, "secret"), "--name", "secret")
    result.refused(NeedsConsent, "nothing is published under secret yet", advice="--yes")
    assert "travels" in result.err, "it says what would have travelled along"
    assert published(town) == before
    assert "secret" not in unfinished(town.alice)


def test_unpublishing_that_nobody_agreed_to(town: Town) -> None:
    before = published(town)
    result = town.alice.run("unpublish", "plants")
    result.refused(NeedsConsent, "plants was not unpublished", advice="--yes")
    assert "every record of plants" in result.err
    assert published(town) == before


def test_unpublishing_what_is_not_there(town: Town) -> None:
    result = town.alice.run("unpublish", "roses", "--yes")
    result.refused(RecordAbsent, "roses is not published", "signed at rev", advice="atd ls")


def test_logging_out_somebody_who_is_not_logged_in(town: Town) -> None:
    result = town.bob.run("logout", "alice.test")
    result.refused(LoginRefused, "alice.test is not logged in", advice="atd accounts")


# ------------------------------------------------------------------ the server's bad moments


def test_a_shard_that_the_pds_finds_too_large(town: Town) -> None:
    before = published(town)
    source = rows(town.folder, "heavy")
    town.front.will(front.refusal, "uploadBlob")
    result = publish(town, source, "heavy")
    result.refused(TooLarge, town.front.domain, "too large", advice="smaller shards")
    assert published(town) == before
    town.front.behave()
    assert "published @alice.test/heavy 1.0.0" in publish(town, source, "heavy").done().out
    assert "heavy" not in unfinished(town.alice)


def test_a_write_that_a_proxy_finds_too_large(town: Town) -> None:
    before, source = published(town), rows(town.folder, "wide")
    town.front.will(front.refusal, "applyWrites")
    result = publish(town, source, "wide")
    result.refused(TooLarge, town.front.domain, "answered 413", advice="larger requests")
    assert published(town) == before
    sent = uploads(town)
    town.front.behave()
    publish(town, source, "wide").done()
    assert uploads(town) == sent, "what had been uploaded was not sent again"


@pytest.mark.parametrize("method", ["sync.getRecord", "uploadBlob", "applyWrites"])
def test_a_pds_that_says_wait_is_waited_for(town: Town, method: str) -> None:
    name = f"patient-{method.lower()}"
    town.front.will(front.later("2"), method, times=1)
    began = time.monotonic()
    result = publish(town, rows(town.folder, name), name).done()
    assert time.monotonic() - began > 2
    assert f"published @alice.test/{name} 1.0.0" in result.out
    assert "tells us to wait for 2 s" in result.err or method == "sync.getRecord"


def test_a_wait_that_is_too_long_to_sit_out_says_when_to_come_back(town: Town) -> None:
    before, source = published(town), rows(town.folder, "tomorrow")
    town.front.will(front.later("86400"), "applyWrites")
    result = publish(town, source, "tomorrow")
    result.refused(RateLimited, "86400 s", "is kept", advice="run the same command again after")
    assert published(town) == before
    sent = uploads(town)
    town.front.behave()
    assert "published" in publish(town, source, "tomorrow").done().out
    assert uploads(town) == sent


def test_a_pds_that_fails_once_is_asked_again(town: Town) -> None:
    town.front.will(front.broken, "uploadBlob", times=1)
    town.front.will(front.html, "applyWrites", times=1)
    result = publish(town, rows(town.folder, "stubborn"), "stubborn").done()
    assert "published @alice.test/stubborn 1.0.0" in result.out


def test_a_pds_that_went_down_before_anything_began(town: Town) -> None:
    source = rows(town.folder, "early")
    town.front.shut()
    try:
        result = publish(town, source, "early")
    finally:
        town.front.open()
    result.refused(Unreachable, town.front.domain, "connection refused")
    assert "early" not in unfinished(town.alice)
    publish(town, source, "early").done()


def test_the_version_exists_already_with_other_data(town: Town) -> None:
    publish(town, rows(town.folder, "twice"), "twice", "--version", "2.0.0").done()
    before = published(town)
    other = rows(town.folder, "twice-other")
    result = publish(town, other, "twice", "--version", "2.0.0")
    result.refused(Conflict, "2.0.0")
    assert published(town) == before


# ------------------------------------------------------------------ two at once, and Ctrl-C


def test_two_publications_of_one_name_at_once(town: Town) -> None:
    source = noise(town.folder, "race", 300)
    refused = threading.Event()
    town.front.will(front.held(refused, town.front), "uploadBlob")
    town.front.asked.clear()
    first = town.alice.start("publish", source, "--name", "race", "--yes", *MANY)
    try:
        town.front.wait_for("uploadBlob")
        second = publish(town, source, "race", *MANY)
    finally:
        refused.set()
    second.refused(Busy, "race", "right now", advice="wait for the other one")
    assert "published @alice.test/race 1.0.0" in finished(first).done().out
    assert "unchanged" in publish(town, source, "race", *MANY).done().out
    keys = [key for key in published(town) if key.startswith("race")]
    assert sorted(keys) == ["race", "race:1.0.0"]


def interrupted(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    result = finished(process)
    assert (result.code, result.out) == (130, ""), result
    assert result.err.splitlines()[-2:] == [
        "atd: interrupted",
        "     run the same command again: it goes on from what was finished",
    ]
    assert "Traceback" not in result.err


def test_an_interrupt_while_it_uploads_loses_nothing(town: Town) -> None:
    source, before = noise(town.folder, "stopped"), published(town)
    town.front.will(front.slowly(0.4, town.front), "uploadBlob")
    process = town.alice.start("publish", source, "--name", "stopped", "--yes", *MANY)
    town.front.asked.clear()
    town.front.wait_for("uploadBlob", count=3)
    interrupted(process)
    assert published(town) == before
    town.front.behave()
    sent = uploads(town)
    result = publish(town, source, "stopped", *MANY, "--json").done()
    assert uploads(town) - sent < result.json["shards"], "some were there already"
    assert "stopped" not in unfinished(town.alice)


def test_an_interrupt_while_it_packs_leaves_nothing(town: Town) -> None:
    source, before = noise(town.folder, "unpacked", 40_000), published(town)
    staged = len(town.alice.files("cache", "staging"))
    process = town.alice.start("publish", source, "--name", "unpacked", "--yes", *MANY)
    deadline = time.monotonic() + 30
    while len(town.alice.files("cache", "staging")) == staged:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    interrupted(process)
    assert published(town) == before
    assert "unpacked" not in unfinished(town.alice)
    assert len(town.alice.files("cache", "staging")) == staged


def test_an_interrupt_while_it_pulls_and_the_rest_is_fetched_later(
    town: Town, stranger: Person
) -> None:
    publish(town, noise(town.folder, "pulled"), "pulled", *MANY).done()
    town.front.will(front.slowly(0.4, town.front), "getBlob")
    process = stranger.start("pull", "@alice.test/pulled")
    town.front.asked.clear()
    town.front.wait_for("getBlob", count=6)
    interrupted(process)
    town.front.behave()
    town.front.asked.clear()
    result = stranger.run("pull", "@alice.test/pulled", "--json").done().json
    assert sum("getBlob" in address for address in town.front.asked) < result["shards"]
    assert stranger.run("verify", "@alice.test/pulled").done()
