"""What a data set can be filtered by, as words of the search index that nobody can type.

What belongs here: how a fact (a licence, a tag, a field, how many samples …) becomes a *mark*, one
opaque word in the column ``keys``, both when a data set is listed and when somebody asks. A filter
is then part of the same index lookup as the words, and a rare filter on a common word does not have
to look at every match.

Rules. Marks begin with a letter that is in no alphabet people type, and `search` looks for typed
words in the other columns only. What publishers wrote is hashed (64 bits: nobody finds another text
with the mark of ``CC0-1.0``), so that any text becomes one word. Case and surrounding blanks do not
count. Numbers fall into classes (digits; years), which narrow a search down; the exact comparison
is made on what is left. Pure functions; whoever changes them raises `listing.DERIVED`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from atd.schema.fields import (
    Array,
    Audio,
    Field,
    Float,
    Image,
    Int,
    Kind,
    List,
    Schema,
    String,
    Struct,
    Text,
    Video,
)

_SIGN: Final = "ʘ"  # a letter to the tokeniser, and on no keyboard
EVERY: Final = f"{_SIGN}kk"
"""A mark of every data set: something to subtract from."""
NOTHING: Final = f"{_SIGN}kk0"
"""A mark of none."""
MODALITIES: Final = ("image", "audio", "video", "text", "array", "tabular")

_DIGITS: Final = 16  # of the hash, in hex
_FIRST_YEAR: Final = 2015  # what is older counts as of this year …
_LAST_YEAR: Final = 2040  # … and what is later, or claims to be, as of this one
_MAX_DIGITS: Final = 16  # of a 53-bit number
_MAX_FIELDS: Final = 200  # of one schema that are indexed; nothing is lost but being found by them
_NAME_WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """What a schema adds to the data sets that use it.

    ``words`` are the names and kinds of its fields, to be found by typing; ``marks`` are for
    filters; ``modalities`` are of `MODALITIES`, in their order.
    """

    words: str
    marks: tuple[str, ...]
    modalities: tuple[str, ...]


@lru_cache(maxsize=4096)
def mark(kind: str, value: str) -> str:
    """The mark of a fact: ``kind`` is ``license``, ``tag``, ``task``, ``publisher`` (a DID) …"""
    text = value if kind == "publisher" else value.strip().casefold()
    digest = hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_SIGN}kk{digest[:_DIGITS]}"


def card_marks(
    *,
    name: str,
    did: str,
    license: str | None,
    tags: Iterable[str],
    tasks: Iterable[str],
    updated: str,
    samples: int | None,
    size: int | None,
) -> list[str]:
    """The marks of a data set, but for those of its schema; None: it is not known (yet)."""
    marks = [EVERY, mark("publisher", did), *name_marks(name), _year(updated)]
    marks += [mark("tag", tag) for tag in tags]
    marks += [mark("task", task) for task in tasks]
    if license is not None:
        marks.append(mark("license", license))
    if samples is not None:
        marks.append(_digits("s", samples))
    if size is not None:
        marks.append(_digits("z", size))
    return list(dict.fromkeys(marks))


def name_marks(name: str) -> list[str]:
    """One mark for each word in a name, so that a word in names is found without reading texts."""
    return [f"{_SIGN}n{word}" for word in _NAME_WORD.findall(name)]


def typed_name_marks(text: str) -> list[str] | None:
    """The marks that a name with the words in ``text`` has; None: no name can have them."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    if any(c.isalnum() and not c.isascii() for c in plain):
        return None
    return name_marks(plain) or None


def number_marks(what: str, least: int | None, most: int | None) -> list[str]:
    """The marks, one of which a data set has whose number is from ``least`` to ``most``.

    Args:
        what: ``samples`` or ``size``.
    """
    letter = {"samples": "s", "size": "z"}[what]
    first = len(str(max(least or 0, 0)))
    last = _MAX_DIGITS if most is None else len(str(max(most, 0)))
    return [f"{_SIGN}kk{letter}{count}" for count in range(first, min(last, _MAX_DIGITS) + 1)]


def year_marks(since: str) -> list[str]:
    """The marks, one of which a data set has that was changed at ``since`` or later."""
    return [f"{_SIGN}kky{year}" for year in range(_clamped(since), _LAST_YEAR + 1)]


def schema_facts(schema: Schema) -> SchemaFacts:
    """What ``schema`` adds to the data sets that use it."""
    fields = [field for _, field in zip(range(_MAX_FIELDS), _fields(schema.fields), strict=False)]
    kinds = {name for field in fields for name in kind_names(field.kind)}
    words = [f"{field.name} {' '.join(sorted(kind_names(field.kind)))}" for field in fields]
    names = dict.fromkeys(field.name for field in fields)
    found = _modalities(schema)
    marks = [
        *(mark("field", name) for name in names),
        *(mark("kind", kind) for kind in sorted(kinds)),
        *(mark("modality", modality) for modality in found),
    ]
    return SchemaFacts(" ".join(words), tuple(marks), found)


def kind_names(kind: Kind) -> set[str]:
    """Under which names a kind is found: its own, its dtype's, and those of what it holds."""
    names = {kind.tag}
    if isinstance(kind, Int | Float | Array):
        names.add(kind.dtype)
    if isinstance(kind, List):
        names |= kind_names(kind.item)
    return names


def _fields(fields: Iterable[Field]) -> Iterator[Field]:
    """Every field, those inside of structs and lists of structs as well."""
    for field in fields:
        yield field
        kind = field.kind
        while isinstance(kind, List):
            kind = kind.item
        if isinstance(kind, Struct):
            yield from _fields(kind.fields)


def _modalities(schema: Schema) -> tuple[str, ...]:
    """What a sample is made of.

    Strings are text where nothing else is (a class beside them is); several values side by side,
    and nothing but values, are a table.
    """
    kinds = []
    for _, field in zip(range(_MAX_FIELDS), _fields(schema.fields), strict=False):
        kind = field.kind
        while isinstance(kind, List):
            kind = kind.item
        kinds.append(kind)
    classes = {"image": Image, "audio": Audio, "video": Video, "array": Array}
    found = {name for name, cls in classes.items() if any(isinstance(k, cls) for k in kinds)}
    strings_alone = not found and not any(isinstance(k, Int | Float) for k in kinds)
    if any(isinstance(k, Text) or (strings_alone and isinstance(k, String)) for k in kinds):
        found.add("text")
    nested = any(isinstance(field.kind, List | Struct) for field in schema)
    if not nested and not found - {"text"} and len(schema) > 1:
        found.add("tabular")
    return tuple(name for name in MODALITIES if name in found)


def _digits(letter: str, number: int) -> str:
    return f"{_SIGN}kk{letter}{min(len(str(number)), _MAX_DIGITS)}"


def _year(moment: str) -> str:
    return f"{_SIGN}kky{_clamped(moment)}"


def _clamped(moment: str) -> int:
    return max(_FIRST_YEAR, min(int(moment[:4]), _LAST_YEAR))
