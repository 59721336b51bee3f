"""The limits of a schema, and the checks that the kinds share.

Belongs here: numbers, patterns, and functions that return a checked value or raise `LocalError`;
and `Reader`, which takes a JSON object from the network apart and turns every fault into a
`LexiconError` that names its path. Knows no kind.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from atd.errors import InvalidSyntax, LexiconError, LocalError
from atd.names import MAX_INTEGER
from atd.protocol.syntax import quote

MAX_DEPTH: Final = 16
"""Levels of lists and structs around a field, at most."""
MAX_FIELDS: Final = 1_000
"""Fields of a schema, those of nested structs included, at most."""
MAX_CLASSES: Final = 32_768
"""Names of a label, at most."""
MAX_DIMS: Final = 32
"""Dimensions of an array, at most: what numpy 1 allows."""

DTYPES: Final[dict[str, int]] = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""The element types of an array, by numpy's names, with their size in bytes."""

_NUMBERS = {"i": "int", "u": "uint", "f": "float", "c": "complex"}
_DTYPE_CODE = re.compile(r"[<>=|]?([iufc])([0-9]{1,2})")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,6}")
_MODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9;_-]{0,31}")


def field_name(name: str) -> str:
    """``name`` as an attribute: ``[A-Za-z_][A-Za-z0-9_]{0,63}``, no keyword, no leading ``__``.

    Python keeps the latter for itself (dunders), or changes it within classes (private names).
    Nor ``mro``: every class has a method of that name, which a dataclass takes for a default.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise InvalidSyntax(
            f"expected the name of a field, found {quote(name)}",
            next_step="use an identifier of at most 64 of A-Z a-z 0-9 _",
        )
    if keyword.iskeyword(name) or name.startswith("__") or name == "mro":
        raise InvalidSyntax(f"{name} cannot name a field: Python reserves it")
    return name


def dtype_name(dtype: str) -> str:
    """The key of `DTYPES` for a numpy dtype given by name or code: ``<f4`` is ``float32``."""
    code = _DTYPE_CODE.fullmatch(dtype)
    name = f"{_NUMBERS[code[1]]}{int(code[2]) * 8}" if code else dtype
    if dtype in ("?", "|b1", "b1"):
        name = "bool"
    if name not in DTYPES:
        raise LocalError(
            f"expected an element type of a fixed width, found {quote(dtype)}",
            next_step="use one of: " + ", ".join(DTYPES),
        )
    return name


def distinct(what: str, names: Iterable[str]) -> None:
    """Refuse a name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise LocalError(f"two {what} names are the same: {quote(name)}")
        seen.add(name)


def among(what: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse a value that is not one of ``allowed``."""
    if isinstance(value, bool) or value not in allowed:
        raise LocalError(f"expected {what} to be one of {allowed}, found {quote(value)}")


def at_most(what: str, limit: int, count: int) -> None:
    """Refuse more than ``limit`` things."""
    if count > limit:
        raise LocalError(f"expected at most {limit} {what}, found {count}")


def size(what: str, number: int) -> int:
    """``number`` as a size: an integer from 1 to 2^53-1."""
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_INTEGER:
        raise LocalError(f"expected the {what} from 1 to 2^53-1, found {quote(number)}")
    return number


def text(what: str, value: str, max_bytes: int, *, lines: bool = False) -> str:
    """``value``, not empty, encodable, without control characters (line ends where ``lines``)."""
    kept = "\n\t" if lines else ""
    # Cc: control characters; Cs: surrogates, which UTF-8 cannot carry.
    fits = isinstance(value, str) and 0 < len(value) <= max_bytes
    fits = fits and not any(
        unicodedata.category(c) in ("Cc", "Cs") and c not in kept for c in value
    )
    if not fits or len(value.encode()) > max_bytes:
        raise LocalError(
            f"expected the {what} as 1 to {max_bytes} bytes of text without control characters, "
            f"found {quote(value)}"
        )
    return value


def media_types(given: Iterable[str]) -> tuple[str, ...]:
    """Media types such as ``image/png``, in lower case, 32 at most."""
    found = tuple(given)
    at_most("media types", 32, len(found))
    for media_type in found:
        _matching(_MEDIA_TYPE, "a media type such as image/png", media_type)
    return found


def language(tag: str) -> str:
    """A language tag of BCP 47's shape, such as ``pt-BR``."""
    return _matching(_LANGUAGE, "a language tag such as pt-BR", tag)


def image_mode(mode: str) -> str:
    """The name of a Pillow mode, such as ``RGB`` or ``I;16``."""
    return _matching(_MODE, "an image mode such as RGB", mode)


def _matching(pattern: re.Pattern[str], what: str, value: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidSyntax(f"expected {what}, found {quote(value)}")
    return value


class Reader:
    """One JSON object of a schema from the network, read key by key.

    Unknown keys are left alone: records may grow. ``depth`` counts the lists and structs around it.
    """

    def __init__(self, value: object, path: str, depth: int = 1) -> None:
        self.path = path
        self.depth = depth
        if not isinstance(value, dict):
            raise self.fault(f"expected an object, found {type(value).__name__}")
        if depth > MAX_DEPTH:
            raise self.fault(f"expected fields nested at most {MAX_DEPTH} deep, found more")
        self._value = value

    def fault(self, message: str, key: str | None = None) -> LexiconError:
        """The error that says what is wrong here, or at ``key``."""
        return LexiconError(f"{self.path}{'' if key is None else f'.{key}'}: {message}")

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What a constructor refuses inside is the fault of this object."""
        try:
            yield
        except LocalError as error:
            raise self.fault(error.message) from error

    def text(self, key: str) -> str:
        """A string that must be there."""
        found = self.maybe_text(key)
        if found is None:
            raise self.fault("expected a string, found nothing", key)
        return found

    def maybe_text(self, key: str) -> str | None:
        """A string, or None where the key is missing."""
        found = self._value.get(key)
        if found is not None and not isinstance(found, str):
            raise self.fault(f"expected a string, found {type(found).__name__}", key)
        return found

    def integer(self, key: str, default: int) -> int:
        """An integer, or ``default`` where the key is missing."""
        found = self.maybe_integer(key)
        return default if found is None else found

    def maybe_integer(self, key: str) -> int | None:
        """An integer, or None where the key is missing."""
        found = self._value.get(key)
        if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
            raise self.fault(f"expected an integer, found {type(found).__name__}", key)
        return found

    def flag(self, key: str, default: bool = False) -> bool:
        """A boolean, or ``default`` where the key is missing."""
        found = self._value.get(key, default)
        if not isinstance(found, bool):
            raise self.fault(f"expected a boolean, found {type(found).__name__}", key)
        return found

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty where the key is missing."""
        found = self._list(key)
        for index, item in enumerate(found):
            if not isinstance(item, str):
                raise self.fault(
                    f"expected a string, found {type(item).__name__}", f"{key}[{index}]"
                )
        return tuple(found)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._value

    def child(self, key: str, *, deeper: int = 0) -> Reader:
        """The object at ``key``, which must be there."""
        return Reader(self._value.get(key), f"{self.path}.{key}", self.depth + deeper)

    def children(self, key: str, *, deeper: int = 0) -> list[Reader]:
        """The objects of the list at ``key``; none where the key is missing."""
        return readers(self._list(key), f"{self.path}.{key}", self.depth + deeper)

    def _list(self, key: str) -> list[Any]:
        found = self._value.get(key, [])
        if not isinstance(found, list):
            raise self.fault(f"expected a list, found {type(found).__name__}", key)
        return found


def readers(value: object, path: str, depth: int = 1) -> list[Reader]:
    """One `Reader` for each object of a list."""
    if not isinstance(value, list):
        raise LexiconError(f"{path}: expected a list, found {type(value).__name__}")
    return [Reader(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]
