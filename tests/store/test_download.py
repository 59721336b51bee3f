"""Downloads from servers that are weak or hostile: what becomes visible, and who is blamed."""

from __future__ import annotations

import asyncio
import stat

import pytest

from atd.errors import (
    Absent,
    DigestMismatch,
    Offline,
    RateLimited,
    Unreachable,
)
from atd.protocol.cbor import RAW, Cid
from atd_daemon.network.fetch import offline_now
from atd_daemon.store import Url
from store_servers import ETAG, QUICK, cut, first, honest, payload, status

DATA = payload()
OTHER = payload(seed=7)


async def test_a_shard_becomes_visible_whole_and_read_only(bench, server):
    path = await bench.ensure(bench.want(DATA, server.on("/a", honest(DATA))))
    assert path == bench.shard_file(DATA)
    assert path.read_bytes() == DATA
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert bench.left_over() == []
    assert bench.progress[-1].done == len(DATA)
    assert bench.progress[-1].source == f"http://{server.host}/a"


async def test_a_shard_that_is_here_asks_nobody(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)))
    await bench.ensure(want)
    assert await bench.ensure(want) == bench.shard_file(DATA)
    assert len(server.asked) == 1


async def test_a_shard_of_no_bytes_is_a_shard(bench, server):
    path = await bench.ensure(bench.want(b"", server.on("/a", honest(b""))))
    assert path.read_bytes() == b""


async def test_no_compression_is_asked_for(bench, server):
    await bench.ensure(bench.want(DATA, server.on("/a", honest(DATA))))
    assert server.asked[0].headers["accept-encoding"] == "identity"


# --- resuming -------------------------------------------------------------------------------------


async def test_a_cut_download_goes_on_where_it_stopped(bench, server):
    path = await bench.ensure(bench.want(DATA, server.on("/a", cut(DATA, 5000))))
    assert path.read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000]
    assert server.asked[1].headers["if-range"] == ETAG


async def test_a_server_without_validators_is_resumed_and_the_digest_decides(bench, server):
    url = server.on("/a", cut(DATA, 5000, etag=None))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000]
    assert "if-range" not in server.asked[1].headers


async def test_a_weak_etag_is_never_a_condition(bench, server):
    url = server.on("/a", cut(DATA, 5000, etag='W/"one"'))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert "if-range" not in server.asked[1].headers


async def test_many_cuts_are_followed_as_long_as_it_gets_on(bench, server):
    url = server.on("/a", cut(DATA, 1500, times=12))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert len(server.asked) == 13


async def test_a_server_that_gives_a_byte_at_a_time_is_given_up(bench, server):
    url = server.on("/a", cut(DATA, 1, times=10**9))
    with pytest.raises(Unreachable):
        await bench.ensure(bench.want(DATA, url))
    assert len(server.asked) == QUICK.tries


async def test_an_object_that_changed_between_requests_starts_anew(bench, server):
    url = server.on("/a", first(cut(OTHER, 5000), honest(DATA, etag='"two"')))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.headers.get("if-range") for asked in server.asked] == [None, ETAG]


async def test_a_server_that_ignores_the_condition_cannot_merge_two_objects(bench, server):
    async def lying(asked, to):
        start = asked.offset
        await to.head(
            206 if start else 200,
            Content_Length=len(DATA) - start,
            ETag='"two"',
            **({"Content_Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}),
        )
        await to.send(DATA[start:])

    url = server.on("/a", first(cut(OTHER, 5000), lying))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000, 0]


async def test_a_merge_that_nobody_could_see_is_thrown_away_and_fetched_once_more(bench, server):
    url = server.on("/a", first(cut(OTHER, 5000, etag=None), honest(DATA, etag=None)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000, 0]


async def test_a_resumed_shard_that_is_wrong_twice_is_blamed_on_its_source(bench, server):
    url = server.on("/a", first(cut(OTHER, 5000, etag=None), honest(OTHER, etag=None)))
    with pytest.raises(DigestMismatch, match=str(Cid.of(OTHER, RAW))):
        await bench.ensure(bench.want(DATA, url))
    assert [asked.offset for asked in server.asked] == [0, 5000, 0]
    assert bench.left_over() == []


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 5001-19999/20000",
        "bytes 4999-19998/20000",
        "bytes 0-19999/20000",
        "bytes 5000-19999/20001",
        "bytes 5000-20000/*",
        "bytes 5000-4000/20000",
        "bytes 5000-/20000",
        "bytes */20000",
        "octets 5000-19999/20000",
        "bytes=5000-19999/20000",
        "bytes 5000-99999999999999999999999999/20000",
        "",
    ],
)
async def test_a_wrong_content_range_is_not_appended(bench, server, content_range):
    async def wrong(asked, to):
        await to.head(206, ETag=ETAG, Content_Range=content_range, Content_Length=15000)
        await to.send(OTHER[5000:])

    url = server.on("/a", first(cut(DATA, 5000), wrong, honest(DATA)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000, 0]


async def test_a_range_that_is_less_than_asked_for_is_continued(bench, server):
    async def some(asked, to):
        start = asked.offset
        end = min(start + 4999, len(DATA) - 1)
        await to.head(
            206,
            ETag=ETAG,
            Content_Range=f"bytes {start}-{end}/{len(DATA)}",
            Content_Length=end - start + 1,
        )
        await to.send(DATA[start : end + 1])

    url = server.on("/a", first(cut(DATA, 5000), some))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000, 10000, 15000]


async def test_a_part_nobody_asked_for_is_no_answer(bench, server):
    async def part(asked, to):
        await to.head(206, Content_Range=f"bytes 0-9/{len(DATA)}", Content_Length=10)
        await to.send(DATA[:10])

    with pytest.raises(Unreachable, match="206"):
        await bench.ensure(bench.want(DATA, server.on("/a", part)))


async def test_a_server_that_cannot_resume_starts_anew(bench, server):
    refusing = status(416, Content_Range=f"bytes */{len(DATA)}")
    url = server.on("/a", first(cut(DATA, 5000), refusing, honest(DATA)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    url = server.on("/b", first(cut(OTHER, 5000), honest(OTHER, ranges=False)))
    assert (await bench.ensure(bench.want(OTHER, url))).read_bytes() == OTHER


async def test_an_object_that_has_shrunk_is_blamed(bench, server):
    url = server.on("/a", first(cut(DATA, 5000), status(416, Content_Range="bytes */5000")))
    with pytest.raises(DigestMismatch, match="offers 5000 bytes where 20000 were signed"):
        await bench.ensure(bench.want(DATA, url))


async def test_a_journal_that_is_torn_or_forged_means_starting_anew(bench, server, tmp_path):
    url = server.url("/a")
    for text in ("", "{", "[]", '{"version": 3}', "\xff", '{"version": {"etag": 1}}'):
        server.on("/a", cut(DATA, 100, times=10**9))
        with pytest.raises(Unreachable):
            await bench.ensure(bench.want(DATA, url))
        (journal,) = (bench.folder / "partial").glob("*.json")
        journal.write_text(text)
        server.asked.clear()
        server.on("/a", honest(DATA))
        path = await bench.ensure(bench.want(DATA, url))
        assert path.read_bytes() == DATA
        assert [asked.offset for asked in server.asked] == [0]
        assert bench.store.remove(Cid.of(DATA, RAW))


async def test_garbage_in_a_partial_file_is_found_and_fetched_anew(bench, server):
    url = server.on("/a", cut(DATA, 100, times=10**9))
    with pytest.raises(Unreachable):
        await bench.ensure(bench.want(DATA, url))
    (partial,) = (p for p in (bench.folder / "partial").iterdir() if p.suffix != ".json")
    partial.write_bytes(b"\0" * 1500)
    server.on("/a", honest(DATA))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA


# --- wrong bytes ----------------------------------------------------------------------------------


async def test_other_bytes_are_blamed_on_their_source_and_leave_nothing(bench, server):
    with pytest.raises(DigestMismatch, match=rf"http://{server.host}/a sent 20000 bytes"):
        await bench.ensure(bench.want(DATA, server.on("/a", honest(OTHER))))
    assert bench.store.path(Cid.of(DATA, RAW)) is None
    assert bench.left_over() == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("size", [19_999, 20_001, 10**12])
async def test_a_length_that_was_not_signed_is_refused_before_the_first_byte(bench, server, size):
    async def behave(asked, to):
        await to.head(200, Content_Length=size)

    with pytest.raises(DigestMismatch, match=f"offers {size} bytes where 20000 were signed"):
        await bench.ensure(bench.want(DATA, server.on("/a", behave)))
    assert bench.progress == []


async def test_an_endless_body_stops_at_the_signed_size(bench, server):
    sizes = []

    async def endless(asked, to):
        await to.head(200, Transfer_Encoding="chunked")
        while True:
            await to.chunk(b"x" * 1000)
            sizes.extend(bench.partial_sizes())

    with pytest.raises(DigestMismatch, match="sends more than the 20000 bytes signed"):
        await bench.ensure(bench.want(DATA, server.on("/a", endless)))
    assert max(sizes) <= len(DATA)
    assert bench.left_over() == []


async def test_one_byte_more_than_signed_is_too_much(bench, server):
    async def more(asked, to):
        await to.head(200, Transfer_Encoding="chunked")
        await to.chunk(DATA)
        await to.chunk(b"x")
        await to.chunk(b"")

    with pytest.raises(DigestMismatch, match="more than"):
        await bench.ensure(bench.want(DATA, server.on("/a", more)))


async def test_a_body_that_ends_too_early_without_an_error_is_too_short(bench, server):
    async def short(asked, to):
        await to.head(200, Transfer_Encoding="chunked")
        await to.chunk(DATA[:9000])
        await to.chunk(b"")

    with pytest.raises(DigestMismatch, match="sends 9000 bytes where 20000 were signed"):
        await bench.ensure(bench.want(DATA, server.on("/a", short)))


async def test_a_page_of_html_is_not_a_shard(bench, server):
    async def portal(asked, to):
        await to.head(200, Content_Type="text/html", Content_Length=13)
        await to.send(b"<html></html>")

    with pytest.raises(DigestMismatch, match="offers 13 bytes"):
        await bench.ensure(bench.want(DATA, server.on("/a", portal)))


async def test_a_compressed_body_is_refused(bench, server):
    async def gzipped(asked, to):
        await to.head(200, Content_Encoding="gzip", Content_Length=len(DATA))
        await to.send(DATA)

    with pytest.raises(Unreachable, match="compressed"):
        await bench.ensure(bench.want(DATA, server.on("/a", gzipped)))


# --- no answer ------------------------------------------------------------------------------------


async def test_a_server_that_fails_is_asked_again_and_then_given_up(bench, server):
    with pytest.raises(Unreachable, match="500"):
        await bench.ensure(bench.want(DATA, server.on("/a", status(500))))
    assert len(server.asked) == QUICK.tries


async def test_a_server_that_recovers_is_believed(bench, server):
    url = server.on("/a", first(status(503), status(500), honest(DATA)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
async def test_not_there_is_an_answer_and_not_asked_twice(bench, server, code):
    with pytest.raises(Absent, match=str(code)):
        await bench.ensure(bench.want(DATA, server.on("/a", status(code))))
    assert len(server.asked) == 1


async def test_being_told_to_wait_a_little_is_waited_for(bench, server):
    url = server.on("/a", first(status(429, Retry_After=0), honest(DATA)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA


async def test_being_told_to_wait_long_is_told_on(bench, server):
    with pytest.raises(RateLimited) as refused:
        await bench.ensure(bench.want(DATA, server.on("/a", status(429, Retry_After=3600))))
    assert refused.value.retry_after_s == 3600
    assert len(server.asked) == 1


async def test_a_server_that_falls_silent_is_given_up_and_resumed_later(bench, server):
    async def silent(asked, to):
        await to.head(200, ETag=ETAG, Content_Length=len(DATA))
        await to.send(DATA[:5000])
        await asyncio.sleep(5)

    url = server.on("/a", first(silent, honest(DATA)))
    assert (await bench.ensure(bench.want(DATA, url))).read_bytes() == DATA
    assert [asked.offset for asked in server.asked] == [0, 5000]


async def test_a_slow_server_is_waited_for(bench, server):
    async def slow(asked, to):
        await to.head(200, Content_Length=len(DATA))
        for at in range(0, len(DATA), 2000):
            await to.send(DATA[at : at + 2000])
            await asyncio.sleep(0.02)

    assert (await bench.ensure(bench.want(DATA, server.on("/a", slow)))).read_bytes() == DATA
    done = [progress.done for progress in bench.progress]
    assert done == sorted(done)
    assert len(done) > 5


async def test_a_refused_address_is_never_contacted(bench):
    with pytest.raises(Unreachable, match="https"):
        await bench.ensure(bench.want(DATA, Url("http://127.0.0.1:1/a")))
    with pytest.raises(Unreachable):
        await bench.ensure(bench.want(DATA, Url("file:///etc/passwd")))
    with pytest.raises(Unreachable):
        await bench.ensure(bench.want(DATA, Url("pipe:cat /etc/passwd")))


async def test_without_a_network_it_says_so_at_once(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)), server.on("/b", honest(DATA)))
    token = offline_now.set(True)
    try:
        with pytest.raises(Offline):
            await bench.ensure(want)
    finally:
        offline_now.reset(token)
    assert server.asked == []
    await bench.ensure(want)
