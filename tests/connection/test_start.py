"""The daemon starts when it is needed, once, and says why when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atd import __version__, api
from atd.connection import Connection
from atd.errors import Busy, DaemonAway, DaemonMismatch, StorageFault
from atd.settings import Settings
from atd_daemon import lifecycle

ASK = """
from atd import api
from atd.connection import Connection
print(Connection().call(api.GET_STATUS)["pid"])
"""

RunPython = Callable[..., "subprocess.Popen[str]"]


def serving_lines(settings: Settings) -> list[str]:
    return [line for line in lifecycle.logs(settings, 1000) if "serves at" in line]


def wait_until(true: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_first_question_starts_it_and_the_next_finds_it(home: Settings) -> None:
    connection = Connection(home)
    first = connection.call(api.GET_STATUS)
    assert first["version"] == __version__
    assert first["settings"] == home.digest()
    assert connection.call(api.GET_STATUS)["pid"] == first["pid"]
    assert first["pid"] != os.getpid()


def test_it_is_nobodys_child_and_has_let_go_of_the_callers_files(home: Settings) -> None:
    pid = Connection(home).call(api.GET_STATUS)["pid"]
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert os.getsid(pid) != os.getsid(0)
    if os.path.isdir(f"/proc/{pid}"):
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/fd/1") == str(home.log_file)


def test_four_processes_at_once_start_exactly_one(home: Settings, run_python: RunPython) -> None:
    asking = [run_python(ASK, home) for _ in range(4)]
    answers = {process.communicate(timeout=60)[0].strip() for process in asking}
    assert len(answers) == 1
    assert answers.pop().isdigit()
    assert len(serving_lines(home)) == 1


def test_after_kill_9_the_next_question_starts_it_anew(home: Settings) -> None:
    connection = Connection(home)
    first = connection.call(api.GET_STATUS)["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not connection.is_up())
    assert home.socket_path.exists(), "the socket file of the killed one is still there"
    second = connection.call(api.GET_STATUS)["pid"]
    assert second != first
    assert json.loads(home.daemon_file.read_text())["pid"] == second


def test_a_client_that_may_not_start_it_says_how(home: Settings) -> None:
    with pytest.raises(DaemonAway, match="no daemon listens") as caught:
        Connection(home, start=False).call(api.GET_STATUS)
    assert "atd daemon start" in caught.value.next_step
    assert lifecycle.status(home) is None


def test_a_second_daemon_for_the_same_home_refuses_to_run(home: Settings) -> None:
    lifecycle.start(home)
    with pytest.raises(Busy, match="already runs"), lifecycle.only_daemon(home):
        pass
    second = subprocess.run(
        [sys.executable, "-m", "atd_daemon.main"],
        env=home.child_environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == Busy.exit_code
    assert "already runs" in second.stderr
    assert lifecycle.status(home) is not None


def test_stop_ends_it_and_cleans_up(home: Settings) -> None:
    lifecycle.start(home)
    assert lifecycle.stop(home)
    assert not home.socket_path.exists()
    assert not home.daemon_file.exists()
    assert not lifecycle.stop(home), "there is none to stop"


def test_sigterm_ends_it_in_order(home: Settings) -> None:
    pid = lifecycle.start(home)["pid"]
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not home.daemon_file.exists())
    assert not home.socket_path.exists()
    assert "stopping" in lifecycle.logs(home)[-1]


def test_a_daemon_that_is_stopping_is_waited_for(home: Settings) -> None:
    """It takes no more requests, finishes the one it has, and the next daemon comes after it."""
    first = lifecycle.start(home)["pid"]
    with socket.socket(socket.AF_UNIX) as slow:
        slow.connect(str(home.socket_path))
        slow.sendall(
            b"POST /xrpc/network.atd.store.pull HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        time.sleep(0.2)
        os.kill(first, signal.SIGTERM)
        connection = Connection(home)
        wait_until(lambda: not connection.is_up())
        assert home.daemon_file.exists(), "it is still there, with a request in flight"
        second = connection.call(api.GET_STATUS)["pid"]
    assert second != first
    wait_until(lambda: not runs(first))


def test_a_stale_pid_in_the_file_harms_nobody(home: Settings) -> None:
    """Process ids are reused: what a dead daemon's file says must not get anyone killed."""
    home.prepare()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        home.daemon_file.write_text(json.dumps({"pid": bystander.pid, "version": __version__}))
        assert not lifecycle.stop(home)
        assert bystander.poll() is None
        assert lifecycle.start(home)["pid"] != bystander.pid
    finally:
        bystander.kill()
        bystander.wait()


def test_a_daemon_of_another_version_is_not_talked_to(home: Settings, tmp_path: Path) -> None:
    code = tmp_path / "code"
    for package, source in (("atd", "client/atd"), ("atd_daemon", "daemon/atd_daemon")):
        shutil.copytree(Path(__file__).parents[2] / source, code / package)
    init = code / "atd" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{__version__}"', '"0.0.9"'))
    home.prepare()
    other = subprocess.Popen(
        [sys.executable, "-m", "atd_daemon.main"],
        env={**home.child_environ(), "PYTHONPATH": str(code)},
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = Connection(home)
        wait_until(lambda: home.daemon_file.exists() and connection.is_up())
        with pytest.raises(DaemonMismatch, match=r"is atd 0\.0\.9.*atd '0\.1\.0'") as caught:
            connection.call(api.LIST_ACCOUNTS)
        assert "atd daemon stop" in caught.value.next_step
        status = lifecycle.status(home)
        assert status is not None
        assert status["version"] == "0.0.9"
        assert lifecycle.stop(home)
        assert other.wait(timeout=20) == 0
    finally:
        other.kill()
        other.wait()


def test_a_daemon_with_other_settings_is_not_talked_to(
    make_home: Callable[..., Settings],
) -> None:
    lifecycle.start(make_home())
    other = make_home(ATD_ALLOW_HOSTS="localhost:1")
    with pytest.raises(DaemonMismatch, match="other settings"):
        Connection(other).call(api.LIST_ACCOUNTS)
    assert lifecycle.status(other) is not None, "its status can be asked, and it can be stopped"


def test_a_home_that_is_a_file_is_a_storage_fault(
    make_home: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFault, match="cannot create the folder") as caught:
        Connection(make_home("file/home")).call(api.GET_STATUS)
    assert "ATD_HOME" in caught.value.next_step


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
def test_a_home_that_cannot_be_written_is_a_storage_fault(
    make_home: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StorageFault, match="cannot create the folder"):
        Connection(make_home("closed/home")).call(api.GET_STATUS)


def test_a_foreign_file_at_the_sockets_place_is_named_and_kept(home: Settings) -> None:
    home.prepare()
    home.socket_path.write_text("mine")
    with pytest.raises(StorageFault, match="should be the daemon's socket") as caught:
        Connection(home).call(api.GET_STATUS)
    assert str(home.socket_path) in caught.value.message
    assert "mv " in caught.value.next_step
    assert home.socket_path.read_text() == "mine"
    home.socket_path.unlink()


def test_a_daemon_that_dies_at_once_shows_the_end_of_its_log(
    home: Settings, tmp_path: Path, run_python: RunPython
) -> None:
    broken = tmp_path / "broken" / "aiohttp"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this aiohttp is \\x1b[31mbroken')")
    code = f"from atd.errors import DaemonAway\ntry:\n{ASK.replace(chr(10), chr(10) + '  ')}\n"
    code += "except DaemonAway as error:\n  print('away:', error.message)"
    asking = run_python(code, home, PYTHONPATH=str(broken.parent))
    said, errors = asking.communicate(timeout=60)
    assert "away: the daemon stopped while it started" in said, errors
    assert "RuntimeError: this aiohttp is ·[31mbroken" in said
    assert str(home.log_file) in said


def test_settings_that_cannot_be_used_are_named_by_the_daemon_too(home: Settings) -> None:
    """The client reads the same settings first, so only a hand-started daemon gets this far."""
    failed = subprocess.run(
        [sys.executable, "-m", "atd_daemon.main"],
        env={**home.child_environ(), "ATD_PLC_URL": "nonsense"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert failed.returncode == 20
    assert "ATD_PLC_URL should be" in failed.stderr


def test_the_socket_is_for_its_owner_alone(home: Settings) -> None:
    lifecycle.start(home)
    assert home.socket_path.stat().st_mode & 0o777 == 0o600
    assert home.socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert home.daemon_file.stat().st_mode & 0o777 == 0o600
    assert home.log_file.stat().st_mode & 0o777 == 0o600


def test_a_home_with_a_long_path_works(make_home: Callable[..., Settings]) -> None:
    settings = make_home("x" * 150)
    assert not settings.socket_path.is_relative_to(settings.config_dir)
    assert lifecycle.start(settings)["socket"] == str(settings.socket_path)
