"""One synchronous connection to the daemon: standard library only, usable anywhere.

What belongs here: asking the daemon and reading its answer. It works in a notebook (no event loop),
in threads and in forked loader workers, because a `Connection` holds settings and no socket: each
request opens the Unix socket anew (tens of microseconds).

Rules. The peer must be a process of this user. Every request says which version and settings the
caller has, and the daemon refuses one that differs before it acts; every answer says the same of
the daemon and is checked here too. A daemon that is not there is started, once (`atd.launch`).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from atd import __version__, api
from atd.errors import AtdError, DaemonAway, DaemonError, DaemonMismatch
from atd.launch import start_daemon
from atd.settings import Settings

CALL_TIMEOUT_S: Final = 900.0
STATUS_TIMEOUT_S: Final = 15.0
STREAM_IDLE_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 5.0
PAUSE_S: Final = 0.2

Param = str | int | bool | Sequence[str] | None


class Connection:
    """Asks the daemon of one home. Holds no socket: share, pickle and fork it freely.

    Args:
        settings: whose daemon; read from the environment where it is None.
        start: whether to start a daemon that is not running.
    """

    def __init__(self, settings: Settings | None = None, *, start: bool = True) -> None:
        self.settings = Settings.load() if settings is None else settings
        self.start = start

    def call(
        self,
        endpoint: api.Endpoint,
        params: Mapping[str, Param] | None = None,
        input: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask once and return the answer.

        Args:
            endpoint: a row of `atd.api` that does not stream.
            params: of a query; None values are left out.
            input: the JSON body of a procedure.

        Raises:
            AtdError: what the daemon refused with, as the class that it raised.
            DaemonAway: it is not running, could not be started, or stopped while answering.
            DaemonMismatch: it is of another version or was started with other settings.
        """
        try:
            return self._ask(endpoint, params, input)
        except _CutOff:
            if endpoint.kind != "query" and not endpoint.repeatable:
                raise _away() from None
        # A daemon that was just stopping may let a request fall, and one that was killed lets all
        # fall: a program that reads a data set is not to end because of that.
        time.sleep(PAUSE_S)
        try:
            return self._ask(endpoint, params, input)
        except _CutOff:
            raise _away() from None

    def stream(
        self, endpoint: api.Endpoint, input: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Run a streaming procedure: yields its events, the one with ``result`` last.

        Closing the iterator early tells the daemon to stop. Raises like `call`.
        """
        try:
            with self._answer(endpoint, None, input, STREAM_IDLE_TIMEOUT_S) as answer:
                for line in answer:
                    if not line.strip():
                        continue
                    if not line.endswith(b"\n"):
                        break
                    event = _object(line)
                    if "error" in event:
                        raise api.error_from_wire(event)
                    yield event
                    if "result" in event:
                        return
        except _CutOff:
            pass
        raise _away()

    def result(self, endpoint: api.Endpoint, input: Mapping[str, Any]) -> dict[str, Any]:
        """Run a streaming procedure to its end and return its result."""
        for event in self.stream(endpoint, input):
            if "result" in event:
                return dict(event["result"])
        raise _away()

    def fetch(
        self, endpoint: api.Endpoint, params: Mapping[str, Param], *, max_bytes: int
    ) -> bytes:
        """The bytes that a query which gives a file answers with. Raises like `call`.

        Raises:
            DaemonError: they are more than ``max_bytes``.
        """
        try:
            with self._answer(endpoint, params, None, CALL_TIMEOUT_S) as answer:
                data = answer.read(max_bytes + 1)
                if answer.length and len(data) <= max_bytes:
                    raise _CutOff
        except _CutOff:
            raise _away() from None
        if len(data) > max_bytes:
            raise DaemonError(f"the daemon sent more than {max_bytes} bytes for {endpoint.nsid}")
        return data

    def is_up(self) -> bool:
        """Whether something accepts connections at the daemon's socket."""
        try:
            self._connect(CONNECT_TIMEOUT_S).close()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        return True

    def _ask(
        self,
        endpoint: api.Endpoint,
        params: Mapping[str, Param] | None,
        input: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        # Its status and its end are asked for when it may be stuck: not for a quarter of an hour.
        timeout_s = STATUS_TIMEOUT_S if endpoint.any_version else CALL_TIMEOUT_S
        with self._answer(endpoint, params, input, timeout_s) as answer:
            return _object(answer.read())

    @contextlib.contextmanager
    def _answer(
        self,
        endpoint: api.Endpoint,
        params: Mapping[str, Param] | None,
        input: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and check the answer's head; an error answer is raised."""
        line = http.client.HTTPConnection("localhost", timeout=timeout_s)
        try:
            line.sock = self._reach(timeout_s)
            target = endpoint.path + _query(params)
            body = None if endpoint.kind == "query" else json.dumps(input or {}).encode()
            method = "GET" if body is None else "POST"
            line.request(method, target, body, self._headers(body is not None))
            answer = line.getresponse()
            self._check(answer)
            if answer.status >= 300:
                raise self._refusal(_object(answer.read()))
            yield answer
        except TimeoutError:
            raise DaemonError(f"the daemon gave no sign of life for {timeout_s:.0f} s") from None
        except (ConnectionError, http.client.HTTPException):
            raise _CutOff from None
        finally:
            line.close()

    def _reach(self, timeout_s: float) -> socket.socket:
        """A connected socket; starts the daemon where nobody listens."""
        try:
            return self._connect(timeout_s)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            if not self.start:
                raise DaemonAway(
                    f"no daemon listens at {self.settings.socket_path}",
                    next_step="start it with: atd daemon start",
                ) from None
        start_daemon(self.settings, self.is_up)
        try:
            return self._connect(timeout_s)
        except OSError as error:
            raise DaemonAway(
                f"the daemon was started, but {self.settings.socket_path} cannot be reached: "
                f"{error.strerror}",
                next_step="see: atd daemon logs",
            ) from None

    def _connect(self, timeout_s: float) -> socket.socket:
        """Connect to the socket and make sure that the other side is this user."""
        path = self.settings.socket_path
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(timeout_s)
            line.connect(os.fspath(path))
            owner = peer_uid(line, os.fspath(path))
        except PermissionError:
            line.close()
            raise DaemonAway(
                f"the socket {path} belongs to another user",
                next_step="set ATD_HOME to a folder of your own",
            ) from None
        except OSError:
            line.close()
            raise
        if owner != os.getuid():
            line.close()
            raise DaemonAway(
                f"the socket {path} should be served by user {os.getuid()}, "
                f"but is served by user {owner}: nothing was sent",
                next_step="set ATD_HOME to a folder of your own",
            )
        return line

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = {
            api.VERSION_HEADER: __version__,
            api.SETTINGS_HEADER: self.settings.digest(),
            "Connection": "close",
        }
        if has_body:
            headers["Content-Type"] = api.JSON
        if self.settings.offline:
            headers[api.OFFLINE_HEADER] = "1"
        return headers

    def _refusal(self, said: Mapping[str, Any]) -> AtdError:
        """The error that the daemon answered; one about settings says which of them differ."""
        error = api.error_from_wire(said)
        if not isinstance(error, DaemonMismatch):
            return error
        try:
            theirs = json.loads(self.settings.daemon_file.read_text("utf-8"))["values"]
            ours = self.settings.shared()
            differ = [
                f"{name} is {theirs[name] or 'not set'} there, {ours[name] or 'not set'} here"
                for name in ours
                if theirs[name] != ours[name]
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return error  # it says nothing of itself, or is of a version that says it otherwise
        if not differ:
            return error
        return DaemonMismatch(f"{error.message}: {'; '.join(differ)}", next_step=error.next_step)

    def _check(self, answer: http.client.HTTPResponse) -> None:
        """Refuse an answer that is not from atd's daemon. (Which daemon, it says itself.)"""
        if answer.getheader(api.VERSION_HEADER) is None:
            raise DaemonMismatch(
                f"what answers at {self.settings.socket_path} is not the daemon of atd",
                next_step="set ATD_HOME to a folder of its own",
            )


class _CutOff(Exception):
    """The answer did not come to its end."""


def _away() -> DaemonAway:
    return DaemonAway(
        "the daemon stopped while it was answering",
        next_step="run the same command again (it goes on from there), or see: atd daemon logs",
    )


class HasOptions(Protocol):
    """A socket, or what an event loop hands out in its place."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """The raw value of a socket option."""
        ...


def peer_uid(line: HasOptions, path: str) -> int:
    """The user id of the process at the other end of a connected Unix socket."""
    return peer_credentials(line, path)[1]


def peer_credentials(line: HasOptions, path: str) -> tuple[int, int]:
    """The process id (0: not known) and user id at the other end of a Unix socket.

    Linux tells both (SO_PEERCRED, unix(7)); elsewhere the owner of the socket file must do.
    """
    if hasattr(socket, "SO_PEERCRED"):
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack(
            "3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        )
        return pid, uid
    return 0, os.stat(path).st_uid


def _query(params: Mapping[str, Param] | None) -> str:
    """The query string of ``params``, or nothing."""
    given = {name: value for name, value in (params or {}).items() if value is not None}
    words = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in given.items()
    }
    return "?" + urlencode(words, doseq=True) if words else ""


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object from the daemon; anything else is DaemonError."""
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise DaemonError(f"the daemon should answer with a JSON object, but sent {data[:80]!r}")
    return value
