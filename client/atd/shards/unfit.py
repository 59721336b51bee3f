"""How a value that does not fit is described, while writing as while reading.

Belongs here: the internal `Unfit`, which travels from the value to the sample and collects the path
on its way, its sister `Undecodable` for what is inside a picture, and the words for values and
kinds. Neither leaves `atd.shards`: a writer turns it into `SchemaMismatch` (the sample is yours), a
reader into `ShardError` (the shard is someone else's).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from atd.schema import fields

_SHOWN: Final = 60


class Unfit(Exception):
    """A value is not what its field says; ``path`` grows outwards as the error travels."""

    def __init__(self, expected: str, found: str, path: str = "") -> None:
        super().__init__(expected, found, path)
        self.expected = expected
        self.found = found
        self.path = path

    def within(self, name: str) -> Unfit:
        """The same error, seen from the value around it: a field name, or ``[3]`` for an item."""
        dot = "." if self.path and not self.path.startswith("[") else ""
        return Unfit(self.expected, self.found, f"{name}{dot}{self.path}")

    def __str__(self) -> str:
        where = f"field {self.path}: " if self.path else ""
        return f"{where}expected {self.expected}, found {self.found}"


class Undecodable(Exception):
    """A picture cannot be decoded, or not within the limits; `Image` turns it into `ShardError`."""


def describe(value: object) -> str:
    """``value`` in a few printable characters: its type, and as much of it as helps."""
    if value is None:
        return "null"
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype.name} {value.shape}"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        return f"{name} {shown(value)}"
    if isinstance(value, bool | int | float | np.generic):
        return f"{name} {ascii(value)[:_SHOWN]}"
    if isinstance(value, list | tuple | dict):
        return f"a {name} of {len(value)}"
    return f"a value of type {name}"


def shown(text: str) -> str:
    """``text`` quoted, in ASCII, cut after 60 characters."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def wanted(kind: fields.Kind) -> str:
    """What a field of ``kind`` takes, in words."""
    match kind:
        case fields.Int():
            low, high = kind.limits
            return f"an integer from {low} to {high}"
        case fields.Float():
            return f"a number that fits {kind.dtype}"
        case fields.Array():
            return f"an array {kind.dtype}{_dims(kind)}"
        case fields.Label():
            return f"an index from 0 to {len(kind.names) - 1} or a name: {_names(kind.names)}"
        case fields.Box():
            return f"a box {kind.format} of four finite numbers"
        case _:
            return _WORDS.get(type(kind), kind.tag)


def _dims(kind: fields.Array) -> str:
    if not kind.dims:
        return ""
    sizes = ["any" if dim.size is None else str(dim.size) for dim in kind.dims]
    return f" ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def _names(names: tuple[str, ...]) -> str:
    few = ", ".join(shown(name) for name in names[:5])
    return few if len(names) <= 5 else f"{few} …"


_WORDS: Final[dict[type[Any], str]] = {
    fields.Bool: "true or false",
    fields.String: "a string",
    fields.Text: "text",
    fields.Bytes: "bytes",
    fields.Timestamp: "a moment with its offset from UTC (RFC 3339)",
    fields.Json: "a JSON value",
    fields.Image: "an encoded image",
    fields.Audio: "encoded audio",
    fields.Video: "encoded video",
    fields.List: "a list",
    fields.Struct: "a struct",
}
