"""Writing to a PDS in a user's name: app-password sessions, blobs, and record commits. Plain XRPC.

A password goes to the PDS that the account's proved DID document names, once, and is not kept.
Tokens are renewed when the PDS says that they expired; the new ones are on disk before they are
used, because a refresh token works only once. What a write did is never concluded from its reply
alone: a timeout or a 5xx leaves it open (Unreachable), and the caller reads back with proof.

Why not the SDK's client: docs/decisions/0002-xrpc-writes.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atd.errors import (
    AccountInactive,
    AtdError,
    Conflict,
    DigestMismatch,
    IdentityMismatch,
    InvalidSyntax,
    LexiconError,
    LocalError,
    LoginRefused,
    StorageFault,
    TooLarge,
    Unreachable,
)
from atd.protocol.cbor import RAW, Cid, Value, encode, from_json, to_json
from atd.protocol.identity import Identity, parse_origin
from atd.protocol.syntax import Did, Handle, parse_actor, quote
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.fetch import Body, Fetcher, Reply, host_of
from atd_daemon.network.outgoing import pieces
from atd_daemon.network.sessions import Session, SessionFile
from atd_daemon.network.xrpc import error_of, method_url

MAX_WRITES: Final = 200
MAX_WRITE_BYTES: Final = 1_000_000
_APPLY: Final = "com.atproto.repo.applyWrites"
_MAX_TOKEN: Final = 16 * 1024
_EXPIRED: Final = frozenset({"ExpiredToken", "InvalidToken"})
_INACTIVE: Final = frozenset({"AccountTakedown", "AccountDeactivated", "AccountSuspended"})
_CONFLICTS: Final = frozenset({"InvalidSwap", "BlobNotFound"})


@dataclass(frozen=True, slots=True)
class Account:
    """An account that is logged in; ``pds`` is the origin of its server."""

    did: Did
    handle: Handle | None
    pds: str


def create(collection: str, rkey: str, value: Mapping[str, Value]) -> dict[str, Any]:
    """An operation of `Accounts.apply_writes`: a record that must not exist yet."""
    return {"$type": f"{_APPLY}#create", "collection": collection, "rkey": rkey, "value": value}


def update(collection: str, rkey: str, value: Mapping[str, Value]) -> dict[str, Any]:
    """An operation of `Accounts.apply_writes`: other content for a record that exists."""
    return {"$type": f"{_APPLY}#update", "collection": collection, "rkey": rkey, "value": value}


def delete(collection: str, rkey: str) -> dict[str, Any]:
    """An operation of `Accounts.apply_writes`: a record that exists goes."""
    return {"$type": f"{_APPLY}#delete", "collection": collection, "rkey": rkey}


class Accounts:
    """The user's accounts. Every request may also raise Unreachable, RateLimited or Offline."""

    def __init__(
        self, folder: Path, fetcher: Fetcher, directory: Directory, config: Config
    ) -> None:
        """``folder`` is where ``accounts.json`` lives: the state folder."""
        self._file = SessionFile(folder / "accounts.json")
        self._fetcher = fetcher
        self._directory = directory
        self._config = config
        self._locks: dict[Did, asyncio.Lock] = {}

    def list(self) -> tuple[Account, ...]:
        """Every account that is logged in, in the order of login."""
        return tuple(_account(session) for session in self._file.all())

    def get(self, actor: str | None = None) -> Account:
        """The account with this handle or DID; without one, the only account there is.

        Raises:
            LoginRefused: it is not logged in, or there are several to choose from.
        """
        accounts = self.list()
        if actor is None:
            if len(accounts) == 1:
                return accounts[0]
            if not accounts:
                raise LoginRefused("no account is logged in")
            names = ", ".join(account.handle or account.did for account in accounts)
            raise LoginRefused(
                f"several accounts are logged in: {names}", next_step="choose one with --to HANDLE"
            )
        wanted = parse_actor(actor.removeprefix("@"))
        for account in accounts:
            if wanted in (account.did, account.handle):
                return account
        raise LoginRefused(
            f"the account {wanted} is not logged in", next_step=f"log in with: atd login {wanted}"
        )

    async def login(self, actor: str, password: str, pds: str | None = None) -> Account:
        """Open a session with an app password and keep its tokens.

        Args:
            actor: handle or DID. It is resolved first, and the password goes to the PDS that
                its document names.
            pds: the URL of the PDS to ask instead, for an account whose handle does not resolve
                yet; its DID document must name that PDS all the same.

        Raises:
            LoginRefused: the PDS refused the password.
            IdentityMismatch: the PDS answered for another account, or is not the account's PDS.
            AccountInactive: the account is deactivated or taken down.
        """
        wanted = parse_actor(actor.removeprefix("@"))
        if pds is None:
            identity = await self._directory.resolve(wanted, refresh=True)
            reply = await self._create_session(identity.pds, identity.did, password)
        else:
            origin = parse_origin(pds)
            reply = await self._create_session(origin, wanted, password)
            identity = await self._named_by(reply, wanted)
            if identity.pds != origin:
                raise IdentityMismatch(
                    f"{identity.did} lives at {identity.pds} by its DID document, not at {origin}",
                    next_step=f"log in without --pds, or with --pds {identity.pds}",
                )
        session = _session(reply, identity)
        self._file.put(session)
        return _account(session)

    async def logout(self, actor: str | None = None) -> Account:
        """Close a session, at the PDS where it answers, and forget its tokens in any case."""
        account = self.get(actor)
        session = self._session_of(account.did)
        try:
            url = method_url(session.pds, "com.atproto.server.deleteSession")
            await self._send(url, session.refresh, None)
        except Unreachable:
            pass  # the tokens are forgotten here, and expire there
        self._file.remove(account.did)
        return account

    async def upload_blob(self, did: Did, path: Path, mime: str) -> dict[str, Value]:
        """Upload a file as a blob, streaming it from disk.

        Returns:
            The blob object, to go into a record exactly as it is.

        Raises:
            TooLarge: larger than the PDS takes.
            DigestMismatch: the PDS named other bytes than the file has.
            LoginRefused, AccountInactive: the session is over.
        """
        upload = _Upload(path)
        size = upload.size
        headers = {"content-type": mime, "content-length": str(size)}
        limit_s = self._config.upload_grace_s + size / self._config.upload_min_bytes_per_s
        reply = await self._authorized(
            did, "com.atproto.repo.uploadBlob", _Message(upload.chunks, headers, limit_s)
        )
        if reply.status == 413 or "TooLarge" in error_of(reply)[0]:
            raise TooLarge(
                f"{host_of(reply.url)} refuses a blob of {size} bytes as too large",
                next_step="publish with smaller shards, or to a bucket or folder with --store",
            )
        blob = _checked_blob(_good(reply, did), reply)
        if blob["ref"] != upload.cid or blob["size"] != size:
            raise DigestMismatch(
                f"uploaded {path.name}, {size} bytes {upload.cid}, but {host_of(reply.url)} has"
                f" {quote(blob['size'])} bytes {quote(blob['ref'])}"
            )
        return blob

    async def apply_writes(
        self, did: Did, writes: Sequence[Mapping[str, Any]], swap_commit: Cid | None
    ) -> dict[str, Any]:
        """Send one commit of record operations, made by `create`, `update` and `delete`.

        Args:
            did: whose repository.
            writes: 1 to 200 operations, of at most 1,000,000 bytes of JSON together.
            swap_commit: the head that the repository must have; None for any.

        Returns:
            What the PDS says it did: ``{"commit": {"cid", "rev"}, "results": [{"uri", "cid"}…]}``.

        Raises:
            Conflict: the head is another (``reason`` InvalidSwap), or a record names a blob that
                was not uploaded or has expired (``reason`` BlobNotFound). Nothing was written.
            TooLarge: too many operations or bytes.
            LocalError: the PDS refused the records themselves.
            LoginRefused, AccountInactive: the session is over.
            Unreachable: also when it is unknown whether the commit was made.
        """
        asked: dict[str, Any] = {"repo": did, "writes": [_operation(write) for write in writes]}
        if swap_commit is not None:
            asked["swapCommit"] = str(swap_commit)
        # Of lexicons that a PDS does not know, "true" is an error and the default says no more.
        body = json.dumps({**asked, "validate": False}, separators=(",", ":")).encode()
        if not 0 < len(writes) <= MAX_WRITES or len(body) > MAX_WRITE_BYTES:
            raise TooLarge(
                f"one commit takes 1 to {MAX_WRITES} writes and {MAX_WRITE_BYTES} bytes,"
                f" got {len(writes)} and {len(body)}"
            )
        message = _Message(lambda: body, {"content-type": "application/json"}, None)
        return _good(await self._authorized(did, _APPLY, message), did)

    # --- sessions --------------------------------------------------------------------------------

    async def _create_session(self, pds: str, identifier: str, password: str) -> Reply:
        reply = await self._fetcher.request(
            "POST",
            method_url(pds, "com.atproto.server.createSession"),
            json={"identifier": identifier, "password": password},
            max_bytes=self._config.max_reply_bytes,
        )
        if reply.status == 200:
            return reply
        host, (name, message) = host_of(reply.url), error_of(reply)
        if name in _INACTIVE:
            raise _inactive(name, identifier, host)
        if name == "AuthFactorTokenRequired":
            said = "wants a code by e-mail, as it does for the main password"
        elif reply.status == 401 or name == "AuthenticationRequired":
            said = "refused the password"
        else:
            said = f"refused the login: {reply.status} {quote(f'{name}: {message}')}"
        raise LoginRefused(
            f"{host} {said} (account {identifier})",
            next_step="make an app password in the settings of the account, and log in with it",
        )

    async def _named_by(self, reply: Reply, wanted: Did | Handle) -> Identity:
        """The proved identity of whom the PDS says that it let in, which need be who was asked."""
        try:
            did = Did.parse(reply.json()["did"])
        except (KeyError, InvalidSyntax):
            raise LexiconError(f"{host_of(reply.url)} opened a session for nobody") from None
        identity = await self._directory.resolve(did, refresh=True)
        if wanted != did and wanted not in identity.claimed:
            raise IdentityMismatch(
                f"{host_of(reply.url)} opened a session for {did}, which does not claim {wanted}"
            )
        return identity

    def _session_of(self, did: Did) -> Session:
        session = self._file.get(did)
        if session is None:
            raise LoginRefused(
                f"the account {did} is not logged in", next_step=f"log in with: atd login {did}"
            )
        return session

    async def _authorized(self, did: Did, nsid: str, message: _Message) -> Reply:
        """POST with the account's access token, renewed once if the PDS says that it expired."""
        session = await self._current(did)
        url = method_url(session.pds, nsid)
        reply = await self._send(url, session.access, message)
        if reply.status in (400, 401) and error_of(reply)[0] in _EXPIRED:
            session = await self._renewed(session)
            reply = await self._send(url, session.access, message)
        if reply.status in (401, 403):
            name, text = error_of(reply)
            if name in _INACTIVE:
                raise _inactive(name, did, host_of(url))
            raise _logged_out(session, f"{reply.status} {quote(f'{name}: {text}')}")
        return reply

    async def _current(self, did: Did) -> Session:
        """The session, if its PDS is still the account's."""
        session = self._session_of(did)
        identity = await self._directory.resolve(did)
        if identity.pds != session.pds:
            raise LoginRefused(
                f"{session.handle or did} moved from {session.pds} to {identity.pds}",
                next_step=f"log in there with: atd login {session.handle or did}",
            )
        return session

    async def _renewed(self, old: Session) -> Session:
        """New tokens for ``old``; concurrent callers get the same ones."""
        async with self._locks.setdefault(old.did, asyncio.Lock()):
            session = self._session_of(old.did)
            if session.access != old.access:
                return session
            url = method_url(session.pds, "com.atproto.server.refreshSession")
            reply = await self._send(url, session.refresh, None)
            if reply.status != 200:
                name, text = error_of(reply)
                if name in _INACTIVE:
                    raise _inactive(name, old.did, host_of(url))
                raise _logged_out(session, f"{reply.status} {quote(f'{name}: {text}')}")
            did, access, refresh = _tokens(reply)
            if did != old.did:
                raise IdentityMismatch(f"{host_of(url)} renewed a session of {old.did} for {did}")
            session = replace(session, access=access, refresh=refresh)
            self._file.put(session)
            return session

    async def _send(self, url: str, token: str, message: _Message | None) -> Reply:
        message = message or _Message(lambda: None, {}, None)
        return await self._fetcher.request(
            "POST",
            url,
            headers={**message.headers, "authorization": f"Bearer {token}"},
            body=message.body(),
            max_bytes=self._config.max_reply_bytes,
            timeout_s=message.timeout_s,
        )


@dataclass(frozen=True)
class _Message:
    """A request that can be sent again: ``body`` makes its body anew."""

    body: Callable[[], Body]
    headers: Mapping[str, str]
    timeout_s: float | None


class _Upload:
    """A file on its way out, hashed as it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hash = hashlib.sha256()
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise StorageFault(f"cannot read {path}: {error.strerror}") from error

    @property
    def cid(self) -> Cid:
        """The CID of the bytes that were read last."""
        return Cid.from_digest(self._hash.digest(), RAW)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file from its start."""
        self._hash = hashlib.sha256()
        async for piece in pieces(self._path):
            self._hash.update(piece)
            yield piece


def _operation(write: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as it travels; its record must be one (no floats, and so on)."""
    if "value" not in write:
        return dict(write)
    value = {"$type": write["collection"], **write["value"]}
    encode(value)
    return {**write, "value": to_json(value)}


def _good(reply: Reply, did: Did) -> dict[str, Any]:
    """The JSON of a 200, else what its error means."""
    if reply.status == 200:
        return reply.json()
    host, (name, message) = host_of(reply.url), error_of(reply)
    said = f"{host} refused the write of {did}: {quote(f'{name}: {message}', 300)}"
    if name in _CONFLICTS:
        raise Conflict(said, reason=name, next_step="run the same command again")
    if name in _INACTIVE:
        raise _inactive(name, did, host)
    if reply.status == 413:
        raise TooLarge(
            f"{host} takes no write of this size: it answered 413",
            next_step="make fewer and larger shards with --shard-size, or ask its operator for "
            "larger requests",
        )
    if not name:
        raise Unreachable(f"{host} answered {reply.status} to a write of {did}")
    raise LocalError(said)


def _checked_blob(value: dict[str, Any], reply: Reply) -> dict[str, Value]:
    try:
        blob = from_json(value.get("blob"))
    except LexiconError:
        blob = {}
    fields = {"$type", "ref", "mimeType", "size"}
    if not fields <= blob.keys() or blob["$type"] != "blob" or not isinstance(blob["ref"], Cid):
        raise LexiconError(f"expected a blob from {host_of(reply.url)}, got {quote(value)}")
    return blob


def _session(reply: Reply, identity: Identity) -> Session:
    did, access, refresh = _tokens(reply)
    if did != identity.did:
        raise IdentityMismatch(
            f"{host_of(reply.url)} opened a session for {did}, asked for {identity.did}"
        )
    if reply.json().get("active") is False:
        raise _inactive(quote(reply.json().get("status")), did, host_of(reply.url))
    return Session(did, identity.handle, identity.pds, access, refresh)


def _tokens(reply: Reply) -> tuple[Did, str, str]:
    value = reply.json()
    access, refresh = value.get("accessJwt"), value.get("refreshJwt")
    for token in (access, refresh):
        if not isinstance(token, str) or not re.fullmatch(rf"[!-~]{{1,{_MAX_TOKEN}}}", token):
            raise LexiconError(f"{host_of(reply.url)} opened a session without usable tokens")
    try:
        return Did.parse(value["did"]), str(access), str(refresh)
    except (KeyError, InvalidSyntax):
        raise LexiconError(f"{host_of(reply.url)} opened a session for nobody") from None


def _account(session: Session) -> Account:
    return Account(session.did, session.handle, session.pds)


def _logged_out(session: Session, said: str) -> LoginRefused:
    who = session.handle or session.did
    return LoginRefused(
        f"the session of {who} is over: {host_of(session.pds)} answered {said}",
        next_step=f"log in again with: atd login {who}",
    )


def _inactive(name: str, who: str, host: str) -> AtdError:
    return AccountInactive(f"the account {who} cannot be used at {host}: {name}")
