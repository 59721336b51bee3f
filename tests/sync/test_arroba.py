"""Reading and writing against arroba, a PDS that is neither ours nor the reference one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import arroba.server
import arroba.xrpc_repo
import arroba.xrpc_server
import arroba.xrpc_sync
import pytest
from arroba.repo import Repo
from arroba.storage import MemoryStorage
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response, jsonify
from lexrpc.flask_server import init_flask
from werkzeug.serving import make_server

from atd.errors import LoginRefused, RecordAbsent
from atd.protocol.keys import PrivateKey
from atd.protocol.proof import VerifiedAbsence
from atd.protocol.syntax import Did
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.account import Accounts, create, update
from atd_daemon.network.directory import Directory
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.sync.resolve import Resolver
from reference.dnszone import Zone
from world import World
from world.account import key_for
from world.datasets import publish
from world.plc import document_of


@dataclass(frozen=True)
class Lab:
    """A did:web account on a running arroba."""

    did: Did
    key: PrivateKey
    port: int
    zone: Zone


@pytest.fixture
def lab() -> Iterator[Lab]:
    app = Flask("arroba")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    port: int = server.server_port
    did = Did(f"did:web:localhost%3A{port}")
    key = key_for("lab", curve="p256")
    storage = MemoryStorage()
    arroba.server.storage = storage
    secret = ec.derive_private_key(int.from_bytes(key.to_bytes()), ec.SECP256R1())
    Repo.create(storage, str(did), handle="lab.test", signing_key=secret)
    init_flask(arroba.server.server, app)
    service = {"type": "AtprotoPersonalDataServer", "endpoint": f"http://localhost:{port}"}
    fields = {
        "alsoKnownAs": ["at://lab.test"],
        "verificationMethods": {"atproto": key.public.to_did_key()},
        "services": {"atproto_pds": service},
    }

    @app.get("/.well-known/did.json")
    def document() -> Response:
        return jsonify(document_of(did, fields))

    before = os.environ.copy()
    os.environ.update(REPO_TOKEN="token-of-arroba", REPO_PASSWORD="hunter2", PDS_HOST="localhost")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Zone() as zone:
        zone.point("lab.test", did)
        yield Lab(did, key, port, zone)
    server.shutdown()
    thread.join()
    server.server_close()
    os.environ.clear()
    os.environ.update(before)


async def test_records_written_to_arroba_are_proved_and_indexed(lab: Lab, tmp_path: Path) -> None:
    config = Config.under(
        tmp_path,
        dns_server=lab.zone.address,
        allow_hosts=frozenset({f"localhost:{lab.port}"}),
    )
    fetcher = open_fetcher(config)
    catalog = Catalog(tmp_path / "index.sqlite")
    directory = Directory(fetcher, DnsResolver(config), config)
    resolver = Resolver(directory, PdsReader(fetcher, config), catalog, config)
    accounts = Accounts(tmp_path, fetcher, directory, config)
    try:
        with pytest.raises(LoginRefused, match="refused the password"):
            await accounts.login("lab.test", "wrong")
        account = await accounts.login("lab.test", "hunter2")
        assert account.did == lab.did
        with pytest.raises(RecordAbsent) as caught:  # arroba answers 400 and proves nothing
            await resolver.dataset("@lab.test/flowers")
        assert isinstance(caught.value.proof, VerifiedAbsence)
        writes = _records(lab)
        await accounts.apply_writes(lab.did, writes, None)
        found = await resolver.dataset("@lab.test/flowers")
        assert found.identity.key == lab.key.public
        assert len(found.shards) == 3
        again = [update(w["collection"], w["rkey"], w["value"]) for w in writes[-1:]]
        again[0]["value"]["title"] = "Flowers"
        await accounts.apply_writes(lab.did, again, None)
        indexed = await resolver.publisher(lab.did)
        assert indexed.changes is not None
        assert [entry.title for entry in catalog.datasets(lab.did)] == ["Flowers"]
    finally:
        await fetcher.close()
        catalog.close()


def _records(lab: Lab) -> list[dict[str, object]]:
    """The records of a data set, as they would stand in this account."""
    twin = World().account("lab.test", did=lab.did)
    publish(twin)
    writes = []
    for key, cid in twin.head.records.items():
        collection, _, rkey = key.partition("/")
        value = twin.value(cid)
        assert isinstance(value, dict)
        writes.append(create(collection, rkey, value))
    return sorted(writes, key=lambda write: write["collection"] == "network.atd.dataset")
