"""Shards in a folder, at a web server, in a bucket."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.errors import (
    Absent,
    BadSource,
    Conflict,
    InvalidSyntax,
    LocalError,
    LoginRefused,
    StorageFault,
    TooLarge,
)
from atd.manifest import Manifest
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.s3 import signed_headers
from atd_daemon.config import Config
from atd_daemon.network.s3 import Bucket, Place
from atd_daemon.network.transport import open_fetcher
from atd_daemon.publishing.destinations.kinds import Spec
from publishing.desk import Desk, keys, numbers, opened, record, uploads
from world import Account, World
from world.daemons import Reader
from world.wire import Answer, Call, Site

FILES = "https://files.example.com"


class Disk(Site):
    """A web site that serves a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    async def __call__(self, call: Call) -> Answer:
        path = self.folder / call.path.lstrip("/")
        self.files = {call.path: (path.read_bytes(), "application/x-tar")} if path.is_file() else {}
        return await super().__call__(call)


async def loads(world: World, folder: Path, samples: int) -> None:
    """Another user gets every shard."""
    bob = Reader.of(world, folder)
    found = await bob.resolver.dataset("@alice.test/numbers")
    assert sum(shard.entry.samples for shard in found.shards) == samples
    for shard in found.shards:
        await bob.store.ensure(shard.want)
    bob.catalog.close()


@pytest.mark.parametrize(
    ("store", "base", "kind"),
    [
        (None, None, "pds"),
        ("pds", None, "pds"),
        ("/data/shards", None, "folder"),
        ("/data/shards", "https://x.example/", "folder"),
        ("s3://bucket/a/b", None, "bucket"),
        ("https://x.example/shards", None, "web"),
    ],
)
def test_what_a_store_means(store: str | None, base: str | None, kind: str) -> None:
    assert Spec.parse(store, base).kind == kind


@pytest.mark.parametrize(
    ("store", "base"),
    [
        ("shards", None),
        ("ftp://x.example/", None),
        ("https://x.example/{a,b}/", None),
        ("https://user@x.example/", None),
        ("s3://B/x", None),
        ("s3://bucket/../x", None),
        ("pds", "https://x.example/"),
        ("https://x.example/", "https://x.example/"),
    ],
)
def test_what_a_store_cannot_be(store: str, base: str | None) -> None:
    with pytest.raises(InvalidSyntax):
        Spec.parse(store, base)


# ------------------------------------------------------------------ a folder


async def test_a_folder_that_is_served(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    world.serve(FILES, Disk(tmp_path / "www"))
    published = await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    assert not published.warnings
    assert not uploads(world)
    (part,) = keys(alice, "shards")
    assert record(alice, "shards", part)["bases"] == [{"url": f"{FILES}/numbers/"}]
    assert Manifest.load(tmp_path / "www" / "numbers").samples == 100
    await loads(world, tmp_path / "bob", 100)


async def test_a_folder_that_nobody_serves_is_warned_about(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    published = await desk.publish(numbers(100), store=str(tmp_path / "www"))
    (warning,) = published.warnings
    assert "nobody can fetch them" in warning
    again = await desk.publish(numbers(100))
    assert again.unchanged
    world.serve(FILES, Disk(tmp_path / "www"))
    with pytest.raises(Conflict, match="with its shards in another place"):
        await desk.publish(numbers(100), store="pds", version="1.0.0")
    moved = await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    assert (moved.version, moved.new_shards) == ("1.0.1", 0)
    await loads(world, tmp_path / "bob", 100)


async def test_a_base_url_where_the_shards_are_not(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    world.site(FILES)
    with pytest.raises(Absent, match="others cannot fetch the shard"):
        await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    assert not alice.head.records
    world.serve(FILES, Disk(tmp_path / "www"))
    await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    assert keys(alice, "release") == ["numbers:1.0.0"]


async def test_a_damaged_file_in_the_folder_is_replaced(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(100), store=str(tmp_path / "www"))
    shard = next((tmp_path / "www" / "numbers").glob("*.tar"))
    good = shard.read_bytes()
    shard.write_bytes(good[:-1000])
    alice.delete("network.atd.dataset", "numbers")
    await desk.publish(numbers(100), store=str(tmp_path / "www"))
    assert shard.read_bytes() == good


async def test_a_folder_that_cannot_be_written(desk: Desk, alice: Account, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFault):
        await desk.publish(numbers(60), store=str(tmp_path / "file" / "www"))
    assert not alice.head.records


async def test_the_next_release_goes_where_the_last_one_went(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    world.serve(FILES, Disk(tmp_path / "www"))
    await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    await desk.publish(numbers(120))
    assert not uploads(world)
    await loads(world, tmp_path / "bob", 120)
    with opened(world, tmp_path / "another machine") as other:
        await other.login(alice)
        with pytest.raises(LocalError, match="are at https://files") as caught:
            await other.publish(numbers(130))
        assert "--store" in caught.value.next_step
        await other.publish(numbers(130), store="pds")
    assert uploads(world)


async def test_from_the_pds_to_a_folder_and_back(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    world.serve(FILES, Disk(tmp_path / "www"))
    await desk.publish(numbers(100))
    sent = len(uploads(world))
    moved = await desk.publish(numbers(100), store=str(tmp_path / "www"), base_url=f"{FILES}/")
    assert moved.version == "1.0.1"
    assert len(uploads(world)) == sent
    back = await desk.publish(numbers(100), store="pds")
    assert back.version == "1.0.2"
    assert len(uploads(world)) == sent  # the first release still refers to the blobs
    await loads(world, tmp_path / "bob", 100)


# ------------------------------------------------------------------ a web server


async def test_files_that_are_served_already(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    pack(open_source(numbers(100)), tmp_path / "www")
    world.serve(FILES, Disk(tmp_path / "www"))
    published = await desk.publish(tmp_path / "www", store=f"{FILES}/")
    assert published.uploaded == 0
    await loads(world, tmp_path / "bob", 100)


async def test_a_file_that_is_not_there(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    pack(open_source(numbers(100)), tmp_path / "www")
    world.site(FILES)
    with pytest.raises(BadSource, match=r"answered 404 for .* should be"):
        await desk.publish(tmp_path / "www", store=f"{FILES}/")
    assert not alice.head.records


@pytest.mark.parametrize("change", ["altered", "cut", "longer"])
async def test_a_file_with_other_bytes(
    world: World, alice: Account, desk: Desk, tmp_path: Path, change: str
) -> None:
    manifest = pack(open_source(numbers(100)), tmp_path / "www")
    site = world.site(FILES)
    for shard in manifest.shards:
        data = (tmp_path / "www" / shard.name).read_bytes()
        changed = {"altered": b"x" + data[1:], "cut": data[:-512], "longer": data + b"\0" * 99999}
        site.put(f"/{shard.name}", changed[change])
    with pytest.raises(Exception, match=r"expected|more than") as caught:
        await desk.publish(tmp_path / "www", store=f"{FILES}/")
    assert type(caught.value).__name__ in ("DigestMismatch", "Unreachable", "TooLarge")
    assert not alice.head.records


# ------------------------------------------------------------------ a bucket


@pytest.fixture
def credentials() -> Iterator[None]:
    """The environment of somebody who has a bucket."""
    wanted = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    wanted |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ |= wanted
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ |= {} if value is None else {name: value}


@pytest.fixture
def s3(credentials: None) -> Iterator[str]:
    """An S3 server, by moto, with a bucket that everyone may read; its URL."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    policy = {
        "Version": "2012-10-17",
        "Statement": [{**everyone, "Resource": "arn:aws:s3:::bucket/*"}],
    }
    for path, body in (("/bucket", None), ("/bucket?policy", json.dumps(policy).encode())):
        plain = {"content-type": "text/plain"}
        request = urllib.request.Request(url + path, body, plain, method="PUT")
        urllib.request.urlopen(request).close()
    yield url
    server.stop()


def mirror(url: str) -> object:
    """A server of the world that passes everything on to a real one."""

    async def answer(call: Call) -> Answer:
        target = url + call.path
        headers = {name: value for name, value in call.headers.items() if name != "host"}
        body = call.body if call.method == "PUT" else None
        request = urllib.request.Request(target, body, headers, method=call.method)
        try:
            with urllib.request.urlopen(request) as reply:
                found = {name.lower(): value for name, value in reply.headers.items()}
                return Answer(reply.status, found, reply.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, {}, error.read())

    return answer


@pytest.mark.usefixtures("credentials")
async def test_a_release_in_a_bucket(world: World, alice: Account, s3: str, tmp_path: Path) -> None:
    world.serve("https://s3.example.com", mirror(s3))  # type: ignore[arg-type]
    with opened(world, tmp_path / "home", endpoint="https://s3.example.com") as desk:
        await desk.login(alice)
        published = await desk.publish(numbers(100), store="s3://bucket/sets")
        assert published.uploaded == published.size
        (part,) = keys(alice, "shards")
        base = "https://s3.example.com/bucket/sets/numbers/"
        assert record(alice, "shards", part)["bases"] == [{"url": base}]
        await loads(world, tmp_path / "bob", 100)
        again = await desk.publish(numbers(101), store="s3://bucket/sets")
        puts = [call for call in world.calls if call.method == "PUT"]
        assert len(puts) == published.shards + again.new_shards
        assert all("x-amz-content-sha256" in call.headers for call in puts)


@pytest.mark.usefixtures("credentials")
async def test_a_real_s3_server(s3: str, tmp_path: Path) -> None:
    host = s3.removeprefix("http://")
    fetcher = open_fetcher(Config.under(tmp_path, allow_hosts=frozenset({host})))
    path = tmp_path / "shard.tar"
    path.write_bytes(b"shard" * 1000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    bucket = Bucket(fetcher, Place.parse("s3://bucket/a b/"), s3)
    try:
        assert await bucket.size("x/shard.tar") is None
        await bucket.put("x/shard.tar", path, digest)
        assert await bucket.size("x/shard.tar") == 5000
        with urllib.request.urlopen(f"{s3}/bucket/a%20b/x/shard.tar") as reply:
            assert reply.read() == path.read_bytes()
        gone = Bucket(fetcher, Place.parse("s3://nobody"), s3)
        with pytest.raises(Exception, match="answered 404"):
            await gone.put("shard.tar", path, digest)
    finally:
        await fetcher.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, LoginRefused), (413, TooLarge)],
)
@pytest.mark.usefixtures("credentials")
async def test_what_a_bucket_refuses(
    world: World, alice: Account, tmp_path: Path, status: int, error: type[Exception]
) -> None:
    async def answer(call: Call) -> Answer:
        return Answer(404 if call.method == "HEAD" else status, {}, b"<Error>no</Error>")

    world.serve("https://s3.example.com", answer)
    with opened(world, tmp_path / "home", endpoint="https://s3.example.com") as desk:
        await desk.login(alice)
        with pytest.raises(error, match=f"answered {status}"):
            await desk.publish(numbers(60), store="s3://bucket/sets")
    assert not alice.head.records


def test_uploads_are_signed_over_the_hash_of_the_file(credentials: None) -> None:
    signed = signed_headers("PUT", "https://b.example/x", {"content-length": "3"}, "ab" * 32)
    lower = {name.lower(): value for name, value in signed.items()}
    assert lower["x-amz-content-sha256"] == "ab" * 32
    assert "x-amz-content-sha256" in lower["authorization"]
    other = signed_headers("PUT", "https://b.example/x", {"content-length": "3"}, "cd" * 32)
    assert json.dumps(other, sort_keys=True) != json.dumps(signed, sort_keys=True)
