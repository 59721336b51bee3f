"""What is published under a name right now, proved.

Belongs here: reading the state that a publication starts from, and the head of the repository that
a write is bound to. A head whose release cannot be proved or read any more is not an obstacle: the
next release stands on its own, and mends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from atd.errors import LexiconError, RecordAbsent, RemoteError
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedAbsence
from atd.protocol.syntax import AtUri
from atd.records import Dataset, Record, ShardEntry, ShardPart, head_uri, parse
from atd.refs import DatasetRef
from atd_daemon.sync.found import Found, ResolvedDataset
from atd_daemon.sync.prover import Prover
from atd_daemon.sync.resolve import Resolver


@dataclass(frozen=True, slots=True)
class Place:
    """What is at a URI, and in which commit: ``cid`` None is a proved absence.

    ``record`` is its typed value; ``fault`` says why there is none.
    """

    uri: AtUri
    cid: Cid | None
    commit: Cid
    record: Record | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Current:
    """A name as it is published.

    Args:
        head: the proved state of its head record.
        resolved: its latest release, down to the shard lists; None: nothing, or nothing usable.
        trouble: why the head, or the release that it points to, is not usable.
    """

    head: Place
    resolved: ResolvedDataset | None = None
    trouble: str | None = None

    @property
    def dataset(self) -> Dataset | None:
        """The head record."""
        record = self.head.record
        return record if isinstance(record, Dataset) else None

    @property
    def version(self) -> str | None:
        """The version that the head points to."""
        return None if self.dataset is None else self.dataset.version

    def entries(self) -> Iterator[tuple[ShardPart, ShardEntry]]:
        """Every shard of the latest release, with the part that lists it."""
        for split in () if self.resolved is None else self.resolved.splits:
            for part in split.parts:
                yield from ((part.record, entry) for entry in part.record.shards)

    def parts(self) -> Iterator[Found[ShardPart]]:
        """Every shard list of the latest release that lists shards."""
        for split in () if self.resolved is None else self.resolved.splits:
            yield from split.parts


async def place(prover: Prover, identity: Identity, uri: AtUri) -> Place:
    """What is at ``uri`` in the repository of ``identity`` now: asked of the PDS, and proved.

    A commit by a previous key is accepted: it is the account's own repository, and the write that
    follows is what cures that state. So is a record that its lexicon refuses: it is there.

    Raises:
        AtdError: as `Prover.record`, but an absence is an answer.
    """
    what = (await prover.record(identity, uri)).what
    if isinstance(what, VerifiedAbsence):
        return Place(uri, None, what.commit.cid)
    try:
        return Place(uri, what.cid, what.commit.cid, parse(what))
    except LexiconError as error:
        return Place(uri, what.cid, what.commit.cid, fault=str(error))


async def read(resolver: Resolver, prover: Prover, identity: Identity, name: str) -> Current:
    """The state of ``name`` in the repository of ``identity``; raises as `place`."""
    head = await place(prover, identity, head_uri(identity.did, name))
    if head.record is None:
        return Current(head, trouble=head.fault)
    try:
        ref = DatasetRef(identity.did, name)
        resolved = await resolver.dataset(ref, allow_previous_key=True)
    except (RemoteError, RecordAbsent) as error:
        return Current(head, trouble=f"{type(error).__name__}: {error}")
    if resolved.head is None or resolved.head.cid != head.cid:
        return await read(resolver, prover, identity, name)  # it moved between the questions
    return Current(head, resolved)
