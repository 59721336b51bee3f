"""What tests of packing by tasks share: what one process makes, without any."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines import troubled
from engines.troubled import Serial


@pytest.fixture(scope="session")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Serial:
    """The shards that one process cuts, without any tasks."""
    return troubled.serial(tmp_path_factory.mktemp("serial"))


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder
