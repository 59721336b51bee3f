"""A home of its own for each test, and no daemon left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atd.settings import Settings
from atd_daemon import lifecycle

MakeHome = Callable[..., Settings]


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[MakeHome]:
    """Settings of a fresh home; daemons started for it are stopped at the end."""
    made: list[Settings] = []

    def make(name: str = "home", **variables: str) -> Settings:
        environ = {"ATD_HOME": str(tmp_path / name), "HOME": str(tmp_path), **variables}
        made.append(Settings.load(environ))
        return made[-1]

    yield make
    for settings in made:
        lifecycle.stop(settings)


@pytest.fixture
def home(make_home: MakeHome) -> Settings:
    """Settings of one fresh home."""
    return make_home()


@pytest.fixture
def run_python() -> Callable[..., subprocess.Popen[str]]:
    """Run a piece of Python in a process of its own, with the environment of some settings."""

    def run(code: str, settings: Settings, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **settings.child_environ(), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run
