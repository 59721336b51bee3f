"""Fixtures of the host's tests: a host on a real port, an account, a client, the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atd_daemon.host.host import NewAccount
from host.judge import Judge
from host.serving import Client, Served


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A host with no account yet."""
    with Served(tmp_path / "host") as running:
        yield running


@pytest.fixture
def account(served: Served) -> NewAccount:
    """Its account, whose handle is alice.test."""
    return served.make()


@pytest.fixture
def client(served: Served, account: NewAccount) -> Client:
    """A logged-in client of that account."""
    return served.client(account)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """The reference implementation's verification."""
    folder = tmp_path / "judge"
    folder.mkdir()
    return Judge(folder)
