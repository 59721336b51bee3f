"""Reading from a PDS: unauthenticated XRPC, and nothing that comes back is believed here.

What leaves this module is bytes for `atd.protocol.proof`, or hints (marked as such) about what to
ask next. A PDS that says that it serves an account no more is AccountInactive; that a record does
not exist is never taken from its word, only from a proof.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from atd.errors import AccountInactive, AtdError, InvalidSyntax, Unreachable
from atd.protocol.car import Car
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.repo_stream import RepoStream
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid, quote
from atd_daemon.config import Config
from atd_daemon.network.fetch import Fetcher, Reply, StreamReply, host_of
from atd_daemon.network.room import Room
from atd_daemon.network.spool import FileSpool
from atd_daemon.network.xrpc import error_of, method_url

CAR_TYPE: Final = "application/vnd.ipld.car"
_INACTIVE: Final = {
    "RepoNotFound": "is not hosted there",
    "RepoDeactivated": "is deactivated",
    "RepoTakendown": "is taken down",
    "RepoSuspended": "is suspended",
}
_PAGE: Final = 100
_REPO_PAGE: Final = 1000
_MAX_CURSOR: Final = 1024
_ERROR_BYTES: Final = 16 * 1024
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Hosted:
    """A hint that a host serves the repository of ``did``, and its state by the host's words."""

    did: Did
    rev: Tid | None
    active: bool
    status: str | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list; ``cursor`` asks for the next ones, None after the last."""

    rows: tuple[T, ...]
    cursor: str | None


class PdsReader:
    """Asks PDSes. Every method raises Unreachable, RateLimited or Offline as `Fetcher` does."""

    def __init__(self, fetcher: Fetcher, config: Config) -> None:
        self._fetcher = fetcher
        self._config = config
        self._room = Room(config.max_spooled_blocks, "blocks of repositories")

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

    async def repo(self, identity: Identity) -> Car:
        """The whole repository, each block hashed as it came in; for `proof.prove_repo`.

        Its blocks lie in a file without a name, as long as the value is held.

        Raises:
            AccountInactive: the PDS serves this account no more.
            ProofError: not a CAR file, cut short, or a block is not what its CID says.
            StorageFault: it cannot be kept.
            Unreachable: also if all repositories that are held have too many blocks.
        """
        async with self._repo_reply(identity, self._config.max_repo_bytes) as reply:
            chunks = aiter(reply.chunks)
            head = b""
            async for chunk in chunks:
                head += chunk
                if len(head) > _ERROR_BYTES:  # enough to tell a refusal, or how a file begins
                    break
            spool = FileSpool(self._config.cache_dir / "repos")
            stream, share = RepoStream(spool), self._room.share(spool)
            stream.feed(_car(Reply(reply.status, reply.headers, head, reply.url), identity))
            share.grow(stream.blocks)
            async for chunk in chunks:
                stream.feed(chunk)
                share.grow(stream.blocks)
        return stream.finish()

    async def _repo(self, identity: Identity, max_bytes: int) -> bytes:
        async with self._repo_reply(identity, max_bytes) as reply:
            body = b"".join([chunk async for chunk in reply.chunks])
        return _car(Reply(reply.status, reply.headers, body, reply.url), identity)

    @asynccontextmanager
    async def _repo_reply(self, identity: Identity, max_bytes: int) -> AsyncIterator[StreamReply]:
        """A repository on its way. A large one takes its time, but a server that says nothing is
        given up early."""
        url = _url(identity, "com.atproto.sync.getRepo", {"did": identity.did})
        limit_s = self._config.repo_timeout_s
        try:
            async with (
                asyncio.timeout(limit_s),
                self._fetcher.stream("GET", url, max_bytes=max_bytes) as reply,
            ):
                yield reply
        except TimeoutError:
            raise Unreachable(
                f"{host_of(url)} did not send the repository of {identity.did} within {limit_s:g} s"
            ) from None

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
            return RepoStatus(active, _word(status), None if rev is None else Tid.parse(rev))
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
            page = [
                _listed(reply, identity, collection, row)
                for row in _rows(reply, value, "records", _PAGE)
            ]
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

    async def list_repos(self, origin: str, cursor: str | None = None) -> Page[Hosted]:
        """Some of the repositories that a host (PDS or relay) says it serves: hints."""
        reply, value = await self._list(origin, "com.atproto.sync.listRepos", {}, cursor)
        rows = tuple(_hosted(reply, row) for row in _rows(reply, value, "repos", _REPO_PAGE))
        return Page(rows, _cursor(reply, value, cursor))

    async def list_repos_by_collection(
        self, relay: str, collection: Nsid, cursor: str | None = None
    ) -> Page[Did]:
        """Some of the publishers that a relay says have records of a collection: hints."""
        params: dict[str, object] = {"collection": collection}
        method = "com.atproto.sync.listReposByCollection"
        reply, value = await self._list(relay, method, params, cursor)
        rows = _rows(reply, value, "repos", _REPO_PAGE)
        return Page(tuple(_hosted(reply, row).did for row in rows), _cursor(reply, value, cursor))

    async def describe_repo(self, origin: str, did: Did) -> tuple[Nsid, ...]:
        """The collections that a PDS says the repository of ``did`` has: hints.

        Raises:
            AccountInactive: the PDS serves this account no more.
        """
        url = method_url(origin, "com.atproto.repo.describeRepo", {"repo": did})
        reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_reply_bytes)
        if reply.status != 200:
            raise _refused(reply, did)
        found = reply.json().get("collections")
        if not isinstance(found, list):
            raise _nonsense(reply, "the collections of a repository", found)
        try:
            return tuple(Nsid.parse(name) for name in found)
        except InvalidSyntax:
            raise _nonsense(reply, "the collections of a repository", found) from None

    async def _list(
        self, origin: str, method: str, params: dict[str, object], cursor: str | None
    ) -> tuple[Reply, dict[str, Any]]:
        asked = {**params, "limit": _REPO_PAGE}
        url = method_url(origin, method, asked if cursor is None else {**asked, "cursor": cursor})
        reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_reply_bytes)
        if reply.status != 200:
            name, message = error_of(reply)
            said = f" ({quote(f'{name}: {message}')})" if name else ""
            raise Unreachable(f"{host_of(origin)} answered {reply.status}{said} to {method}")
        return reply, reply.json()

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
        raise _refused(reply, identity.did)
    # arroba sends CAR files as text/html: what begins like one is left to the proof to judge.
    if reply.media_type != CAR_TYPE and b"eroots" not in reply.body[:32]:
        raise Unreachable(
            f"expected a CAR file from {host_of(reply.url)}, got {quote(reply.media_type)}"
        )
    return reply.body


def _json(reply: Reply, identity: Identity) -> dict[str, Any]:
    if reply.status != 200:
        raise _refused(reply, identity.did)
    return reply.json()


def _refused(reply: Reply, did: Did) -> AtdError:
    """What a status other than 200 says about an account."""
    host, (name, message) = host_of(reply.url), error_of(reply)
    if name in _INACTIVE:
        return AccountInactive(
            f"the account {did} {_INACTIVE[name]}, says its PDS {host}",
            next_step="ask the publisher; what you have already pulled stays yours",
        )
    said = f" ({quote(f'{name}: {message}')})" if name else ""
    return Unreachable(f"{host} answered {reply.status}{said} about {did}")


def _nonsense(reply: Reply, what: str, value: object) -> Unreachable:
    return Unreachable(f"expected {what} from {host_of(reply.url)}, got {quote(value)}")


def _rows(reply: Reply, value: dict[str, Any], name: str, limit: int) -> list[Any]:
    rows = value.get(name)
    if not isinstance(rows, list) or len(rows) > limit:
        raise _nonsense(reply, f"at most {limit} {name}", rows)
    return rows


def _cursor(reply: Reply, value: dict[str, Any], before: str | None) -> str | None:
    """Where the next page starts; a list that stands still has no next page."""
    cursor = value.get("cursor")
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > _MAX_CURSOR):
        raise _nonsense(reply, "a cursor", cursor)
    return None if not cursor or cursor == before else cursor


def _hosted(reply: Reply, row: Any) -> Hosted:
    try:
        did, rev, active = Did.parse(row["did"]), row.get("rev"), row.get("active", True)
        known = None if rev is None else Tid.parse(rev)
    except (KeyError, TypeError, AttributeError, InvalidSyntax):
        raise _nonsense(reply, "a repository that is hosted there", row) from None
    status = row.get("status")
    if not isinstance(active, bool) or not isinstance(status, str | None):
        raise _nonsense(reply, "a repository that is hosted there", row)
    return Hosted(did, known, active, _word(status))


def _word(status: str | None) -> str | None:
    """A status that is a word, as those of the lexicon are; it is kept and shown as it is."""
    return status if status is not None and _WORD.fullmatch(status) else None


def _listed(reply: Reply, identity: Identity, collection: Nsid, row: Any) -> Listed:
    try:
        uri, cid = AtUri.parse(row["uri"]), Cid.parse(row["cid"])
    except (KeyError, TypeError, InvalidSyntax):
        raise _nonsense(reply, "a listed record", row) from None
    if uri.authority != identity.did or uri.collection != collection or uri.rkey is None:
        raise _nonsense(reply, f"a record of {identity.did}/{collection}", row)
    return Listed(AtUri(identity.did, collection, RecordKey(uri.rkey)), cid)
