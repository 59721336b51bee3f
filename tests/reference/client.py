"""Writing to and asking a PDS over plain XRPC with nothing but the standard library.

Nothing of atd is used here, so that what it reads back was not also written by it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from reference.network import Account

TIMEOUT_S = 30


@dataclass
class Reply:
    """What a server answered, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(origin: str, method: str, **parameters: object) -> Reply:
    """One query: ``GET /xrpc/method?…``."""
    return _send(Request(f"{origin}/xrpc/{method}?{urlencode(parameters, quote_via=quote)}"))


def get_document(plc_url: str, did: str) -> dict[str, Any]:
    """The DID document that the PLC directory has."""
    document: dict[str, Any] = _send(Request(f"{plc_url}/{did}")).json()
    return document


@dataclass
class Session:
    """Logged in to a PDS as ``account``."""

    account: Account
    _token: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        body = {"identifier": self.account.handle, "password": self.account.password}
        reply = call(self.account.pds, "com.atproto.server.createSession", body)
        assert reply.status == 200, reply
        self._token = reply.json()["accessJwt"]

    def call(self, method: str, body: object) -> Reply:
        """One procedure with a JSON body."""
        return call(self.account.pds, method, body, self._token)

    def headers(self) -> dict[str, str]:
        """What a request of this session carries."""
        return {"authorization": f"Bearer {self._token}"}

    def put(self, collection: str, rkey: str, record: dict[str, Any]) -> dict[str, Any]:
        """Write a record; its ``uri`` and ``cid``."""
        body = {"repo": self.account.did, "collection": collection, "rkey": rkey}
        return self._done("com.atproto.repo.putRecord", {**body, "record": record})

    def delete(self, collection: str, rkey: str) -> None:
        """Delete a record."""
        body = {"repo": self.account.did, "collection": collection, "rkey": rkey}
        self._done("com.atproto.repo.deleteRecord", body)

    def upload_blob(self, data: bytes, mime: str) -> dict[str, Any]:
        """Upload a blob; the blob object to put into a record."""
        headers = {"content-type": mime, "authorization": f"Bearer {self._token}"}
        url = f"{self.account.pds}/xrpc/com.atproto.repo.uploadBlob"
        reply = _send(Request(url, data, headers))
        assert reply.status == 200, reply
        blob: dict[str, Any] = reply.json()["blob"]
        return blob

    def proof(self, collection: str, rkey: str) -> bytes:
        """The CAR file of ``com.atproto.sync.getRecord``."""
        place = {"did": self.account.did, "collection": collection, "rkey": rkey}
        reply = ask(self.account.pds, "com.atproto.sync.getRecord", **place)
        assert reply.status == 200, reply
        return reply.body

    def repo(self) -> bytes:
        """The CAR file of ``com.atproto.sync.getRepo``."""
        reply = ask(self.account.pds, "com.atproto.sync.getRepo", did=self.account.did)
        assert reply.status == 200, reply
        return reply.body

    def _done(self, method: str, body: object) -> dict[str, Any]:
        reply = self.call(method, body)
        assert reply.status == 200, reply
        result: dict[str, Any] = reply.json()
        return result


def call(origin: str, method: str, body: object, token: str | None = None) -> Reply:
    """One procedure: ``POST /xrpc/method`` with a JSON body."""
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return _send(Request(f"{origin}/xrpc/{method}", json.dumps(body).encode(), headers))


def _send(request: Request) -> Reply:
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            return Reply(response.status, dict(response.headers.items()), response.read())
    except HTTPError as error:
        with error:
            return Reply(error.code, dict(error.headers.items()), error.read())
