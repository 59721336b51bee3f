"""``network.atd.catalog.verify`` and ``.getProof``: proved again, aloud or in a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from atd import api
from atd.errors import AtdError
from atd.refs import parse_dataset_ref
from atd_daemon.server import views
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
from atd_daemon.store import Progress
from atd_daemon.sync.found import FoundShard
from atd_daemon.sync.verify import Step, Verifier


async def verify(services: Services, given: dict[str, Any], events: Events) -> dict[str, Any]:
    """Answer ``network.atd.catalog.verify``. What does not hold is said, not raised."""
    verifier = Verifier(
        services.directory,
        services.pds,
        services.resolver,
        services.store,
        allow_previous_key=given.get("allowPreviousKey", False),
    )
    verdict = _Verdict()
    async for step in verifier.steps(parse_dataset_ref(given["ref"])):
        if step.shard is not None and step.holds is None and given.get("fetch", False):
            step = await _fetched(services, step.shard, step, events)
        verdict.take(step)
        events.step(**_said(step))
    summary = {} if verifier.resolved is None else views.release_summary(verifier.resolved)
    summary.pop("handle", None)
    return {**summary, **verdict.said()}


async def get_proof(
    services: Services, given: dict[str, Any], request: web.Request
) -> web.StreamResponse:
    """Answer ``network.atd.catalog.getProof``."""
    made = await services.bundler.make(given["ref"])
    return web.Response(body=made.data, content_type=api.CAR)


class _Verdict:
    """Counts the steps."""

    def __init__(self) -> None:
        self._steps = self._shards = self._absent = self._size = 0
        self._holds = True

    def take(self, step: Step) -> None:
        """Count one step."""
        self._steps += 1
        self._holds = self._holds and step.holds is not False
        if step.shard is not None:
            self._shards += 1
            self._absent += step.holds is None
            self._size += step.shard.entry.size if step.holds else 0

    def said(self) -> dict[str, Any]:
        """The counts of ``network.atd.catalog.verify#result``."""
        return {
            "holds": self._holds,
            "steps": self._steps,
            "shards": self._shards - self._absent,
            "absent": self._absent,
            "size": self._size,
        }


async def _fetched(services: Services, shard: FoundShard, step: Step, events: Events) -> Step:
    """Fetch a shard that was not here; the store verifies it on the way in."""
    entry = shard.entry

    def report(progress: Progress) -> None:
        events.progress(done=progress.done, total=entry.size, name=entry.name)

    try:
        await services.cache.have(shard.want, report, name=entry.name)
    except AtdError as error:
        return replace(step, holds=False, found=str(error), error=type(error).__name__)
    return replace(step, holds=True, found=f"{entry.digest}, {entry.size} bytes, fetched now")


def _said(step: Step) -> dict[str, Any]:
    """``network.atd.catalog.verify#step``; what could not be checked does not fail."""
    return views.present(
        name=step.name,
        holds=step.holds is not False,
        expected=step.expected,
        found=step.found,
        error=step.error,
    )
