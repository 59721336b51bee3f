"""The rules that a #commit or a #sync of an event stream can be held to by itself.

A host's message says "this repository went from there to here by these operations". With the
publisher's `Identity` at hand it is proved, in this order, or refused with the rule that it broke:

1. the blocks are a CAR file with one root, each hashes to its CID, and the root is a commit;
2. the message and the commit name the same DID, revision and commit;
3. the identity's key signed the commit;
4. the operations, undone on the new tree, lead to the root of the tree before (``prevData``);
5. every record that was created or updated is there, and those that are asked for decode strictly.

What is left to the caller is what needs memory, a clock or the network: whether ``since`` and
``prev_data`` are what it knows, whether the revision rises and is not of the future, whether the
host is the publisher's and the account active (the other rules of `atd.protocol.rejects`).

Source: atproto.com/specs/sync ("firehose event validation").
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import InitVar, dataclass
from typing import Final, NoReturn

from atd.errors import FrameRefused, IdentityMismatch, InvalidSyntax
from atd.protocol.car import Car, read_car
from atd.protocol.cbor import Cid
from atd.protocol.frames import MAX_RECORD_BYTES, CommitMessage, SyncMessage
from atd.protocol.identity import Identity
from atd.protocol.mst_diff import EMPTY_ROOT, invert
from atd.protocol.proof import (
    VerifiedAbsence,
    VerifiedCommit,
    VerifiedRecord,
    commit_at,
    prove_commit,
    prove_path,
    prove_paths,
)
from atd.protocol.rejects import Reject, refusing
from atd.protocol.syntax import AtUri, Nsid, RecordKey, Tid, quote

__all__ = ["VerifiedDiff", "verify_diff", "verify_sync"]

_SEAL: Final = object()


@dataclass(frozen=True, slots=True)
class VerifiedDiff:
    """What one commit changed, as its publisher signed it.

    The tree went from ``prev_data`` to ``commit.data`` by ``operations`` operations and nothing
    else; ``changes`` are those of the collections that were asked for, in the message's order. That
    ``since`` is the revision of ``prev_data`` is the host's word. Both are None for the first
    commit of a repository: then the tree before was empty.
    """

    commit: VerifiedCommit
    since: Tid | None
    prev_data: Cid | None
    changes: tuple[VerifiedRecord | VerifiedAbsence, ...]
    operations: int
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("verified diffs are made by atd.protocol.live only")


def verify_diff(
    message: CommitMessage, identity: Identity, collections: Collection[str]
) -> VerifiedDiff:
    """Prove what a #commit says, by itself.

    Args:
        message: as it was read from a frame.
        identity: whose repository it must be; its key must have signed.
        collections: valid NSIDs; operations on others are proved as well, and not given out.

    Raises:
        FrameRefused: a rule does not hold; ``error.reason`` says which.
        IdentityMismatch: the message is about another DID than ``identity``.
    """
    if message.too_big:
        _refuse(message, Reject.TOO_BIG, "says that operations were left out (tooBig)")
    car, commit = _open(message, identity)
    _check_operations(message, car, commit)
    changes = tuple(_changes(message, car, commit, collections))
    return VerifiedDiff(commit, message.since, message.prev_data, changes, len(message.ops), _SEAL)


def verify_sync(message: SyncMessage, identity: Identity) -> VerifiedCommit:
    """Prove the commit that a #sync carries; raises as `verify_diff`."""
    return _open(message, identity)[1]


def _open(message: CommitMessage | SyncMessage, identity: Identity) -> tuple[Car, VerifiedCommit]:
    """Rules 1 to 3."""
    if message.did != identity.did:
        raise IdentityMismatch(
            f"a message about {message.did} cannot be proved with the identity of {identity.did}"
        )
    with refusing(Reject.BAD_CAR, message.did, message.seq):
        car = read_car(message.blocks)
        if len(car.roots) != 1:
            _refuse(message, Reject.BAD_CAR, f"has blocks with {len(car.roots)} roots, not one")
    if isinstance(message, CommitMessage) and car.roots[0] != message.commit:
        what = f"names the commit {message.commit} and carries {car.roots[0]}"
        _refuse(message, Reject.COMMIT_MISMATCH, what)
    with refusing(Reject.BAD_COMMIT, message.did, message.seq):
        commit = commit_at(car.blocks, car.roots[0])
    if commit.did != message.did:
        _refuse(message, Reject.DID_MISMATCH, f"carries a commit of {quote(commit.did)}")
    if commit.rev != message.rev:
        what = f"names the rev {message.rev} and carries {commit.rev}"
        _refuse(message, Reject.REV_MISMATCH, what)
    with refusing(Reject.BAD_SIGNATURE, message.did, message.seq):
        return car, prove_commit(car.roots[0], commit, identity)


def _check_operations(message: CommitMessage, car: Car, commit: VerifiedCommit) -> None:
    """Rule 4, and of rule 5 that the records are there."""
    before = message.prev_data
    if before is None:
        if message.since is not None:
            _refuse(message, Reject.PREV_DATA_MISSING, "has no prevData")
        before = EMPTY_ROOT
    with refusing(Reject.TREE_INVALID, message.did, message.seq):
        found = invert(car.blocks, commit.data, message.ops)
    if found != before:
        what = f"undone leads to the tree {found}, not to its prevData {before}"
        _refuse(message, Reject.INVERSION_FAILED, what)
    for op in message.ops:
        if op.cid is None:
            continue
        block = car.blocks.raw.get(op.cid.bytes)
        if block is None:
            what = f"does not carry the record {op.cid} of {quote(op.path)}"
            _refuse(message, Reject.RECORD_ABSENT, what)
        if len(block) > MAX_RECORD_BYTES:
            what = f"carries a record of {len(block)} bytes, at most {MAX_RECORD_BYTES} are read"
            _refuse(message, Reject.TOO_LARGE, what)


def _changes(
    message: CommitMessage, car: Car, commit: VerifiedCommit, collections: Collection[str]
) -> Iterator[VerifiedRecord | VerifiedAbsence]:
    """The operations on ``collections`` as proved values."""
    uris = []
    for op in message.ops:
        collection, _, rkey = op.path.partition("/")
        if collection not in collections:
            continue
        try:
            uris.append(AtUri(message.did, Nsid(collection), RecordKey.parse(rkey)))
        except InvalidSyntax as error:
            _refuse(message, Reject.RECORD_INVALID, f"changes {quote(op.path)}: {error}")
    if uris:
        with refusing(Reject.RECORD_INVALID, message.did, message.seq):
            if len(uris) == 1:
                yield prove_path(car.blocks, commit, uris[0])
            else:
                yield from prove_paths(car.blocks, commit, uris)


def _refuse(message: CommitMessage | SyncMessage, reason: Reject, what: str) -> NoReturn:
    raise FrameRefused(
        f"the message {message.seq} about {message.did} {what}",
        reason=reason,
        did=message.did,
        seq=message.seq,
    )
