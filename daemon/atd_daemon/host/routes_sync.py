"""Handlers of com.atproto.sync, all public: proofs, the repository, blobs and the firehose."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from aiohttp import WSCloseCode, web

from atd.errors import InvalidSyntax, StorageFault
from atd.protocol.cbor import Cid
from atd.protocol.syntax import Tid
from atd_daemon.host.account import Account
from atd_daemon.host.events import error_frame
from atd_daemon.host.refusal import Refusal, invalid
from atd_daemon.host.xrpc import Params, account_of, params, require_did

CAR_SLOTS: Final = web.AppKey("car_slots", asyncio.Semaphore)
STREAMS: Final[web.AppKey[set[web.WebSocketResponse]]] = web.AppKey("streams", set)

routes: Final = web.RouteTableDef()

_LOG: Final = logging.getLogger(__name__)
_CAR: Final = "application/vnd.ipld.car"
_MAX_CURSOR: Final = 2**53 - 1
_HEARTBEAT_S: Final = 30.0
_MAX_MESSAGE: Final = 4096


@routes.get("/xrpc/com.atproto.sync.getRecord")
async def get_record(request: web.Request) -> web.Response:
    """The proof of a record, or the proof that there is none."""
    account, query = _account(request)
    proof = await asyncio.to_thread(account.reader.proof, query.nsid(), query.rkey())
    return web.Response(body=proof, content_type=_CAR)


@routes.get("/xrpc/com.atproto.sync.getBlocks")
async def get_blocks(request: web.Request) -> web.Response:
    """Blocks by their CIDs."""
    account, _ = _account(request)
    names = request.query.getall("cids", [])
    if not 1 <= len(names) <= account.limits.max_get_blocks:
        raise invalid(f"cids must name 1 to {account.limits.max_get_blocks} blocks")
    try:
        cids = [Cid.parse(name) for name in names]
    except InvalidSyntax as error:
        raise invalid(str(error)) from None
    return web.Response(
        body=await asyncio.to_thread(account.reader.blocks, cids), content_type=_CAR
    )


@routes.get("/xrpc/com.atproto.sync.getRepo")
async def get_repo(request: web.Request) -> web.StreamResponse:
    """The whole repository, or what was added after ``since``."""
    account, query = _account(request)
    text = query.optional("since")
    try:
        since = None if text is None else Tid.parse(text)
    except InvalidSyntax as error:
        raise invalid(str(error)) from None
    slots = request.app[CAR_SLOTS]
    if slots.locked():
        raise Refusal("TooManyStreams", "Too many downloads; try again later", retry_after_s=10)
    async with slots:
        return await _stream_car(request, account, since)


async def _stream_car(
    request: web.Request, account: Account, since: Tid | None
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": _CAR, "Access-Control-Allow-Origin": "*"}
    )
    chunks = account.reader.car(since)
    try:
        chunk = await asyncio.to_thread(_following, chunks)
        await response.prepare(request)
        while chunk is not None:
            # A reader that stops reading would keep its snapshot, and the log behind it, for ever.
            async with asyncio.timeout(account.limits.send_timeout_s):
                await response.write(chunk)
            chunk = await asyncio.to_thread(_following, chunks)
        await response.write_eof()
    except (TimeoutError, StorageFault) as error:
        if not response.prepared:
            raise
        _LOG.warning("getRepo to %s ended early: %r", request.remote, error)
        _abort(request)  # half a file has gone out: only a broken connection says so
    finally:
        await asyncio.to_thread(_end, chunks)
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _following(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)


def _end(chunks: Iterator[bytes]) -> None:
    chunks.close()  # type: ignore[attr-defined]  # a generator, whose snapshot this lets go


@routes.get("/xrpc/com.atproto.sync.getLatestCommit")
async def get_latest_commit(request: web.Request) -> web.Response:
    """The head."""
    account, _ = _account(request)
    head = await asyncio.to_thread(account.reader.head)
    return web.json_response({"cid": str(head.cid), "rev": head.rev})


@routes.get("/xrpc/com.atproto.sync.getRepoStatus")
async def get_repo_status(request: web.Request) -> web.Response:
    """Whether the account is active."""
    account, _ = _account(request)
    head = await asyncio.to_thread(account.reader.head)
    return web.json_response({"did": account.did, "active": True, "rev": head.rev})


@routes.get("/xrpc/com.atproto.sync.listRepos")
async def list_repos(request: web.Request) -> web.Response:
    """The one repository of this host name."""
    account, query = account_of(request), params(request)
    query.integer("limit", 500, 1, 1000)
    if query.optional("cursor") is not None:
        return web.json_response({"repos": []})
    head = await asyncio.to_thread(account.reader.head)
    repo = {"did": account.did, "head": str(head.cid), "rev": head.rev, "active": True}
    return web.json_response({"repos": [repo]})


@routes.get("/xrpc/com.atproto.sync.listBlobs")
async def list_blobs(request: web.Request) -> web.Response:
    """Blobs that records refer to."""
    account, query = _account(request)
    limit = query.integer("limit", 500, 1, 1000) or 500
    found = await asyncio.to_thread(
        account.blobs.listed, query.optional("since"), query.cid("cursor"), limit
    )
    cursor = {"cursor": str(found[-1])} if found else {}
    return web.json_response({"cids": [str(cid) for cid in found], **cursor})


@routes.get("/xrpc/com.atproto.sync.getBlob")
async def get_blob(request: web.Request) -> web.StreamResponse:
    """A blob, whole or a range of it; only ever as a download, never as a page."""
    account, query = _account(request)
    cid = query.cid("cid")
    if cid is None:
        raise invalid("cid is required")
    blob = await asyncio.to_thread(account.blobs.find, cid)
    if blob is None:
        raise Refusal("BlobNotFound", "Blob not found")
    return web.FileResponse(
        blob.path,
        headers={
            "Content-Type": blob.mime,
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f'attachment; filename="{cid}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Access-Control-Allow-Origin": "*",
        },
    )


# --- the firehose ---------------------------------------------------------------------------------


@routes.get("/xrpc/com.atproto.sync.subscribeRepos")
async def subscribe_repos(request: web.Request) -> web.StreamResponse:
    """The event stream: from a cursor, or from now on."""
    account = account_of(request)
    cursor = params(request).integer("cursor", None, 0, _MAX_CURSOR)
    stream = web.WebSocketResponse(
        heartbeat=_HEARTBEAT_S, compress=False, max_msg_size=_MAX_MESSAGE
    )
    if not stream.can_prepare(request).ok:
        raise invalid("subscribeRepos is a WebSocket; connect with ws:// or wss://")
    await stream.prepare(request)
    streams = request.app[STREAMS]
    streams.add(stream)
    try:
        frames = account.feed.follow(cursor)
        sending = asyncio.create_task(_send(stream, frames, account.limits.send_timeout_s))
        hearing = asyncio.create_task(_hear(stream))
        await asyncio.wait((sending, hearing), return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, hearing):
            task.cancel()
        await asyncio.gather(sending, hearing, return_exceptions=True)
        await _hang_up(request, stream, sending)
    finally:
        streams.discard(stream)
    return stream


async def _send(
    stream: web.WebSocketResponse, frames: AsyncGenerator[bytes, None], patience_s: float
) -> None:
    async with contextlib.aclosing(frames):
        try:
            async for frame in frames:
                async with asyncio.timeout(patience_s):
                    await stream.send_bytes(frame)
        except Refusal as refusal:
            async with asyncio.timeout(patience_s):
                await stream.send_bytes(error_frame(refusal.name, refusal.message))


async def _hear(stream: web.WebSocketResponse) -> None:
    """Answer pings and notice the end; what a subscriber says is ignored."""
    async for _ in stream:
        pass


async def _hang_up(
    request: web.Request, stream: web.WebSocketResponse, sending: asyncio.Task[None]
) -> None:
    error = None if sending.cancelled() else sending.exception()
    stuck = isinstance(error, TimeoutError)
    if error is not None and not isinstance(error, TimeoutError | ConnectionError):
        _LOG.error("subscribeRepos to %s ended early", request.remote, exc_info=error)
    if stuck:
        _abort(request)  # it does not read; it would not read a farewell either
    await stream.close(code=WSCloseCode.POLICY_VIOLATION if stuck else WSCloseCode.OK)


def _account(request: web.Request) -> tuple[Account, Params]:
    """The account that is asked for, which must be the one of the parameter ``did``."""
    account, query = account_of(request), params(request)
    require_did(account, query.did())
    return account, query
