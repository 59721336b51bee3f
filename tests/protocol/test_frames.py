"""Reading frames: the true ones, and every way in which they are none."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atd.errors import FrameRefused
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.frames import (
    MAX_BLOCKS_BYTES,
    MAX_FRAME_BYTES,
    MAX_OPERATIONS,
    MAX_TEXT,
    MAX_VALUES,
    AccountMessage,
    CommitMessage,
    ErrorMessage,
    IdentityMessage,
    InfoMessage,
    Op,
    SyncMessage,
    UnknownMessage,
    read_frame,
)
from atd.protocol.rejects import Reject

DID = "did:plc:7iza6de2dwap2sbkpav7c6c6"
REV, SINCE = "3kzyxwvutsr23", "3kzyxwvutsr22"
NEW, OLD = Cid.of(b"new"), Cid.of(b"old")
PATH = "com.example.thing/a"
TIME = "2025-06-01T12:00:00.000Z"

COMMIT: dict[str, Any] = {
    "seq": 7,
    "repo": DID,
    "rev": REV,
    "since": SINCE,
    "commit": NEW,
    "prevData": OLD,
    "blocks": b"blocks",
    "ops": [{"action": "update", "path": PATH, "cid": NEW, "prev": OLD}],
    "time": TIME,
    "rebase": False,
    "tooBig": False,
    "blobs": [],
}
SYNC: dict[str, Any] = {"seq": 8, "did": DID, "rev": REV, "blocks": b"blocks", "time": TIME}
IDENTITY: dict[str, Any] = {"seq": 9, "did": DID, "handle": "alice.test", "time": TIME}
ACCOUNT: dict[str, Any] = {"seq": 1, "did": DID, "active": False, "status": "x", "time": TIME}
BODIES = {"#commit": COMMIT, "#sync": SYNC, "#identity": IDENTITY, "#account": ACCOUNT}


def frame(kind: str, body: Value, op: int = 1) -> bytes:
    return encode({"op": op, "t": kind}) + encode(body)


def refused(data: bytes) -> FrameRefused:
    with pytest.raises(FrameRefused) as caught:
        read_frame(data)
    return caught.value


def test_each_kind_is_read_into_its_message() -> None:
    assert read_frame(frame("#commit", COMMIT)) == CommitMessage(
        seq=7,
        did=DID,  # type: ignore[arg-type]
        rev=REV,  # type: ignore[arg-type]
        since=SINCE,  # type: ignore[arg-type]
        commit=NEW,
        prev_data=OLD,
        blocks=b"blocks",
        ops=(Op("update", PATH, NEW, OLD),),
        time=TIME,
        too_big=False,
    )
    assert read_frame(frame("#sync", SYNC)) == SyncMessage(8, DID, REV, b"blocks", TIME)  # type: ignore[arg-type]
    assert read_frame(frame("#identity", IDENTITY)) == IdentityMessage(9, DID, "alice.test", TIME)  # type: ignore[arg-type]
    assert read_frame(frame("#account", ACCOUNT)) == AccountMessage(1, DID, False, "x", TIME)  # type: ignore[arg-type]
    assert read_frame(frame("#info", {"name": "OutdatedCursor"})) == InfoMessage(
        "OutdatedCursor", None
    )
    error = encode({"op": -1}) + encode({"error": "FutureCursor", "message": "no"})
    assert read_frame(error) == ErrorMessage("FutureCursor", "no")


def test_what_the_specification_does_not_name_is_passed_over() -> None:
    assert read_frame(frame("#gossip", {"seq": 3})) == UnknownMessage("#gossip", 3)
    assert read_frame(frame("#gossip", {"seq": "x"})) == UnknownMessage("#gossip", None)
    assert isinstance(read_frame(encode({"op": 2}) + encode({})), UnknownMessage)
    more = read_frame(frame("#commit", {**COMMIT, "news": [1, 2]}))
    assert more == read_frame(frame("#commit", COMMIT))


def test_what_old_hosts_leave_out_may_be_missing() -> None:
    ops = [{"action": "delete", "path": PATH, "cid": None}]
    body = {k: v for k, v in COMMIT.items() if k not in ("prevData", "since", "tooBig")}
    message = read_frame(frame("#commit", {**body, "ops": ops}))
    assert isinstance(message, CommitMessage)
    assert (message.prev_data, message.since, message.too_big) == (None, None, False)
    assert message.ops == (Op("delete", PATH, None, None),)
    assert isinstance(read_frame(frame("#identity", {**IDENTITY, "handle": None})), IdentityMessage)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("#commit", name) for name in ("seq", "repo", "rev", "commit", "blocks", "ops", "time")),
        *(("#sync", name) for name in SYNC),
        *(("#identity", name) for name in ("seq", "did", "time")),
        *(("#account", name) for name in ("seq", "did", "active", "time")),
    ],
)
@pytest.mark.parametrize("value", [None, True, 1.5, [], {}, b"\xff", "\x00not one", -1])
def test_a_field_that_is_missing_or_of_another_kind_is_refused(
    kind: str, name: str, value: Any
) -> None:
    body = {k: v for k, v in BODIES[kind].items() if k != name}
    if isinstance(value, float):
        assert refused(frame(kind, body)).reason == Reject.BAD_FRAME
        return
    fine = {("blocks", b"\xff"), ("time", "\x00not one")}
    fitting = (name, value) in fine if isinstance(value, bytes | str) else False
    if fitting or (name == "active" and value is True) or (name == "ops" and value == []):
        read_frame(frame(kind, {**body, name: value}))
        return
    assert refused(frame(kind, {**body, name: value})).reason == Reject.BAD_FRAME


@pytest.mark.parametrize(
    "op",
    [
        {"action": "conquer", "path": PATH, "cid": NEW},
        {"action": "create", "path": PATH, "cid": None},
        {"action": "create", "path": PATH, "cid": NEW, "prev": OLD},
        {"action": "update", "path": PATH, "cid": None, "prev": OLD},
        {"action": "delete", "path": PATH, "cid": NEW, "prev": OLD},
        {"action": "create", "path": "no path", "cid": NEW},
        {"action": "create", "path": "a/b/c", "cid": NEW},
        {"action": "create", "path": "x/" + "y" * 2000, "cid": NEW},
    ],
)
def test_an_operation_that_cannot_be_is_refused(op: dict[str, Value]) -> None:
    assert refused(frame("#commit", {**COMMIT, "ops": [op]})).reason == Reject.BAD_OPERATIONS


def test_two_operations_on_one_path_are_refused() -> None:
    twice = {**COMMIT, "ops": [COMMIT["ops"][0], {"action": "delete", "path": PATH, "cid": None}]}
    assert refused(frame("#commit", twice)).reason == Reject.BAD_OPERATIONS


def test_a_refusal_says_whose_message_it_was() -> None:
    error = refused(frame("#commit", {**COMMIT, "ops": None}))
    assert (error.did, error.seq) == (DID, 7)
    assert (refused(b"").did, refused(b"").seq) == (None, None)


def test_every_limit_is_kept() -> None:
    op = {"action": "create", "cid": NEW}
    ops = [{**op, "path": f"com.example.thing/{n}"} for n in range(MAX_OPERATIONS + 1)]
    read_frame(frame("#commit", {**COMMIT, "ops": ops[1:]}))
    assert refused(frame("#commit", {**COMMIT, "ops": ops})).reason == Reject.TOO_LARGE
    read_frame(frame("#commit", {**COMMIT, "blocks": bytes(MAX_BLOCKS_BYTES)}))
    large = {**COMMIT, "blocks": bytes(MAX_BLOCKS_BYTES + 1)}
    assert refused(frame("#commit", large)).reason == Reject.TOO_LARGE
    assert refused(bytes(MAX_FRAME_BYTES + 1)).reason == Reject.TOO_LARGE


@pytest.mark.parametrize(
    "values",
    [
        b"\x9a\x00\x4a\x00\x00" + b"\x80" * 0x4A0000,
        b"\x9a\x00\x4a\x00\x00" + b"\x80" * 0x49FFFF + b"\xfb" + bytes(8),
        b"\x9f" + b"\x80" * 0x4A0000 + b"\xff",
        b"\x99\x03\xe8" + (b"\x99\x03\xe8" + b"\x80" * 1000) * 1000,
        b"\xba\x00\x10\x00\x00" + b"".join(b"\x63" + n.to_bytes(3) for n in range(0x100000)),
    ],
    ids=["one list", "then a float", "without a length", "lists of lists", "a map"],
)
def test_millions_of_little_values_are_refused_before_they_are_made(values: bytes) -> None:
    data = encode({"op": 1, "t": "#commit"}) + b"\xa1cops" + values
    assert len(data) < MAX_FRAME_BYTES
    tracemalloc.start()
    try:
        assert refused(data).reason == Reject.BAD_FRAME
        assert tracemalloc.get_traced_memory()[1] < len(data) + 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_may_have_so_many_values_and_no_more() -> None:
    # an account's map, its five fields and their keys, and the list with its key
    most = MAX_VALUES - (1 + 2 * len(ACCOUNT) + 2)
    assert isinstance(read_frame(frame("#account", {**ACCOUNT, "z": [0] * most})), AccountMessage)
    error = refused(frame("#account", {**ACCOUNT, "z": [0] * (most + 1)}))
    assert error.reason == Reject.BAD_FRAME


@pytest.mark.parametrize(
    ("kind", "name"),
    [("#commit", "time"), ("#identity", "handle"), ("#account", "status"), ("#sync", "time")],
)
def test_texts_that_are_kept_for_a_while_have_an_end(kind: str, name: str) -> None:
    read_frame(frame(kind, {**BODIES[kind], name: "x" * MAX_TEXT}))
    error = refused(frame(kind, {**BODIES[kind], name: "x" * (MAX_TEXT + 1)}))
    assert error.reason == Reject.BAD_FRAME


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode({"op": 1, "t": "#commit"}),
        encode({"op": 1, "t": "#commit"}) + encode([1]),
        encode([1]) + encode(COMMIT),
        frame("#commit", COMMIT) + b"\x00",
        b"\xff" * 50,
        b"\x81" * 5000,
        encode({"op": 1, "t": "#commit"}) + b"\x81" * 50_000,
        # the same map with its keys the other way round
        encode({"op": 1, "t": "#info"}) + b"\xa2dnamea1a" + b"\x61ba1",
    ],
)
def test_what_is_not_two_canonical_items_is_refused(data: bytes) -> None:
    assert refused(data).reason == Reject.BAD_FRAME


@given(st.sampled_from(sorted(BODIES)), st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_frame_is_read_or_refused(kind: str, at: int, value: int) -> None:
    data = bytearray(frame(kind, BODIES[kind]))
    data[at % len(data)] = value
    try:
        read_frame(bytes(data))
    except FrameRefused as error:
        assert error.reason in (Reject.BAD_FRAME, Reject.BAD_OPERATIONS)  # noqa: PT017
