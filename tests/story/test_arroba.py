"""Records on arroba, a PDS by other people: found, proved and shown by the real commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arroba_lab import HANDLE, PASSWORD, Lab, dataset_records, running
from atd.protocol.cbor import to_json
from reference.client import call
from reference.network import Network
from story.people import Person, person

REF = f"@{HANDLE}/flowers"


@pytest.fixture(scope="module")
def lab(reference: Network) -> Iterator[Lab]:
    """An arroba with the records of a data set, whose handle is in the zone of the network."""
    with running() as lab:
        reference.zone.point(HANDLE, lab.did)
        writes = {"repo": lab.did, "writes": to_json(dataset_records(lab))}
        reply = call(f"http://{lab.host}", "com.atproto.repo.applyWrites", writes, lab.token)
        assert reply.status == 200, reply
        yield lab


@pytest.fixture(scope="module")
def bob(reference: Network, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    home = tmp_path_factory.mktemp("arroba") / "bob"
    with person(reference, home, allow=lab.host) as bob:
        home.mkdir()
        yield bob


def test_a_data_set_on_arroba_is_found_and_proved(bob: Person, lab: Lab) -> None:
    listed = bob.json("ls", f"@{HANDLE}")
    assert [(one["name"], one["proof"]["state"]) for one in listed["datasets"]] == [
        ("flowers", "proved")
    ]
    assert listed["problems"] == []
    assert bob.json("search", "flowers")["datasets"][0]["did"] == lab.did
    shown = bob.run("show", REF).out
    assert f"http://{lab.host}" in shown
    assert "handle proved both ways" in shown
    answer = bob.json("verify", REF)
    assert answer["holds"]
    assert (answer["shards"], answer["absent"]) == (0, 3), "no shard is in the store"
    bob.run("show", f"@{HANDLE}/none", code=43)


def test_publishing_to_a_pds_that_cannot_is_refused_and_writes_nothing(
    bob: Person, lab: Lab, tmp_path: Path
) -> None:
    bob.run("login", HANDLE, "--password-stdin", stdin=PASSWORD + "\n")
    table = tmp_path / "table.csv"
    table.write_text("a\n1\n")
    for store, lacking in (("pds", "uploadBlob"), (str(tmp_path / "out"), "swapCommit")):
        words = ["publish", str(table), "--name", "table", "--yes", "--store", store]
        said = bob.run(*words, code=10)
        assert said.out == ""
        assert f"{lab.host} refused the write" in said.err
        assert lacking in said.err
    bob.run("show", f"@{HANDLE}/table", code=43)
