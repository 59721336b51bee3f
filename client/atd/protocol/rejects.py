"""Why a message of a host's event stream is not believed: one reason for each rule.

The rules are the message checklist of docs/verification.md. A message that breaks one has no effect
on the index, and the reason is counted and shown. Which rules look at the message alone (this room
checks them) and which need memory, a clock or the network (whoever follows checks those) is said
with each group.

Source: atproto.com/specs/sync, atproto.com/specs/event-stream.
"""

from __future__ import annotations

from enum import StrEnum
from types import TracebackType

from atd.errors import FrameRefused, ProofError
from atd.protocol.syntax import Did

__all__ = ["FrameRefused", "Reject", "refusing"]


class Reject(StrEnum):
    """A rule of the message checklist that did not hold; the value is how it is counted."""

    # --- of a frame: atd.protocol.frames

    BAD_FRAME = "bad_frame"
    """Not two items of canonical DAG-CBOR, or not the fields that its lexicon demands."""
    TOO_LARGE = "too_large"
    """A frame, its blocks, a record or the list of its operations is over the limit."""
    UNKNOWN_MESSAGE = "unknown_message"
    """A kind of message that the specification does not name; passed over, as it demands."""
    BAD_OPERATIONS = "bad_operations"
    """An operation that cannot be: a create with a previous record, a delete with a new one, a path
    that is no path, a path named twice."""

    # --- of a #commit or a #sync by itself: atd.protocol.live

    TOO_BIG = "too_big"
    """The host left operations out (``tooBig``): all that it tells is that there is news."""
    BAD_CAR = "bad_car"
    """The blocks are no CAR file with one root, or one of them is not what its CID says."""
    BAD_COMMIT = "bad_commit"
    """The root of the blocks is missing, or no canonical commit of version 3."""
    DID_MISMATCH = "did_mismatch"
    """The message names another repository than the commit that it carries."""
    REV_MISMATCH = "rev_mismatch"
    """The message names another revision than the commit that it carries."""
    COMMIT_MISMATCH = "commit_mismatch"
    """The message names another commit than the one that it carries."""
    BAD_SIGNATURE = "bad_signature"
    """The commit is not signed by the current key of its publisher."""
    PREV_DATA_MISSING = "prev_data_missing"
    """``prevData``, or the ``prev`` of an update or a delete, is missing: nothing to undo it to."""
    INCOMPLETE = "incomplete"
    """A tree node that is needed to undo or to prove the operations is not among the blocks."""
    TREE_INVALID = "tree_invalid"
    """A tree node breaks a rule of the tree."""
    INVERSION_FAILED = "inversion_failed"
    """The operations are not what happened: undone, they do not lead back to ``prevData``."""
    RECORD_ABSENT = "record_absent"
    """The block of a record that was created or updated is not among the blocks."""
    RECORD_INVALID = "record_invalid"
    """A record does not decode strictly, or its ``$type`` is not its collection."""

    # --- of a message and what was known before it: whoever follows

    STALE_REV = "stale_rev"
    """The revision is older than the one that is known: a rollback, or a late message."""
    DUPLICATE = "duplicate"
    """The very commit that is known already, told again."""
    EQUIVOCATION = "equivocation"
    """Another commit at the revision that is known: the publisher signed two histories."""
    FUTURE_REV = "future_rev"
    """The revision lies in the future, by more than clocks differ."""
    BROKEN_CHAIN = "broken_chain"
    """``since`` or ``prevData`` is not the state that is known: something is missing between."""
    WITHHELD = "withheld"
    """Its PDS shows a newer commit than its stream told, which did not come in time."""
    BAD_SEQUENCE = "bad_sequence"
    """The host's sequence number does not rise."""

    # --- of a message and where it came from: whoever follows

    IDENTITY_UNKNOWN = "identity_unknown"
    """The publisher's identity cannot be found out, so nothing that it signed can be checked."""
    WRONG_HOST = "wrong_host"
    """It came from a host that is not the publisher's current PDS."""
    INACTIVE = "inactive"
    """The account is deactivated, suspended, taken down or deleted at its PDS."""
    UNCONFIRMED = "unconfirmed"
    """An identity or account message that its source does not confirm."""


class refusing:
    """Give every `ProofError` of a block a reason, and say whose message it was::

        with refusing(Reject.BAD_CAR, did, seq):
            read_car(blocks)

    Raises:
        FrameRefused: in place of the ProofError; one that has a reason already keeps it.
    """

    __slots__ = ("did", "reason", "seq")

    def __init__(self, reason: Reject, did: Did | None, seq: int | None) -> None:
        self.reason, self.did, self.seq = reason, did, seq

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, FrameRefused):
            error.did, error.seq = error.did or self.did, error.seq or self.seq
        elif isinstance(error, ProofError):
            raise FrameRefused(
                error.message, reason=self.reason, did=self.did, seq=self.seq
            ) from error
