"""Asking works from anywhere: threads, forks, event loops, pickles; and the peer must be ours."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from atd import api
from atd.connection import Connection
from atd.errors import DaemonAway, DaemonError, DaemonMismatch, InvalidSyntax
from atd.settings import Settings
from atd_daemon import lifecycle

root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
NOBODY = 65534


def test_many_threads_ask_at_once(home: Settings) -> None:
    connection = Connection(home)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: connection.call(api.GET_STATUS), range(40)))
    assert len({answer["pid"] for answer in answers}) == 1


def test_a_forked_worker_asks_for_itself(home: Settings) -> None:
    connection = Connection(home)
    pid = connection.call(api.GET_STATUS)["pid"]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(connection.call(api.GET_STATUS)["pid"]).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        assert said.read() == str(pid)
    os.waitpid(child, 0)
    assert connection.call(api.GET_STATUS)["pid"] == pid


async def test_it_works_where_an_event_loop_runs(home: Settings) -> None:
    assert Connection(home).call(api.GET_STATUS)["pid"]


def test_a_connection_pickles(home: Settings) -> None:
    again: Connection = pickle.loads(pickle.dumps(Connection(home)))
    assert again.settings == home


def test_an_error_comes_out_as_the_class_that_was_raised(home: Settings) -> None:
    with pytest.raises(InvalidSyntax, match="params"):
        Connection(home).call(api.SEARCH_DATASETS, {"q": "x", "limit": 1000})


# ---- other things that answer at the socket


@contextmanager
def answering(settings: Settings, reply: bytes) -> Iterator[None]:
    """Something at the socket that reads a request and answers with ``reply``, then hangs up."""
    settings.prepare()
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(settings.socket_path))
        line.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = line.accept()
                except OSError:
                    return
                with peer, peer.makefile("rb") as request:
                    size = 0
                    while (part := request.readline()).strip():
                        name, _, value = part.partition(b":")
                        size = int(value) if name.lower() == b"content-length" else size
                    request.read(size)
                    if part:
                        peer.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        line.shutdown(socket.SHUT_RDWR)
        thread.join()
    settings.socket_path.unlink()


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {size}", f"{api.VERSION_HEADER}: x", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_another_program_at_the_socket_is_not_believed(home: Settings) -> None:
    with (
        answering(home, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        pytest.raises(DaemonMismatch, match="is not the daemon of atd"),
    ):
        Connection(home).call(api.GET_STATUS)


@pytest.mark.parametrize("reply", [b"", b"garbage\r\n\r\n", http(b'{"a":', length=50)])
def test_an_answer_that_is_cut_off_says_so(home: Settings, reply: bytes) -> None:
    with (
        answering(home, reply),
        pytest.raises(DaemonAway, match="stopped while it was answering"),
    ):
        Connection(home).call(api.GET_STATUS)


@pytest.mark.parametrize("body", [b"[]", b"not json", b'"text"', b""])
def test_an_answer_that_is_no_object_is_quoted(home: Settings, body: bytes) -> None:
    with answering(home, http(body)), pytest.raises(DaemonError, match="should answer with a JSON"):
        Connection(home).call(api.GET_STATUS)


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_a_stream_yields_its_events_and_ends_with_the_result(home: Settings) -> None:
    body = lines({"step": {"name": "a"}}) + b"\n" + lines({"progress": {}}, {"result": {"b": 1}})
    with answering(home, http(body)):
        events = list(Connection(home).stream(api.PULL, {}))
    assert events == [{"step": {"name": "a"}}, {"progress": {}}, {"result": {"b": 1}}]


def test_an_error_in_a_stream_is_raised(home: Settings) -> None:
    wire = {"error": "RateLimited", "message": "wait", "nextStep": "", "retryAfter": 7}
    with answering(home, http(lines({"progress": {}}, wire))):
        events = Connection(home).stream(api.PULL, {})
        assert next(events) == {"progress": {}}
        with pytest.raises(api.errors.RateLimited) as caught:
            next(events)
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("body", [b"", lines({"progress": {}}), b'{"result": {}}'])
def test_a_stream_without_an_end_was_cut_off(home: Settings, body: bytes) -> None:
    with answering(home, http(body)), pytest.raises(DaemonAway, match="stopped while"):
        list(Connection(home).stream(api.PULL, {}))


def test_the_caller_says_that_it_is_offline(home: Settings) -> None:
    offline = Settings.load({**home.variables, "ATD_OFFLINE": "1"})
    assert Connection(offline)._headers(False)[api.OFFLINE_HEADER] == "1"
    assert api.OFFLINE_HEADER not in Connection(home)._headers(False)


# ---- other users


@pytest.fixture
def open_home() -> Iterator[Settings]:
    """A home in a folder that any user may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        settings = Settings.load({"ATD_HOME": f"{folder}/home"})
        yield settings
        lifecycle.stop(settings)


@contextmanager
def as_nobody(do: Callable[[], str]) -> Iterator[Callable[[], str]]:
    """Run ``do`` as another user in a forked process; yields what waits for its return value."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setuid(NOBODY)
            said = do()
        except OSError as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    try:
        with open(reading) as file:
            yield file.read
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def connection_refusal(connection: Connection) -> str:
    with pytest.raises(DaemonAway) as caught:
        connection.call(api.GET_STATUS)
    return caught.value.message


@root_only
def test_a_socket_that_another_user_serves_gets_nothing(open_home: Settings) -> None:
    open_home.prepare()
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(open_home.socket_path))

        def serve() -> str:
            line.listen()  # the kernel notes who listens
            peer, _ = line.accept()
            return peer.recv(100).decode() or "nothing"

        connection = Connection(open_home, start=False)
        with as_nobody(serve) as heard:
            deadline = time.monotonic() + 10
            while not connection_refusal(connection).startswith("the socket"):
                assert time.monotonic() < deadline
            assert "is served by user 65534: nothing was sent" in connection_refusal(connection)
            assert heard() == "nothing"
    open_home.socket_path.unlink()


@root_only
def test_another_user_cannot_reach_the_socket(open_home: Settings) -> None:
    lifecycle.start(open_home)
    path = str(open_home.socket_path)

    def reach() -> str:
        socket.socket(socket.AF_UNIX).connect(path)
        return "reached it"

    with as_nobody(reach) as said:
        assert "PermissionError" in said()
    for folder in (open_home.config_dir, open_home.run_dir):
        os.chmod(folder, 0o755)
    with as_nobody(reach) as said:
        assert "PermissionError" in said(), "the socket's own mode holds too"
