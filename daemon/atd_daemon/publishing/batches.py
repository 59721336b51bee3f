"""Writes, and which of them go together in one commit.

Belongs here: one record operation as a value, and the packing of many into commits of at most 200
operations and 1,000,000 bytes of JSON, in order. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from atd.errors import TooLarge
from atd.protocol.cbor import Cid, Value, decode, encode, to_json
from atd.protocol.syntax import AtUri
from atd_daemon.network.account import MAX_WRITE_BYTES, MAX_WRITES, create, delete, update

MAX_BYTES: Final = MAX_WRITE_BYTES - 50_000
"""Of JSON: the request has more in it than the writes."""

_OVERHEAD: Final = 300


class Action(Enum):
    """What a write does to its record."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Write:
    """One operation on the record at ``uri``; ``block`` is the record as DAG-CBOR, if any."""

    action: Action
    uri: AtUri
    block: bytes = b""

    @classmethod
    def of(cls, action: Action, uri: AtUri, value: dict[str, Any]) -> Write:
        """Write ``value`` at ``uri``."""
        return cls(action, uri, encode(value))

    @property
    def cid(self) -> Cid | None:
        """The CID that the record has afterwards; None: it is gone."""
        return None if self.action is Action.DELETE else Cid.of(self.block)

    @property
    def value(self) -> dict[str, Value]:
        """The record."""
        found = decode(self.block)
        assert isinstance(found, dict), "records are maps"
        return found

    @property
    def json_bytes(self) -> int:
        """Bytes that the operation takes in a request, at most."""
        if not self.block:
            return _OVERHEAD + len(str(self.uri))
        text = json.dumps(to_json(self.value), separators=(",", ":"))
        return _OVERHEAD + len(str(self.uri)) + len(text)

    def operation(self) -> dict[str, Any]:
        """The operation as `atd_daemon.network.account.Accounts.apply_writes` takes it."""
        collection, rkey = str(self.uri.collection), str(self.uri.rkey)
        if self.action is Action.DELETE:
            return delete(collection, rkey)
        make = create if self.action is Action.CREATE else update
        return make(collection, rkey, self.value)


def batched(writes: Sequence[Write]) -> tuple[tuple[Write, ...], ...]:
    """``writes`` in commits, in order, as few as there can be; the last one as full as it can be.

    The records that matter most stand last and should share a commit; so batches are filled from
    the end.

    Raises:
        TooLarge: one record does not fit into a commit.
    """
    batches: list[list[Write]] = []
    size = 0
    for write in reversed(writes):
        more = write.json_bytes
        if more > MAX_BYTES:
            raise TooLarge(f"the record {write.uri} takes {more} bytes; a PDS takes {MAX_BYTES}")
        if not batches or size + more > MAX_BYTES or len(batches[-1]) == MAX_WRITES:
            batches.append([])
            size = 0
        batches[-1].append(write)
        size += more
    return tuple(tuple(reversed(batch)) for batch in reversed(batches))
