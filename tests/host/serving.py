"""A host on a real port of loopback, in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from aiohttp import web

from atd.protocol.identity import Identity
from atd_daemon.host.account import Account
from atd_daemon.host.app import create_host_app
from atd_daemon.host.host import Host, NewAccount
from atd_daemon.host.limits import HostLimits
from atd_daemon.inflight import InFlight


class Served:
    """``with Served(folder) as served:`` serves the host folder at ``served.origin``."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        limits: HostLimits | None = None,
        port: int = 0,
    ) -> None:
        self.host = Host.open(folder, clock, limits)
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        app = create_host_app(self.host)
        self._in_flight = InFlight(app)
        self._runner = web.AppRunner(app, shutdown_timeout=5)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    async def _start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.host.close()

    def stop(self) -> None:
        """Stop serving; the host stays open."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(20)

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._in_flight.end()

    @property
    def domain(self) -> str:
        return f"localhost:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.domain}"

    def make(self, handle: str = "alice.test") -> NewAccount:
        """An account at this very listener."""
        return self.host.init(self.domain, handle)

    def client(self, account: NewAccount) -> Client:
        return Client(self, account)


class Client:
    """A plain HTTP client, logged in; reads and writes as anybody would."""

    def __init__(self, served: Served, account: NewAccount) -> None:
        self.served = served
        self.account = account
        self.did = account.did
        self.http = requests.Session()
        self.tokens: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.login()

    def login(self) -> None:
        answer = self.post(
            "com.atproto.server.createSession",
            {"identifier": self.account.handle, "password": self.account.password},
        )
        assert answer.status_code == 200, answer.text
        self.tokens = answer.json()
        self.headers = {"Authorization": f"Bearer {self.tokens['accessJwt']}"}

    def post(self, method: str, body: Any = None, **options: Any) -> requests.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return self.http.post(
            f"{self.served.origin}/xrpc/{method}", json=body, headers=headers, timeout=30, **options
        )

    def get(self, method: str, **params: Any) -> requests.Response:
        return self.http.get(f"{self.served.origin}/xrpc/{method}", params=params, timeout=30)

    def put(self, collection: str, rkey: str, value: dict[str, Any], **more: Any) -> Any:
        body = {"repo": self.did, "collection": collection, "rkey": rkey, "record": value, **more}
        return answered(self.post("com.atproto.repo.putRecord", body))

    def delete(self, collection: str, rkey: str, **more: Any) -> Any:
        body = {"repo": self.did, "collection": collection, "rkey": rkey, **more}
        return answered(self.post("com.atproto.repo.deleteRecord", body))

    def apply(self, *writes: dict[str, Any], **more: Any) -> requests.Response:
        body = {"repo": self.did, "writes": list(writes), **more}
        return self.post("com.atproto.repo.applyWrites", body)

    def upload(self, data: bytes, mime: str = "application/octet-stream") -> Any:
        answer = self.http.post(
            f"{self.served.origin}/xrpc/com.atproto.repo.uploadBlob",
            data=data,
            headers={**self.headers, "Content-Type": mime},
            timeout=30,
        )
        return answered(answer)["blob"]

    def car(self, **params: Any) -> bytes:
        answer = self.get("com.atproto.sync.getRepo", did=self.did, **params)
        assert answer.status_code == 200, answer.text
        return answer.content

    def proof(self, collection: str, rkey: str) -> bytes:
        answer = self.get(
            "com.atproto.sync.getRecord", did=self.did, collection=collection, rkey=rkey
        )
        assert answer.status_code == 200, answer.text
        return answer.content

    def head(self) -> Any:
        return answered(self.get("com.atproto.sync.getLatestCommit", did=self.did))

    def identity(self) -> Identity:
        """The account as a stranger learns of it: from the DID document that is served."""
        answer = self.http.get(f"{self.served.origin}/.well-known/did.json", timeout=30)
        return Identity.from_document(answered(answer))

    @property
    def inside(self) -> Account:
        return self.served.host.account(self.account.domain)


def answered(answer: requests.Response) -> Any:
    assert answer.status_code == 200, (answer.status_code, answer.text)
    return answer.json()


def refused(answer: requests.Response) -> tuple[int, str]:
    """The status and the XRPC error name of a refusal."""
    assert answer.status_code >= 400, answer.text
    return answer.status_code, answer.json()["error"]


def creation(collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
    kind = "com.atproto.repo.applyWrites#create"
    return {"$type": kind, "collection": collection, "rkey": rkey, "value": value}


def change(collection: str, rkey: str, value: dict[str, Any]) -> dict[str, Any]:
    kind = "com.atproto.repo.applyWrites#update"
    return {"$type": kind, "collection": collection, "rkey": rkey, "value": value}


def deletion(collection: str, rkey: str) -> dict[str, Any]:
    return {"$type": "com.atproto.repo.applyWrites#delete", "collection": collection, "rkey": rkey}
