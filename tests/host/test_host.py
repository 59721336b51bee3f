"""Accounts of a host: made once, kept private, told apart by name; and what their names mean."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from atd.errors import Conflict, InvalidSyntax, LocalError, StorageFault
from atd.protocol.identity import Identity
from atd.protocol.proof import verify_repo
from atd_daemon.host.domain import Domain
from atd_daemon.host.host import Host
from atd_daemon.host.keys import HostKeys
from host.serving import Served, answered, refused

THING = "org.example.thing"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_account_of_a_domain_is_did_web_with_the_domain_as_handle(tmp_path: Path) -> None:
    host = Host.open(tmp_path / "host")
    made = host.init("Lab.Example.org")
    assert (made.domain, made.did, made.handle, made.pds) == (
        "lab.example.org",
        "did:web:lab.example.org",
        "lab.example.org",
        "https://lab.example.org",
    )
    assert made.password not in repr(made)
    assert [len(group) for group in made.password.split("-")] == [4, 4, 4, 4]
    account = host.account()
    identity = Identity.from_document(account.document())
    assert identity.pds == "https://lab.example.org"
    assert identity.claimed == ("lab.example.org",)
    repo = verify_repo(b"".join(account.reader.car(None)), identity)
    assert (repo.commit.did, len(repo.entries)) == (made.did, 0)
    (status,) = host.status()
    assert (status.records, status.blobs, status.rev) == (0, 0, repo.commit.rev)
    host.close()


def test_what_is_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    os.umask(0o022)
    host = Host.open(tmp_path / "host")
    made = host.init("lab.example.org")
    host.close()
    assert mode(tmp_path / "host") == 0o700
    folder = Path(made.key_file).parent
    assert mode(folder) == 0o700
    assert mode(Path(made.key_file)) == 0o600
    assert mode(folder / "repo.sqlite") == 0o600
    Path(made.key_file).chmod(0o640)
    with pytest.raises(StorageFault, match="mode 0640, not 0600"):
        Host.open(tmp_path / "host")


def test_a_key_file_is_never_overwritten_or_followed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    HostKeys.generate().create(path)
    before = path.read_bytes()
    with pytest.raises(StorageFault, match="File exists"):
        HostKeys.generate().create(path)
    assert path.read_bytes() == before
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(StorageFault):
        HostKeys.load(tmp_path / "link")
    keys = HostKeys.load(path)
    assert keys.signing.to_bytes().hex() not in repr(keys)
    path.write_text('{"version": 1, "curve": "k256", "signingKey": "abcd"}')
    with pytest.raises(StorageFault) as refusal:
        HostKeys.load(path)
    assert "abcd" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lab",
        "https://lab.example.org",
        "lab.example.org/x",
        "lab.example.org:8443",
        "-lab.example.org",
        "../x.example",
        "lab.example.org\n",
        "192.0.2.7",
        "localhost:0",
        "localhost:65536",
        "evil.example:2583.localhost",
    ],
)
def test_what_is_no_domain_is_refused(tmp_path: Path, text: str) -> None:
    host = Host.open(tmp_path / "host")
    with pytest.raises(InvalidSyntax):
        host.init(text)
    assert host.accounts == ()
    host.close()


@pytest.mark.parametrize(
    ("text", "did", "origin", "folder"),
    [
        ("localhost:2583", "did:web:localhost%3A2583", "http://localhost:2583", "localhost%3A2583"),
        ("a.localhost", "did:web:a.localhost", "http://a.localhost", "a.localhost"),
        (
            "lab.example.org",
            "did:web:lab.example.org",
            "https://lab.example.org",
            "lab.example.org",
        ),
    ],
)
def test_what_follows_from_a_domain(text: str, did: str, origin: str, folder: str) -> None:
    domain = Domain.parse(text)
    assert (domain.did, domain.origin, domain.folder) == (did, origin, folder)


def test_a_domain_and_a_handle_are_given_once(tmp_path: Path) -> None:
    host = Host.open(tmp_path / "host")
    with pytest.raises(InvalidSyntax, match="cannot be a handle"):
        host.init("localhost:2583")
    with pytest.raises(InvalidSyntax, match="12 characters"):
        host.init("lab.example.org", password="short")
    host.init("localhost:2583", "@alice.test")
    with pytest.raises(Conflict):
        host.init("localhost:2583", "bob.test")
    with pytest.raises(Conflict):
        host.init("localhost:2584", "alice.test")
    assert len(host.accounts) == 1
    with pytest.raises(LocalError, match=r"there are: localhost:2583"):
        host.account("other.example")
    host.close()


def test_two_accounts_on_one_listener_are_told_apart_by_host(served: Served) -> None:
    alice, bob = served.make(), served.host.init(f"bob.localhost:{served.port}", "bob.test")
    client = served.client(alice)
    client.put(THING, "a", {})

    def get(path: str, host: str) -> object:
        answer = client.http.get(f"{served.origin}{path}", headers={"Host": host}, timeout=10)
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    for account in (alice, bob):
        document = get("/.well-known/did.json", account.domain)
        assert isinstance(document, dict)
        assert document["id"] == account.did
        assert get("/.well-known/atproto-did", account.handle) == account.did
        described = get("/xrpc/com.atproto.server.describeServer", account.domain)
        assert isinstance(described, dict)
        assert described["did"] == account.did
    path = f"/xrpc/com.atproto.sync.getLatestCommit?did={quote(alice.did)}"
    assert "cid" in str(get(path, alice.domain))
    assert "RepoNotFound" in str(get(path, bob.domain))
    elsewhere = get("/xrpc/com.atproto.sync.listRepos", "elsewhere.example")
    assert isinstance(elsewhere, dict)
    assert elsewhere["error"] == "UnknownHost"


def test_a_document_is_served_at_the_domain_only_and_a_handle_at_its_own_name(
    served: Served,
) -> None:
    account = served.make("alice.test")
    client = served.client(account)
    origin = served.origin

    def get(path: str, host: str) -> int:
        return client.http.get(origin + path, headers={"Host": host}, timeout=10).status_code

    assert get("/.well-known/did.json", account.domain) == 200
    assert get("/.well-known/did.json", "alice.test") == 404
    assert get("/.well-known/atproto-did", "alice.test") == 200
    assert get("/.well-known/atproto-did", f"ALICE.test:{served.port}") == 200
    assert get("/.well-known/atproto-did", account.domain) == 404
    resolve = "com.atproto.identity.resolveHandle"
    assert answered(client.get(resolve, handle="Alice.test")) == {"did": account.did}
    assert refused(client.get(resolve, handle="bob.test")) == (400, "HandleNotFound")


def test_everything_is_still_there_after_a_restart(tmp_path: Path) -> None:
    with Served(tmp_path / "host") as served:
        account, port = served.make(), served.port
        client = served.client(account)
        client.put(THING, "a", {"n": 1})
        car, tokens = client.car(), client.tokens
    with Served(tmp_path / "host", port=port) as served:
        again = served.client(account)
        assert again.car() == car
        again.headers = {"Authorization": f"Bearer {tokens['accessJwt']}"}
        again.put(THING, "a", {"n": 2})
