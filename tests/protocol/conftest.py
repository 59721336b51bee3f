"""The repositories that proofs are tested on."""

from __future__ import annotations

import pytest

from protocol.sources import NAMES, Published, publish

PARAMS = [
    pytest.param(name, marks=pytest.mark.reference) if name == "reference PDS" else name
    for name in NAMES
]


@pytest.fixture(scope="session", params=PARAMS)
def published(request: pytest.FixtureRequest) -> Published:
    """What one maker of repositories published; each test runs for each maker."""
    name: str = request.param
    network = request.getfixturevalue("reference") if name == "reference PDS" else None
    return publish(name, network)
