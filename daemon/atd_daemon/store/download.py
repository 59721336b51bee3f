"""Getting one shard from its sources: asking, resuming, trying again, and saying who did what.

From one source: ask for what is missing, append what comes, ask again where it was cut short, as
long as it gets on. When all bytes are there their digest decides. If they came in more than one
piece and the digest is wrong, nobody is blamed yet: the file is thrown away and fetched once more,
from its first byte. From several sources: one after the other, each with a file of its own, so that
bytes of two sources never meet; the error names every source and what it did.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atd.errors import Absent, AtdError, DigestMismatch, Offline, RateLimited, Unreachable
from atd.validators import Version
from atd_daemon.network.fetch import Fetcher, StreamReply
from atd_daemon.store.layout import Layout
from atd_daemon.store.partial import Partial
from atd_daemon.store.replies import StartAnewError, content_length, start_of
from atd_daemon.store.sources import Blob, ShardWant, Source
from atd_daemon.store.threads import WriteBehind, to_the_end

_NAMED_SOURCES = 8


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to keep trying with one source.

    Args:
        tries: requests in a row that may fail to get on before the source is given up.
        pause_s: the wait before the second request; it doubles with every further one.
        longest_wait_s: the longest that a server which says "wait" is waited for.
        progress_bytes: how many new bytes count as getting on.
        flush_bytes: how much is collected before it is hashed and written, in a thread.
    """

    tries: int = 4
    pause_s: float = 0.5
    longest_wait_s: float = 60.0
    progress_bytes: int = 1024 * 1024
    flush_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is.

    ``done`` of ``want.size`` bytes are there, from the source called ``source``; ``faults`` says
    what was wrong with the sources before it, one sentence each.
    """

    want: ShardWant
    done: int
    source: str
    faults: tuple[str, ...] = ()


Report = Callable[[Progress], None]


async def download(
    want: ShardWant, layout: Layout, fetcher: Fetcher, policy: RetryPolicy, report: Report
) -> Partial:
    """Get ``want`` from the first source that gives the right bytes.

    Returns:
        The whole file, closed, its digest checked; to be made visible by the caller.

    Raises:
        DigestMismatch, Absent, Unreachable: no source gave it; names each and what it did.
        Offline: the network is switched off.
        StorageFault: the disk is full or cannot be written.
    """
    faults: list[tuple[Source, AtdError]] = []
    for source in want.sources:
        partial = Partial(layout.partial(want.digest, source), want, source)
        said = tuple(f"{tried.label} {fault}" for tried, fault in faults)

        def tell(
            done: int, source: Source = source, said: tuple[str, ...] = said
        ) -> None:  # bound now, not when called
            report(Progress(want, done, source.label, said))

        try:
            _check_name(want, source)
            await _Attempt(want, source, partial, fetcher, policy, tell).run()
        except Offline:
            raise
        except (DigestMismatch, Absent, Unreachable) as fault:
            faults.append((source, fault))
        else:
            return partial
    raise blame(want, faults)


def _check_name(want: ShardWant, source: Source) -> None:
    """A blob is named by its own digest: another name cannot be the right bytes."""
    if isinstance(source, Blob) and source.cid != want.digest:
        raise DigestMismatch(f"is named {source.cid} where {want.digest} was signed")


def blame(want: ShardWant, faults: Sequence[tuple[Source, AtdError]]) -> AtdError:
    """The error that says what every source did.

    Wrong bytes outweigh silence, and silence outweighs "not there": a later attempt may help with
    the second only, and the first must be seen.
    """
    if not faults:
        return Absent(
            f"shard {want.digest} is not in the store, and its record names no place that has it"
        )
    named = [f"{source.label} {fault}" for source, fault in faults[:_NAMED_SOURCES]]
    if len(faults) > _NAMED_SOURCES:
        named.append(f"and {len(faults) - _NAMED_SOURCES} more sources")
    text = f"shard {want.digest} could not be fetched: {'; '.join(named)}"
    kinds = [fault for _, fault in faults]
    if any(isinstance(fault, DigestMismatch) for fault in kinds):
        return DigestMismatch(text, next_step="tell the publisher; nothing was stored")
    limits = [fault for fault in kinds if isinstance(fault, RateLimited)]
    silent = [fault for fault in kinds if isinstance(fault, Unreachable)]
    if limits and len(limits) == len(silent):
        waits = [fault.retry_after_s for fault in limits if fault.retry_after_s is not None]
        return RateLimited(text, retry_after_s=min(waits, default=None))
    if silent:
        advice = silent[0].next_step if len(faults) == 1 else None
        return Unreachable(text, next_step=advice)
    return Absent(text, next_step="ask the publisher where it went")


class _Attempt:
    """One source, until the file is whole and right or the source is given up."""

    def __init__(
        self,
        want: ShardWant,
        source: Source,
        partial: Partial,
        fetcher: Fetcher,
        policy: RetryPolicy,
        tell: Callable[[int], None],
    ) -> None:
        self._want = want
        self._source = source
        self._partial = partial
        self._fetcher = fetcher
        self._policy = policy
        self._tell = tell
        self._pieces = 0  # replies that the file is made of
        self._whole = False  # this server cannot be asked for the rest

    async def run(self) -> None:
        """Leave the partial file whole, right and closed; raises what `download` collects."""
        partial = self._partial
        try:
            await to_the_end(partial.open)
            # What an earlier attempt left may itself have been put together.
            self._pieces = 2 if partial.at else 0
            await self._fill()
            if partial.digest() != self._want.digest and self._pieces > 1:
                await self._restart()
                await self._fill()
            if partial.digest() != self._want.digest:
                raise DigestMismatch(
                    f"sent {partial.at} bytes with the digest {partial.digest()},"
                    f" expected {self._want.digest}"
                )
        except DigestMismatch:
            await to_the_end(partial.discard)
            raise
        finally:
            partial.close()

    async def _restart(self) -> None:
        """Forget the bytes, and the idea that this server can be resumed."""
        self._whole = True
        self._pieces = 0
        await to_the_end(self._partial.begin, Version())

    async def _fill(self) -> None:
        """Ask until all bytes are there, or until asking does not get on any more."""
        best, failures = self._partial.at, 0
        while self._partial.at < self._want.size or not self._pieces:
            fault, wait_s = await self._try()
            if fault is None:
                continue
            if self._partial.at >= best + self._policy.progress_bytes:
                best, failures = self._partial.at, 0
            else:
                failures += 1
            if failures >= self._policy.tries:
                raise fault
            pause_s = self._policy.pause_s * 2 ** max(failures - 1, 0)
            await asyncio.sleep(max(pause_s, wait_s))

    async def _try(self) -> tuple[AtdError | None, float]:
        """One request. Returns why it did not bring everything, and how long to wait."""
        try:
            short = await self._request()
        except RateLimited as limit:
            wait_s = limit.retry_after_s or 0.0
            if wait_s > self._policy.longest_wait_s:
                raise
            return limit, wait_s
        except Offline:
            raise
        except Unreachable as fault:
            return fault, 0.0
        except StartAnewError as odd:
            await self._restart()
            return Unreachable(str(odd)), 0.0
        return short, 0.0

    async def _request(self) -> AtdError | None:
        """Ask for what is missing and append what comes; returns what is odd about its end."""
        partial, offset = self._partial, 0 if self._whole else self._partial.at
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        if offset:
            headers["range"] = f"bytes={offset}-"
            if partial.version.condition is not None:
                headers["if-range"] = partial.version.condition
        async with self._fetcher.stream("GET", self._source.url, headers=headers) as reply:
            start = start_of(
                reply.status,
                reply.headers,
                offset=offset,
                size=self._want.size,
                version=partial.version,
            )
            self._pieces = self._pieces + 1 if start else 1
            await self._take(reply, start)
        if partial.at == self._want.size:
            return None
        return _ended_early(partial.at, self._want.size, reply, start)

    async def _take(self, reply: StreamReply, start: int) -> None:
        """Write the body, from ``start`` on; what came before a failure is written too.

        Disk work happens behind the reading: what has arrived when a connection breaks, and has
        not been read by then, is lost.
        """
        partial, behind = self._partial, WriteBehind()
        waiting: list[bytes] = []
        held, at = 0, start
        try:
            if start == 0:
                await behind.start(partial.begin, Version.of(reply.headers))
            async for chunk in reply.chunks:
                at += len(chunk)
                if at > self._want.size:
                    raise DigestMismatch(f"sends more than the {self._want.size} bytes signed")
                waiting.append(chunk)
                held += len(chunk)
                if held >= self._policy.flush_bytes:
                    piece, held = b"".join(waiting), 0
                    waiting.clear()
                    await behind.start(partial.append, piece)
                    self._tell(partial.at)
        finally:
            await behind.finish()
            if waiting:
                await to_the_end(partial.append, b"".join(waiting))
        self._tell(partial.at)


def _ended_early(at: int, size: int, reply: StreamReply, start: int) -> AtdError:
    """What to say of a body that ended without an error and before its time.

    If it was the whole object, and nothing promised more than came, then the object is too short.
    """
    if start == 0 and content_length(reply.headers) is None:
        return DigestMismatch(f"sends {at} bytes where {size} were signed")
    return Unreachable(f"stopped after {at} of {size} bytes")
