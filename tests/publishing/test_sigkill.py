"""SIGKILL between any two steps of a publication, against the reference PDS.

Every point between two steps is tried: a process publishes, kills itself there, and is run
again. Afterwards there is one release, each record and each blob once, and everything
proves to a reader who knows nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atd.settings import Settings
from atd_daemon.services import open_services
from reference.network import Network

VICTIM = Path(__file__).with_name("victim.py")


@dataclass
class Home:
    """A daemon's home in the reference network."""

    network: Network
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        return {
            "ATD_HOME": str(self.folder),
            "HOME": str(self.folder),
            "ATD_PLC_URL": self.network.plc_url,
            "ATD_DNS_SERVER": self.network.zone.address,
            "ATD_ALLOW_HOSTS": self.network.allow_hosts,
            "VICTIM_HANDLE": "carol.pds2.test",
        }

    def run(self, name: str, seed: int, kill_at: int = 0) -> tuple[int, list[str]]:
        """Publish noise from ``seed``; the exit status and the lines that were printed."""
        done = subprocess.run(
            [sys.executable, str(VICTIM), name, str(seed), str(kill_at)],
            env={**os.environ, **self.variables},
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout.splitlines()


def keys(network: Network, did: str, collection: str) -> list[str]:
    """The record keys of a collection, as the PDS lists them."""
    query = urllib.parse.urlencode(
        {"repo": did, "collection": f"network.atd.{collection}", "limit": 100}
    )
    url = f"{network.pds[1]}/xrpc/com.atproto.repo.listRecords?{query}"
    with urllib.request.urlopen(url) as reply:
        records: list[dict[str, Any]] = json.load(reply)["records"]
    return [record["uri"].rpartition("/")[2] for record in records]


def listed(network: Network, did: str, collection: str, name: str) -> list[str]:
    """The record keys of a collection that belong to a data set."""
    found = keys(network, did, collection)
    return sorted(key for key in found if key == name or key.startswith(f"{name}:"))


@pytest.mark.reference
@pytest.mark.timeout(600)
async def test_sigkill_at_every_step_and_run_again(reference: Network, tmp_path: Path) -> None:
    carol = reference.account("carol.pds2.test")
    home = Home(reference, tmp_path / "home")
    others = keys(reference, carol.did, "shards")
    status, lines = home.run("undisturbed", 0)
    assert status == 0
    steps = lines[:-1]
    assert {"sent a shard", "planned", "after batch 0", "adopted"} <= set(steps)
    for kill_at in range(1, len(steps) + 1):
        name = f"killed-{kill_at}"
        status, before = home.run(name, kill_at, kill_at)
        assert (status, before) == (-signal.SIGKILL, steps[:kill_at])
        status, lines = home.run(name, kill_at)
        assert status == 0, lines
        result = json.loads(lines[-1])
        assert (result["version"], result["unchanged"]) == ("1.0.0", False)
        # A blob is sent again only if the process died before it could note that it was sent.
        unnoted = before[-1] == "sent a shard"
        assert (before + lines).count("sent a shard") == result["shards"] + unnoted
        assert listed(reference, carol.did, "release", name) == [f"{name}:1.0.0"]
        assert listed(reference, carol.did, "schema", name) == [f"{name}:1.0.0"]
        assert listed(reference, carol.did, "dataset", name) == [name]
    names = {"undisturbed", *(f"killed-{at}" for at in range(1, len(steps) + 1))}
    await everything_proves(home, tmp_path / "reader", names, others)


async def everything_proves(home: Home, folder: Path, names: set[str], others: list[str]) -> None:
    """A reader who knows nothing gets every data set, down to the bytes of its shards.

    ``others`` are the keys of shard lists that were there before.
    """
    variables = {**home.variables, "ATD_HOME": str(folder)}
    settings = Settings.load(variables)
    settings.prepare()
    async with open_services(settings, datetime.now(UTC)) as services:
        await services.resolver.publisher("carol.pds2.test")
        entries = [entry for entry in services.catalog.datasets() if entry.name in names]
        assert {entry.name for entry in entries} == names
        assert services.catalog.problems() == []
        seen: set[str] = set()
        for entry in entries:
            found = await services.resolver.dataset(f"@carol.pds2.test/{entry.name}")
            parts = [str(part.uri) for split in found.splits for part in split.parts]
            assert not seen.intersection(parts)
            seen.update(parts)
            for shard in found.shards:
                await services.store.ensure(shard.want)
        lists = services.catalog.records(entries[0].did, "network.atd.shards")
        assert len(lists) == len(seen) + len(others), "a shard list was written twice"
