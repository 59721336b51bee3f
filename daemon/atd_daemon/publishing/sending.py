"""Sending record writes, so that each is made once, whatever becomes of the answers.

Belongs here: one batch of writes as one commit, bound to the head of the repository that was
proved (``swapCommit``), and a dialogue that never guesses::

    prove: is the batch there?  yes ─▶ done
    prove: is our head record as we left it?  no ─▶ Conflict
    send, bound to that commit ─┬─ accepted ─▶ done
                                ├─ InvalidSwap: somebody wrote something else ─▶ from the start
                                └─ no answer, or a 5xx: perhaps ─▶ from the start

A late success of a request that was given up is no danger: the next one is bound to the commit
before it, so only one of the two can be made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from atd.errors import Conflict, Offline, RateLimited, Unreachable
from atd.names import SHARDS
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri
from atd_daemon.network.account import Accounts
from atd_daemon.publishing.batches import Action, Write
from atd_daemon.publishing.current import Place, place
from atd_daemon.publishing.patience import Patience
from atd_daemon.sync.prover import Prover

MAX_ATTEMPTS: Final = 12

Checkpoint = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Guard:
    """The record that must not change under us: our head, and the CID it has before we move it."""

    uri: AtUri
    before: Cid | None


class Sender:
    """Sends batches into the repository of ``identity``."""

    def __init__(
        self,
        accounts: Accounts,
        prover: Prover,
        identity: Identity,
        patience: Patience,
        checkpoint: Checkpoint,
    ) -> None:
        self._accounts = accounts
        self._prover = prover
        self._identity = identity
        self._patience = patience
        self._checkpoint = checkpoint

    async def send(self, batches: Sequence[Sequence[Write]], guard: Guard) -> None:
        """Make sure that every batch is written, in order.

        Raises:
            Conflict: the guarded record was changed by somebody else, or a record that was to be
                new exists with other content, or the PDS lacks a blob (``reason`` BlobNotFound).
            AtdError: what cannot be waited out; sending again goes on where it was.
        """
        expected = guard.before
        for number, batch in enumerate(batches):
            self._checkpoint(f"before batch {number}")
            await self._batch(batch, Guard(guard.uri, expected))
            self._checkpoint(f"after batch {number}")
            expected = next((one.cid for one in batch if one.uri == guard.uri), expected)

    async def at(self, uri: AtUri) -> Place:
        """What is at ``uri`` now, proved; asked again while the PDS does not answer."""
        return await self._patience.harmless(
            "reading back", lambda: place(self._prover, self._identity, uri)
        )

    async def _batch(self, batch: Sequence[Write], guard: Guard) -> None:
        last = batch[-1]
        trouble: Unreachable | None = None
        for attempt in range(MAX_ATTEMPTS):
            found = await self.at(last.uri)
            if found.cid == last.cid:
                return
            head = found if last.uri == guard.uri else await self.at(guard.uri)
            if head.cid != guard.before:
                # It may have moved between the two questions, by this very batch.
                if (await self.at(last.uri)).cid == last.cid:
                    return
                raise _changed(guard.uri)
            await self._refuse_other(batch, attempt)
            try:
                await self._apply(batch, head.commit)
                return
            except Conflict as error:
                if error.reason != "InvalidSwap":
                    raise
                continue  # at once: another writer's pauses are when we get through
            except (Offline, RateLimited):
                raise
            except Unreachable as error:
                trouble = error
            await self._patience.pause("writing records", attempt)
        raise trouble or Conflict(
            f"the repository of {self._identity.did} is being written to all the time",
            next_step="run the same command again when the other writer is done",
        )

    async def _refuse_other(self, batch: Sequence[Write], attempt: int) -> None:
        """After a failure: is there something else where we want to create? A PDS answers 500."""
        new = [one for one in batch if one.action is Action.CREATE and one.uri.collection != SHARDS]
        for write in new if attempt else ():
            if (await self.at(write.uri)).cid not in (None, write.cid):
                raise Conflict(
                    f"{write.uri} exists already, with other content",
                    next_step="choose another --version, or see: atd show",
                )

    async def _apply(self, batch: Sequence[Write], commit: Cid) -> None:
        operations = [write.operation() for write in batch]
        await self._patience.told_to_wait(
            "writing records",
            lambda: self._accounts.apply_writes(self._identity.did, operations, commit),
        )


def _changed(uri: AtUri) -> Conflict:
    return Conflict(
        f"{uri} was changed by another program while this one was publishing",
        next_step="look at it with: atd show; then run the same command again",
    )
