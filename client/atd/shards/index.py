"""The member index: which bytes of a shard belong to which sample.

Derived from the shard itself whenever that is needed; a sidecar file only saves the walk. Belongs
here: grouping members into samples, with the rules that no key occurs twice and no sample is split,
and the sidecar's bytes.

Sidecar, version 1, little-endian, no pickle:

.. code-block:: text

    16 bytes   b"atd-index\\0" + u16 version + 4 zero bytes
    32 bytes   SHA-256 of everything that follows
    4 x u64    size of the shard in bytes, samples n, members m, bytes of text t
    n x i64    members up to and including sample i
    m x i64    payload offsets          m x i64   payload sizes          m x u16   suffix numbers
    t bytes    UTF-8: the n keys, then the suffixes, each followed by a line feed
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from atd.errors import ShardError
from atd.shards import tar
from atd.shards.keys import split_name

_MAGIC: Final = b"atd-index\0" + struct.pack("<H", 1) + bytes(4)
_COUNTS: Final = struct.Struct("<4Q")
_HEAD: Final = len(_MAGIC) + 32
_MAX_SUFFIXES: Final = 65536


@dataclass(frozen=True, slots=True)
class MemberIndex:
    """Samples of a shard in order; sample ``i`` has the members ``first[i]`` to ``first[i + 1]``.

    Args:
        size: bytes of the shard that this index is of.
        keys: one per sample.
        first: n + 1 member numbers.
        offsets: where each member's payload starts, in bytes.
        sizes: of each payload, in bytes.
        suffix: for each member its place in ``suffixes``.
    """

    size: int
    keys: tuple[str, ...]
    first: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    suffix: NDArray[np.uint16]
    suffixes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, buffer: memoryview, where: str) -> Self:
        """The index of the shard in ``buffer``, called ``where`` in errors.

        Raises:
            ShardError: no archive of samples: see `atd.shards.tar.scan`, or a key occurs twice, a
                sample's members are not adjacent, or two of them have the same suffix.
        """
        members = tar.scan(buffer, where)
        alone = _keys_of_one_member_each(members.names)
        if alone is not None:
            count = len(alone)
            first = np.arange(count + 1, dtype=np.int64)
            suffix = np.zeros(count, np.uint16)
            return cls(len(buffer), alone, first, members.offsets, members.sizes, suffix, (_ALONE,))
        grouped = _Grouping(where)
        for at, name in enumerate(members.names):
            parts = split_name(name)
            if parts is not None:
                grouped.add(at, *parts)
        taken = np.array(grouped.members, dtype=np.int64)
        return cls(
            len(buffer),
            tuple(grouped.keys),
            np.array([*grouped.first, len(taken)], dtype=np.int64),
            members.offsets[taken],
            members.sizes[taken],
            np.array(grouped.suffix, dtype=np.uint16),
            tuple(grouped.suffixes),
        )

    # -------------------------------------------------------------- sidecar

    def to_bytes(self) -> bytes:
        """The sidecar's bytes: the same for the same shard."""
        text = "".join(f"{line}\n" for line in (*self.keys, *self.suffixes)).encode()
        body = b"".join(
            (
                _COUNTS.pack(self.size, len(self.keys), len(self.offsets), len(text)),
                self.first[1:].astype("<i8").tobytes(),
                self.offsets.astype("<i8").tobytes(),
                self.sizes.astype("<i8").tobytes(),
                self.suffix.astype("<u2").tobytes(),
                text,
            )
        )
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes, size: int, where: str) -> Self:
        """The index out of a sidecar of a shard of ``size`` bytes.

        Raises:
            ShardError: damaged, of another version, of another shard, or pointing outside it.
        """
        body = data[_HEAD:]
        sealed = hashlib.sha256(body).digest() == data[len(_MAGIC) : _HEAD]
        if data[: len(_MAGIC)] != _MAGIC or not sealed or len(body) < _COUNTS.size:
            raise ShardError(f"{where}: not a member index of version 1, or damaged")
        of, samples, members, text_size = _COUNTS.unpack_from(body)
        if len(body) != _COUNTS.size + 8 * samples + 18 * members + text_size or of != size:
            raise ShardError(f"{where}: expected the index of a shard of {size} bytes, found {of}")
        columns = _Columns(body)
        ends, offsets, sizes = (columns.take("<i8", n) for n in (samples, members, members))
        suffix = columns.take("<u2", members)
        lines = body[columns.at :].decode("utf-8", "replace").split("\n")[:-1]
        first = np.concatenate((np.zeros(1, np.int64), ends))
        keys, suffixes = tuple(lines[:samples]), tuple(lines[samples:])
        index = cls(size, keys, first, offsets, sizes, suffix, suffixes)
        index._check(where)
        return index

    def _check(self, where: str) -> None:
        members = len(self.offsets)
        sound = (
            len(set(self.keys)) == len(self.keys) == len(self.first) - 1
            and self.first[-1] == members
            and bool((self.first >= 0).all() and (self.first <= members).all())
            and bool((np.diff(self.first) > 0).all())
            and "".join((*self.keys, *self.suffixes)).isprintable()
            and bool((self.offsets >= tar.BLOCK).all() and (self.sizes >= 0).all())
            and bool((self.sizes <= self.size - self.offsets).all())
            and bool((self.suffix < len(self.suffixes)).all())
            and bool((np.bincount(self.suffix, minlength=len(self.suffixes)) > 0).all())
        )
        if not sound:
            raise ShardError(f"{where}: the member index contradicts itself")


_ALONE: Final = "msgpack"


def _keys_of_one_member_each(names: list[str]) -> tuple[str, ...] | None:
    """The keys of a packed shard, if each name is plainly ``KEY.msgpack`` and comes once.

    The same that `_Grouping` finds out name by name; control characters are refused before.
    """
    ending = f".{_ALONE}\n"
    text = "".join([f"{name}\n" for name in names])
    plain = (
        len(names) > 0
        and text.count(ending) == text.count(".") == text.count("\n") == len(names)
        and "/" not in text
        and not text.startswith(".")
        and "\n." not in text
        and len(set(names)) == len(names)
    )
    return tuple(text.replace(ending, "\n").split("\n")[:-1]) if plain else None


class _Grouping:
    """Members in order of the archive, put together into samples."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.keys: list[str] = []
        self.first: list[int] = []
        self.members: list[int] = []
        self.suffix: list[int] = []
        self.suffixes: dict[str, int] = {}
        self._seen: set[str] = set()
        self._here: set[str] = set()

    def add(self, at: int, key: str, suffix: str) -> None:
        """Member number ``at`` of the archive is ``key.suffix``."""
        if not self.keys or self.keys[-1] != key:
            if key in self._seen:
                raise ShardError(
                    f"{self.where}: sample {key}: expected its members next to each other and its"
                    f" key once, found {key}.{suffix} after another sample"
                )
            self._seen.add(key)
            self._here = set()
            self.keys.append(key)
            self.first.append(len(self.members))
        if suffix in self._here:
            raise ShardError(f"{self.where}: sample {key}: two members {key}.{suffix}")
        self._here.add(suffix)
        number = self.suffixes.setdefault(suffix, len(self.suffixes))
        if number >= _MAX_SUFFIXES:
            raise ShardError(f"{self.where}: more than {_MAX_SUFFIXES} different suffixes")
        self.suffix.append(number)
        self.members.append(at)


class _Columns:
    """Arrays taken one after the other from the body of a sidecar."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = _COUNTS.size

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        column = np.frombuffer(self.body, dtype, count, self.at)
        self.at += column.nbytes
        return column.astype(column.dtype.newbyteorder("="), copy=False)
