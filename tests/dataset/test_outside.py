"""Shards outside any catalogue: real HTTP and S3 servers on loopback, and what may go wrong."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import atd
from atd.dataset.outside import _Redirects, expand, fetch
from atd.errors import Unreachable
from atd.settings import Settings
from leaves import pack_folder

LOAD = """
import sys, atd
ds = atd.load(sys.argv[1], split=sys.argv[2] if len(sys.argv) > 2 else None)
print(len(ds), *(sorted(s.{field} for s in ds))[:3], type(ds[0].{field}).__name__)
"""


WATCHED = Path(__file__).parents[1] / "watched.py"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(folder: Path, kind: type[Quiet] = Quiet) -> Iterator[str]:
    handler = functools.partial(kind, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def load(
    home: Path, *arguments: str, field: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """``atd.load`` in a process of its own, with a home of its own."""
    return subprocess.run(
        [sys.executable, "-c", LOAD.format(field=field), *arguments],
        env={**os.environ, "ATD_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as a web server has it: packed shards, and bare WebDataset tars of others."""
    folder = pack_folder(tmp_path / "www" / "leaves", {"train": range(20), "test": range(5)})
    for shard in range(3):
        members = {}
        for sample in range(4):
            key = f"{shard}{sample:03d}"
            members[f"{key}.cls"] = str(shard * 4 + sample).encode()
            buffer = io.BytesIO()
            np.save(buffer, np.full((2, 2), sample, np.int16))
            members[f"{key}.npy"] = buffer.getvalue()
        write_tar(folder.parent / f"bare-{shard:02d}.tar", members)
    return folder.parent


def test_a_packed_folder_is_read_over_http(published: Path, tmp_path: Path) -> None:
    with serving(published) as origin:
        result = load(tmp_path / "home", f"{origin}/leaves", "train", field="number")
    assert result.stdout == "20 0 1 2 int\n", result.stderr


def test_a_packed_folder_that_was_altered_is_refused(published: Path, tmp_path: Path) -> None:
    victim = sorted((published / "leaves").glob("*.tar"))[0]
    data = bytearray(victim.read_bytes())
    data[700] ^= 1
    victim.chmod(0o644)
    victim.write_bytes(data)
    with serving(published) as origin:
        result = load(tmp_path / "home", f"{origin}/leaves", field="number")
    assert "DigestMismatch" in result.stderr
    assert result.stdout == ""


def test_bare_tars_are_read_with_a_schema_of_their_own(published: Path, tmp_path: Path) -> None:
    with serving(published) as origin:
        result = load(tmp_path / "home", origin + "/bare-{00..02}.tar", field="cls")
        again = load(tmp_path / "home", origin + "/bare-{00..02}.tar", field="cls")
    assert result.stdout == again.stdout == "12 0 1 2 int\n", result.stderr


def test_bare_tars_are_not_fetched_twice(published: Path, tmp_path: Path) -> None:
    with serving(published) as origin:
        load(tmp_path / "home", origin + "/bare-00.tar", field="cls")
    result = load(tmp_path / "home", origin + "/bare-00.tar", field="cls")
    assert result.stdout == "4 0 1 2 int\n", result.stderr


class Counting(Quiet):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


def counted(home: Path, ref: str) -> dict[str, Any]:
    """All samples of ``ref`` in order, read by a process that is watched."""
    done = subprocess.run(
        [sys.executable, str(WATCHED), ref],
        env={**os.environ, "ATD_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_shards_of_a_folder_are_fetched_when_they_are_needed(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_HOME", str(tmp_path / "home"))
    Counting.asked.clear()
    with serving(published, Counting) as origin:
        ds = atd.load(f"{origin}/leaves", split="train")
        assert Counting.asked == ["/leaves/atd.json"]
        assert ds[0].number == 0
        assert len(Counting.asked) == 2
        assert [one.number for one in ds] == list(range(20))
        assert len(Counting.asked) == 1 + len(ds.flow.source.shards)
    monkeypatch.setenv("ATD_OFFLINE", "1")
    again = atd.load(f"{origin}/leaves", split="train")
    assert [one.number for one in again] == list(range(20))


def test_a_copy_is_hashed_once_and_fetched_again_when_it_was_altered(
    published: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    Counting.asked.clear()
    with serving(published, Counting) as origin:
        first = counted(home, f"{origin}/leaves")
        assert first["told_hashed"] == first["size"]
        again = counted(home, f"{origin}/leaves")
        assert (again["told_hashed"], again["stats"]) == (0, again["shards"])
        victim = next((home / "cache" / "outside").rglob("*.tar"))
        victim.write_bytes(bytes(victim.stat().st_size))
        Counting.asked.clear()
        assert counted(home, f"{origin}/leaves")["numbers"] == first["numbers"]
        assert sorted(Counting.asked) == ["/leaves/atd.json", f"/leaves/{victim.name}"]


def test_bare_tars_are_hashed_once(published: Path, tmp_path: Path) -> None:
    first = sorted((published / "leaves").glob("*.tar"))[0]
    (published / "one.tar").write_bytes(first.read_bytes())
    with serving(published) as origin:
        assert counted(tmp_path / "home", f"{origin}/one.tar")["told_hashed"] > 0
        assert counted(tmp_path / "home", f"{origin}/one.tar")["told_hashed"] == 0


@pytest.mark.parametrize(
    ("path", "error"),
    [("/nothing.tar", "Absent"), ("/nothing", "Absent"), ("/bare-{02..00}.tar", "InvalidSyntax")],
)
def test_what_is_not_there_is_said(published: Path, tmp_path: Path, path: str, error: str) -> None:
    with serving(published) as origin:
        result = load(tmp_path / "home", origin + path, field="cls")
    assert f"atd.errors.{error}" in result.stderr
    assert not list((tmp_path / "home").rglob("*.tar"))


def test_a_server_that_is_down_is_unreachable(tmp_path: Path) -> None:
    result = load(tmp_path / "home", "http://127.0.0.1:9/x.tar", field="cls")
    assert "atd.errors.Unreachable: 127.0.0.1 cannot be reached" in result.stderr


def test_offline_means_offline(tmp_path: Path) -> None:
    result = load(tmp_path / "home", "http://127.0.0.1:9/x.tar", field="cls", ATD_OFFLINE="1")
    assert "atd.errors.Offline" in result.stderr


def test_a_file_that_is_no_shard_is_named(published: Path, tmp_path: Path) -> None:
    (published / "lies.tar").write_bytes(b"<html>not found</html>" * 100)
    with serving(published) as origin:
        result = load(tmp_path / "home", f"{origin}/lies.tar", field="cls")
    assert "atd.errors.ShardError" in result.stderr


def test_braces_count() -> None:
    assert list(expand("a-{08..11}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert list(expand("{0..1}/{0..1}")) == ["0/0", "0/1", "1/0", "1/1"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on loopback with a packed folder in the bucket ``shards``."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    folder = pack_folder(tmp_path_factory.mktemp("s3") / "leaves", {"train": range(9)})
    session = pytest.importorskip("botocore.session").get_session()
    client = session.create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket="shards")
    for path in folder.iterdir():
        key, data = f"leaves/{path.name}", path.read_bytes()
        client.put_object(Bucket="shards", Key=key, Body=data, ACL="public-read")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.parametrize("credentials", [{}, {"id": "test", "key": "test"}])
def test_a_packed_folder_is_read_from_s3(
    bucket: str, tmp_path: Path, credentials: dict[str, str]
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"} if credentials else {}
    result = load(
        tmp_path / "home",
        "s3://shards/leaves",
        field="number",
        ATD_S3_ENDPOINT=bucket,
        AWS_EC2_METADATA_DISABLED="true",
        **keys,
    )
    assert result.stdout == "9 0 1 2 int\n", result.stderr


# --- servers that lie -----------------------------------------------------------------------------

ANSWERS = {
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes!",
    "no-http": b"garbage\r\n\r\n",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    "nowhere": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
    "file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
}


class Liar(Quiet):
    def do_GET(self) -> None:
        self.wfile.write(ANSWERS[self.path.strip("/").removesuffix(".tar")])
        self.close_connection = True


@pytest.mark.parametrize("lie", ANSWERS)
def test_a_body_that_breaks_off_or_is_no_answer_leaves_no_file(lie: str, tmp_path: Path) -> None:
    settings = Settings.load({"ATD_HOME": str(tmp_path / "home")})
    with serving(tmp_path, Liar) as origin, pytest.raises(Unreachable):
        fetch(f"{origin}/{lie}.tar", tmp_path / "got.tar", 10_000, settings)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_redirect_out_of_tls_is_not_followed() -> None:
    asked = urllib.request.Request("https://data.example.com/a.tar")
    for target in ("http://data.example.com/a.tar", "ftp://data.example.com/a.tar"):
        with pytest.raises(urllib.error.URLError, match="from https to"):
            _Redirects().redirect_request(asked, io.BytesIO(), 302, "", HTTPMessage(), target)
    found = _Redirects().redirect_request(
        asked, io.BytesIO(), 302, "", HTTPMessage(), "https://mirror.example.com/a.tar"
    )
    assert found is not None
    assert found.full_url == "https://mirror.example.com/a.tar"
