"""A real ATProto network on loopback: the reference PLC directory and PDSes, as child processes.

One process for all (fast to start, shared by the session)::

    with Zone() as zone, Network.start(folder, zone) as network:
        alice = network.account("alice.pds1.test")

or one process to a server, so that each can be killed and started again::

    with Network.start(folder, zone, apart=True) as network:
        network.pds_processes[0].kill()
        network.pds_processes[0].start()

Accounts: alice and bob on PDS 1 (``alice.pds1.test``), carol and dave on PDS 2; each handle is in
the DNS zone. Every password is ``hunter2``.
"""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from reference.dnszone import Zone
from reference.install import HERE, node


@dataclass(frozen=True)
class Account:
    """An account that exists on a PDS."""

    handle: str
    did: str
    password: str
    pds: str


class Process:
    """``net.mjs`` with some arguments: started, stopped, killed, started again at the same port."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.info: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        """Start and wait until it is ready; what it printed."""
        self._child = subprocess.Popen(
            [str(node()), str(HERE / "net.mjs"), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"net.mjs ended with {self._child.wait()}: {self._arguments}")
        self.info = json.loads(line)
        return self.info

    def kill(self) -> None:
        """SIGKILL, as a machine that loses power."""
        self._child.kill()
        self._reap()

    def stop(self) -> None:
        """End it in good order. Closing its input also ends it when this program crashes."""
        if self._child.poll() is None:
            assert self._child.stdin is not None
            self._child.stdin.close()
            try:
                self._child.wait(10)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._reap()

    def _reap(self) -> None:
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()


@dataclass
class Network:
    """A PLC directory, PDSes with accounts, and the DNS zone in which their handles resolve.

    ``pds`` are origins such as ``http://localhost:40001``. ``pds_processes`` are the PDSes' own
    processes if the network was started with ``apart=True``, else empty.
    """

    plc_url: str
    pds: list[str]
    accounts: list[Account]
    zone: Zone
    admin_password: str
    pds_processes: list[Process] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def start(
        cls,
        folder: Path,
        zone: Zone,
        *,
        count: int = 2,
        rate_limits: bool = False,
        blob_limit: int | None = None,
        apart: bool = False,
    ) -> Self:
        """Start a network.

        Args:
            folder: where the PDSes keep their data; in memory (/dev/shm) they are three times as
                fast.
            zone: a running zone, which gets the accounts' handles.
            count: how many PDSes.
            rate_limits: turn the PDSes' rate limits on.
            blob_limit: the largest blob in bytes; 5 MiB by default.
            apart: one process to a server.
        """
        options = ["--dir", str(folder), "--dns", zone.address]
        options += ["--ratelimits"] if rate_limits else []
        options += [] if blob_limit is None else ["--bloblimit", str(blob_limit)]
        with ExitStack() as stack:
            if apart:
                processes = _start_apart(options, count, stack)
            else:
                port = free_ports(count + 1)
                processes = [_started(stack, "--pds", str(count), "--port", str(port), *options)]
            infos = [process.info for process in processes]
            accounts = [Account(**entry) for info in infos for entry in info["accounts"]]
            for account in accounts:
                zone.point(account.handle, account.did)
            return cls(
                plc_url=infos[0]["plcUrl"],
                pds=[url for info in infos for url in info["pds"]],
                accounts=accounts,
                zone=zone,
                admin_password=infos[0]["adminPassword"],
                pds_processes=processes[1:],
                _stack=stack.pop_all(),
            )

    def account(self, handle: str) -> Account:
        """The account with ``handle``."""
        return next(account for account in self.accounts if account.handle == handle)

    @property
    def allow_hosts(self) -> str:
        """``ATD_ALLOW_HOSTS`` for this network: the ``host:port`` of every server, with commas."""
        return ",".join(url.removeprefix("http://") for url in [self.plc_url, *self.pds])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def _start_apart(options: list[str], count: int, stack: ExitStack) -> list[Process]:
    """The PLC, then each PDS, in a process of its own."""
    plc = _started(stack, "--pds", "0", "--port", str(free_ports(1)), *options)
    apart = ["--plc", plc.info["plcUrl"], "--pds", "1", *options]
    return [plc] + [
        _started(stack, "--first", str(number + 1), "--port", str(free_ports(2)), *apart)
        for number in range(count)
    ]


def _started(stack: ExitStack, *arguments: str) -> Process:
    process = Process(*arguments)
    process.start()
    stack.callback(process.stop)
    return process


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that are free on loopback just now."""
    for _ in range(100):
        with ExitStack() as stack:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except (OSError, OverflowError):
                continue
            return first
    raise RuntimeError(f"no {count} free ports in a row")
