"""A server of files, and a home whose settings allow it to be asked by plain http."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.settings import Settings
from recipes.servers import FileServer


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer().running() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: FileServer) -> Settings:
    return Settings.load({"ATD_HOME": str(tmp_path / "home"), "ATD_ALLOW_HOSTS": server.place})
