"""Reading JSON that a stranger wrote, part by part, with the place of whatever is wrong.

Belongs here: `Part`, one value of a document. Each of its methods is one expectation; what does not
meet it is a `LexiconError` that names the place. Nothing is converted: ``1`` is not true, ``"1"``
is no number, and a number is finite.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from atd.errors import LexiconError
from atd.names import MAX_INTEGER
from atd.protocol.syntax import quote

MAX_DEPTH: Final = 64
_MAX_NUMBER: Final = 2**64
_MAX_KEY: Final = 512
_MAX_TEXT: Final = 100_000
_HALVES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Part:
    """The value at ``path`` of a document."""

    value: Any
    path: str

    def fault(self, what: str) -> LexiconError:
        """The error that says so of this place."""
        return LexiconError(f"{self.path}: {what}, found {quote(self.value)}")

    # --- objects and lists -----------------------------------------------------------------------

    def maybe(self, key: str) -> Part | None:
        """The member ``key`` of an object, if it has one."""
        if not isinstance(self.value, dict):
            raise self.fault("expected an object")
        return Part(self.value[key], f"{self.path}.{key}") if key in self.value else None

    def member(self, key: str) -> Part:
        """The member ``key`` of an object."""
        found = self.maybe(key)
        if found is None:
            raise LexiconError(f"{self.path}: expected the member {key}, found none")
        return found

    def list(self, key: str, most: int) -> list[Part]:
        """The items of the list ``key``, at most ``most``; none where there is no such member."""
        found = self.maybe(key)
        if found is None:
            return []
        if not isinstance(found.value, list) or len(found.value) > most:
            raise found.fault(f"expected a list of at most {most}")
        return [Part(item, f"{found.path}[{at}]") for at, item in enumerate(found.value)]

    def object(self, key: str, most: int, longest: int) -> dict[str, Part]:
        """The members of the object ``key``, at most ``most``; none where it is not there."""
        found = self.maybe(key)
        if found is None:
            return {}
        if not isinstance(found.value, dict) or len(found.value) > most:
            raise found.fault(f"expected an object of at most {most} members")
        members = [(Part(name, found.path).text(longest), one) for name, one in found.value.items()]
        return {name: Part(one, f"{found.path}.{quote(name, 40)}") for name, one in members}

    def pair(self) -> tuple[Part, Part]:
        """The two items of a list of two."""
        if not isinstance(self.value, list) or len(self.value) != 2:
            raise self.fault("expected a pair")
        return Part(self.value[0], f"{self.path}[0]"), Part(self.value[1], f"{self.path}[1]")

    # --- scalars ---------------------------------------------------------------------------------

    def count(self, key: str | None = None, default: int = 0) -> int:
        """An integer from 0 to 2**53-1: this one, or the member ``key`` where it is there."""
        if key is not None:
            found = self.maybe(key)
            return default if found is None else found.count()
        if type(self.value) is not int or not 0 <= self.value <= MAX_INTEGER:
            raise self.fault("expected a count")
        return self.value

    def number(self) -> float | int:
        """A finite number; an integer of at most 64 bits."""
        fits = type(self.value) is int and abs(self.value) <= _MAX_NUMBER
        if not fits and not (type(self.value) is float and math.isfinite(self.value)):
            raise self.fault("expected a number")
        found: float | int = self.value
        return found

    def maybe_number(self, key: str) -> float | int | None:
        """The member ``key``, a number, if it is there."""
        found = self.maybe(key)
        return None if found is None else found.number()

    def text(self, longest: int) -> str:
        """A string of at most ``longest`` characters that UTF-8 can carry."""
        if not isinstance(self.value, str) or len(self.value) > longest:
            raise self.fault(f"expected text of at most {longest} characters")
        try:
            self.value.encode()
        except UnicodeEncodeError:
            raise self.fault("expected text without halves of surrogate pairs") from None
        return self.value

    def plain(self, longest: int) -> str | int | bool:
        """A string, an integer or a truth value."""
        if isinstance(self.value, bool):
            return self.value
        if type(self.value) is int:
            return int(self.number())
        return self.text(longest)

    def example(self) -> dict[str, Any]:
        """An object of any JSON values, each of which is checked."""
        if not isinstance(self.value, dict):
            raise self.fault("expected a sample")
        if not _is_plain(self.value):
            self._check()
        return self.value

    def _check(self) -> None:
        """Name the place of what is wrong: slow, for every value gets a path."""
        match self.value:
            case dict():
                for key, item in self.value.items():
                    Part(key, self.path).text(_MAX_KEY)
                    Part(item, f"{self.path}.{quote(key, 40)}")._check()
            case list():
                for at, item in enumerate(self.value):
                    Part(item, f"{self.path}[{at}]")._check()
            case str():
                self.text(_MAX_TEXT)
            case None | bool():
                pass
            case _:
                self.number()


def parse(data: bytes, what: str) -> Part:
    """The JSON in ``data``, each key of an object once, at most `MAX_DEPTH` levels.

    Args:
        what: to call it in errors.

    Raises:
        LexiconError: it is none.
    """
    try:
        value = json.loads(data.decode(), parse_constant=_refuse, object_pairs_hook=_each_once)
        deep = _depth(value)
    except (ValueError, RecursionError):
        raise LexiconError(f"expected {what} as JSON, found {quote(data[:40])}") from None
    if deep > MAX_DEPTH:
        raise LexiconError(f"expected {what} of at most {MAX_DEPTH} levels, found more")
    return Part(value, what)


def _is_plain(value: Any) -> bool:
    """Whether all values inside are what a sample may have."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if kind is dict:
            if not all(len(key) <= _MAX_KEY and _is_text(key) for key in one):
                return False
            waiting += one.values()
        elif kind is list:
            waiting += one
        elif kind is str:
            if len(one) > _MAX_TEXT or not _is_text(one):
                return False
        elif kind is int:
            if abs(one) > _MAX_NUMBER:
                return False
        elif kind is float and not math.isfinite(one):
            return False
    return True


def _is_text(text: str) -> bool:
    """Whether UTF-8 can carry it."""
    return text.isascii() or not _HALVES.search(text)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _depth(value: Any) -> int:
    """Levels of lists and objects, without recursion."""
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        one, level = waiting.pop()
        deepest = max(deepest, level)
        if isinstance(one, dict | list) and level <= MAX_DEPTH:
            inner = one.values() if isinstance(one, dict) else one
            waiting += [(item, level + 1) for item in inner]
    return deepest
