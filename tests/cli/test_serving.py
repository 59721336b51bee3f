"""A group shares a daemon: one follows and serves, others search there and take shards from it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from atd.errors import BadSettings, Conflict, InvalidSyntax
from cli.conftest import MakePerson
from cli.stage import Person, table
from reference.install import HERE, node
from reference.network import Network, free_ports

pytestmark = pytest.mark.reference
HANDLE = "carol.pds2.test"
NAME = "shared-plants"


@pytest.fixture
def variables(reference: Network) -> dict[str, str]:
    return {
        "ATD_PLC_URL": reference.plc_url,
        "ATD_DNS_SERVER": reference.zone.address,
        "ATD_ALLOW_HOSTS": reference.allow_hosts,
    }


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=20) as reply:
            return int(reply.status)
    except HTTPError as error:
        with error:
            return error.code


def test_one_follows_and_serves_and_others_search_there_and_take_shards_from_it(
    reference: Network, somebody: MakePerson, variables: dict[str, str], tmp_path: Path
) -> None:
    carol = somebody(**variables)
    password = reference.account(HANDLE).password + "\n"
    carol.run("login", HANDLE, "--password-stdin", stdin=password).done()
    rows = [("height", "name"), *((n, f"plant {n}") for n in range(20))]
    source = table(tmp_path / "plants.csv", rows)
    carol.run("publish", str(source), "--name", NAME, "--yes").done()

    port = free_ports(1)
    server = somebody(**variables)
    started = server.run("daemon", "start", "--public", f"127.0.0.1:{port}").done()
    assert f"127.0.0.1:{port}" in started.out
    server.run("follow", f"@{HANDLE}").done()
    server.run("pull", f"@{HANDLE}/{NAME}").done()
    found = server.run("daemon", "status", "--json").done().json
    assert found["public"] == {"listen": f"127.0.0.1:{port}", "running": True}
    assert found["health"]["fresh"]["ok"] is True

    origin = f"http://127.0.0.1:{port}"
    assert status_of(f"{origin}/health/ready") == 200
    assert status_of(f"{origin}/xrpc/network.atd.daemon.getStatus") == 404
    assert status_of(f"{origin}/metrics") == 404

    dave = somebody(**variables, ATD_MIRRORS=origin)
    listed = dave.run("search", "plants", "--at", origin, "--json").done()
    (hit,) = [one for one in listed.json["datasets"] if one["name"] == NAME]
    assert hit["proof"]["state"] == "unproved"
    shown = dave.run("search", "plants", "--at", origin).done()
    assert "unproved" in shown.out
    assert "not proved here" in shown.err
    dave.run("pull", f"@{HANDLE}/{NAME}").done()
    with urlopen(f"{origin}/xrpc/network.atd.catalog.searchDatasets?q=plants") as reply:
        assert any(one["name"] == NAME for one in json.load(reply)["datasets"])
    metrics = server.run_python("-c", METRICS).done().out
    assert 'atd_public_requests_total{status="200"}' in metrics
    sent = next(line for line in metrics.splitlines() if line.startswith("atd_public_sent_bytes"))
    assert float(sent.split()[1]) > 1000

    proof = tmp_path / "plants.proof"
    server.run("prove", f"@{HANDLE}/{NAME}", "-o", str(proof)).done()
    checked = dave.run("prove", "--check", str(proof), "--json").done().json
    independent = subprocess.run(
        [str(node()), str(HERE / "bundle.mjs"), str(proof)],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(independent.stdout)
    assert [(one["uri"], one["cid"]) for one in found["verified"]] == [
        (one["uri"], one["cid"]) for one in checked["proved"]["records"]
    ]
    (identity,) = checked["proved"]["identities"]
    assert found["keys"] == {identity["did"]: identity["key"]}

    server.run("unfollow", f"@{HANDLE}").done()
    again = dave.run("search", "plants", "--at", origin, "--json").done()
    assert NAME not in again.out


METRICS = """
import http.client, socket
from atd.settings import Settings
line = http.client.HTTPConnection("localhost")
line.sock = socket.socket(socket.AF_UNIX)
line.sock.connect(str(Settings.load().socket_path))
line.request("GET", "/metrics")
print(line.getresponse().read().decode())
"""


def test_a_running_daemon_does_not_become_public_by_the_way(somebody: MakePerson) -> None:
    person = somebody()
    person.run("daemon", "start").done()
    result = person.run("daemon", "start", "--public", "127.0.0.1:9")
    result.refused(Conflict, "without the public mode", advice="atd daemon stop")


def test_an_address_that_is_none_starts_nothing(somebody: MakePerson) -> None:
    person = somebody()
    person.run("daemon", "start", "--public", "everywhere").refused(BadSettings, "--public")
    assert person.files() == []


def test_what_is_no_server_cannot_be_searched(somebody: MakePerson) -> None:
    person: Person = somebody()
    person.run("search", "x", "--at", "mirror").refused(InvalidSyntax, "expected a server")
