"""Reading from a PDS: unauthenticated XRPC, and nothing that comes back is believed here.

What leaves this module is bytes for `atd.protocol.proof`, or hints (marked as such) about what to
ask next. A PDS that says that it serves an account no more is AccountInactive; that a record does
not exist is never taken from its word, only from a proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from atd.errors import AccountInactive, AtdError, InvalidSyntax, Unreachable
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid, quote
from atd_daemon.config import Config
from atd_daemon.network.fetch import Fetcher, Reply, StreamReply, host_of
from atd_daemon.network.xrpc import error_of, method_url

CAR_TYPE: Final = "application/vnd.ipld.car"
_INACTIVE: Final = {
    "RepoNotFound": "is not hosted there",
    "RepoDeactivated": "is deactivated",
    "RepoTakendown": "is taken down",
    "RepoSuspended": "is suspended",
}
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """What a PDS says of an account: unproved. ``status`` is a word such as ``deactivated``."""

    active: bool
    status: str | None
    rev: Tid | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A hint that there may be a record at ``uri``: to be proved before it means anything."""

    uri: AtUri
    cid: Cid


@dataclass(frozen=True, slots=True)
class ServerDescription:
    """What a PDS says of itself; ``blob_limit`` in bytes where it says."""

    did: Did
    blob_limit: int | None


class PdsReader:
    """Asks PDSes. Every method raises Unreachable, RateLimited or Offline as `Fetcher` does."""

    def __init__(self, fetcher: Fetcher, config: Config) -> None:
        self._fetcher = fetcher
        self._config = config

    async def record_proof(self, identity: Identity, uri: AtUri) -> bytes:
        """The CAR that should prove the record at ``uri``, or that there is none.

        Raises:
            AccountInactive: the PDS serves this account no more.
        """
        params: dict[str, object] = {"did": uri.did, "collection": uri.collection, "rkey": uri.rkey}
        reply = await self._get(
            identity, "com.atproto.sync.getRecord", params, self._config.max_car_bytes
        )
        # Some servers (arroba) refuse to prove an absence; the whole repository proves it.
        # Not one of any size: a server could answer every question with half a gigabyte.
        if reply.status in (400, 404) and error_of(reply)[0] in ("RecordNotFound", "NotFound"):
            return await self._repo(identity, self._config.max_absence_bytes)
        return _car(reply, identity)

    async def repo(self, identity: Identity) -> bytes:
        """The CAR of the whole repository.

        Raises:
            AccountInactive: the PDS serves this account no more.
        """
        return await self._repo(identity, self._config.max_repo_bytes)

    async def _repo(self, identity: Identity, max_bytes: int) -> bytes:
        url = _url(identity, "com.atproto.sync.getRepo", {"did": identity.did})
        limit_s = self._config.repo_timeout_s
        # A large repository takes its time, but a server that says nothing is given up early.
        try:
            async with (
                asyncio.timeout(limit_s),
                self._fetcher.stream("GET", url, max_bytes=max_bytes) as reply,
            ):
                body = b"".join([chunk async for chunk in reply.chunks])
        except TimeoutError:
            raise Unreachable(
                f"{host_of(url)} did not send the repository of {identity.did} within {limit_s:g} s"
            ) from None
        return _car(Reply(reply.status, reply.headers, body, reply.url), identity)

    async def latest_commit(self, identity: Identity) -> tuple[Cid, Tid]:
        """What the PDS says is the head: its CID and revision. A hint.

        Raises:
            AccountInactive: the PDS serves this account no more.
        """
        reply = await self._get(identity, "com.atproto.sync.getLatestCommit", {"did": identity.did})
        value = _json(reply, identity)
        try:
            return Cid.parse(value["cid"]), Tid.parse(value["rev"])
        except (KeyError, TypeError, InvalidSyntax):
            raise _nonsense(reply, "the head of a repository", value) from None

    async def repo_status(self, identity: Identity) -> RepoStatus:
        """Whether the PDS says that the account is active. A hint.

        Raises:
            AccountInactive: the PDS does not know the account.
        """
        reply = await self._get(identity, "com.atproto.sync.getRepoStatus", {"did": identity.did})
        value = _json(reply, identity)
        active, status, rev = value.get("active"), value.get("status"), value.get("rev")
        if not isinstance(active, bool) or not isinstance(status, str | None):
            raise _nonsense(reply, "the status of a repository", value)
        try:
            return RepoStatus(active, status, None if rev is None else Tid.parse(rev))
        except InvalidSyntax:
            raise _nonsense(reply, "the status of a repository", value) from None

    async def list_records(self, identity: Identity, collection: Nsid) -> list[Listed]:
        """Hints about the records of a collection, newest key first.

        Raises:
            AccountInactive: the PDS serves this account no more.
            Unreachable: also if there are more than ``max_listed_records``, or pages repeat.
        """
        found: dict[AtUri, Listed] = {}
        cursor: str | None = None
        while True:
            params: dict[str, object] = {
                "repo": identity.did,
                "collection": collection,
                "limit": _PAGE,
            }
            if cursor is not None:
                params["cursor"] = cursor
            reply = await self._get(identity, "com.atproto.repo.listRecords", params)
            value = _json(reply, identity)
            page = [_listed(reply, identity, collection, row) for row in _rows(reply, value)]
            before = len(found)
            found |= {listed.uri: listed for listed in page}
            cursor = value.get("cursor")
            if not page or not isinstance(cursor, str) or not cursor:
                return list(found.values())
            if len(found) == before or len(found) > self._config.max_listed_records:
                raise Unreachable(f"{host_of(identity.pds)} lists {collection} without an end")

    @asynccontextmanager
    async def blob(
        self, identity: Identity, cid: Cid, offset: int = 0
    ) -> AsyncIterator[StreamReply]:
        """Open a blob for reading, from ``offset`` where the PDS heeds it (status 206)."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        url = _url(identity, "com.atproto.sync.getBlob", {"did": identity.did, "cid": cid})
        async with self._fetcher.stream("GET", url, headers=headers) as reply:
            yield reply

    async def describe_server(self, pds: str) -> ServerDescription:
        """What the PDS with origin ``pds`` says of itself."""
        url = method_url(pds, "com.atproto.server.describeServer")
        reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_reply_bytes)
        if reply.status != 200:
            raise Unreachable(f"{host_of(pds)} is no PDS: it answered {reply.status} to {url}")
        value = reply.json()
        limit = value.get("blobUploadLimit")
        try:
            good = isinstance(limit, int) and not isinstance(limit, bool) and limit > 0
            return ServerDescription(Did.parse(value["did"]), limit if good else None)
        except (KeyError, InvalidSyntax):
            raise _nonsense(reply, "the description of a PDS", value) from None

    async def _get(
        self,
        identity: Identity,
        method: str,
        params: dict[str, object],
        max_bytes: int | None = None,
    ) -> Reply:
        return await self._fetcher.request(
            "GET",
            _url(identity, method, params),
            max_bytes=self._config.max_reply_bytes if max_bytes is None else max_bytes,
        )


def _url(identity: Identity, nsid: str, params: dict[str, object]) -> str:
    return method_url(identity.pds, nsid, params)


def _car(reply: Reply, identity: Identity) -> bytes:
    if reply.status != 200:
        raise _refused(reply, identity)
    # arroba sends CAR files as text/html: what begins like one is left to the proof to judge.
    if reply.media_type != CAR_TYPE and b"eroots" not in reply.body[:32]:
        raise Unreachable(
            f"expected a CAR file from {host_of(reply.url)}, got {quote(reply.media_type)}"
        )
    return reply.body


def _json(reply: Reply, identity: Identity) -> dict[str, Any]:
    if reply.status != 200:
        raise _refused(reply, identity)
    return reply.json()


def _refused(reply: Reply, identity: Identity) -> AtdError:
    """What a status other than 200 says about an account."""
    host, (name, message) = host_of(reply.url), error_of(reply)
    if name in _INACTIVE:
        return AccountInactive(
            f"the account {identity.did} {_INACTIVE[name]}, says its PDS {host}",
            next_step="ask the publisher; what you have already pulled stays yours",
        )
    said = f" ({quote(f'{name}: {message}')})" if name else ""
    return Unreachable(f"{host} answered {reply.status}{said} about {identity.did}")


def _nonsense(reply: Reply, what: str, value: object) -> Unreachable:
    return Unreachable(f"expected {what} from {host_of(reply.url)}, got {quote(value)}")


def _rows(reply: Reply, value: dict[str, Any]) -> list[Any]:
    rows = value.get("records")
    if not isinstance(rows, list) or len(rows) > _PAGE:
        raise _nonsense(reply, f"at most {_PAGE} records", rows)
    return rows


def _listed(reply: Reply, identity: Identity, collection: Nsid, row: Any) -> Listed:
    try:
        uri, cid = AtUri.parse(row["uri"]), Cid.parse(row["cid"])
    except (KeyError, TypeError, InvalidSyntax):
        raise _nonsense(reply, "a listed record", row) from None
    if uri.authority != identity.did or uri.collection != collection or uri.rkey is None:
        raise _nonsense(reply, f"a record of {identity.did}/{collection}", row)
    return Listed(AtUri(identity.did, collection, RecordKey(uri.rkey)), cid)
