"""The daemon behind the commands: of another version, with other settings, killed, in the way."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from atd import __version__
from atd.errors import Busy, DaemonAway, DaemonMismatch
from cli import front
from cli.conftest import MakePerson, Town
from cli.stage import Person, finished
from reference.network import free_ports

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def another_version(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of another installation of atd, which is of version 0.0.9."""
    folder = tmp_path_factory.mktemp("another")
    for package in ("client/atd", "daemon/atd_daemon"):
        shutil.copytree(ROOT / package, folder / Path(package).name)
    init = folder / "atd" / "__init__.py"
    text = init.read_text("utf-8")
    assert f'"{__version__}"' in text
    init.write_text(text.replace(f'"{__version__}"', '"0.0.9"'), "utf-8")
    return str(folder)


def test_a_daemon_of_another_version_is_not_used_but_can_be_seen_and_stopped(
    somebody: MakePerson, another_version: str
) -> None:
    person = somebody()
    old = person.having(PYTHONPATH=another_version)
    assert "0.0.9" in old.run("daemon", "start").done().out
    result = person.run("accounts")
    result.refused(DaemonMismatch, "0.0.9", __version__, advice="atd daemon stop")
    assert person.run("daemon", "status", "--json").done().json["version"] == "0.0.9"
    person.run("daemon", "stop").done()
    person.run("accounts").done()
    assert person.run("daemon", "status", "--json").json["version"] == __version__


def test_a_daemon_with_other_settings_is_not_used_and_the_difference_is_named(
    somebody: MakePerson,
) -> None:
    person = somebody(ATD_DNS_SERVER="127.0.0.1:5")
    person.run("accounts").done()
    other = person.having(ATD_DNS_SERVER="127.0.0.1:7", ATD_ALLOW_HOSTS="localhost:9")
    result = other.run("accounts")
    result.refused(
        DaemonMismatch,
        "dns_server is 127.0.0.1:5 there, 127.0.0.1:7 here",
        "allow_hosts is not set there, localhost:9 here",
        advice="atd daemon stop",
    )
    other.run("daemon", "stop").done()
    other.run("accounts").done()


def test_no_daemon_is_told_and_not_started_by_asking_for_its_status(somebody: MakePerson) -> None:
    person = somebody()
    person.run("daemon", "status").refused(
        DaemonAway, "no daemon is running", advice="atd daemon start"
    )
    assert person.run("daemon", "stop").done().out == "no daemon was running\n"
    assert not person.home.exists()


def test_a_second_daemon_in_the_foreground_is_refused(somebody: MakePerson) -> None:
    person = somebody()
    person.run("daemon", "start").done()
    person.run("daemon", "run").refused(Busy, "already runs", advice="atd daemon stop")


def test_a_daemon_in_the_foreground_ends_well_on_ctrl_c(somebody: MakePerson) -> None:
    person = somebody()
    process = person.start("daemon", "run")
    deadline = time.monotonic() + 30
    while not (person.home / "run" / "daemon.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    person.run("accounts").done()
    process.send_signal(signal.SIGINT)
    result = finished(process)
    assert (result.code, result.out) == (0, ""), result
    assert "Traceback" not in result.err
    assert not (person.home / "run" / "daemon.sock").exists()


def test_a_port_that_is_taken(somebody: MakePerson) -> None:
    person = somebody()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = person.run("daemon", "run", "--tcp", str(port))
    assert result.code == 15, result
    assert f"cannot listen on 127.0.0.1:{port}" in result.err
    assert result.advice == "choose another port with: atd daemon run --tcp PORT"


def test_a_daemon_that_was_killed_is_started_again_by_the_next_command(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()
    os.kill(town.bob.daemon_pid(), signal.SIGKILL)
    assert "@alice.test/plants" in town.bob.run("ls", "@alice.test").done().out


def test_a_daemon_that_is_killed_while_it_works(town: Town, stranger: Person) -> None:
    stranger.run("ls", "@alice.test").done()
    pid = stranger.daemon_pid()
    town.front.will(front.silence, "getBlob")
    town.front.asked.clear()
    process = stranger.start("pull", "@alice.test/plants")
    town.front.wait_for("getBlob")
    os.kill(pid, signal.SIGKILL)
    result = finished(process)
    result.refused(DaemonAway, "stopped while it was answering", advice="run the same command")
    town.front.behave()
    assert "in the store" in stranger.run("pull", "@alice.test/plants").done().out


def test_a_host_whose_port_is_taken_is_said_and_the_rest_works(somebody: MakePerson) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened at: whoever connects is refused
        port = taken.getsockname()[1]
        person = somebody(ATD_HOST_LISTEN=f"127.0.0.1:{port}", ATD_ALLOW_HOSTS=f"localhost:{port}")
        result = person.run("host", "init", f"localhost:{port}", "--handle", "lab.test").done()
        assert str(port) in result.err
        assert "you are logged in" not in result.err
        assert "atd login" in result.err
        status = person.run("host", "status").done()
    assert "stopped" in status.out


@pytest.mark.parametrize("domain", ["", "a b", "localhost", "https://x.example", "x.example/y"])
def test_a_domain_that_is_none(town: Town, domain: str) -> None:
    result = town.bob.run("host", "init", "--", domain)
    assert 10 <= result.code <= 20, result
    assert len(result.err.splitlines()) == 2, result


def test_a_host_that_exists_already(town: Town) -> None:
    result = town.alice.run("host", "init", town.front.domain)
    assert 10 <= result.code <= 20, result
    assert town.front.domain in result.message
    assert town.password not in result.err


def test_a_backup_over_a_file_that_exists(town: Town, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar"
    target.write_text("precious")
    result = town.alice.run("host", "backup", str(target))
    assert 10 <= result.code <= 20, result
    assert target.read_text() == "precious"


def test_a_backup_where_there_is_no_host(town: Town, tmp_path: Path) -> None:
    result = town.bob.run("host", "backup", str(tmp_path / "backup.tar"))
    assert 10 <= result.code <= 20, result
    assert result.advice == "make one with: atd host init DOMAIN"
    assert not (tmp_path / "backup.tar").exists()


def test_a_free_port_is_told_with_its_token(somebody: MakePerson) -> None:
    port = free_ports(1)
    person = somebody()
    process = person.start("daemon", "run", "--tcp", str(port))
    deadline = time.monotonic() + 30
    while not (person.home / "run" / "token").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    token = (person.home / "run" / "token").read_text().strip()
    assert (person.home / "run" / "token").stat().st_mode & 0o077 == 0
    assert f"127.0.0.1:{port}" in person.run("daemon", "status").done().out
    process.send_signal(signal.SIGTERM)
    assert token not in finished(process).err
