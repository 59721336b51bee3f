"""From a handle or a DID to an `Identity`: steps 1 to 3 of docs/verification.md.

1. A handle leads to a DID by DNS (TXT ``_atproto.<handle>``), and only if the DNS has no such
   record by ``https://<handle>/.well-known/atproto-did``. Several different DIDs are refused. A DNS
   that fails to answer has not said no: HTTPS may still answer, but nothing is called absent then.
2. The DID leads to its document (did:plc by the directory, did:web by HTTPS), which must be its own
   and must claim the handle back, or the handle is refused.
3. Key, PDS and claims are read out of the document by `Identity.from_document`.

Answers are remembered, with the time they were had, and believed for ``identity_fresh_s``; that a
handle or a DID does not exist only for ``identity_absent_s``. ``refresh=True`` asks again. With the
network switched off, what was once had is still given: it may be stale, and `age_s` says how old.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from atd.errors import (
    AtdError,
    DidAbsent,
    HandleAbsent,
    IdentityMismatch,
    InvalidSyntax,
    Offline,
    Unreachable,
)
from atd.protocol import plc
from atd.protocol.identity import Identity
from atd.protocol.keys import PublicKey
from atd.protocol.syntax import Did, Handle, parse_actor, quote
from atd_daemon.config import Config
from atd_daemon.network.fetch import Fetcher, Reply, host_of, offline_now
from atd_daemon.network.names import TxtResolver

RESERVED_TLDS: Final = frozenset(
    {"local", "localhost", "internal", "arpa", "example", "invalid", "alt", "onion"}
)
_WEB_HOST: Final = re.compile(r"[A-Za-z0-9.-]+(%3A[0-9]{1,5})?")
_LOOPBACK_NAME: Final = re.compile(r"localhost|127\.[0-9.]+")
_GONE: Final = (404, 410)


@dataclass(frozen=True)
class Remembered:
    """An answer as text (a DID, a document in JSON; empty for "there is none") and its time."""

    text: str
    at_s: float


@dataclass(frozen=True)
class KeyEvidence:
    """What ``source`` (an origin) said of the keys of ``did`` at ``at_s``, as JSON text: the audit
    log of a did:plc, the document of a did:web.
    """

    did: Did
    source: str
    at_s: float
    text: str


class IdentityCache(Protocol):
    """Where answers outlive a restart; keys are handles and DIDs."""

    def remembered(self, key: str) -> Remembered | None:
        """The answer that was stored under ``key``."""
        ...

    async def remember(self, key: str, answer: Remembered) -> None:
        """Store an answer in place of an earlier one."""
        ...


class MemoryCache:
    """An `IdentityCache` for as long as the process lives, of at most ``limit`` answers."""

    def __init__(self, limit: int = 10_000) -> None:
        self._answers: dict[str, Remembered] = {}
        self._limit = limit

    def remembered(self, key: str) -> Remembered | None:
        """See `IdentityCache.remembered`."""
        return self._answers.get(key)

    async def remember(self, key: str, answer: Remembered) -> None:
        """See `IdentityCache.remember`."""
        self._answers.pop(key, None)
        self._answers[key] = answer
        if len(self._answers) > self._limit:
            del self._answers[next(iter(self._answers))]


class Directory:
    """Resolves who is who."""

    def __init__(
        self,
        fetcher: Fetcher,
        txt: TxtResolver,
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        cache: IdentityCache | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._txt = txt
        self._config = config
        self._clock = clock
        self._cache: IdentityCache = MemoryCache() if cache is None else cache
        self._unproved: dict[Did, float] = {}

    async def resolve(self, actor: Handle | Did | str, *, refresh: bool = False) -> Identity:
        """The identity behind a handle or a DID.

        Of a handle that was asked for, ``Identity.handle`` is that handle, proved in both
        directions. Of a DID, it is the first handle that the document claims if that one leads
        back here, else None.

        Raises:
            InvalidSyntax: neither a handle nor a DID, or a handle that is never resolved.
            HandleAbsent, DidAbsent: there is no such handle, or no such DID (any more).
            IdentityMismatch: the handle and the document contradict each other, or several answers
                each other, or the document cannot be used.
            Unreachable: we could not find out.
        """
        checked = parse_actor(actor.removeprefix("@"))
        if isinstance(checked, Did):
            return await self._with_handle(await self._identity(checked, refresh), refresh)
        remembered = self._known(checked, refresh) is not None
        did = await self.handle_to_did(checked, refresh=refresh)
        remembered |= self._known(did, refresh) is not None
        identity = await self._identity(did, refresh)
        if checked not in identity.claimed and remembered and not self._is_offline:
            # Somebody moved since we asked: what contradicts may be our own memory.
            did = await self.handle_to_did(checked, refresh=True)
            identity = await self._identity(did, refresh=True)
        return identity.proving(checked)

    async def document(self, did: Did) -> Identity:
        """What the document of ``did`` says now, asked for anew: no handle is looked up, so none is
        proved.

        Raises:
            IdentityMismatch, DidAbsent, Unreachable: as `resolve`.
        """
        return await self._identity(did, refresh=True)

    async def handle_to_did(self, handle: Handle, *, refresh: bool = False) -> Did:
        """The DID that ``handle`` points to, which proves nothing until the DID claims it back.

        Raises:
            InvalidSyntax, HandleAbsent, IdentityMismatch, Unreachable: as `resolve`.
        """
        self._check_tld(handle)
        known = self._known(handle, refresh)
        if known is None:
            try:
                did = await self._look_up(handle)
            except HandleAbsent:
                await self._remember(handle, "")
                raise
            await self._remember(handle, did)
            return did
        if not known.text:
            raise HandleAbsent(f"nobody answers for the handle {handle}")
        return Did.parse(known.text)

    async def previous_keys(self, did: Did) -> list[PublicKey]:
        """The signing keys that ``did`` had before its current one, newest first.

        Proved by the operation log of did:plc; a did:web has no history, so it has none.

        Raises:
            IdentityMismatch: the log does not prove.
            DidAbsent, Unreachable: as `resolve`.
        """
        if did.method != "plc":
            return []
        log = await self._log(did)
        # Thousands of signatures take seconds, which nobody else should wait for.
        return (await asyncio.to_thread(plc.signing_keys, did, log))[1:]

    async def key_evidence(self, did: Did, *, refresh: bool = False) -> KeyEvidence:
        """What shows others whose key it is: the audit log of a did:plc, a did:web's document.

        Remembered like all answers: with the network off it is what was fetched last.

        Raises:
            AtdError: as `resolve`.
        """
        if did.method != "plc":
            await self._identity(did, refresh)
            known = self._cache.remembered(did)
            assert known is not None, "it was remembered just now"
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(self._web_url(did)))
            return KeyEvidence(did, origin, known.at_s, known.text)
        key = _log_key(did)
        known = self._known(key, refresh)
        if known is None:
            log = await self._log(did)
            await asyncio.to_thread(plc.verify_log, did, log)
            await self._remember(key, json.dumps(log))
            known = self._cache.remembered(key)
            assert known is not None, "it was remembered just now"
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(self._config.plc_url))
        return KeyEvidence(did, origin, known.at_s, known.text)

    def evidence_age_s(self, did: Did) -> float | None:
        """How long ago `key_evidence` asked the network; None if never."""
        return self.age_s(did if did.method != "plc" else _log_key(did))

    async def _log(self, did: Did) -> object:
        """The audit log of a did:plc, as its directory has it."""
        reply = await self._fetcher.request(
            "GET", self._plc_url(did) + "/log/audit", max_bytes=self._config.max_plc_log_bytes
        )
        if reply.status != 200:
            raise _refused(reply, did)
        try:
            log: object = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise Unreachable(f"expected JSON from {host_of(reply.url)} for {did}") from None
        return log

    def age_s(self, key: Handle | Did | str) -> float | None:
        """How long ago we asked the network for a handle or a DID; None if never."""
        answer = self._cache.remembered(key)
        return None if answer is None else max(0.0, self._clock() - answer.at_s)

    # --- memory ----------------------------------------------------------------------------------

    def _known(self, key: str, refresh: bool) -> Remembered | None:
        """A remembered answer that may be used now."""
        answer = self._cache.remembered(key)
        if answer is None:
            return None
        if self._is_offline:
            return answer if answer.text else None
        life_s = self._config.identity_fresh_s if answer.text else self._config.identity_absent_s
        fresh = -self._config.clock_skew_s <= self._clock() - answer.at_s < life_s
        return answer if fresh and not refresh else None

    async def _remember(self, key: str, text: str) -> None:
        await self._cache.remember(key, Remembered(text, self._clock()))

    @property
    def _is_offline(self) -> bool:
        return self._config.offline or offline_now.get()

    # --- handle to DID (1) -----------------------------------------------------------------------

    def _check_tld(self, handle: Handle) -> None:
        tld = handle.rpartition(".")[2]
        test_names = self._config.dns_server is not None or bool(self._config.allow_hosts)
        if tld in RESERVED_TLDS or (tld == "test" and not test_names):
            raise InvalidSyntax(
                f"the handle {handle} ends in .{tld}, which is reserved and leads nowhere",
                next_step="use the account's public handle, or its DID",
            )

    async def _look_up(self, handle: Handle) -> Did:
        """DNS, then HTTPS."""
        try:
            records = await self._txt.txt(f"_atproto.{handle}")
        except Offline:
            raise
        except Unreachable as dns_failure:
            try:
                return await self._well_known(handle)
            except (Unreachable, HandleAbsent) as error:
                raise Unreachable(f"cannot resolve {handle}: {dns_failure}; {error}") from None
        found = sorted({text[4:].strip() for text in records if text.startswith("did=")})
        if len(found) > 1:
            shown = ", ".join(quote(text) for text in found[:5])
            raise IdentityMismatch(f"the DNS gives {handle} several DIDs: {shown}")
        if found:
            return _claimed_did(found[0], handle, "DNS")
        try:
            return await self._well_known(handle)
        except Offline:
            raise
        except Unreachable:
            if await self._txt.exists(handle):
                raise
            raise HandleAbsent(
                f"nobody answers for the handle {handle}: no DNS record _atproto.{handle}, and no"
                f" host {handle}"
            ) from None

    async def _well_known(self, handle: Handle) -> Did:
        url = f"https://{handle}/.well-known/atproto-did"
        reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_handle_bytes)
        text = reply.body.decode("utf-8", "replace").strip()
        # Many sites answer 200 with a page for whatever is asked: that is no DID, hence a no.
        if reply.status != 200 or not text.startswith("did:"):
            raise HandleAbsent(
                f"nobody answers for the handle {handle}: no DNS record _atproto.{handle}, and"
                f" {url} has no DID (status {reply.status})"
            )
        return _claimed_did(text, handle, url)

    # --- DID to identity (2, 3) ------------------------------------------------------------------

    async def _identity(self, did: Did, refresh: bool) -> Identity:
        known = self._known(did, refresh)
        if known is None:
            try:
                document = await self._document(did)
            except DidAbsent:
                await self._remember(did, "")
                raise
            identity = Identity.from_document(document)
            await self._remember(did, json.dumps(document))
            return identity
        if not known.text:
            raise DidAbsent(f"{did} does not exist, or not any more")
        return Identity.from_document(json.loads(known.text))

    async def _with_handle(self, identity: Identity, refresh: bool) -> Identity:
        """``identity`` with its first claimed handle, if that one leads back."""
        now_s = self._clock()
        if not identity.claimed or (self._unproved.get(identity.did, 0) > now_s and not refresh):
            return identity
        try:
            if await self.handle_to_did(identity.claimed[0], refresh=refresh) == identity.did:
                return identity.proving(identity.claimed[0])
        except AtdError:
            # The DID was asked for, and holds; only its name stays unproved. Do not wait for a
            # slow or dead name server again with the next record.
            if len(self._unproved) > 1000:
                self._unproved.clear()
            self._unproved[identity.did] = now_s + self._config.identity_absent_s
        return identity

    async def _document(self, did: Did) -> dict[str, Any]:
        """The DID's own document."""
        url = self._plc_url(did) if did.method == "plc" else self._web_url(did)
        reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_document_bytes)
        if reply.status != 200:
            raise _refused(reply, did)
        if reply.media_type == "text/html":
            raise Unreachable(f"expected the document of {did} from {host_of(url)}, got a web page")
        try:
            document = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise Unreachable(
                f"expected the document of {did} from {host_of(url)}, got no JSON"
            ) from None
        if not isinstance(document, dict) or document.get("id") != did:
            found = document.get("id") if isinstance(document, dict) else document
            raise IdentityMismatch(
                f"expected the document of {did} from {host_of(url)}, got one of {quote(found)}"
            )
        return document

    def _plc_url(self, did: Did) -> str:
        if not plc.is_plc(did):
            raise InvalidSyntax(f"expected did:plc: and 24 of a-z 2-7, got {quote(did)}")
        return f"{self._config.plc_url}/{did}"

    def _web_url(self, did: Did) -> str:
        """Where a did:web keeps its document; http only for loopback on the allow-list."""
        if did.method != "web":
            raise IdentityMismatch(
                f"expected a did:plc or a did:web, got {quote(did)}",
                next_step="ATProto has no other kinds of DID",
            )
        name = did.removeprefix("did:web:")
        if not _WEB_HOST.fullmatch(name):
            raise InvalidSyntax(f"expected did:web: and a host name, got {quote(did)}")
        host_port = name.replace("%3A", ":").lower()
        allowed = host_port in self._config.allow_hosts
        if ":" in host_port and not allowed:
            raise Unreachable(
                f"{did} names a port, which only hosts on the allow-list may",
                next_step=f"if this is a server of yours, add {host_port} to ATD_ALLOW_HOSTS",
            )
        plain = allowed and _LOOPBACK_NAME.fullmatch(host_port.partition(":")[0])
        return f"{'http' if plain else 'https'}://{host_port}/.well-known/did.json"


def _log_key(did: Did) -> str:
    return f"log of {did}"


def _claimed_did(text: str, handle: Handle, where: str) -> Did:
    try:
        return Did.parse(text)
    except InvalidSyntax:
        raise IdentityMismatch(
            f"expected a DID for {handle} from {where}, got {quote(text)}"
        ) from None


def _refused(reply: Reply, did: Did) -> AtdError:
    """What a status other than 200 says about a DID."""
    host = host_of(reply.url)
    # A directory that knows says no in JSON; a page is a proxy or a portal in its place.
    if reply.status in _GONE and (did.method != "plc" or reply.media_type != "text/html"):
        gone = "was deactivated for ever" if reply.status == 410 else "does not exist"
        return DidAbsent(f"{did} {gone}: {host} answered {reply.status}")
    return Unreachable(f"expected the document of {did}, but {host} answered {reply.status}")
