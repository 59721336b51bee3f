"""``atd doctor``: it finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from atd.protocol.syntax import Did
from atd.settings import Settings
from atd_daemon import sqlite
from atd_daemon.catalog import Catalog
from atd_daemon.doctor import libraries, places, processes, reach
from atd_daemon.doctor.finding import Finding, State, fail, ok, skipped, warn, worst
from atd_daemon.doctor.rounds import _told
from atd_daemon.sync.follow.states import State as Followed
from cli.stage import Person

Make = Callable[..., Settings]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Make:
    def make(**variables: str) -> Settings:
        return Settings.load({"ATD_HOME": str(home), "HOME": str(home), **variables})

    return make


def states(findings: Any) -> dict[str, State]:
    """The worst state of each check."""
    found: dict[str, State] = {}
    for one in findings:
        assert one.state in (State.OK, State.SKIP) or one.next_step, one
        found[one.check] = max(one.state, found.get(one.check, State.OK))
    return found


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its mode, size and time."""
    if not folder.exists():
        return {}
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }


# ------------------------------------------------------------------ places


def test_a_home_that_is_not_there_is_well_and_stays_away(settings: Make, home: Path) -> None:
    ours = settings()
    found = [*places.folders(ours), *places.space(ours), *places.quota(ours)]
    found += [*places.databases(ours), *processes.daemon(ours), *processes.log(ours)]
    assert worst(found) == State.OK
    assert not home.exists()


def test_folders_open_to_others_closed_to_us_or_no_folders(settings: Make, home: Path) -> None:
    ours = settings()
    ours.prepare()
    assert set(states(places.folders(ours)).values()) == {State.OK}
    ours.state_dir.chmod(0o755)
    assert states(places.folders(ours))["folder state"] == State.WARN
    shutil.rmtree(ours.cache_dir)
    ours.cache_dir.write_text("not a folder")
    assert states(places.folders(ours))["folder cache"] == State.FAIL
    if os.getuid() != 0:
        ours.run_dir.chmod(0o500)
        assert states(places.folders(ours))["folder run"] == State.FAIL
    else:
        os.chown(ours.run_dir, 12345, -1)
        assert states(places.folders(ours))["folder run"] == State.FAIL


@pytest.mark.parametrize(
    ("free", "state"),
    [(3 * 10**9, State.OK), (10**9, State.WARN), (10**7, State.FAIL), (0, State.FAIL)],
)
def test_a_disk_that_is_nearly_full(tmp_path: Path, free: int, state: State) -> None:
    assert places.room("cache", tmp_path, free, 10**10).state == state


def test_a_quota_that_is_exceeded_or_more_than_the_disk_has(settings: Make) -> None:
    ours = settings()
    shards = ours.cache_dir / "shards" / "00"
    shards.mkdir(parents=True)
    (shards / "a.tar").write_bytes(b"x" * 5000)
    assert states(places.quota(ours)) == {"quota": State.OK}
    assert states(places.quota(settings(ATD_CACHE_QUOTA="4000"))) == {"quota": State.WARN}
    assert states(places.quota(settings(ATD_CACHE_QUOTA="6000"))) == {"quota": State.OK}
    assert states(places.quota(settings(ATD_CACHE_QUOTA="9000TB"))) == {"quota": State.WARN}


def test_a_damaged_database_is_found_and_left_as_it_is(settings: Make) -> None:
    ours = settings()
    ours.state_dir.mkdir(parents=True)
    path = ours.state_dir / "index.sqlite"
    Catalog(path).close()
    assert states(places.databases(ours)) == {"database index.sqlite": State.OK}
    data = bytearray(path.read_bytes())
    data[4096:12288] = os.urandom(8192)
    path.write_bytes(data)
    before = tree(ours.state_dir)
    found = list(places.databases(ours))
    assert found[0].state == State.FAIL
    assert "atd daemon stop" in found[0].next_step
    path.write_bytes(b"no database at all, but long enough to be one" * 100)
    assert states(places.databases(ours)) == {"database index.sqlite": State.FAIL}
    path.write_bytes(data)
    assert tree(ours.state_dir).keys() == before.keys()
    kept = ours.state_dir / "index.sqlite.damaged-1"
    path.rename(kept)
    assert states(places.databases(ours)) == {"database": State.WARN}


def test_looking_at_a_database_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a b.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
        db.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100_000)])
        db.commit()
        open_ = sqlite.look(path, limit_s=10)
        assert (open_.complete, open_.damage) == (False, None)
    before = tree(tmp_path)
    seen = sqlite.look(path, limit_s=10)
    assert (seen.complete, seen.damage, seen.size) == (True, None, path.stat().st_size)
    hurried = sqlite.look(path, limit_s=-1)
    assert (hurried.complete, hurried.damage) == (False, None)
    assert tree(tmp_path) == before


# ------------------------------------------------------------------ the daemon


def test_a_socket_that_was_left_behind_and_one_that_is_none(settings: Make) -> None:
    ours = settings()
    ours.prepare()
    line = socket.socket(socket.AF_UNIX)
    line.bind(str(ours.socket_path))
    line.close()
    (found,) = processes.daemon(ours)
    assert (found.state, "left behind" in found.message) == (State.OK, True)
    ours.socket_path.unlink()
    ours.socket_path.write_text("x")
    (found,) = processes.daemon(ours)
    assert found.state == State.FAIL
    assert "mv " in found.next_step


def test_a_process_that_holds_the_lock_and_does_not_listen(settings: Make) -> None:
    ours = settings()
    ours.prepare()
    with open(ours.lock_file, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (found,) = processes.daemon(ours)
    assert found.state == State.FAIL
    assert "holds" in found.message


def test_errors_in_the_log(settings: Make) -> None:
    ours = settings()
    ours.prepare()
    ours.log_file.write_text("2026-01-01 INFO x: fine\n")
    assert states(processes.log(ours)) == {"log": State.OK}
    with ours.log_file.open("a") as file:
        file.write("2026-01-01 ERROR x: a defect\n2026-01-01 INFO x: the ERRORS of others\n")
    (found,) = processes.log(ours)
    assert found.state == State.WARN
    assert found.message.startswith("1 of the last 3")
    ours.log_file.write_text('{"at": "…", "level": "error", "message": "a defect"}\n')
    assert states(processes.log(ours)) == {"log": State.WARN}


# ------------------------------------------------------------------ the network


class Server:
    """A server on loopback that says what time it has."""

    def __init__(self, *, ahead_s: float = 0, status: int = 200, date: str = "") -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(status)
                when = datetime.now(UTC) + timedelta(seconds=ahead_s)
                self.send_header("Date", date or format_datetime(when, usegmt=True))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.place = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Server:
            server = Server(**options)
            stack.callback(server.close)
            return server

        yield make


@pytest.mark.parametrize(
    ("ahead_s", "state"),
    [(0, State.OK), (-20, State.OK), (100, State.WARN), (-100, State.WARN), (900, State.FAIL)],
)
def test_a_clock_that_is_wrong(
    settings: Make, serve: Callable[..., Server], ahead_s: float, state: State
) -> None:
    place = serve(ahead_s=ahead_s).place
    ours = settings(
        ATD_PLC_URL=f"http://{place}", ATD_ALLOW_HOSTS=place, ATD_DNS_SERVER="127.0.0.1:9"
    )
    found = states(reach.network(ours, 1.0))
    assert found["clock"] == state
    assert found["PLC directory"] == State.OK
    assert found["names"] == State.FAIL


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +99999999999999999",
        "yesterday",
    ],
)
def test_a_server_that_says_an_impossible_time_says_none(
    settings: Make, serve: Callable[..., Server], date: str
) -> None:
    place = serve(date=date).place
    ours = settings(
        ATD_PLC_URL=f"http://{place}", ATD_ALLOW_HOSTS=place, ATD_DNS_SERVER="127.0.0.1:9"
    )
    assert states(reach.network(ours, 1.0))["clock"] == State.SKIP


def test_servers_that_are_away_or_are_something_else(
    settings: Make, serve: Callable[..., Server]
) -> None:
    other, mirror = serve(status=404).place, serve().place
    ours = settings(
        ATD_PLC_URL=f"http://{other}",
        ATD_RELAY="http://127.0.0.1:9",
        ATD_MIRRORS=f"http://{mirror}",
        ATD_ALLOW_HOSTS=f"{other},127.0.0.1:9",
        ATD_DNS_SERVER="127.0.0.1:9",
    )
    found = states(reach.network(ours, 1.0))
    assert found["PLC directory"] == State.WARN
    assert found["relay"] == State.FAIL
    assert found["mirror 1"] == State.OK
    assert found["clock"] == State.OK


def test_with_the_network_off_nobody_is_asked(settings: Make) -> None:
    assert states(reach.network(settings(ATD_OFFLINE="1"))) == {"network": State.SKIP}


# ------------------------------------------------------------------ all of it


def test_libraries_that_are_installed() -> None:
    found = list(libraries.libraries())
    assert worst(found) == State.OK
    assert any(one.check == "extras" for one in found)


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("a", "fine")
        raise ZeroDivisionError("oh")

    def refused() -> Iterator[Finding]:
        raise PermissionError(13, "Permission denied", "/x")

    assert [one.state for one in _told("a", breaks)] == [State.OK, State.FAIL]
    (found,) = _told("b", refused)
    assert found.message == "/x: Permission denied"


def test_the_worst_decides_and_what_was_skipped_does_not() -> None:
    assert worst([]) == State.OK
    assert worst([ok("a", ""), skipped("b", "")]) == State.OK
    assert worst([ok("a", ""), warn("b", "", "x"), skipped("c", "")]) == State.WARN
    assert worst([fail("a", "", "x"), warn("b", "", "x")]) == State.FAIL


@pytest.fixture
def person(home: Path) -> Iterator[Person]:
    person = Person.at(home, ATD_OFFLINE="1")
    yield person
    person.leave()


def test_the_command_says_the_worst_and_changes_nothing(person: Person, home: Path) -> None:
    result = person.run("doctor", "--json").done()
    assert result.json["state"] == "ok"
    assert person.files() == []
    person.run("daemon", "start").done()
    result = person.run("doctor").done()
    assert "ok    daemon: process" in result.out
    assert "ok    following: nobody is followed" in result.out
    other = person.having(ATD_PLC_URL="https://plc.example.org").run("doctor")
    assert other.code == 4
    assert "FAIL  daemon: " in other.out
    assert "plc_url is https://plc.directory there" in other.out
    assert "atd daemon stop" in other.out
    before = tree(home / "state") | tree(home / "cache")
    person.run("doctor").done()
    assert (tree(home / "state") | tree(home / "cache")) == before


def test_who_is_followed_and_not_fresh_is_named(person: Person, home: Path) -> None:
    ours = Settings.load(person.environ)
    ours.prepare()
    catalog = Catalog(ours.state_dir / "index.sqlite")
    did = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
    catalog.following.add(did, Followed.INACTIVE, now=1.0)
    catalog.close()
    person.run("daemon", "start").done()
    result = person.run("doctor", "--json")
    assert result.code == 3
    (found,) = [one for one in result.json["checks"] if one["check"] == "following"]
    assert found["state"] == "warn"
    assert did in found["message"]
    assert found["nextStep"]


def test_settings_that_cannot_be_used_are_found_and_the_rest_is_still_looked_at(
    person: Person,
) -> None:
    result = person.having(ATD_PLC_URL="nonsense").run("doctor", "--json")
    assert result.code == 4
    checks = {one["check"]: one["state"] for one in result.json["checks"]}
    assert checks["settings"] == "fail"
    assert checks["libraries"] == "ok"
    assert checks["daemon"] == "skip"
