"""What the routes of the public mode answer: typed input in, JSON or bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from atd.errors import InvalidSyntax, RecordAbsent
from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri
from atd.records import head_uri, release_uri
from atd.refs import parse_authority, parse_dataset_ref
from atd_daemon.health import HealthWatch
from atd_daemon.public.connections import Connections
from atd_daemon.public.limits import Clients, client_of
from atd_daemon.public.reading import Reading
from atd_daemon.public.shards import SharedShards
from atd_daemon.server import views
from atd_daemon.server.files import ShardResponse, send_shard
from atd_daemon.server.handlers import previews
from atd_daemon.server.handlers.search import filters_of
from atd_daemon.sync.bundles import Bundler
from atd_daemon.sync.found import ResolvedDataset
from atd_daemon.sync.previews import Previews
from atd_daemon.sync.release import named

Json = dict[str, Any]
Given = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """All that the public mode is given. Nothing in it fetches: the bundler is only asked for what
    the index has, with the network switched off.
    """

    reading: Reading
    shards: SharedShards
    bundler: Bundler
    previews: Previews
    health: HealthWatch
    clients: Clients
    connections: Connections
    clock: Callable[[], float]
    bundling: asyncio.Semaphore
    searching: asyncio.Semaphore
    walking: asyncio.Semaphore


async def search(shared: Shared, given: Given) -> Json:
    """``network.atd.catalog.searchDatasets``."""
    filters = filters_of(given, shared.clock())
    async with shared.searching:
        entries, cursor = await asyncio.to_thread(
            shared.reading.search,
            given["q"],
            filters,
            sort=given["sort"],
            limit=given["limit"],
            cursor=given.get("cursor"),
        )
    return views.present(datasets=[views.dataset_entry(one) for one in entries], cursor=cursor)


async def list_datasets(shared: Shared, given: Given) -> Json:
    """``network.atd.catalog.listDatasets``, of one publisher."""
    if "actor" not in given:
        raise InvalidSyntax(
            "expected a publisher as actor", next_step="to look at all, search for nothing: q="
        )
    identity = shared.reading.identity(parse_authority(given["actor"]))
    async with shared.searching:
        entries = await asyncio.to_thread(shared.reading.datasets, identity.did)
    return views.present(
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        datasets=[views.dataset_entry(one) for one in entries],
        problems=[],
    )


async def get_dataset(shared: Shared, given: Given) -> Json:
    """``network.atd.catalog.getDataset``."""
    ref = parse_dataset_ref(given["ref"])
    async with shared.walking:
        resolved = await shared.reading.dataset(ref)
        return await asyncio.to_thread(_detail, shared.reading, ref.name, resolved)


def _detail(reading: Reading, name: str, resolved: ResolvedDataset) -> Json:
    identity = resolved.identity
    card = resolved.head or reading.head(identity.did, name)
    releases = reading.catalog.releases(identity.did, name)
    return views.present(
        dataset=views.head(card, identity, resolved.release),
        card=views.record_json(card),
        release=views.version(resolved.release, identity),
        releases=[views.release_entry(one, identity.handle) for one in releases],
        schema=views.schema(resolved.schema, name),
        splits=[views.loader_split(one) for one in resolved.splits],
        proof=views.proof_of(card, identity.handle),
        problems=[],
    )


async def get_release(shared: Shared, given: Given) -> Json:
    """``network.atd.catalog.getRelease``."""
    ref = parse_dataset_ref(given["ref"])
    async with shared.walking:
        resolved = await shared.reading.dataset(ref)
        return await asyncio.to_thread(views.loader_manifest, resolved)


async def get_preview(shared: Shared, given: Given) -> Json:
    """``network.atd.catalog.getPreview``: of a release whose preview is here."""
    ref = parse_dataset_ref(given["ref"])
    async with shared.walking:
        resolved = await shared.reading.dataset(ref)
        return await previews.answer(shared.previews, resolved)


async def get_proof(shared: Shared, given: Given) -> bytes:
    """``network.atd.catalog.getProof``: of what the index has, with the evidence that is here."""
    reading, text = shared.reading, given["ref"]
    if text.startswith("at://"):
        uri = AtUri.parse(text)
    else:
        ref = parse_dataset_ref(text)
        did = reading.identity(ref.authority).did
        if ref.alias is not None:
            uri = named(reading.head(did, ref.name), ref.alias).release.uri
        elif ref.version is not None:
            uri = release_uri(did, ref.name, ref.version)
        else:
            uri = head_uri(did, ref.name)
    reading.record(uri)
    async with shared.bundling:
        return (await shared.bundler.of(uri)).data


async def get_record(shared: Shared, given: Given) -> bytes:
    """``com.atproto.sync.getRecord``: the proof under which the record entered the index."""
    uri = AtUri.parse(f"at://{given['did']}/{given['collection']}/{given['rkey']}")
    return shared.reading.record(uri).proof


async def get_shard(shared: Shared, given: Given, request: web.Request) -> web.StreamResponse:
    """``network.atd.store.getShard``: a file that is here, whole or by Range."""
    digest = Cid.parse(given["digest"])
    path = await shared.shards.path(digest)
    answer = send_shard(request, path, digest)
    if not isinstance(answer, ShardResponse):
        return answer
    try:
        size = (await asyncio.to_thread(path.stat)).st_size
    except FileNotFoundError:
        raise RecordAbsent(f"the shard {digest} is not served here any more") from None
    return PacedShard(path, digest, shared.clients, client_of(request), size)


async def health(shared: Shared, check: str) -> web.Response:
    """``/health/CHECK``: yes or no. Why not is the owner's business."""
    found = await shared.health.look()
    ok = getattr(found, check).ok
    return web.json_response({"ok": ok}, status=200 if ok else 503)


class PacedShard(ShardResponse):
    """A shard for a stranger, who may not take for ever, and whose allowance it is taken from."""

    def __init__(self, path: Any, digest: Cid, clients: Clients, client: str, size: int) -> None:
        super().__init__(path, digest)
        self._clients = clients
        self._client = client
        self._size = size

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send it, but hang up on whoever takes it too slowly."""
        async with self._clients.in_time(request, self._size):
            writer = await super().prepare(request)
        if request.method != "HEAD":
            self._clients.charge(self._client, self.content_length or 0)
        return writer
