"""The PDS itself is killed: publishing outlasts it, and what was pulled stays readable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import atd
from reference.network import Network
from story.people import Person, person
from story.sources import counted


@pytest.fixture(scope="module")
def network(start_network: Callable[..., Network]) -> Network:
    """Each server in a process of its own, so that one can be killed."""
    return start_network(count=1, apart=True)


@pytest.fixture(scope="module")
def people(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Person]]:
    """Alice, who publishes, and bob, who has no account."""
    folder = tmp_path_factory.mktemp("power")
    with ExitStack() as ending:
        accounts = {"alice": network.accounts[0], "bob": None}
        found = [
            ending.enter_context(person(network, folder / name, account))
            for name, account in accounts.items()
        ]
        found[0].login()
        yield found


def test_a_server_that_comes_back_is_waited_for(
    network: Network, people: list[Person], tmp_path: Path
) -> None:
    alice, bob = people
    noise = np.random.default_rng(0).integers(0, 255, (600, 1000), dtype=np.uint8)
    np.savez(tmp_path / "numbers.npz", noise=noise)
    words = ["--name", "numbers", "--yes", "--shard-size", "65536"]
    process = alice.start("publish", str(tmp_path / "numbers.npz"), *words)
    assert process.stderr is not None
    said = iter(process.stderr.readline, "")
    assert any(line.startswith("checked") for line in said), "uploading begins now"
    network.pds_processes[0].kill()
    network.pds_processes[0].start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(f"published @{alice.handle}/numbers 1.0.0")
    assert alice.repository.releases("numbers") == ["1.0.0"]
    entries = alice.repository.parts("numbers")["1.0.0"]
    shards = {entry["blob"]["ref"]["$link"] for entry in entries}
    assert alice.repository.blobs == shards | alice.repository.previews
    assert bob.json("verify", f"@{alice.handle}/numbers", "--fetch")["holds"]
    rows = atd.load(f"@{alice.handle}/numbers", connection=bob.connection)
    assert counted(rows) == counted({"noise": one} for one in noise)


def test_a_server_that_is_down_is_said_and_what_is_here_loads(
    network: Network, people: list[Person]
) -> None:
    alice, bob = people
    ref = f"@{alice.handle}/numbers"
    network.pds_processes[0].kill()
    try:
        for command in (["show", ref], ["verify", ref]):
            said = bob.run(*command, code=50)
            assert "connection refused" in said.err + said.out
        assert len(atd.load(f"{ref}@1.0.0", connection=bob.connection)) == 600
        assert bob.json("show", ref, "--cached")["dataset"]["proof"]["state"] == "proved"
        assert bob.json("pull", f"{ref}@1.0.0")["fetched"] == 0
    finally:
        network.pds_processes[0].start()
    assert bob.json("verify", ref)["holds"]
