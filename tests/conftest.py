"""Fixtures that every area's tests may use."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from reference.dnszone import Zone
from reference.install import is_installed
from reference.network import Network
from support import memory_folder
from world import Account, World

StartNetwork = Callable[..., Network]

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A process started in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _require_reference() -> None:
    """Skip where the reference network is not installed; fail where it must be."""
    if is_installed():
        return
    reason = "the reference PDS is not installed; run make test, which installs it"
    if os.environ.get("CI") or os.environ.get("ATD_REQUIRE_REFERENCE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the reference network, so that ``-m "not reference"`` leaves it out."""
    for item in items:
        if {"reference", "start_network"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker("reference")


def pytest_collection_finish() -> None:
    """Take back a time limit on all sockets, which a library of arroba's sets on import."""
    socket.setdefaulttimeout(None)


@pytest.fixture
def world() -> World:
    """A network in memory that lies where a test says so; one of its own for each test."""
    return World()


@pytest.fixture
def alice(world: World) -> Account:
    """Somebody with an account in the world."""
    return world.account("alice.test")


@pytest.fixture(scope="session")
def start_network() -> Iterator[StartNetwork]:
    """Start further reference networks; takes the options of `reference.network.Network.start`."""
    _require_reference()
    with ExitStack() as stack:

        def start(**options: object) -> Network:
            folder = tempfile.TemporaryDirectory(prefix="atd-net-", dir=memory_folder())
            path = Path(stack.enter_context(folder))
            zone = stack.enter_context(Zone())
            return stack.enter_context(Network.start(path, zone, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="session")
def reference(start_network: StartNetwork) -> Network:
    """One network for the whole session: a PLC directory, two PDSes, a DNS zone.

    Tests share its accounts: use record keys of your own, and delete nothing that you did not make.
    """
    return start_network()
