"""Lies told by event streams, and the ledger of what each must lead to.

A lie is told by a `Liar` about an account that is followed and at rest. Some replace the true frame
of a write that happened; the index must then find out in another way. Each goes into the ledger
with the reasons under one of which it must be counted, and for whom.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from atd.names import DATASET, RELEASE
from atd.protocol import mst
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.commit import Commit
from atd.protocol.frames import MAX_BLOCKS_BYTES, MAX_OPERATIONS
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Did, Tid
from atd_daemon.host.events import frame
from world.account import Account, key_for
from world.firehose import Body, account_of, commit_of

NOTE = "com.example.note"
NOWHERE = Cid.of(b"nothing has this name")
A_YEAR_US = 365 * 86_400 * 1_000_000


@dataclass(frozen=True)
class Told:
    """A lie that was told: under which reasons it may be counted, and for whom (None: nobody)."""

    name: str
    did: Did | None
    reasons: frozenset[Reject]


def card(account: Account, name: str, title: str) -> dict[str, Value]:
    """A data set's card that can be read; what it points to need not be there."""
    latest: dict[str, Value] = {
        "uri": str(account.uri(RELEASE, f"{name}:1.0.0")),
        "cid": str(Cid.of(name.encode())),
    }
    return {"name": name, "title": title, "latest": latest, "createdAt": "2025-06-01T12:00:00.000Z"}


class Liar:
    """Tells lies about accounts; ``ledger`` is all that were told.

    ``dice`` decides everything that is left to chance, so that a seed tells the same story again.
    """

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.ledger: list[Told] = []
        self._count = 0

    def tell(self, name: str, account: Account, other: Account) -> Told:
        """Tell one of `LIES` about ``account``; ``other`` is somebody else who is followed."""
        told = LIES[name](self, account, other)
        self.ledger.append(told)
        return told

    # --- what lies are made of --------------------------------------------------------------------

    def write(self, account: Account, count: int = 1) -> None:
        """Write some new cards in one commit, and a note that is none of ours."""
        self._count += 1
        writes: list[tuple[str, str, dict[str, Value]]] = []
        for number in range(count):
            name = f"set-{self._count}-{number}"
            writes.append((DATASET, name, card(account, name, f"Number {self._count}")))
        writes.insert(0, (NOTE, f"note-{self.dice.randrange(30)}", {"n": self._count}))
        account.put_many(writes)

    def secretly(self, account: Account, count: int = 1) -> Body:
        """Write without a frame; the body of the one that should have been sent."""
        with account.pds.firehose.muted():
            self.write(account, count)
        return commit_of(account, *account.history[-2:])

    def instead(self, account: Account, **fields: Value) -> Body:
        """Write, and send the frame with other fields; a field set to None is left out."""
        body = {**self.secretly(account), **fields}
        kept = {name: value for name, value in body.items() if value is not None}
        kept.setdefault("since", None)
        account.pds.firehose.put("#commit", kept)
        return kept

    def forged(
        self, account: Account, commit: Commit, blocks: Iterable[bytes], ops: list[Value]
    ) -> None:
        """Send a commit that did not happen, on top of the one that did."""
        head = account.head.commit
        listed = [(Cid.of(block), block) for block in (commit.encode(), *blocks)]
        body: Body = {
            "repo": account.did,
            "commit": commit.cid,
            "rev": commit.rev,
            "since": head.rev,
            "prevData": head.data,
            "blocks": write_car(commit.cid, listed),
            "ops": ops,
            "rebase": False,
            "tooBig": False,
            "blobs": [],
        }
        account.pds.firehose.put("#commit", body)

    def cut(self, body: Body, keep: Callable[[list[tuple[Cid, bytes]]], Any]) -> bytes:
        """The blocks of a frame, without some of them."""
        car = read_car(_bytes(body["blocks"]))
        return write_car(car.roots[0], keep(list(car.blocks.items())))


Lie = Callable[[Liar, Account, Account], Told]
Tell = Callable[[Liar, Account, Account], None]
LIES: dict[str, Lie] = {}


def lie(
    *reasons: Reject, about: str = "account"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a lie that must be counted under one of ``reasons``."""

    def register(tell: Callable[[Liar, Account, Account], None]) -> Callable[..., None]:
        name = tell.__name__.replace("_", " ")

        def telling(liar: Liar, account: Account, other: Account) -> Told:
            did = {"account": account.did, "other": other.did, "nobody": None}[about]
            tell(liar, account, other)
            return Told(name, did, frozenset(reasons))

        LIES[name] = telling
        return tell

    return register


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


# --- frames that are none -------------------------------------------------------------------------


@lie(Reject.BAD_FRAME, about="nobody")
def garbage(liar: Liar, account: Account, other: Account) -> None:
    account.pds.firehose.put_frame(liar.dice.randbytes(100))


@lie(Reject.BAD_FRAME, about="nobody")
def a_frame_cut_short(liar: Liar, account: Account, other: Account) -> None:
    body = {**liar.secretly(account), "seq": 1, "time": "2025-06-01T12:00:00.000Z"}
    account.pds.firehose.put_frame(frame("#commit", body)[: -liar.dice.randrange(1, 200)])


@lie(Reject.BAD_FRAME)
def a_field_of_another_kind(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, rev="not a revision")


@lie(Reject.UNKNOWN_MESSAGE, about="nobody")
def a_message_of_no_kind(liar: Liar, account: Account, other: Account) -> None:
    account.pds.firehose.put("#gossip", {"did": account.did})


@lie(Reject.TOO_LARGE)
def too_many_bytes(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, blocks=bytes(MAX_BLOCKS_BYTES + 1))


@lie(Reject.TOO_LARGE)
def too_many_operations(liar: Liar, account: Account, other: Account) -> None:
    ops: list[Value] = [
        {"action": "create", "path": f"{NOTE}/{number}", "cid": NOWHERE}
        for number in range(MAX_OPERATIONS + 1)
    ]
    liar.instead(account, ops=ops)


@lie(Reject.BAD_OPERATIONS)
def an_operation_that_cannot_be(liar: Liar, account: Account, other: Account) -> None:
    ops: list[Value] = [{"action": "conquer", "path": f"{NOTE}/x", "cid": NOWHERE}]
    liar.instead(account, ops=ops)


@lie(Reject.BAD_OPERATIONS)
def two_operations_on_one_path(liar: Liar, account: Account, other: Account) -> None:
    op: dict[str, Value] = {"action": "create", "path": f"{NOTE}/x", "cid": NOWHERE}
    liar.instead(account, ops=[op, op])


# --- messages that contradict their commit --------------------------------------------------------


@lie(Reject.BAD_CAR)
def a_block_with_another_content(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    blocks = bytearray(_bytes(body["blocks"]))
    blocks[-1 - liar.dice.randrange(20)] ^= 1 << liar.dice.randrange(8)
    account.pds.firehose.put("#commit", {**body, "blocks": bytes(blocks)})


@lie(Reject.BAD_CAR)
def blocks_cut_within_one(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    blocks = _bytes(body["blocks"])[: -1 - liar.dice.randrange(30)]
    account.pds.firehose.put("#commit", {**body, "blocks": blocks})


@lie(Reject.BAD_COMMIT, Reject.INCOMPLETE, Reject.RECORD_ABSENT)
def blocks_cut_between_two(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    count = len(read_car(_bytes(body["blocks"])).blocks)
    keep = liar.dice.randrange(count)  # the record that was written comes last
    account.pds.firehose.put("#commit", {**body, "blocks": liar.cut(body, lambda b: b[:keep])})


@lie(Reject.INCOMPLETE)
def a_withheld_subtree(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    root = account.head.commit.data
    blocks = liar.cut(body, lambda found: [one for one in found if one[0] != root])
    account.pds.firehose.put("#commit", {**body, "blocks": blocks})


@lie(Reject.DID_MISMATCH, about="other")
def the_commit_of_somebody_else(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    other.pds.firehose.put("#commit", {**body, "repo": other.did})


@lie(Reject.REV_MISMATCH)
def another_revision(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    account.pds.firehose.put("#commit", {**body, "rev": account.world.tid()})


@lie(Reject.COMMIT_MISMATCH)
def another_commit(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, commit=NOWHERE)


@lie(Reject.BAD_SIGNATURE)
def a_commit_signed_by_a_stranger(liar: Liar, account: Account, other: Account) -> None:
    commit = Commit.sign(
        account.did, account.world.tid(), account.head.commit.data, key_for("a stranger")
    )
    liar.forged(account, commit, [], [])


@lie(Reject.TOO_BIG)
def operations_left_out_openly(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, tooBig=True, ops=[], blocks=b"")


# --- operations that did not happen ---------------------------------------------------------------


@lie(Reject.PREV_DATA_MISSING)
def no_tree_before(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, prevData=None)


@lie(Reject.INVERSION_FAILED)
def another_tree_before(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, prevData=NOWHERE)


@lie(Reject.INVERSION_FAILED)
def an_operation_left_out(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account, 2)
    ops = body["ops"]
    assert isinstance(ops, list)
    account.pds.firehose.put("#commit", {**body, "ops": ops[1:]})


@lie(Reject.INVERSION_FAILED)
def another_record(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    ops: Any = body["ops"]
    account.pds.firehose.put("#commit", {**body, "ops": [{**ops[0], "cid": NOWHERE}, *ops[1:]]})


@lie(Reject.TREE_INVALID)
def a_tree_that_breaks_the_rules(liar: Liar, account: Account, other: Account) -> None:
    record = encode({"$type": NOTE})
    name = Cid.of(record)
    entries: list[Value] = [
        {"p": 0, "k": f"{NOTE}/{key}".encode(), "v": name, "t": None} for key in ("b", "a")
    ]
    node = encode({"l": None, "e": entries})
    commit = Commit.sign(account.did, account.world.tid(), Cid.of(node), account.key)
    op: dict[str, Value] = {"action": "create", "path": f"{NOTE}/a", "cid": name}
    liar.forged(account, commit, [node, record], [op])


@lie(Reject.RECORD_INVALID)
def a_record_that_does_not_decode(liar: Liar, account: Account, other: Account) -> None:
    liar._count += 1
    account.put_block(DATASET, f"broken-{liar._count}", b"\xa1ax\xfb" + bytes(8))  # a float


# --- histories that did not happen ----------------------------------------------------------------


@lie(Reject.BROKEN_CHAIN)
def a_frame_dropped_before_another(liar: Liar, account: Account, other: Account) -> None:
    liar.secretly(account)
    liar.write(account)


@lie(Reject.WITHHELD, Reject.BROKEN_CHAIN)
def a_frame_dropped(liar: Liar, account: Account, other: Account) -> None:
    liar.secretly(account)


@lie(Reject.WITHHELD)
def a_frame_dropped_with_an_excuse(liar: Liar, account: Account, other: Account) -> None:
    liar.write(account)  # so that this connection is under way
    liar.secretly(account)
    account.pds.firehose.put("#info", {"name": "OutdatedCursor"})


@lie(Reject.BROKEN_CHAIN)
def another_revision_before(liar: Liar, account: Account, other: Account) -> None:
    liar.instead(account, since=Tid.from_micros(1, 1))


@lie(Reject.BROKEN_CHAIN)
def two_frames_in_the_wrong_order(liar: Liar, account: Account, other: Account) -> None:
    first, second = liar.secretly(account), liar.secretly(account)
    account.pds.firehose.put("#commit", second)
    account.pds.firehose.put("#commit", first)


@lie(Reject.DUPLICATE)
def a_frame_told_twice(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    account.pds.firehose.put("#commit", body)
    account.pds.firehose.put("#commit", body)


@lie(Reject.BAD_SEQUENCE)
def a_number_that_does_not_rise(liar: Liar, account: Account, other: Account) -> None:
    liar.write(account)  # so that this connection has a number to rise from
    liar.instead(account, seq=1)


@lie(Reject.STALE_REV)
def a_rollback(liar: Liar, account: Account, other: Account) -> None:
    old = liar.dice.choice(account.history)
    before = account.head
    liar.write(account)  # so that this connection told something newer
    body = commit_of(account, before, before)
    blocks = write_car(old.commit.cid, [(old.commit.cid, old.commit.encode())])
    past = {"commit": old.commit.cid, "rev": old.commit.rev, "blocks": blocks, "ops": []}
    account.pds.firehose.put("#commit", {**body, **past})


@lie(Reject.EQUIVOCATION)
def two_commits_at_one_revision(liar: Liar, account: Account, other: Account) -> None:
    before = account.head
    liar.write(account)
    record = encode({"$type": NOTE, "text": "the other history"})
    name = Cid.of(record)
    root, tree = mst.build({**before.records, f"{NOTE}/other-history": name})
    commit = Commit.sign(account.did, account.head.commit.rev, root, account.key)
    op: dict[str, Value] = {"action": "create", "path": f"{NOTE}/other-history", "cid": name}
    liar.forged(account, commit, [*tree.values(), record], [op])


@lie(Reject.FUTURE_REV)
def a_revision_of_the_future(liar: Liar, account: Account, other: Account) -> None:
    rev = Tid.from_micros(account.world.tid().micros + A_YEAR_US, 1)
    liar.forged(
        account, Commit.sign(account.did, rev, account.head.commit.data, account.key), [], []
    )


# --- what hosts say without proof -----------------------------------------------------------------


@lie(Reject.WRONG_HOST)
def the_stream_of_another_host(liar: Liar, account: Account, other: Account) -> None:
    body = liar.secretly(account)
    account.pds.firehose.put("#commit", body)  # the truth is told as well
    assert other.pds is not account.pds
    other.pds.firehose.put("#commit", body)


@lie(Reject.UNCONFIRMED)
def an_account_that_did_not_leave(liar: Liar, account: Account, other: Account) -> None:
    account.pds.firehose.put("#account", account_of(account.did, "deactivated"))


@lie(Reject.UNCONFIRMED)
def a_handle_that_nobody_claimed(liar: Liar, account: Account, other: Account) -> None:
    account.pds.firehose.put("#identity", {"did": account.did, "handle": "mallory.test"})


@lie(Reject.INACTIVE)
def a_commit_of_somebody_who_left(liar: Liar, account: Account, other: Account) -> None:
    """Told once its PDS confirmed that it left: whoever tells this one lets that happen before."""
    assert account.status != "active"
    liar.write(account)
