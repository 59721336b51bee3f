"""YAML of strangers as plain text, lists and mappings: the only importer of ``yaml``.

Belongs here: reading a bounded document event by event (YAML 1.1, as PyYAML parses it). Nothing is
constructed by it: tags are ignored, so every scalar is the text that was written (``no`` is no
boolean, ``2021-01-01`` no date). Refused: aliases, so that nine lines cannot mean a billion items;
keys that are no text or come twice; deep nesting; and whatever is too long.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from atd.errors import BadSource

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 24
MAX_ITEMS: Final = 20_000

_NOTHING: Final = frozenset(("", "~", "null", "Null", "NULL"))
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Value = str | None | list[Any] | dict[str, Any]


def load(text: str, name: str) -> Value:
    """The one document in ``text``.

    Args:
        name: of the file, for messages.

    Raises:
        BadSource: it is not YAML, or not within the rules of this module.
    """
    if len(text.encode()) > MAX_BYTES:
        raise BadSource(f"{name}: expected at most {MAX_BYTES} bytes of YAML, found more")
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        said = str(getattr(error, "problem", None) or "it does not parse")[:200]
        raise BadSource(f"{name}{where}: not YAML: {said}") from None
    return builder.value


class _Builder:
    """Puts events together, without recursion."""

    def __init__(self, name: str) -> None:
        self.value: Value = None
        self._name = name
        self._open: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str | None] = []
        self._items = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """The next event."""
        if isinstance(event, yaml.AliasEvent):
            raise self._bad(event, "aliases are not followed here")
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._bad(event, "expected one document, found another")
        elif isinstance(event, yaml.ScalarEvent):
            nothing = event.implicit[0] and event.value in _NOTHING
            self._put(event, None if nothing else event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._enter(event, [])
        elif isinstance(event, yaml.MappingStartEvent):
            self._enter(event, {})
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._open.pop()
            self._keys.pop()

    def _enter(self, event: yaml.Event, value: list[Any] | dict[str, Any]) -> None:
        self._put(event, value)
        self._open.append(value)
        self._keys.append(None)
        if len(self._open) > MAX_DEPTH:
            raise self._bad(event, f"expected at most {MAX_DEPTH} levels")

    def _put(self, event: yaml.Event, value: Value) -> None:
        self._items += 1
        if self._items > MAX_ITEMS:
            raise self._bad(event, f"expected at most {MAX_ITEMS} items")
        if not self._open:
            self.value = value
        elif isinstance(holder := self._open[-1], list):
            holder.append(value)
        elif (key := self._keys[-1]) is None:
            self._key(event, holder, value)
        else:
            holder[key] = value
            self._keys[-1] = None

    def _key(self, event: yaml.Event, holder: dict[str, Any], key: Value) -> None:
        if key is not None and not isinstance(key, str):
            raise self._bad(event, "expected text as a key")
        spelt = "null" if key is None else key
        if spelt in holder:
            raise self._bad(event, f"the key {spelt[:50]!a} comes twice")
        self._keys[-1] = spelt

    def _bad(self, event: yaml.Event, why: str) -> BadSource:
        return BadSource(f"{self._name}, line {event.start_mark.line + 1}: {why}")
