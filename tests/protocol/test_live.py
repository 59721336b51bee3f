"""A #commit and a #sync by themselves: what a host sends proves, and each rule refuses its lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from atd.errors import FrameRefused, IdentityMismatch
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.commit import Commit
from atd.protocol.frames import CommitMessage, Op, SyncMessage
from atd.protocol.live import VerifiedDiff, verify_diff, verify_sync
from atd.protocol.mst import build
from atd.protocol.proof import VerifiedAbsence, VerifiedRecord
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Tid
from atd_daemon.host.tree import Tree
from protocol.making import COLLECTION, Author, entry, node, pack, thing

ALICE, MALLORY = Author.named("alice"), Author.named("mallory")
BEFORE, AFTER = Tid.from_micros(1_000, 1), Tid.from_micros(2_000, 1)
OTHER = "com.example.other"
NOWHERE = Cid.of(b"nothing has this name")
TIME = "2025-06-01T12:00:00.000Z"


def path(rkey: str, collection: str = COLLECTION) -> str:
    return f"{collection}/{rkey}"


def message(
    before: dict[str, Value], after: dict[str, Value], author: Author = ALICE
) -> CommitMessage:
    """What an honest host sends when the records of ``author`` go from one state to the other."""
    old, new = ({p: Cid.of(encode(v)) for p, v in state.items()} for state in (before, after))
    records = {Cid.of(encode(value)): encode(value) for value in after.values()}
    root, nodes = build(old)
    tree = Tree(nodes.__getitem__, root)
    ops, blocks = [], {}
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) == new.get(key):
            continue
        cid = new.get(key)
        action = "create" if key not in old else "delete" if cid is None else "update"
        ops.append(Op(action, key, cid, old.get(key)))
        tree.put(key, cid) if cid is not None else tree.delete(key)
    sealed = tree.seal()
    blocks |= sealed.added
    for op in ops:
        blocks |= tree.cover(op.path)
    blocks |= {op.cid: records[op.cid] for op in ops if op.cid is not None}
    commit = author.commit(sealed.root, AFTER)
    listed = [(commit.cid, commit.encode()), *blocks.items()]
    car = write_car(commit.cid, listed)
    return CommitMessage(
        7, author.did, AFTER, BEFORE, commit.cid, root, car, tuple(ops), TIME, False
    )


def proved(told: CommitMessage, author: Author = ALICE) -> VerifiedDiff:
    return verify_diff(told, author.identity, (COLLECTION,))


STATE: dict[str, Value] = {path(f"{n:03}"): thing(n) for n in range(40)}
CHANGED: dict[str, Value] = {
    **{key: value for key, value in STATE.items() if key not in (path("007"), path("008"))},
    path("011"): thing(-11),
    path("new"): thing(99),
    path("x", OTHER): {"$type": OTHER},
}
TRUE = message(STATE, CHANGED)


# --- the truth ------------------------------------------------------------------------------------


def test_what_happened_is_proved_in_the_messages_order() -> None:
    diff = proved(TRUE)
    assert (diff.commit.rev, diff.since, diff.prev_data) == (AFTER, BEFORE, TRUE.prev_data)
    assert diff.operations == 5
    found = [(str(c.uri.rkey), type(c)) for c in diff.changes]
    assert found == [
        ("007", VerifiedAbsence),
        ("008", VerifiedAbsence),
        ("011", VerifiedRecord),
        ("new", VerifiedRecord),
    ]
    record = diff.changes[2]
    assert isinstance(record, VerifiedRecord)
    assert record.value == thing(-11)


def test_the_first_commit_of_a_repository_starts_from_nothing() -> None:
    first = replace(message({}, CHANGED), since=None, prev_data=None)
    diff = proved(first)
    assert (diff.since, diff.prev_data, diff.operations) == (None, None, len(CHANGED))
    later = replace(TRUE, since=None, prev_data=None)
    assert reason(later) == Reject.INVERSION_FAILED


def test_a_commit_without_operations_is_proved() -> None:
    same = message(STATE, STATE)
    assert proved(same).changes == ()
    assert proved(same).commit.data == same.prev_data


def test_everything_can_be_deleted_in_one_commit() -> None:
    diff = proved(message(STATE, {}))
    assert {type(change) for change in diff.changes} == {VerifiedAbsence}
    assert len(diff.changes) == len(STATE)


def test_proofs_out_of_a_message_stand_alone() -> None:
    for change in proved(TRUE).changes:
        blocks = read_car(change.proof).blocks
        assert blocks.keys() <= read_car(TRUE.blocks).blocks.keys()
        assert change.commit.cid in blocks


def test_a_diff_cannot_be_made_by_hand() -> None:
    diff = proved(TRUE)
    with pytest.raises(TypeError, match=r"atd\.protocol\.live"):
        VerifiedDiff(diff.commit, None, None, (), 0, seal=object())


def test_a_sync_proves_its_commit() -> None:
    commit = ALICE.commit(NOWHERE, AFTER)
    told = SyncMessage(7, ALICE.did, AFTER, pack(commit.encode()), TIME)
    assert verify_sync(told, ALICE.identity).cid == commit.cid
    with pytest.raises(FrameRefused) as caught:
        verify_sync(replace(told, rev=BEFORE), ALICE.identity)
    assert caught.value.reason == Reject.REV_MISMATCH
    forged = MALLORY.key
    stranger = Commit.sign(ALICE.did, AFTER, NOWHERE, forged)
    with pytest.raises(FrameRefused) as caught:
        verify_sync(replace(told, blocks=pack(stranger.encode())), ALICE.identity)
    assert caught.value.reason == Reject.BAD_SIGNATURE


def test_an_identity_of_somebody_else_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(IdentityMismatch):
        verify_diff(TRUE, MALLORY.identity, (COLLECTION,))


# --- lies -----------------------------------------------------------------------------------------


def reason(told: CommitMessage) -> str:
    with pytest.raises(FrameRefused) as caught:
        proved(told)
    assert (caught.value.did, caught.value.seq) == (ALICE.did, 7)
    return caught.value.reason


@dataclass(frozen=True)
class Resigned:
    """A message about another tree, signed by its publisher."""

    blocks: list[bytes]
    ops: tuple[Op, ...]

    @property
    def told(self) -> CommitMessage:
        commit = ALICE.commit(Cid.of(self.blocks[0]), AFTER)
        car = pack(commit.encode(), *self.blocks)
        return replace(TRUE, commit=commit.cid, blocks=car, ops=self.ops)


def without(keep: Callable[[Cid], bool]) -> CommitMessage:
    car = read_car(TRUE.blocks)
    kept = [(cid, block) for cid, block in car.blocks.items() if keep(cid)]
    return replace(TRUE, blocks=write_car(car.roots[0], kept))


def ops_with(index: int, **fields: Any) -> CommitMessage:
    ops = list(TRUE.ops)
    ops[index] = replace(ops[index], **fields)
    return replace(TRUE, ops=tuple(ops))


UNORDERED = node([entry(path("b"), NOWHERE), entry(path("a"), NOWHERE)])
LONE = Op("create", path("a"), NOWHERE, None)
FLOAT = b"\xa1ax\xfb" + bytes(8)
LARGE = encode(thing(1, text="x" * 1_000_000))
FORGED = Commit.sign(ALICE.did, AFTER, proved(TRUE).commit.data, MALLORY.key)


def one_record(block: bytes) -> CommitMessage:
    """A publisher writes this block as its first record in our collection."""
    root, nodes = build({path("a"): Cid.of(block)})
    op = Op("create", path("a"), Cid.of(block), None)
    told = Resigned([nodes[root], block], (op,)).told
    return replace(told, since=None, prev_data=None)


LIES: dict[str, tuple[CommitMessage, Reject]] = {
    "too big": (replace(TRUE, too_big=True), Reject.TOO_BIG),
    "no CAR": (replace(TRUE, blocks=b""), Reject.BAD_CAR),
    "a damaged block": (replace(TRUE, blocks=TRUE.blocks[:-1] + b"\0"), Reject.BAD_CAR),
    "no root block": (without(lambda cid: cid != TRUE.commit), Reject.BAD_COMMIT),
    "a root that is no commit": (
        replace(TRUE, blocks=pack(b"\xa0"), commit=Cid.of(b"\xa0")),
        Reject.BAD_COMMIT,
    ),
    "somebody else's commit": (
        replace(message(STATE, CHANGED, MALLORY), did=ALICE.did),
        Reject.DID_MISMATCH,
    ),
    "another rev": (replace(TRUE, rev=BEFORE), Reject.REV_MISMATCH),
    "another commit": (replace(TRUE, commit=NOWHERE), Reject.COMMIT_MISMATCH),
    "signed by a stranger": (
        replace(TRUE, commit=FORGED.cid, blocks=pack(FORGED.encode())),
        Reject.BAD_SIGNATURE,
    ),
    "no prevData": (replace(TRUE, prev_data=None), Reject.PREV_DATA_MISSING),
    "no prev of an update": (ops_with(3, prev=None), Reject.PREV_DATA_MISSING),
    "no prev of a delete": (ops_with(1, prev=None), Reject.PREV_DATA_MISSING),
    "another prevData": (replace(TRUE, prev_data=NOWHERE), Reject.INVERSION_FAILED),
    "another prev": (ops_with(1, prev=NOWHERE), Reject.INVERSION_FAILED),
    "another record": (ops_with(3, cid=NOWHERE), Reject.INVERSION_FAILED),
    "an operation left out": (replace(TRUE, ops=TRUE.ops[1:]), Reject.INVERSION_FAILED),
    "no operation at all": (replace(TRUE, ops=()), Reject.INVERSION_FAILED),
    "the tree withheld": (without(lambda cid: cid != proved(TRUE).commit.data), Reject.INCOMPLETE),
    "a record withheld": (
        without(lambda cid: cid != Cid.of(encode(thing(99)))),
        Reject.RECORD_ABSENT,
    ),
    "another collection's record withheld": (
        without(lambda cid: cid != Cid.of(encode({"$type": OTHER}))),
        Reject.RECORD_ABSENT,
    ),
    "a tree out of order": (Resigned([UNORDERED], (LONE,)).told, Reject.TREE_INVALID),
    "a record with a float": (one_record(FLOAT), Reject.RECORD_INVALID),
    "a record of another type": (one_record(encode({"$type": OTHER})), Reject.RECORD_INVALID),
    "a record too large": (one_record(LARGE), Reject.TOO_LARGE),
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_is_refused_for_its_reason(name: str) -> None:
    told, expected = LIES[name]
    assert reason(told) == expected


def test_a_car_with_two_roots_is_refused() -> None:
    two = encode({"roots": [TRUE.commit, NOWHERE], "version": 1})
    header = len(write_car(TRUE.commit, []))
    blocks = bytes((len(two),)) + two + TRUE.blocks[header:]
    assert reason(replace(TRUE, blocks=blocks)) == Reject.BAD_CAR


def test_cut_at_every_block_boundary_it_proves_the_truth_or_nothing() -> None:
    car = read_car(TRUE.blocks)
    listed = list(car.blocks.items())
    reasons = set()
    for keep in range(len(listed)):
        told = replace(TRUE, blocks=write_car(car.roots[0], listed[:keep]))
        reasons.add(reason(told))
    assert reasons == {Reject.BAD_COMMIT, Reject.INCOMPLETE, Reject.RECORD_ABSENT}


def test_without_any_one_block_it_proves_the_truth_or_nothing() -> None:
    truth = [(c.uri, getattr(c, "cid", None)) for c in proved(TRUE).changes]
    refused = 0
    for left_out in read_car(TRUE.blocks).blocks:
        told = without(lambda cid, left_out=left_out: cid != left_out)  # type: ignore[misc]
        try:
            found = proved(told)
        except FrameRefused:
            refused += 1
        else:
            assert [(c.uri, getattr(c, "cid", None)) for c in found.changes] == truth
    assert refused > len(TRUE.ops)


def test_every_flipped_byte_of_the_blocks_is_refused() -> None:
    for at in range(0, len(TRUE.blocks), 11):
        bad = bytearray(TRUE.blocks)
        bad[at] ^= 1
        with pytest.raises(FrameRefused):
            proved(replace(TRUE, blocks=bytes(bad)))
