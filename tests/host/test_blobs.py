"""Blobs: there while a record refers to them, whole or in ranges, and gone with the last one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from atd.protocol.cbor import Cid
from atd_daemon.host.limits import HostLimits
from host.serving import Client, Served, answered, refused

THING = "org.example.thing"
DATA = bytes(range(256)) * 400


def cid_of(blob: Any) -> str:
    return str(blob["ref"]["$link"])


def fetch(client: Client, blob: Any, **headers: str) -> Any:
    url = f"{client.served.origin}/xrpc/com.atproto.sync.getBlob"
    return client.http.get(
        url, params={"did": client.did, "cid": cid_of(blob)}, headers=headers, timeout=30
    )


def files(client: Client) -> list[str]:
    return sorted(path.name for path in (client.inside.folder / "blobs").glob("??/*"))


def put(client: Client, rkey: str, *blobs: Any) -> Any:
    body = {"repo": client.did, "collection": THING, "rkey": rkey, "record": {"blobs": list(blobs)}}
    return client.post("com.atproto.repo.putRecord", body)


def test_a_blob_can_be_had_once_a_record_refers_to_it_and_not_before(client: Client) -> None:
    blob = client.upload(DATA, "image/png")
    assert blob == {
        "$type": "blob",
        "ref": {"$link": str(Cid.from_digest(hashlib.sha256(DATA).digest()))},
        "mimeType": "image/png",
        "size": len(DATA),
    }
    assert refused(fetch(client, blob)) == (400, "BlobNotFound")
    answered(put(client, "a", blob))
    answer = fetch(client, blob)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/png"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=100-199", 206, slice(100, 200)),
        ("bytes=102000-", 206, slice(102000, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=102400-", 416, slice(0, 0)),
    ],
)
def test_a_range_of_a_blob(client: Client, asked: str, status: int, part: slice) -> None:
    blob = client.upload(DATA)
    answered(put(client, "a", blob))
    answer = fetch(client, blob, Range=asked)
    assert answer.status_code == status
    if status == 206:
        assert answer.content == DATA[part]
        assert answer.headers["Content-Range"].endswith(f"/{len(DATA)}")


def test_a_blob_vanishes_with_its_last_record(client: Client) -> None:
    blob, other = client.upload(DATA), client.upload(b"other")
    answered(put(client, "a", blob, other))
    answered(put(client, "b", blob))
    client.delete(THING, "a")
    assert fetch(client, blob).status_code == 200
    assert refused(fetch(client, other)) == (400, "BlobNotFound")
    assert files(client) == [cid_of(blob)]
    answered(put(client, "b"))  # an update drops it too
    assert refused(fetch(client, blob)) == (400, "BlobNotFound")
    assert files(client) == []


def test_a_record_that_refers_to_no_such_blob_is_refused(client: Client) -> None:
    blob = client.upload(DATA)
    cid = "bafkreiglnfyreyeiojoa4oekvz33t6nqbaqfmsftlmwkiycu7fwnffgf4i"
    before = client.head()
    missing = {**blob, "ref": {"$link": cid}}
    assert refused(put(client, "a", missing)) == (400, "BlobNotFound")
    assert refused(put(client, "a", {**blob, "mimeType": "a/b"})) == (400, "InvalidMimeType")
    assert refused(put(client, "a", {**blob, "size": 7})) == (400, "InvalidSize")
    assert client.head() == before
    answered(put(client, "a", blob))


def test_the_same_bytes_again_are_the_same_blob(client: Client) -> None:
    blob = client.upload(DATA, "image/png")
    assert client.upload(DATA, "image/gif")["mimeType"] == "image/gif"  # nobody refers to it yet
    blob = client.upload(DATA, "image/png")
    answered(put(client, "a", blob))
    assert client.upload(DATA, "image/gif") == blob
    assert files(client) == [cid_of(blob)]


def test_too_large_a_blob_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with Served(tmp_path / "h", limits=HostLimits(max_blob_bytes=10_000)) as served:
        client = served.client(served.make())
        url = f"{served.origin}/xrpc/com.atproto.repo.uploadBlob"

        def endless() -> Any:  # sent in chunks: no length is declared
            for _ in range(100):
                yield bytes(1000)

        for body in (bytes(10_001), endless()):
            answer = client.http.post(url, data=body, headers=client.headers, timeout=30)
            assert refused(answer) == (413, "BlobTooLarge")
        assert files(client) == []
        assert list((client.inside.folder / "blobs" / "incoming").iterdir()) == []
        client.upload(bytes(10_000))
        assert (
            answered(client.get("com.atproto.server.describeServer"))["blobUploadLimit"] == 10_000
        )


def test_a_type_that_could_break_a_header_becomes_plain_bytes(client: Client) -> None:
    for sent in ("text/html; charset=x", "*/*", "nonsense", "a/b\tc"):
        mime = client.upload(os.urandom(10), sent)["mimeType"]
        assert mime in ("text/html", "application/octet-stream")


def test_uploading_needs_a_session(client: Client) -> None:
    client.headers = {}
    url = f"{client.served.origin}/xrpc/com.atproto.repo.uploadBlob"
    assert refused(client.http.post(url, data=b"x", timeout=30)) == (401, "AuthMissing")


def test_blobs_are_listed_in_pages_and_since_a_revision(client: Client) -> None:
    blobs = [client.upload(bytes([n])) for n in range(5)]
    rev = answered(put(client, "a", *blobs[:3]))["commit"]["rev"]
    answered(put(client, "b", *blobs[3:]))
    client.upload(b"nobody refers to this one")

    def listed(**more: Any) -> Any:
        return answered(client.get("com.atproto.sync.listBlobs", did=client.did, **more))

    assert sorted(listed()["cids"]) == sorted(map(cid_of, blobs))
    assert sorted(listed(since=rev)["cids"]) == sorted(map(cid_of, blobs[3:]))
    found: list[str] = []
    page = listed(limit=2)
    while page["cids"]:
        found += page["cids"]
        page = listed(limit=2, cursor=page["cursor"])
    assert sorted(found) == sorted(map(cid_of, blobs))
    assert "cursor" not in page


def test_uploads_that_nobody_refers_to_go_after_a_day(tmp_path: Path) -> None:
    now = [1_700_000_000.0]
    with Served(tmp_path / "h", clock=lambda: now[0]) as served:
        client = served.client(served.make())
        kept, lost = client.upload(b"kept"), client.upload(b"lost")
        answered(put(client, "a", kept))
        (client.inside.folder / "blobs" / "incoming" / "half").write_bytes(b"a crash left this")
    now[0] += 25 * 3600
    with Served(tmp_path / "h", clock=lambda: now[0]) as served:
        (account,) = served.host.accounts
        folder = account.folder / "blobs"
        assert [path.name for path in folder.glob("??/*")] == [cid_of(kept)]
        assert account.blobs.find(Cid.parse(cid_of(lost))) is None
        assert list((folder / "incoming").iterdir()) == []
