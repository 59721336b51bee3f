"""The town: alice publishes from a host of her own, bob reads, and names resolve on loopback."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from cli.front import Front, silence
from cli.stage import Person, table
from reference.dnszone import Zone
from reference.network import free_ports

MakePerson = Callable[..., Person]


@dataclass
class Town:
    """What the tests of this folder share. ``plants`` is alice's data set of 40 rows.

    Tests that change alice's data set, or what is in somebody's store, make one of their own.
    ``unanswered`` is a question of carol's to a server that accepts it and is silent: it was asked
    when the town was made, so that nobody has to wait for its end.
    """

    zone: Zone
    front: Front
    alice: Person
    bob: Person
    folder: Path
    password: str
    unanswered: subprocess.Popen[str]

    @property
    def variables(self) -> dict[str, str]:
        """What anybody needs to find their way in this town."""
        return {"ATD_DNS_SERVER": self.zone.address, "ATD_ALLOW_HOSTS": self.front.domain}


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with ExitStack() as ending:
        zone = ending.enter_context(Zone())
        listen = f"127.0.0.1:{free_ports(1)}"
        front = ending.enter_context(Front(f"http://{listen}"))
        known = {"ATD_DNS_SERVER": zone.address, "ATD_ALLOW_HOSTS": front.domain}
        alice = Person.at(folder / "alice", ATD_HOST_LISTEN=listen, **known)
        bob = Person.at(folder / "bob", **known)
        for person in (alice, bob):
            ending.callback(person.leave)
        zone.point("alice.test", front.did)
        made = alice.run("host", "init", front.domain, "--handle", "alice.test", "--json").done()
        password: str = made.json["password"]
        alice.run("login", "alice.test", "--password-stdin", stdin=password + "\n").done()
        carol, silent = ending.enter_context(_at_a_silent_server(front, folder))
        ending.callback(carol.leave)
        unanswered = carol.start("show", f"{silent.did}/plants")
        ending.callback(unanswered.kill)
        rows = [("height", "name"), *((n, f"plant {n}") for n in range(40))]
        source = table(folder / "plants.csv", rows)
        alice.run("publish", str(source), "--name", "plants", "--yes").done()
        yield Town(zone, front, alice, bob, folder, password, unanswered)


@contextmanager
def _at_a_silent_server(front: Front, folder: Path) -> Iterator[tuple[Person, Front]]:
    """Somebody who may ask a server that has a DID document of its own, and says nothing else."""

    async def document(request: web.Request) -> web.StreamResponse:
        said = await front.ask(request.path)
        return web.json_response(text=said.replace(f"{front.port}", f"{silent.port}"))

    with Front("http://localhost:1") as silent:
        silent.will(document, "/.well-known/did.json")
        silent.will(silence)
        yield Person.at(folder / "carol", ATD_ALLOW_HOSTS=silent.domain), silent


@pytest.fixture(autouse=True)
def _behaved(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test told the front to do ends with the test."""
    yield
    if "town" in request.fixturenames:
        request.getfixturevalue("town").front.behave()


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[MakePerson]:
    """People of this test alone; their daemons are stopped at its end."""
    numbers = itertools.count()
    made: list[Person] = []

    def make(home: Path | None = None, **variables: str) -> Person:
        place = tmp_path / f"home{next(numbers)}" if home is None else home
        made.append(Person.at(place, **variables))
        return made[-1]

    yield make
    for person in made:
        person.leave()


@pytest.fixture
def stranger(somebody: MakePerson, town: Town) -> Person:
    """Somebody in the town who never heard of anybody."""
    return somebody(**town.variables)
