"""Several sources, blame, blobs of a PDS, and what is not even begun."""

from __future__ import annotations

import pytest

from atd.errors import Absent, DigestMismatch, InvalidSyntax, StorageFault, TooLarge, Unreachable
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import Did
from atd_daemon.config import Config
from atd_daemon.store import Blob, ShardWant, Store, Url
from store_servers import cut, first, honest, payload, status

DATA = payload()
OTHER = payload(seed=7)


async def test_the_next_source_is_tried_and_the_first_is_blamed_in_the_progress(bench, server):
    bad, good = server.on("/bad", honest(OTHER)), server.on("/good", honest(DATA))
    assert (await bench.ensure(bench.want(DATA, bad, good))).read_bytes() == DATA
    (fault,) = bench.progress[-1].faults
    assert fault.startswith(f"http://{server.host}/bad sent 20000 bytes with the digest")


async def test_bytes_of_two_sources_never_meet(bench, server):
    broken = server.on("/broken", cut(OTHER, 100, times=10**9))
    good = server.on("/good", honest(DATA))
    assert (await bench.ensure(bench.want(DATA, broken, good))).read_bytes() == DATA
    assert [a.offset for a in server.asked if a.path == "/good"] == [0]
    assert bench.left_over() == []


async def test_the_error_names_every_source_and_what_it_did(bench, server):
    want = bench.want(
        DATA,
        server.on("/gone", status(404)),
        server.on("/wrong", honest(OTHER)),
        server.on("/down", status(500)),
    )
    with pytest.raises(DigestMismatch) as refused:
        await bench.ensure(want)
    for words in ("/gone answered 404", "/wrong sent 20000 bytes", "/down 127.0.0.1"):
        assert words in str(refused.value)


async def test_silence_outweighs_not_there(bench, server):
    want = bench.want(DATA, server.on("/gone", status(404)), server.on("/down", status(500)))
    with pytest.raises(Unreachable, match=r"/gone answered 404.*/down"):
        await bench.ensure(want)
    want = bench.want(DATA, server.on("/gone", status(404)), server.on("/too", status(410)))
    with pytest.raises(Absent, match=r"/gone answered 404.*/too answered 410"):
        await bench.ensure(want)


async def test_without_sources_it_is_absent(bench):
    with pytest.raises(Absent, match="names no place"):
        await bench.ensure(bench.want(DATA))


async def test_a_hostile_url_is_quoted_in_the_error(bench):
    with pytest.raises(Unreachable) as refused:
        await bench.ensure(bench.want(DATA, Url("https://x.invalid/\x1b[31m\n\u202e")))
    assert str(refused.value).isprintable()
    assert str(refused.value).isascii()


async def test_a_blob_comes_from_its_pds(bench, server):
    did = Did("did:plc:abcdefghijklmnopqrstuvwx")
    server.on("/xrpc/com.atproto.sync.getBlob", first(cut(DATA, 5000), honest(DATA, ranges=False)))
    source = Blob(did, f"http://{server.host}", Cid.of(DATA, RAW))
    assert (await bench.ensure(bench.want(DATA, source))).read_bytes() == DATA
    query = f"did=did%3Aplc%3Aabcdefghijklmnopqrstuvwx&cid={Cid.of(DATA, RAW)}"
    assert server.asked[0].path == f"/xrpc/com.atproto.sync.getBlob?{query}"


async def test_a_blob_with_another_name_is_not_even_asked_for(bench, server):
    source = Blob(Did("did:plc:x"), f"http://{server.host}", Cid.of(OTHER, RAW))
    with pytest.raises(DigestMismatch, match="is named"):
        await bench.ensure(bench.want(DATA, source))
    assert server.asked == []


# --- room and limits ------------------------------------------------------------------------------


async def test_what_cannot_fit_is_not_begun(bench, server, tmp_path):
    config = Config.under(tmp_path, max_shard_bytes=1 << 60)
    store = Store(bench.folder, bench.fetcher, config)
    want = bench.want(DATA, server.on("/a", honest(DATA)), size=1 << 55)
    with pytest.raises(StorageFault, match="needed"):
        await store.ensure(want)
    assert server.asked == []


async def test_what_is_larger_than_the_limit_is_not_begun(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)), size=1 << 50)
    with pytest.raises(TooLarge):
        await bench.ensure(want)
    assert server.asked == []


def test_a_want_that_no_shard_can_be_is_refused():
    with pytest.raises(InvalidSyntax, match="raw"):
        ShardWant(Cid.of(DATA), 1)
    with pytest.raises(InvalidSyntax, match="size"):
        ShardWant(Cid.of(DATA, RAW), -1)
