"""Downloads: resumed, checked, never a mixture, never from where nobody said."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from atd.errors import Absent, AtdError, DigestMismatch, Offline, Unreachable
from atd.recipes.access import Access
from atd.recipes.downloads import Got, download
from atd.settings import Settings
from recipes.making import noise, sha256
from recipes.servers import FileServer

DATA = noise(300_000)
SHA = sha256(DATA)


def get(
    settings: Settings, folder: Path, *urls: str, sha: str | None = None, size: int | None = None
) -> Got:
    target = folder / "target"
    return download(
        urls,
        target,
        sha256=sha,
        size=size,
        access=Access(settings),
        report=lambda done, total: None,
    )


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "downloads"
    made.mkdir()
    return made


def test_a_file_is_there_whole_and_nothing_else_is(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    got = get(settings, folder, server.serve("/a", DATA), sha=SHA, size=len(DATA))
    assert (got.sha256, got.size) == (SHA, len(DATA))
    assert (folder / "target").read_bytes() == DATA
    assert files(folder) == ["target"]


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_server_that_cuts_at_half_is_asked_for_the_other_half(
    server: FileServer, settings: Settings, folder: Path, etag: str | None
) -> None:
    url = server.serve("/a", DATA, etag=etag, cut=len(DATA) // 2)
    get(settings, folder, url, sha=SHA)
    assert (folder / "target").read_bytes() == DATA
    assert [ranged for _, _, ranged in server.requests] == [None, f"bytes={len(DATA) // 2}-"]


def test_without_validator_and_without_hash_nothing_is_appended(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    get(settings, folder, server.serve("/a", DATA, cut=1000))
    assert (folder / "target").read_bytes() == DATA
    assert [ranged for _, _, ranged in server.requests] == [None, None]


def test_what_an_earlier_run_left_is_gone_on_from(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    url = server.serve("/a", DATA, etag='"v1"', hold=200_000, holding=lambda: None)

    class Stopped(Exception):
        pass

    def stop(done: int, total: int | None) -> None:
        if done >= 200_000:
            raise Stopped

    with pytest.raises(Stopped):
        download(
            [url], folder / "target", sha256=SHA, size=None, access=Access(settings), report=stop
        )
    assert not (folder / "target").exists()
    get(settings, folder, url, sha=SHA)
    assert (folder / "target").read_bytes() == DATA
    assert server.requests[-1][2] == "bytes=200000-"


def test_an_object_that_changed_meanwhile_is_fetched_from_its_first_byte(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    other = noise(300_000, seed=1)
    url = server.serve("/a", DATA, etag='"v1"', hold=1000)
    server.files["/a"].holding = lambda: server.files.update(
        {"/a": type(server.files["/a"])(other, etag='"v2"')}
    )
    get(settings, folder, url)
    assert (folder / "target").read_bytes() == other


def test_a_mixture_that_no_validator_tells_is_found_by_its_hash_and_fetched_anew(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    other = noise(300_000, seed=1)
    url = server.serve("/a", other, hold=1000)
    server.files["/a"].holding = lambda: server.files.update({"/a": type(server.files["/a"])(DATA)})
    get(settings, folder, url, sha=SHA)
    assert (folder / "target").read_bytes() == DATA
    assert [ranged for _, _, ranged in server.requests] == [None, "bytes=1000-", None]


def test_a_server_that_ignores_ranges_is_taken_from_its_first_byte(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    url = server.serve("/a", DATA, etag='"v1"', cut=1000, ignore_range=True)
    get(settings, folder, url, sha=SHA)
    assert (folder / "target").read_bytes() == DATA


def test_a_bad_hash_leaves_nothing(server: FileServer, settings: Settings, folder: Path) -> None:
    with pytest.raises(DigestMismatch, match=SHA):
        get(settings, folder, server.serve("/a", DATA), sha="0" * 64)
    assert files(folder) == []


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_declared_is_refused(
    server: FileServer, settings: Settings, folder: Path, size: int
) -> None:
    with pytest.raises(DigestMismatch, match="bytes"):
        get(settings, folder, server.serve("/a", DATA), size=size)
    assert files(folder) == []


def test_the_next_address_is_asked_and_bytes_of_two_never_meet(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    gone = server.url("/gone")
    wrong = server.serve("/wrong", noise(300_000, seed=2))
    good = server.serve("/good", DATA)
    got = get(settings, folder, gone, wrong, good, sha=SHA)
    assert got.url == good
    assert files(folder) == ["target"]


def test_the_error_names_every_address_and_what_it_did(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    wrong = server.serve("/wrong", b"x")
    with pytest.raises(DigestMismatch) as caught:
        get(settings, folder, server.url("/gone"), wrong, sha=SHA)
    assert "/gone" in caught.value.message
    assert "404" in caught.value.message
    assert "/wrong" in caught.value.message


def test_nothing_anywhere_is_absent(server: FileServer, settings: Settings, folder: Path) -> None:
    with pytest.raises(Absent):
        get(settings, folder, server.url("/gone"))


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/a",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "https://user@example.org/",
        "https://example.org/a b",
        "https:///a",
    ],
)
def test_an_address_that_may_not_be_asked_is_refused_before_anything_is_sent(
    settings: Settings, folder: Path, url: str
) -> None:
    with pytest.raises(Unreachable, match=r"expected an https URL|not a URL"):
        get(settings, folder, url)


def test_a_redirect_is_followed_and_checked(
    server: FileServer, settings: Settings, folder: Path
) -> None:
    server.serve("/a", DATA)
    server.serve("/good", b"", redirect="/a")
    get(settings, folder, server.url("/good"), sha=SHA)
    for path, target in {"/file": "file:///etc/passwd", "/http": "http://localhost:1/a"}.items():
        server.serve(path, b"", redirect=target)
        with pytest.raises(AtdError, match=r"expected an https URL|not a URL"):
            get(settings, folder, server.url(path))


def test_a_circle_of_redirects_ends(server: FileServer, settings: Settings, folder: Path) -> None:
    server.serve("/a", b"", redirect="/a")
    with pytest.raises(Unreachable, match="redirects"):
        get(settings, folder, server.url("/a"))


def test_offline_asks_nobody(server: FileServer, settings: Settings, folder: Path) -> None:
    offline = Settings.load({**dict(settings.variables), "ATD_OFFLINE": "1"})
    with pytest.raises(Offline):
        get(offline, folder, server.serve("/a", DATA))
    assert server.requests == []


def test_proxies_of_the_environment_are_not_asked(
    server: FileServer, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    get(settings, folder, server.serve("/a", DATA), sha=SHA)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FileServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FileServer(context).running() as running:
        yield running


def test_https_needs_no_setting_but_a_valid_certificate(
    secure: FileServer,
    authority: trustme.CA,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings.load({"ATD_HOME": str(tmp_path / "home")})
    url = secure.serve("/a", DATA)
    with pytest.raises(Unreachable, match="certificate"):
        get(settings, folder, url, sha=SHA)
    assert secure.requests == []
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    get(settings, folder, url, sha=SHA)
    assert (folder / "target").read_bytes() == DATA


def test_a_redirect_never_leaves_https_not_even_to_a_host_that_is_allowed(
    server: FileServer,
    secure: FileServer,
    settings: Settings,
    authority: trustme.CA,
    tmp_path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    url = secure.serve("/a", b"", redirect=server.serve("/a", DATA))
    with pytest.raises(Unreachable, match="out of https"):
        get(settings, folder, url)
    assert server.requests == []
