"""The cast of the stories: alice and carol with accounts on two PDSes, bob with none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reference.network import Network
from story.people import Meet, Person, person, settle


@pytest.fixture(scope="module")
def meet(
    reference: Network, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Meet]:
    """Meet a person of this module: ``meet("alice", pds=1)`` has a new account and is logged in."""
    folder = tmp_path_factory.mktemp("story")
    mark = request.module.__name__.rpartition("_")[2][:8]
    with ExitStack() as ending:

        def make(name: str, *, pds: int | None = None, allow: str = "") -> Person:
            account = None if pds is None else settle(reference, f"{name}-{mark}", pds)
            made = ending.enter_context(person(reference, folder / name, account, allow=allow))
            made.home.mkdir(parents=True, mode=0o700)
            if account is not None:
                made.login()
            return made

        yield make


@pytest.fixture(scope="module")
def alice(meet: Meet) -> Person:
    """She has an account on the first PDS, and is logged in."""
    return meet("alice", pds=1)


@pytest.fixture(scope="module")
def bob(meet: Meet) -> Person:
    """He has no account anywhere, and is not logged in."""
    return meet("bob")


@pytest.fixture(scope="module")
def carol(meet: Meet) -> Person:
    """She has an account on the second PDS, and is logged in."""
    return meet("carol", pds=2)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which things to publish are made."""
    return tmp_path_factory.mktemp("desk")
