"""Making, moving and taking down accounts of reference PDSes, over plain XRPC."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from atd.protocol.cbor import Cid, encode
from atd.protocol.keys import PrivateKey
from reference.client import TIMEOUT_S, Session, ask, call
from reference.network import Account, Network
from world.plc import sign


def make_account(network: Network, name: str, pds: int = 1) -> Account:
    """A new account ``name.pdsN.test``, with its handle in DNS."""
    origin, handle = network.pds[pds - 1], f"{name}.pds{pds}.test"
    body = {"handle": handle, "password": "hunter2", "email": f"{name}@example.com"}
    made = _done(call(origin, "com.atproto.server.createAccount", body))
    network.zone.point(handle, made["did"])
    return Account(handle, made["did"], "hunter2", origin)


def migrate(network: Network, account: Account, pds: int) -> Account:
    """Move an account to another PDS as its owner would: repository, identity, switch over."""
    old, origin = Session(account), network.pds[pds - 1]
    service = ask(origin, "com.atproto.server.describeServer").json()["did"]
    method = "com.atproto.server.createAccount"
    token = _service_token(network, account, service, method)
    body = {"handle": account.handle, "did": account.did, "password": account.password}
    email = f"moved-{account.handle}@example.com"
    _done(call(origin, method, {**body, "email": email}, token))
    moved = Account(account.handle, account.did, account.password, origin)
    new = Session(moved)
    _post(new, "com.atproto.repo.importRepo", old.repo(), "application/vnd.ipld.car")
    wanted = _get(new, "com.atproto.identity.getRecommendedDidCredentials")
    update_identity(network, account, **wanted)
    activate(new)
    assert old.call("com.atproto.server.deactivateAccount", {}).status == 200
    return moved


def activate(session: Session) -> None:
    """Let an account be active (again)."""
    _post(session, "com.atproto.server.activateAccount")


def _service_token(network: Network, account: Account, service: str, method: str) -> str:
    """What its old PDS would sign for the account, if it took names of servers with ports."""
    number = network.pds.index(account.pds)
    folder = Path(network.pds_processes[number].info["dir"]) / f"pds{number + 1}" / "actors"
    (secret,) = folder.glob(f"*/{account.did}/key")
    head = {"typ": "JWT", "alg": "ES256K"}
    body = {"iss": account.did, "aud": service, "lxm": method, "exp": int(time.time()) + 60}
    said = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    key = PrivateKey.from_bytes("k256", secret.read_bytes())
    return f"{said}.{_base64(key.sign(said.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def update_identity(network: Network, account: Account, **changed: Any) -> None:
    """Sign an operation of the PLC directory with the rotation key of the account's PDS."""
    number = network.pds.index(account.pds) + 1
    last = json.loads(_open(Request(f"{network.plc_url}/{account.did}/log/last")))
    secret = hashlib.sha256(f"rotation key of test PDS {number}".encode()).digest()
    operation = {name: value for name, value in last.items() if name != "sig"}
    operation |= {"prev": str(Cid.of(encode(last))), **changed}
    signed = sign(operation, PrivateKey.from_bytes("k256", secret))
    headers = {"content-type": "application/json"}
    _open(Request(f"{network.plc_url}/{account.did}", json.dumps(signed).encode(), headers))


def take_down(network: Network, account: Account, *, applied: bool = True) -> None:
    """Take an account down as the administrator of its PDS, or let it be again."""
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": account.did}
    body = {"subject": subject, "takedown": {"applied": applied, "ref": "test"}}
    _admin(network, account.pds, "com.atproto.admin.updateSubjectStatus", body)


def delete_account(network: Network, account: Account) -> None:
    """Delete an account as the administrator of its PDS."""
    _admin(network, account.pds, "com.atproto.admin.deleteAccount", {"did": account.did})


def _admin(network: Network, origin: str, method: str, body: object) -> None:
    word = base64.b64encode(f"admin:{network.admin_password}".encode()).decode()
    headers = {"content-type": "application/json", "authorization": f"Basic {word}"}
    _open(Request(f"{origin}/xrpc/{method}", json.dumps(body).encode(), headers))


def _get(session: Session, method: str, **parameters: str) -> Any:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    url = f"{session.account.pds}/xrpc/{method}?{query}"
    return json.loads(_open(Request(url, headers=session.headers())))


def _post(session: Session, method: str, data: bytes = b"", mime: str | None = None) -> None:
    kind = {} if mime is None else {"content-type": mime}
    url = f"{session.account.pds}/xrpc/{method}"
    _open(Request(url, data or None, {**session.headers(), **kind}, method="POST"))


def _open(request: Request) -> bytes:
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            body: bytes = response.read()
    except HTTPError as error:
        with error:
            raise AssertionError(f"{request.full_url}: {error.code} {error.read()!r}") from None
    return body


def _done(reply: Any) -> Any:
    assert reply.status == 200, reply
    return reply.json()
