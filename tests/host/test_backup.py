"""One file holds an account as it was at one moment; a changed file gives nothing back."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from atd.errors import AtdError, Conflict, DigestMismatch, LocalError, ProofError, StorageFault
from atd.protocol.identity import Identity
from atd.protocol.proof import verify_repo
from atd_daemon.host.account import Account
from atd_daemon.host.host import Host
from host.consistency import check
from host.serving import Client, Served
from host.test_crash import put


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host.open(tmp_path / "host")
    host.init("localhost:2583", "alice.test", "a-long-password")
    fill(host.account())
    return host


def fill(account: Account) -> None:
    for n in range(20):
        account.repo.apply([put(account, f"r{n}", "text", f"blob {n % 7}".encode())])


def test_a_backup_is_restored_elsewhere_signed_anew_and_goes_on(host: Host, tmp_path: Path) -> None:
    archive = tmp_path / "host.tar"
    info = host.backup(archive)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert (info.files, info.size) == (3 + 7, archive.stat().st_size)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "host", archive]
    old = host.account().reader.head()
    seq = host.account().events.newest()
    host.close()

    other = Host.open(tmp_path / "other")
    status = other.restore(archive)
    account = other.account()
    assert (status.did, status.records, status.blobs) == (account.did, 20, 7)
    assert len(check(account)) == 20
    head = account.reader.head()
    assert (head.data, head.rev > old.rev) == (old.data, True)
    (event,) = account.events.after(seq)
    assert event.seq > seq + 1  # numbers given out after the backup do not come again
    assert account.sessions.matches("a-long-password")
    fill(account)
    check(account)
    other.close()
    assert len(Host.open(tmp_path / "other").accounts) == 1


def test_a_backup_made_while_the_account_goes_on_is_one_moment_of_it(
    host: Host, tmp_path: Path
) -> None:
    account, stop = host.account(), threading.Event()

    def busy() -> None:
        n = 0
        while not stop.is_set():
            account.repo.apply([put(account, "busy", str(n), f"passing {n}".encode())])
            n += 1

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for n in range(5):
            host.backup(tmp_path / f"{n}.tar")
    finally:
        stop.set()
        thread.join()
    check(account)
    host.close()
    for n in range(5):
        other = Host.open(tmp_path / f"other{n}")
        other.restore(tmp_path / f"{n}.tar")
        assert len(check(other.account())) in (20, 21)
        other.close()


def test_a_backup_overwrites_nothing_and_a_failed_one_leaves_nothing(
    host: Host, tmp_path: Path
) -> None:
    archive = tmp_path / "precious"
    archive.write_text("precious")
    with pytest.raises(StorageFault, match="File exists"):
        host.backup(archive)
    assert archive.read_text() == "precious"
    with pytest.raises(StorageFault, match="No such file"):
        host.backup(tmp_path / "nowhere" / "x.tar")
    with pytest.raises(LocalError, match=r"no account for the domain other\.example"):
        host.backup(tmp_path / "x.tar", "other.example")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["host", "precious"]


def test_restoring_over_an_account_is_refused(host: Host, tmp_path: Path) -> None:
    host.backup(tmp_path / "x.tar")
    head = host.account().reader.head()
    with pytest.raises(Conflict, match="here already"):
        host.restore(tmp_path / "x.tar")
    assert host.account().reader.head() == head


Change = Callable[[str, bytes], tuple[str, bytes] | None]


def flip_blob(name: str, data: bytes) -> tuple[str, bytes]:
    return name, data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("blobs/") else data


def lose_blobs(name: str, data: bytes) -> tuple[str, bytes] | None:
    return None if name.startswith("blobs/") else (name, data)


def lose_keys(name: str, data: bytes) -> tuple[str, bytes] | None:
    return None if name == "keys.json" else (name, data)


def other_key(name: str, data: bytes) -> tuple[str, bytes]:
    if name == "keys.json":
        at = data.index(b'"signingKey": "') + 20
        data = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    return name, data


def flip_database(name: str, data: bytes) -> tuple[str, bytes]:
    if name == "repo.sqlite":
        at = data.index(b"org.example.thing", 8192)
        data = data[:at] + b"X" + data[at + 1 :]
    return name, data


def escape(name: str, data: bytes) -> tuple[str, bytes]:
    return ("../../escaped" if name.startswith("blobs/") else name), data


def escape_as_blob(name: str, data: bytes) -> tuple[str, bytes]:
    return ("blobs/../../../escaped" if name.startswith("blobs/") else name), data


def other_domain(name: str, data: bytes) -> tuple[str, bytes]:
    return name, data.replace(b"2583", b"2584") if name == "about.json" else data


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (flip_blob, DigestMismatch),
        (lose_blobs, DigestMismatch),
        (lose_keys, StorageFault),
        (other_key, ProofError),
        (flip_database, AtdError),
        (escape, StorageFault),
        (escape_as_blob, StorageFault),
        (other_domain, ProofError),
    ],
)
def test_a_changed_backup_restores_nothing(
    host: Host, tmp_path: Path, change: Change, error: type[AtdError]
) -> None:
    host.backup(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as good, tarfile.open(tmp_path / "y.tar", "w") as bad:
        for entry in good:
            source = good.extractfile(entry)
            assert source is not None
            changed = change(entry.name, source.read())
            if changed is not None:
                copy = tarfile.TarInfo(changed[0])
                copy.size = len(changed[1])
                bad.addfile(copy, io.BytesIO(changed[1]))
    other = Host.open(tmp_path / "other")
    with pytest.raises(error):
        other.restore(tmp_path / "y.tar")
    assert other.accounts == ()
    assert os.listdir(tmp_path / "other") == ["lock"]
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("kind", ["symlink", "nothing", "text", "cut"])
def test_what_is_no_backup_is_refused(host: Host, tmp_path: Path, kind: str) -> None:
    bad = tmp_path / "bad.tar"
    if kind == "text":
        bad.write_text("hello" * 1000)
    elif kind == "cut":
        host.backup(tmp_path / "x.tar")
        bad.write_bytes((tmp_path / "x.tar").read_bytes()[:20000])
    elif kind == "symlink":
        with tarfile.open(bad, "w") as tar:
            link = tarfile.TarInfo("about.json")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
    other = Host.open(tmp_path / "other")
    with pytest.raises(StorageFault):
        other.restore(bad)
    assert os.listdir(tmp_path / "other") == ["lock"]


def test_a_restored_account_serves_what_the_old_one_did(client: Client, tmp_path: Path) -> None:
    client.put("org.example.thing", "a", {"n": 1})
    port, account = client.served.port, client.account
    client.served.host.backup(tmp_path / "x.tar")
    client.served.stop()
    restored = Host.open(tmp_path / "new")
    restored.restore(tmp_path / "x.tar")
    restored.close()
    with Served(tmp_path / "new", port=port) as served:
        again = served.client(account)
        repo = verify_repo(again.car(), again.identity())
        assert set(repo.entries) == {"org.example.thing/a"}
        assert isinstance(again.identity(), Identity)
