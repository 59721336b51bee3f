"""The frames of a host's event stream, read: what ``subscribeRepos`` sends, as typed messages.

A frame is a DAG-CBOR header and a DAG-CBOR body, one after the other::

    { op: 1, t: "#commit" }  { seq, repo, rev, since, commit, prevData, blocks, ops, time, … }
    { op: -1 }               { error, message }

Nothing here is signed: a message says what its host claims. What of it can be proved is proved by
`atd.protocol.live`; what cannot (identity and account messages) is asked for at its source. Fields
that the lexicon does not name are passed over, as are kinds of messages that the specification does
not name.

Source: atproto.com/specs/event-stream, com.atproto.sync.subscribeRepos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

from atd.errors import FrameRefused, InvalidSyntax, ProofError
from atd.protocol.cbor import MAX_DEPTH, Cid, Value, decode, encode
from atd.protocol.cbor_reader import Reader, check_count
from atd.protocol.mst_node import is_key
from atd.protocol.rejects import Reject
from atd.protocol.syntax import Did, Tid, quote

__all__ = [
    "MAX_BLOCKS_BYTES",
    "MAX_FRAME_BYTES",
    "MAX_OPERATIONS",
    "MAX_RECORD_BYTES",
    "MAX_TEXT",
    "MAX_VALUES",
    "AccountMessage",
    "CommitMessage",
    "ErrorMessage",
    "IdentityMessage",
    "InfoMessage",
    "Message",
    "Op",
    "SyncMessage",
    "UnknownMessage",
    "read_frame",
]

MAX_FRAME_BYTES: Final = 5_000_000
MAX_BLOCKS_BYTES: Final = 2_000_000
MAX_RECORD_BYTES: Final = 1_000_000
MAX_OPERATIONS: Final = 200
MAX_VALUES: Final = 10_000
"""Values and keys of a body; 200 operations have some 2,400."""
MAX_TEXT: Final = 2048
"""Characters of a text such as a handle or a time, which may be kept for a while."""

_MAX_HEADER_BYTES: Final = 1024
_COMMIT_HEADER: Final[Value] = {"op": 1, "t": "#commit"}
_COMMIT: Final = encode(_COMMIT_HEADER)


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a commit: ``action`` is ``create``, ``update`` or ``delete``.

    ``path`` is ``collection/record-key``; ``cid`` the record after it (None after a delete),
    ``prev`` the record before it (None before a create, or where an old host does not say).
    """

    action: str
    path: str
    cid: Cid | None
    prev: Cid | None


@dataclass(frozen=True, slots=True)
class CommitMessage:
    """A repository went from the revision ``since`` to ``rev`` by ``ops``.

    ``commit`` names the commit's block, ``prev_data`` the root of the tree before it; ``blocks`` is
    a CAR file. ``too_big`` tells that the host left operations out.
    """

    seq: int
    did: Did
    rev: Tid
    since: Tid | None
    commit: Cid
    prev_data: Cid | None
    blocks: bytes
    ops: tuple[Op, ...]
    time: str
    too_big: bool


@dataclass(frozen=True, slots=True)
class SyncMessage:
    """A repository is at ``rev`` now, whatever was said before; ``blocks`` hold its commit."""

    seq: int
    did: Did
    rev: Tid
    blocks: bytes
    time: str


@dataclass(frozen=True, slots=True)
class IdentityMessage:
    """Something about an identity may have changed: resolve it anew. ``handle`` is a hint."""

    seq: int
    did: Did
    handle: str | None
    time: str


@dataclass(frozen=True, slots=True)
class AccountMessage:
    """Whether this host serves the account now; ``status`` is why not, such as ``deactivated``."""

    seq: int
    did: Did
    active: bool
    status: str | None
    time: str


@dataclass(frozen=True, slots=True)
class InfoMessage:
    """News of the stream itself, such as ``OutdatedCursor``: events before the first are gone."""

    name: str
    message: str | None


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """Why the host ends the stream, such as ``FutureCursor`` or ``ConsumerTooSlow``."""

    error: str
    message: str | None


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of a kind that is not read here; ``seq`` where it has one."""

    kind: str
    seq: int | None


Message: TypeAlias = (
    CommitMessage
    | SyncMessage
    | IdentityMessage
    | AccountMessage
    | InfoMessage
    | ErrorMessage
    | UnknownMessage
)


def read_frame(frame: bytes) -> Message:
    """The message that a frame holds.

    Raises:
        FrameRefused: too large, not two items of canonical DAG-CBOR, a field that its lexicon
            demands is missing or of another kind, or an operation that cannot be.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise FrameRefused(
            f"a frame of {len(frame)} bytes, at most {MAX_FRAME_BYTES} are read",
            reason=Reject.TOO_LARGE,
        )
    try:
        if frame.startswith(_COMMIT):  # as nearly all frames do; the rest is general
            header, start = _COMMIT_HEADER, len(_COMMIT)
        else:
            reader = Reader(frame[:_MAX_HEADER_BYTES], 4)
            header, start = reader.item(4), reader.at
        if len(frame) > MAX_VALUES:  # or it cannot have so many
            check_count(frame, start, MAX_VALUES)
        body = decode(frame[start:], max_depth=MAX_DEPTH)
    except ProofError as error:
        raise FrameRefused(f"a frame: {error}", reason=Reject.BAD_FRAME) from None
    if not isinstance(header, dict) or not isinstance(body, dict):
        raise FrameRefused(
            f"a frame is a header and a body, two maps; got {quote(header)} and {quote(body)}",
            reason=Reject.BAD_FRAME,
        )
    fields = _Fields(body)
    op, kind = header.get("op"), header.get("t")
    if op == -1 and op is not True:
        return ErrorMessage(fields.text("error"), fields.text_or_none("message"))
    if op != 1 or op is True or not isinstance(kind, str):
        return UnknownMessage(quote(header), None)
    return _message(kind, fields)


def _message(kind: str, fields: _Fields) -> Message:
    if kind == "#info":
        return InfoMessage(fields.text("name"), fields.text_or_none("message"))
    if kind not in ("#commit", "#sync", "#identity", "#account"):
        seq = fields.body.get("seq")
        known = isinstance(seq, int) and not isinstance(seq, bool)
        return UnknownMessage(kind, seq if known else None)  # type: ignore[arg-type]
    seq, did = fields.number("seq"), fields.repo("repo" if kind == "#commit" else "did")
    time = fields.text("time")
    if kind == "#identity":
        return IdentityMessage(seq, did, fields.text_or_none("handle"), time)
    if kind == "#account":
        return AccountMessage(seq, did, fields.flag("active"), fields.text_or_none("status"), time)
    rev, blocks = fields.tid("rev"), fields.blocks()
    if kind == "#sync":
        return SyncMessage(seq, did, rev, blocks, time)
    since = None if fields.body.get("since") is None else fields.tid("since")
    commit, before = fields.cid("commit"), fields.cid_or_none(fields.body, "prevData")
    too_big = fields.body.get("tooBig") is True
    return CommitMessage(
        seq, did, rev, since, commit, before, blocks, fields.operations(), time, too_big
    )


class _Fields:
    """The fields of one body, each asked for by its kind.

    ``did`` and ``seq`` are noted as soon as they are read, so that a later refusal can name them.
    """

    def __init__(self, body: dict[str, Value]) -> None:
        self.body = body
        self.did: Did | None = None
        self.seq: int | None = None

    def refuse(self, what: str, reason: Reject = Reject.BAD_FRAME) -> NoReturn:
        raise FrameRefused(f"a message with {what}", reason=reason, did=self.did, seq=self.seq)

    def number(self, name: str) -> int:
        value = self.body.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.refuse(f"the {name} {quote(value)}, which is no sequence number")
        self.seq = value
        return value

    def repo(self, name: str) -> Did:
        try:
            self.did = Did.parse(self.text(name))
        except InvalidSyntax as error:
            self.refuse(f"a {name}: {error}")
        return self.did

    def tid(self, name: str) -> Tid:
        try:
            return Tid.parse(self.text(name))
        except InvalidSyntax as error:
            self.refuse(f"a {name}: {error}")

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str):
            self.refuse(f"the {name} {quote(value)}, which is no text")
        if len(value) > MAX_TEXT:
            self.refuse(f"a {name} of {len(value)} characters, at most {MAX_TEXT} are read")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self.body.get(name) is None else self.text(name)

    def flag(self, name: str) -> bool:
        value = self.body.get(name)
        if not isinstance(value, bool):
            self.refuse(f"the {name} {quote(value)}, which is neither true nor false")
        return value

    def blocks(self) -> bytes:
        value = self.body.get("blocks")
        if not isinstance(value, bytes):
            self.refuse(f"the blocks {quote(value)}, which are no bytes")
        if len(value) > MAX_BLOCKS_BYTES:
            self.refuse(
                f"{len(value)} bytes of blocks, at most {MAX_BLOCKS_BYTES} are read",
                Reject.TOO_LARGE,
            )
        return value

    def cid(self, name: str) -> Cid:
        value = self.body.get(name)
        if not isinstance(value, Cid):
            self.refuse(f"the {name} {quote(value)}, which is no CID")
        return value

    def cid_or_none(self, fields: dict[str, Value], name: str) -> Cid | None:
        value = fields.get(name)
        if value is not None and not isinstance(value, Cid):
            self.refuse(f"the {name} {quote(value)}, which is no CID")
        return value

    def operations(self) -> tuple[Op, ...]:
        value = self.body.get("ops")
        if not isinstance(value, list):
            self.refuse(f"the ops {quote(value)}, which are no list")
        if len(value) > MAX_OPERATIONS:
            self.refuse(
                f"{len(value)} operations, at most {MAX_OPERATIONS} are read", Reject.TOO_LARGE
            )
        ops = tuple(self.operation(item) for item in value)
        if len({op.path for op in ops}) != len(ops):
            self.refuse("two operations on one path", Reject.BAD_OPERATIONS)
        return ops

    def operation(self, item: Value) -> Op:
        if not isinstance(item, dict):
            self.refuse(f"the operation {quote(item)}")
        action, path = item.get("action"), item.get("path")
        cid, prev = self.cid_or_none(item, "cid"), self.cid_or_none(item, "prev")
        if not isinstance(action, str) or not isinstance(path, str):
            self.refuse(f"an operation without action or path: {quote(item)}")
        possible = (
            is_key(path.encode("utf-8", "replace"))
            and action in ("create", "update", "delete")
            and (cid is None) == (action == "delete")
            and (prev is None or action != "create")
        )
        if not possible:
            self.refuse(f"the operation {quote(item)}, which cannot be", Reject.BAD_OPERATIONS)
        return Op(action, path, cid, prev)
