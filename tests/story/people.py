"""Who plays in the stories: people with a home, a daemon and perhaps an account at a real PDS.

Belongs here: running the real ``atd`` as one of them, and looking at what is in their repositories
and stores without the help of atd's own reading.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atd.connection import Connection, peer_credentials
from atd.settings import Settings
from atd_daemon import lifecycle
from reference.client import ask, call
from reference.network import Account, Network

TIMEOUT_S = 120
PASSWORD = "hunter2"
COLLECTIONS = ("dataset", "release", "schema", "shards")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object that is all of stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Repository:
    """An account's repository and blobs, as its PDS tells everyone."""

    account: Account

    @property
    def rev(self) -> str:
        """The revision of the newest commit."""
        return str(self._ask("com.atproto.sync.getLatestCommit", did=self.account.did)["rev"])

    def records(self, collection: str) -> dict[str, Any]:
        """The records of ``network.atd.COLLECTION`` by record key."""
        place = {"repo": self.account.did, "collection": f"network.atd.{collection}"}
        listed = self._listed("com.atproto.repo.listRecords", "records", limit=100, **place)
        found = {one["uri"].rpartition("/")[2]: one["value"] for one in listed}
        assert len(found) == len(listed)
        return found

    def releases(self, name: str) -> list[str]:
        """The versions of the data set ``name`` that have a release record."""
        keys = [key.partition(":") for key in self.records("release")]
        found = [version for of, _, version in keys if of == name]
        return sorted(found, key=lambda version: [int(part) for part in version.split(".")])

    @property
    def previews(self) -> set[str]:
        """The CIDs of the previews that releases refer to."""
        releases = self.records("release").values()
        return {one["preview"]["ref"]["$link"] for one in releases if "preview" in one}

    def parts(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """The shards of each release of ``name``, over its splits, as its lists have them."""
        lists = self.records("shards")
        found: dict[str, list[dict[str, Any]]] = {}
        for key, release in self.records("release").items():
            of, _, version = key.partition(":")
            if of == name:
                uris = [part["uri"] for split in release["splits"] for part in split["parts"]]
                found[version] = [
                    shard for uri in uris for shard in lists[uri.rpartition("/")[2]]["shards"]
                ]
        return found

    @property
    def blobs(self) -> set[str]:
        """The CIDs of the blobs that records refer to."""
        listed = self._listed("com.atproto.sync.listBlobs", "cids", did=self.account.did)
        assert len(listed) == len(set(listed))
        return set(listed)

    def has_blob(self, cid: str) -> bool:
        """Whether anyone can fetch the blob."""
        place = {"did": self.account.did, "cid": cid}
        return ask(self.account.pds, "com.atproto.sync.getBlob", **place).status == 200

    def _listed(self, method: str, what: str, **parameters: object) -> list[Any]:
        """The items of a list, over all its pages."""
        found: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = self._ask(method, **parameters, **cursor)
            found += page[what]
            if not page[what] or "cursor" not in page:
                return found
            cursor = {"cursor": page["cursor"]}

    def _ask(self, method: str, **parameters: object) -> Any:
        reply = ask(self.account.pds, method, **parameters)
        assert reply.status == 200, reply
        return reply.json()


@dataclass(frozen=True)
class Person:
    """Somebody with a home of their own. ``account`` is set if they have one somewhere."""

    environ: dict[str, str] = field(repr=False)
    account: Account | None = None

    @property
    def home(self) -> Path:
        """Everything this person's daemon keeps is below it."""
        return Path(self.environ["ATD_HOME"])

    @property
    def handle(self) -> str:
        assert self.account is not None
        return self.account.handle

    @property
    def repository(self) -> Repository:
        assert self.account is not None
        return Repository(self.account)

    @property
    def settings(self) -> Settings:
        return Settings.load(self.environ)

    @property
    def connection(self) -> Connection:
        """For the Python API in this process; that of the environment is tried in others."""
        return Connection(self.settings)

    # --- commands --------------------------------------------------------------------------------

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """``atd`` with these words, running."""
        return subprocess.Popen(
            [sys.executable, "-m", "atd", *words],
            env=self.environ | variables,
            cwd=self.home.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, stdin: str = "", code: int = 0, **variables: str) -> Said:
        """``atd`` with these words, to its end, which must be the exit code ``code``."""
        return self._finished(["-m", "atd", *words], stdin, code, variables)

    def json(self, *words: str, code: int = 0, **variables: str) -> dict[str, Any]:
        """The answer of ``atd … --json``."""
        return self.run(*words, "--json", code=code, **variables).json

    def python(self, program: Path, *words: str, **variables: str) -> Said:
        """A Python program as this person runs it."""
        return self._finished([str(program), *words], "", 0, variables)

    def login(self) -> None:
        """With the password on stdin, as scripts do it."""
        assert self.account is not None
        self.run("login", self.handle, "--password-stdin", stdin=self.account.password + "\n")

    def _finished(self, words: list[str], stdin: str, code: int, variables: dict[str, str]) -> Said:
        done = subprocess.run(
            [sys.executable, *words],
            input=stdin,
            env=self.environ | variables,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return Said(done.returncode, done.stdout, done.stderr)

    # --- the daemon and the store ----------------------------------------------------------------

    def kill_daemon(self) -> bool:
        """SIGKILL to the daemon, if there is one; it is gone when this returns."""
        path = os.fspath(self.settings.socket_path)
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            pid = peer_credentials(line, path)[0]
            os.kill(pid, signal.SIGKILL)
        while self.connection.is_up():
            time.sleep(0.01)
        return True

    def stop_daemon(self) -> None:
        lifecycle.stop(self.settings)

    @property
    def shards(self) -> set[str]:
        """The CIDs of the shards in the store; each must be whole and right."""
        files = (self.home / "cache" / "shards").glob("??/*.tar")
        found = set()
        for path in files:
            assert path.stem == cid_of(path.read_bytes()), f"{path} is not what it says"
            found.add(path.stem)
        return found

    @property
    def unfinished(self) -> list[str]:
        """What is left of downloads that did not end."""
        partials = (self.home / "cache" / "shards" / "partial").glob("*")
        return sorted(path.name for path in partials if path.suffix != ".lock")

    @property
    def staged(self) -> list[str]:
        """The folders of publications that did not end."""
        staging = self.home / "cache" / "staging"
        return sorted(path.name for path in staging.iterdir()) if staging.is_dir() else []


Meet = Callable[..., Person]
"""What the fixture ``meet`` is: gives a person by name."""


@contextlib.contextmanager
def person(
    network: Network, home: Path, account: Account | None = None, *, allow: str = ""
) -> Iterator[Person]:
    """A person whose home is ``home``; their daemon is stopped at the end.

    Args:
        allow: further hosts that may be contacted, with commas.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ATD_")}
    somebody = Person(
        kept
        | {
            "ATD_HOME": str(home),
            "ATD_PLC_URL": network.plc_url,
            "ATD_DNS_SERVER": network.zone.address,
            "ATD_ALLOW_HOSTS": ",".join(filter(None, [network.allow_hosts, allow])),
        },
        account,
    )
    try:
        yield somebody
    finally:
        somebody.stop_daemon()


def cid_of(data: bytes) -> str:
    """The CID of raw bytes: version 1, codec raw, SHA-256 (multiformats.io), in base32."""
    binary = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(binary).decode().lower().rstrip("=")


def settle(network: Network, name: str, number: int = 1) -> Account:
    """A new account ``NAME.pdsNUMBER.test``: nobody else writes into its repository."""
    pds, handle = network.pds[number - 1], f"{name}.pds{number}.test"
    body = {"handle": handle, "password": PASSWORD, "email": f"{name}@example.com"}
    reply = call(pds, "com.atproto.server.createAccount", body)
    assert reply.status == 200, reply
    account = Account(handle, reply.json()["did"], PASSWORD, pds)
    network.zone.point(account.handle, account.did)
    return account
