"""Asking other daemons in their public mode: a search (hints), and proofs of records.

What a mirror says of data sets is a hint, marked as unproved, without the handle, and checked
against the lexicon. A proof from a mirror goes the way of every proof: it is checked against the
identity that this daemon resolved itself. A mirror is asked for one only where the publisher's own
server does not answer; what that server says, also that an account is gone, is never overruled.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from atd import api
from atd.errors import AtdError, InvalidSyntax, LexiconError, Offline, RateLimited, Unreachable
from atd.lexicon_files import catalog
from atd.protocol.identity import Identity, parse_origin
from atd.protocol.syntax import AtUri, quote
from atd_daemon.config import Config
from atd_daemon.network.fetch import Fetcher, host_of
from atd_daemon.network.pds import CAR_TYPE, PdsReader

_MAX_PAGE_BYTES: Final = 4 * 2**20


class MirroredReader(PdsReader):
    """Reads from PDSes, and from mirrors what a PDS that does not answer would prove."""

    def __init__(self, fetcher: Fetcher, config: Config) -> None:
        super().__init__(fetcher, config)
        self._mirrors = config.mirrors

    async def record_proof(self, identity: Identity, uri: AtUri) -> bytes:
        """See `PdsReader.record_proof`."""
        try:
            return await super().record_proof(identity, uri)
        except Offline:
            raise
        except Unreachable as error:
            for origin in self._mirrors:
                found = await self._from(origin, uri)
                if found is not None:
                    return found
            raise error

    async def _from(self, origin: str, uri: AtUri) -> bytes | None:
        """The proof of a record at a mirror, if it has one."""
        place = {"did": uri.did, "collection": uri.collection, "rkey": uri.rkey}
        url = f"{origin}{api.PREFIX}com.atproto.sync.getRecord?{urlencode(place)}"
        try:
            reply = await self._fetcher.request("GET", url, max_bytes=self._config.max_car_bytes)
        except AtdError:
            return None
        return reply.body if reply.status == 200 and reply.media_type == CAR_TYPE else None


class MirrorSearch:
    """Asks a mirror what it lists."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def search(self, at: str, params: dict[str, Any]) -> dict[str, Any]:
        """What the daemon at the origin ``at`` finds: hints, each marked as unproved.

        Raises:
            InvalidSyntax: ``at`` is no origin.
            LexiconError: the answer is none.
            Unreachable, RateLimited, Offline: as they say.
        """
        origin = parse_origin(at)
        url = f"{origin}{api.SEARCH_DATASETS.path}?{urlencode(params, doseq=True)}"
        reply = await self._fetcher.request("GET", url, max_bytes=_MAX_PAGE_BYTES)
        if reply.status == 429:
            raise RateLimited(f"{host_of(url)} wants fewer questions")
        if reply.status == 400:
            raise InvalidSyntax(f"{host_of(url)} cannot take this search: {quote(reply.body)}")
        if reply.status != 200:
            raise Unreachable(
                f"expected the public catalogue of a daemon at {origin}, got status {reply.status}"
            )
        try:
            answer = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise LexiconError(f"{host_of(url)} answered something that is not JSON") from None
        if not isinstance(answer, dict):
            raise LexiconError(f"{host_of(url)} answered {quote(answer)}")
        known = catalog()
        hints = [_hint(one, origin) for one in _entries(answer, origin)]
        page: dict[str, Any] = {"datasets": hints}
        if isinstance(answer.get("cursor"), str):
            page["cursor"] = answer["cursor"]
        known.validate_output(page, api.SEARCH_DATASETS.nsid)
        return page


def _entries(answer: dict[str, Any], origin: str) -> list[dict[str, Any]]:
    entries = answer.get("datasets")
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise LexiconError(f"{origin} should answer with data sets")
    return entries


def _hint(said: dict[str, Any], origin: str) -> dict[str, Any]:
    """An entry as somebody else said it: nothing in it is proved, the handle least of all."""
    kept = {key: value for key, value in said.items() if key != "handle"}
    latest = kept.get("latest")
    if isinstance(latest, dict):
        kept["latest"] = {key: value for key, value in latest.items() if key != "proof"}
    reason = f"said by {origin}, not proved here"
    kept["proof"] = {"state": "unproved", "handleProved": False, "reason": reason}
    return kept
