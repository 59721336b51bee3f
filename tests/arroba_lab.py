"""A running arroba: a PDS that is neither ours nor the reference one, with one account.

It takes records (createRecord, putRecord, applyWrites without ``swapCommit``) and has no blobs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import arroba.server
import arroba.xrpc_repo
import arroba.xrpc_server
import arroba.xrpc_sync
from arroba.repo import Repo
from arroba.storage import MemoryStorage
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response, jsonify
from lexrpc.flask_server import init_flask
from werkzeug.serving import make_server

from atd.protocol.keys import PrivateKey
from atd.protocol.syntax import Did
from atd_daemon.network.account import create
from reference.dnszone import Zone
from world import World
from world.account import key_for
from world.datasets import publish
from world.plc import document_of

HANDLE = "lab.test"
PASSWORD = "hunter2"
TOKEN = "token-of-arroba"


@dataclass(frozen=True)
class Lab:
    """A did:web account on a running arroba."""

    did: Did
    key: PrivateKey
    port: int
    zone: Zone

    @property
    def host(self) -> str:
        """Its ``host:port``."""
        return f"localhost:{self.port}"

    @property
    def token(self) -> str:
        """What may write into the repository."""
        return TOKEN


@contextmanager
def running() -> Iterator[Lab]:
    """An arroba on loopback while the context is open; its handle is in a DNS zone of its own."""
    app = Flask("arroba")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    port: int = server.server_port
    did = Did(f"did:web:localhost%3A{port}")
    key = key_for("lab", curve="p256")
    storage = MemoryStorage()
    arroba.server.storage = storage
    secret = ec.derive_private_key(int.from_bytes(key.to_bytes()), ec.SECP256R1())
    Repo.create(storage, str(did), handle=HANDLE, signing_key=secret)
    init_flask(arroba.server.server, app)
    service = {"type": "AtprotoPersonalDataServer", "endpoint": f"http://localhost:{port}"}
    fields = {
        "alsoKnownAs": [f"at://{HANDLE}"],
        "verificationMethods": {"atproto": key.public.to_did_key()},
        "services": {"atproto_pds": service},
    }

    @app.get("/.well-known/did.json")
    def document() -> Response:
        return jsonify(document_of(did, fields))

    before = os.environ.copy()
    os.environ.update(REPO_TOKEN=TOKEN, REPO_PASSWORD=PASSWORD, PDS_HOST="localhost")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Zone() as zone:
        zone.point(HANDLE, did)
        yield Lab(did, key, port, zone)
    server.shutdown()
    thread.join()
    server.server_close()
    os.environ.clear()
    os.environ.update(before)


def dataset_records(lab: Lab) -> list[dict[str, object]]:
    """The writes of a data set called flowers, as it would stand in this account; its head last."""
    twin = World().account(HANDLE, did=lab.did)
    publish(twin)
    writes = []
    for key, cid in twin.head.records.items():
        collection, _, rkey = key.partition("/")
        value = twin.value(cid)
        assert isinstance(value, dict)
        writes.append(create(collection, rkey, value))
    return sorted(writes, key=lambda write: write["collection"] == "network.atd.dataset")
