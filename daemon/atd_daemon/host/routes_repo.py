"""Handlers of com.atproto.repo: reading for everybody, writing for the account's own sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from atd.protocol.cbor import to_json
from atd.protocol.syntax import Nsid, RecordKey
from atd_daemon.host.account import Account
from atd_daemon.host.blobs import Upload
from atd_daemon.host.limits import MAX_WRITES
from atd_daemon.host.refusal import Refusal, invalid
from atd_daemon.host.repo import Applied, Head
from atd_daemon.host.writes import Action, Swap, Write, prepare
from atd_daemon.host.xrpc import (
    HOST,
    Fields,
    account_of,
    authenticate,
    json_input,
    params,
    require_own_repo,
    require_repo,
)

routes: Final = web.RouteTableDef()

_MIME: Final = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)
_PIECE_BYTES: Final = 1 << 20
_BATCH: Final = "com.atproto.repo.applyWrites"
_ACTIONS: Final[dict[str, Action]] = {
    f"{_BATCH}#create": "create",
    f"{_BATCH}#update": "update",
    f"{_BATCH}#delete": "delete",
}


# --- reading --------------------------------------------------------------------------------------


@routes.get("/xrpc/com.atproto.repo.getRecord")
async def get_record(request: web.Request) -> web.Response:
    """One record as JSON."""
    account, query = account_of(request), params(request)
    require_repo(account, query.text("repo"))
    collection, rkey, cid = query.nsid(), query.rkey(), query.cid("cid")
    found = await asyncio.to_thread(account.reader.record, collection, rkey)
    uri = _uri(account, collection, rkey)
    if found is None or cid not in (None, found.cid):
        raise Refusal("RecordNotFound", f"Could not locate record: {uri}")
    return web.json_response({"uri": uri, "cid": str(found.cid), "value": to_json(found.value())})


@routes.get("/xrpc/com.atproto.repo.listRecords")
async def list_records(request: web.Request) -> web.Response:
    """Records of one collection, newest key first."""
    account, query = account_of(request), params(request)
    require_repo(account, query.text("repo"))
    collection = query.nsid()
    found = await asyncio.to_thread(
        account.reader.records,
        collection,
        limit=query.integer("limit", 50, 1, 100) or 50,
        cursor=query.optional("cursor"),
        reverse=bool(query.flag("reverse")),
    )
    records = [
        {
            "uri": _uri(account, collection, record.rkey),
            "cid": str(record.cid),
            "value": to_json(record.value()),
        }
        for record in found
    ]
    cursor = {"cursor": found[-1].rkey} if found else {}
    return web.json_response({"records": records, **cursor})


@routes.get("/xrpc/com.atproto.repo.describeRepo")
async def describe_repo(request: web.Request) -> web.Response:
    """What the repository holds and whose it is."""
    account = account_of(request)
    require_repo(account, params(request).text("repo"))
    collections = await asyncio.to_thread(account.reader.collections)
    return web.json_response(
        {
            "handle": account.handle,
            "did": account.did,
            "didDoc": account.document(),
            "collections": collections,
            "handleIsCorrect": True,
        }
    )


# --- writing --------------------------------------------------------------------------------------


@routes.post("/xrpc/com.atproto.repo.createRecord")
async def create_record(request: web.Request) -> web.Response:
    """Add a record; without a key it gets a TID."""
    account = await authenticate(request)
    body = await json_input(request)
    write = await asyncio.to_thread(
        _write, account, body, "create", "record", body.flag("validate")
    )
    return await _apply_one(account, body, write)


@routes.post("/xrpc/com.atproto.repo.putRecord")
async def put_record(request: web.Request) -> web.Response:
    """Add or replace a record; nothing is committed where it is the same already."""
    account = await authenticate(request)
    body = await json_input(request)
    body.rkey()
    write = await asyncio.to_thread(_write, account, body, "put", "record", body.flag("validate"))
    return await _apply_one(account, body, write)


@routes.post("/xrpc/com.atproto.repo.deleteRecord")
async def delete_record(request: web.Request) -> web.Response:
    """Take a record away; nothing is committed where there is none."""
    account = await authenticate(request)
    body = await json_input(request)
    require_own_repo(account, body.text("repo"))
    write = Write("discard", body.nsid(), body.rkey(), swap=_swap(body))
    applied = await asyncio.to_thread(account.repo.apply, [write], body.cid("swapCommit"))
    return web.json_response(_commit(applied.head))


@routes.post("/xrpc/com.atproto.repo.applyWrites")
async def apply_writes(request: web.Request) -> web.Response:
    """Several writes in one commit, or none of them."""
    account = await authenticate(request)
    body = await json_input(request)
    require_own_repo(account, body.text("repo"))
    items = body.objects("writes")
    if len(items) > MAX_WRITES:
        raise invalid(f"Too many writes. Max: {MAX_WRITES}")
    applied = await asyncio.to_thread(_apply_batch, account, items, body.flag("validate"), body)
    results = [_result(account, write) for write in applied.writes]
    return web.json_response({**_commit(applied.head), "results": results})


@routes.post("/xrpc/com.atproto.repo.uploadBlob")
async def upload_blob(request: web.Request) -> web.Response:
    """Take in a blob, to be referred to by a record soon."""
    account = await authenticate(request)
    limit, declared = account.limits.max_blob_bytes, request.content_length
    if declared is not None and declared > limit:
        raise Refusal("BlobTooLarge", f"A blob has at most {limit} bytes, got {declared}")
    kind = request.content_type
    mime = kind if _MIME.fullmatch(kind) else "application/octet-stream"
    with account.blobs.receive() as upload:
        await _receive(request, upload)
        if declared is not None and upload.size != declared:
            raise invalid(f"Expected {declared} bytes, got {upload.size}")
        blob = await asyncio.to_thread(account.blobs.keep, upload, mime)
    return web.json_response({"blob": to_json(blob.to_value())})


async def _receive(request: web.Request, upload: Upload) -> None:
    """Stream the body into ``upload``, a piece at a time, giving up on one that stops coming."""
    patience = request.app[HOST].limits.receive_timeout_s
    while True:
        async with asyncio.timeout(patience):
            piece = await request.content.readany()
            while piece and len(piece) < _PIECE_BYTES and not request.content.at_eof():
                piece += await request.content.readany()
        if not piece:
            return
        await asyncio.to_thread(upload.write, piece)


# --- between JSON and the repository --------------------------------------------------------------


def _write(
    account: Account, body: Fields, action: Action, value: str, validate: bool | None
) -> Write:
    """The write that ``body`` asks for, with its record under the field ``value``."""
    collection = body.nsid()
    rkey = account.repo.next_key() if body.optional("rkey") is None else body.rkey()
    if action == "delete":
        return Write(action, collection, body.rkey())
    record = prepare(
        body.record(value),
        collection,
        RecordKey(rkey),
        validate=validate,
        lexicons=account.lexicons,
    )
    return Write(action, collection, RecordKey(rkey), record, _swap(body))


def _swap(body: Fields) -> Swap | None:
    cid = body.cid("swapRecord")
    return Swap(cid) if cid is not None or body.has_null("swapRecord") else None


async def _apply_one(account: Account, body: Fields, write: Write) -> web.Response:
    require_own_repo(account, body.text("repo"))
    applied = await asyncio.to_thread(account.repo.apply, [write], body.cid("swapCommit"))
    result = _result(account, write)
    del result["$type"]
    return web.json_response({**result, **_commit(applied.head)})


def _apply_batch(
    account: Account, items: Sequence[Fields], validate: bool | None, body: Fields
) -> Applied:
    writes = []
    for item in items:
        action = _ACTIONS.get(item.text("$type"))
        if action is None:
            raise invalid(f"Action not supported: {item.text('$type')!a}")
        writes.append(_write(account, item, action, "value", validate))
    return account.repo.apply(writes, body.cid("swapCommit"))


def _result(account: Account, write: Write) -> dict[str, Any]:
    if write.record is None:
        return {"$type": f"{_BATCH}#deleteResult"}
    result = {
        "$type": f"{_BATCH}#{'create' if write.action == 'create' else 'update'}Result",
        "uri": _uri(account, write.collection, write.rkey),
        "cid": str(write.record.cid),
    }
    status = write.record.status
    return result if status is None else {**result, "validationStatus": status}


def _commit(head: Head | None) -> dict[str, Any]:
    return {} if head is None else {"commit": {"cid": str(head.cid), "rev": head.rev}}


def _uri(account: Account, collection: Nsid, rkey: RecordKey) -> str:
    return f"at://{account.did}/{collection}/{rkey}"
