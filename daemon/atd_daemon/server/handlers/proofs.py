"""``network.atd.catalog.verify``: everything proved again, aloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from atd.errors import AtdError
from atd.refs import parse_dataset_ref
from atd_daemon.server import views
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
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
        resolved = verifier.resolved
        shard = None
        if resolved is not None and verdict.records_are_done(step):
            shard = resolved.shards[verdict.shards]
            if step.holds is None and given.get("fetch", False):
                step = await _fetched(services, shard, step, events)
        verdict.take(step, shard)
        events.step(**_said(step))
    summary = {} if verifier.resolved is None else views.release_summary(verifier.resolved)
    summary.pop("handle", None)
    return {**summary, **verdict.said()}


class _Verdict:
    """Counts the steps."""

    def __init__(self) -> None:
        self.shards = 0
        self._steps = self._absent = self._size = 0
        self._holds = True

    def records_are_done(self, step: Step) -> bool:
        """Whether ``step`` is about a shard: those come last, in the order of the release."""
        return step.name.startswith("shard ")

    def take(self, step: Step, shard: FoundShard | None) -> None:
        """Count one step."""
        self._steps += 1
        self._holds = self._holds and step.holds is not False
        if shard is not None:
            self.shards += 1
            self._absent += step.holds is None
            self._size += shard.entry.size if step.holds else 0

    def said(self) -> dict[str, Any]:
        """The counts of ``network.atd.catalog.verify#result``."""
        return {
            "holds": self._holds,
            "steps": self._steps,
            "shards": self.shards - self._absent,
            "absent": self._absent,
            "size": self._size,
        }


async def _fetched(services: Services, shard: FoundShard, step: Step, events: Events) -> Step:
    """Fetch a shard that was not here; the store verifies it on the way in."""
    entry = shard.entry

    def report(progress: Any) -> None:
        events.progress(done=progress.done, total=entry.size, name=entry.name)

    try:
        await services.store.ensure(shard.want, report)
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
