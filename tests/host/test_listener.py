"""The public listener: what is on it, what is not, and how it answers nonsense."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from atd.protocol.car import read_car
from atd.protocol.cbor import Cid
from atd_daemon.host.app import create_host_app
from atd_daemon.host.host import Host
from atd_daemon.host.limits import HostLimits
from atd_daemon.host.listener import HostListener
from host.serving import Client, Served, answered, creation, refused

THING = "org.example.thing"
PUBLIC = {
    "/.well-known/atproto-did",
    "/.well-known/did.json",
    "/xrpc/_health",
    "/xrpc/com.atproto.identity.resolveHandle",
    "/xrpc/com.atproto.repo.describeRepo",
    "/xrpc/com.atproto.repo.getRecord",
    "/xrpc/com.atproto.repo.listRecords",
    "/xrpc/com.atproto.server.describeServer",
    "/xrpc/com.atproto.server.getSession",
    "/xrpc/com.atproto.sync.getBlob",
    "/xrpc/com.atproto.sync.getBlocks",
    "/xrpc/com.atproto.sync.getLatestCommit",
    "/xrpc/com.atproto.sync.getRecord",
    "/xrpc/com.atproto.sync.getRepo",
    "/xrpc/com.atproto.sync.getRepoStatus",
    "/xrpc/com.atproto.sync.listBlobs",
    "/xrpc/com.atproto.sync.listRepos",
    "/xrpc/com.atproto.sync.subscribeRepos",
}
SESSION = {
    "/xrpc/com.atproto.repo.applyWrites",
    "/xrpc/com.atproto.repo.createRecord",
    "/xrpc/com.atproto.repo.deleteRecord",
    "/xrpc/com.atproto.repo.putRecord",
    "/xrpc/com.atproto.repo.uploadBlob",
    "/xrpc/com.atproto.server.createSession",
    "/xrpc/com.atproto.server.deleteSession",
    "/xrpc/com.atproto.server.refreshSession",
}


def test_the_listener_carries_these_routes_and_no_other(tmp_path: Path) -> None:
    host = Host.open(tmp_path / "host")
    routes = {
        (route.method, route.resource.canonical)
        for route in create_host_app(host).router.routes()
        if route.resource is not None
    }
    host.close()
    assert {path for method, path in routes if method == "GET"} == PUBLIC
    assert {path for method, path in routes if method == "POST"} == SESSION
    assert {method for method, _ in routes} == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("path", sorted(SESSION - {"/xrpc/com.atproto.server.createSession"}))
def test_every_procedure_asks_for_a_session_first(client: Client, path: str) -> None:
    answer = client.http.post(client.served.origin + path, data=b"{not json", timeout=10)
    assert refused(answer) == (401, "AuthMissing")
    basic = {"Authorization": "Basic YWRtaW46YWRtaW4="}
    answer = client.http.post(client.served.origin + path, data=b"{}", headers=basic, timeout=10)
    assert refused(answer) == (400, "InvalidToken")


def test_what_is_not_served_says_so_in_xrpc(client: Client) -> None:
    origin = client.served.origin
    assert refused(client.get("com.example.unknown")) == (501, "MethodNotImplemented")
    assert refused(client.get("network.atd.daemon.stop")) == (501, "MethodNotImplemented")
    assert refused(client.http.get(f"{origin}/etc/passwd", timeout=10)) == (404, "NotFound")
    answer = client.http.delete(f"{origin}/xrpc/com.atproto.sync.getRepo", timeout=10)
    assert refused(answer) == (405, "MethodNotAllowed")
    assert refused(client.get("com.atproto.repo.createRecord")) == (405, "MethodNotAllowed")


def test_reads_are_open_to_web_pages_and_writes_are_not(client: Client) -> None:
    client.put(THING, "a", {})
    for answer in (
        client.get("com.atproto.sync.getRepo", did=client.did),
        client.get("com.atproto.repo.listRecords", repo=client.did, collection=THING),
        client.get("com.atproto.sync.getRecord", did=client.did),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    url = f"{client.served.origin}/xrpc/com.atproto.repo.createRecord"
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert client.http.options(url, headers=asked, timeout=10).status_code == 405
    answer = client.post("com.atproto.repo.createRecord", {})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_body_that_is_too_large_or_not_json_is_refused(tmp_path: Path) -> None:
    with Served(tmp_path / "h", limits=HostLimits(max_json_bytes=10_000)) as served:
        client = served.client(served.make())
        large = {"repo": client.did, "collection": THING, "record": {"text": "x" * 10_000}}
        answer = client.post("com.atproto.repo.createRecord", large)
        assert refused(answer) == (413, "PayloadTooLarge")
        url = f"{served.origin}/xrpc/com.atproto.repo.createRecord"
        for body, kind in (
            (b"{", "application/json"),
            (b"[]", "application/json"),
            (b"\xff\xfe", "application/json"),
            (b'{"x": NaN}', "application/json"),
            (b'{"x": ' + b"9" * 5000 + b"}", "application/json"),
            (b"{}", "text/plain"),
            (b"", "application/json"),
        ):
            headers = {**client.headers, "Content-Type": kind}
            answer = client.http.post(url, data=body, headers=headers, timeout=10)
            assert refused(answer) == (400, "InvalidRequest"), body[:20]


def test_health_and_the_repository_in_small_answers(client: Client) -> None:
    client.put(THING, "a", {})
    head = client.head()
    health = client.http.get(f"{client.served.origin}/xrpc/_health", timeout=10)
    assert answered(health)["version"].startswith("atd ")
    status = answered(client.get("com.atproto.sync.getRepoStatus", did=client.did))
    assert status == {"did": client.did, "active": True, "rev": head["rev"]}
    (repo,) = answered(client.get("com.atproto.sync.listRepos"))["repos"]
    assert repo == {"did": client.did, "head": head["cid"], "rev": head["rev"], "active": True}
    described = answered(client.get("com.atproto.repo.describeRepo", repo="alice.test"))
    assert (described["collections"], described["handleIsCorrect"]) == ([THING], True)
    for method in ("getLatestCommit", "getRepoStatus", "getRepo", "listBlobs"):
        answer = client.get(f"com.atproto.sync.{method}", did="did:web:other.example")
        assert refused(answer) == (400, "RepoNotFound")
        assert refused(client.get(f"com.atproto.sync.{method}")) == (400, "InvalidRequest")
        answer = client.get(f"com.atproto.sync.{method}", did="nonsense")
        assert refused(answer) == (400, "InvalidRequest")


def test_blocks_are_given_by_cid_all_or_none(client: Client) -> None:
    cid = client.put(THING, "a", {})["cid"]
    head = client.head()["cid"]
    answer = client.get("com.atproto.sync.getBlocks", did=client.did, cids=[cid, head])
    car = read_car(answer.content)
    assert (car.roots, set(car.blocks)) == ((), {Cid.parse(cid), Cid.parse(head)})
    other = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"
    answer = client.get("com.atproto.sync.getBlocks", did=client.did, cids=[cid, other])
    assert refused(answer) == (400, "BlockNotFound")
    answer = client.get("com.atproto.sync.getBlocks", did=client.did)
    assert refused(answer) == (400, "InvalidRequest")


def test_since_the_head_there_is_nothing_new(client: Client) -> None:
    client.put(THING, "a", {})
    head = client.head()
    car = read_car(client.car(since=head["rev"]))
    assert (car.roots, dict(car.blocks)) == ((Cid.parse(head["cid"]),), {})
    answer = client.get("com.atproto.sync.getRepo", did=client.did, since="yesterday")
    assert refused(answer) == (400, "InvalidRequest")


def test_a_download_keeps_its_moment_while_commits_go_on(client: Client) -> None:
    for start in range(0, 1000, 200):
        writes = (creation(THING, f"k{n}", {"x": f"{n}" * 600}) for n in range(start, start + 200))
        answered(client.apply(*writes))
    account = client.inside
    chunks = account.reader.car(None)
    parts = [next(chunks)]
    whole = b"".join(account.reader.car(None))
    for n in range(5):
        client.put(THING, f"k{n}", {"n": n})
    parts += chunks
    assert b"".join(parts) == whole
    assert len(parts) > 4


def test_health_answers_whatever_name_the_one_who_checks_goes_by(client: Client) -> None:
    url = f"http://127.0.0.1:{client.served.port}/xrpc/_health"
    answered(client.http.get(url, headers={"Host": "10.0.0.7"}, timeout=10))


# --- peers that stop in the middle ----------------------------------------------------------------


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def raw(served: Served, head: str, body: bytes = b"") -> socket.socket:
    """A connection on which a request was begun."""
    peer = socket.create_connection(("127.0.0.1", served.port))
    peer.settimeout(10)
    peer.sendall(f"{head}\r\nHost: {served.domain}\r\n".encode() + body)
    return peer


def download(served: Served, client: Client) -> socket.socket:
    """A download of 18 MB that was begun and is not read on."""
    for n in range(20):
        client.put(THING, f"k{n}", {"text": f"{n}" + "x" * 900_000})
    path = f"/xrpc/com.atproto.sync.getRepo?did={quote(client.did)}"
    peer = raw(served, f"GET {path} HTTP/1.1", b"\r\n")
    assert peer.recv(12) == b"HTTP/1.1 200"  # it has its place
    return peer


def test_a_download_that_is_not_read_is_broken_off_and_frees_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = HostLimits(send_timeout_s=0.5, max_car_streams=1)
    with Served(tmp_path / "h", limits=limits) as served:
        client = served.client(served.make())
        peer = download(served, client)
        wait_until(lambda: "ended early" in caplog.text)
        wait_until(lambda: client.get("com.atproto.sync.getRepo", did=client.did).ok)
        assert not ended_well(peer)
        peer.close()


def test_there_is_a_limit_to_downloads(tmp_path: Path) -> None:
    with Served(tmp_path / "h", limits=HostLimits(max_car_streams=1)) as served:
        client = served.client(served.make())
        peer = download(served, client)
        url = f"{served.origin}/xrpc/com.atproto.sync.getRepo"
        wait_until(lambda: client.http.get(url, params={"did": client.did}).status_code == 503)
        peer.close()
        wait_until(lambda: client.http.get(url, params={"did": client.did}).status_code == 200)


def ended_well(peer: socket.socket) -> bool:
    """Whether a chunked answer came to its end, and not just to the connection's."""
    data = b""
    try:
        while piece := peer.recv(1 << 20):
            data = data[-16:] + piece
    except ConnectionResetError:
        return False
    return data.endswith(b"0\r\n\r\n")


def test_an_upload_that_breaks_off_leaves_nothing(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    incoming = client.inside.folder / "blobs" / "incoming"
    head = (
        f"Authorization: {client.headers['Authorization']}\r\n"
        "Content-Type: image/png\r\nContent-Length: 1000000\r\n\r\n"
    )
    peer = raw(client.served, "POST /xrpc/com.atproto.repo.uploadBlob HTTP/1.1", head.encode())
    peer.sendall(bytes(500_000))
    wait_until(lambda: len(list(incoming.iterdir())) == 1)
    peer.close()
    wait_until(lambda: not list(incoming.iterdir()))
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []


def test_a_request_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with Served(tmp_path / "h", limits=HostLimits(receive_timeout_s=0.3)) as served:
        client = served.client(served.make())
        for method in ("createSession", "uploadBlob"):
            room = "server" if method == "createSession" else "repo"
            head = (
                f"Authorization: {client.headers['Authorization']}\r\n"
                "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            )
            peer = raw(served, f"POST /xrpc/com.atproto.{room}.{method} HTTP/1.1", head.encode())
            peer.sendall(b"{")
            assert peer.recv(4096).startswith(b"HTTP/1.1 408")
            peer.close()


def test_unused_blobs_are_dropped_while_the_host_runs(tmp_path: Path) -> None:
    limits = HostLimits(unused_blob_s=0.1, tidy_every_s=0.1)
    with Served(tmp_path / "h", limits=limits) as served:
        client = served.client(served.make())
        client.upload(b"never used")
        wait_until(lambda: not list((client.inside.folder / "blobs").glob("??/*")))


async def test_bytes_that_are_no_http_leave_nothing_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host.open(tmp_path / "host")
    host.init("localhost:2583", "alice.test")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = HostListener(host, "127.0.0.1", port)
    await listener.start()
    assert listener.running
    caplog.clear()
    for noise in (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"POST / HTTP/1.1\r\nA: b\0\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(noise)
        assert b" 400 " in await reader.readline()
        writer.close()
    await listener.close()
    host.close()
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []
