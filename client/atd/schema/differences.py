"""How a record differs from the one before it, in words: for histories and logs.

What belongs here: two cards, two releases or two schemas in, a list of `Difference` out. Pure, and
no verdicts but that of `atd.schema.evolve`: whether code for the old samples reads the new ones.
Texts are cut to `MAX_WORDS` characters; they come from publishers and are hostile to terminals
still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from atd.records import Creator, Dataset, Release
from atd.schema.fields import Field, Label, Schema
from atd.schema.words import describe

MAX_WORDS: Final = 200
MAX_DIFFERENCES: Final = 200

MAX_SAID: Final = 8
"""Differences in one sentence, at most."""

Sign = Literal["+", "-", "~"]
_CARD: Final = (
    ("title", "title"),
    ("description", "description"),
    ("licence", "license"),
    ("citation", "citation"),
    ("homepage", "homepage"),
    ("agreement", "agreement"),
    ("deprecated", "deprecated"),
)


@dataclass(frozen=True)
class Difference:
    """Something came (``+``), went (``-``) or is another (``~``).

    ``what`` names it (``licence``, ``tag vision``, ``field image``); ``before`` and ``after`` are
    what it was and is, None where there is nothing to say.
    """

    sign: Sign
    what: str
    before: str | None = None
    after: str | None = None

    @property
    def line(self) -> str:
        """In one line: ``~ licence: MIT -> CC0-1.0``, ``+ tag: vision``, ``- field mask``."""
        words = " -> ".join(one for one in (self.before, self.after) if one is not None)
        return f"{self.sign} {self.what}" + (f": {words}" if words else "")

    def to_json(self) -> dict[str, str]:
        """``network.atd.catalog.defs#difference``: what is None is left out."""
        said = {"sign": self.sign, "what": self.what, "before": self.before, "after": self.after}
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From `to_json`."""
        return cls(value["sign"], value["what"], value.get("before"), value.get("after"))


def card_differences(old: Dataset, new: Dataset) -> list[Difference]:
    """What changed on the card of a data set, its latest version first."""
    found: list[Difference] = []
    if old.latest != new.latest:
        same = old.version == new.version
        before, after = (old.latest.cid, new.latest.cid) if same else (old.version, new.version)
        found.append(Difference("~", "latest", str(before), str(after)))
    for what, name in _CARD:
        found += _value(what, getattr(old, name), getattr(new, name))
    found += _listed("tag", old.tags, new.tags)
    found += _listed("task", old.tasks, new.tasks)
    found += _aliases(old, new)
    found += _listed("creator", [*map(_who, old.creators)], [*map(_who, new.creators)])
    return found[:MAX_DIFFERENCES]


def _who(creator: Creator) -> str:
    where = creator.did or creator.url
    return creator.name if where is None else f"{creator.name} <{where}>"


def _listed(what: str, old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    """What came and went; where that is nothing, whether the order is another."""
    found = _items(what, old, new)
    if found or list(old) == list(new):
        return found
    return [Difference("~", f"order of {what}s")]


def _aliases(old: Dataset, new: Dataset) -> list[Difference]:
    """Names for releases: which came, went, or were moved."""
    before = {one.name: one for one in old.aliases}
    after = {one.name: one for one in new.aliases}
    found: list[Difference] = []
    for name in dict.fromkeys((*before, *after)):
        was, now = before.get(name), after.get(name)
        same = was is not None and now is not None and was.version == now.version
        said = [
            None if one is None else str(one.release.cid) if same else one.version
            for one in (was, now)
        ]
        found += _value(f"alias {name}", said[0], said[1])
    return found


def release_differences(old: Release, new: Release) -> list[Difference]:
    """What changed from one release to the next, but for the schema's fields."""
    found = _value("version", old.version, new.version)
    theirs = {split.name: split for split in new.splits}
    for split in old.splits:
        other = theirs.pop(split.name, None)
        if other is None:
            found.append(Difference("-", f"split {split.name}"))
            continue
        for what in ("samples", "shards", "size"):
            found += _value(f"{what} of {split.name}", getattr(split, what), getattr(other, what))
    found += [Difference("+", f"split {name}") for name in theirs]
    found += _value("layout", old.layout.kind, new.layout.kind)
    found += _value("schema", str(old.schema.uri.rkey), str(new.schema.uri.rkey))
    return found[:MAX_DIFFERENCES]


def schema_differences(old: Schema, new: Schema) -> list[Difference]:
    """What changed between two schemas, field by field; those of structs by their path."""
    return list(_fields(old.fields, new.fields, ""))[:MAX_DIFFERENCES]


def in_words(found: Sequence[Difference]) -> str:
    """Differences in one line; of many, the first ones and how many more there are."""
    said = "; ".join(one.line for one in found[:MAX_SAID])
    return said if len(found) <= MAX_SAID else f"{said}; and {len(found) - MAX_SAID} more"


def _fields(old: Sequence[Field], new: Sequence[Field], path: str) -> Iterator[Difference]:
    theirs = {field.name: field for field in new}
    for field in old:
        other = theirs.pop(field.name, None)
        what = f"field {path}{field.name}"
        if other is None:
            yield Difference("-", what, _described(field))
            continue
        inner = [getattr(one.kind, "fields", None) for one in (field, other)]
        if inner[0] is not None and inner[1] is not None:
            yield from _fields(inner[0], inner[1], f"{path}{field.name}.")
        elif isinstance(field.kind, Label) and isinstance(other.kind, Label):
            yield from _classes(what, field.kind.names, other.kind.names)
        elif field.kind != other.kind:
            yield Difference("~", what, *_apart(_kind(field, other), _kind(other, field)))
        for flag in ("optional", "nullable"):
            if getattr(field, flag) != getattr(other, flag):
                yield Difference("+" if getattr(other, flag) else "-", f"{what} {flag}")
        for name in ("description", "unit"):
            yield from _value(f"{what} {name}", getattr(field, name), getattr(other, name))
    for field in theirs.values():
        yield Difference("+", f"field {path}{field.name}", None, _described(field))


def _classes(what: str, old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    """Classes by name; where they are the same in another order, that."""
    found = _items(f"{what} class", old, new)
    if found or tuple(old) == tuple(new):
        return found
    return [Difference("~", f"{what} order of classes")]


def _apart(old: str, new: str) -> tuple[str, str]:
    """Two texts that differ, from shortly before they do."""
    pairs = enumerate(zip(old, new, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
    start = max(same - MAX_WORDS // 4, 0)
    lead = "…" if start else ""
    return _cut(lead + old[start:]), _cut(lead + new[start:])


def _kind(field: Field, other: Field) -> str:
    """The kind in words; as the record has it where the words are those of the other one."""
    words = describe(field.kind)
    return words if words != describe(other.kind) else str(field.kind.to_value())


def _described(field: Field) -> str:
    return _cut(describe(field.kind) + (", optional" if field.optional else ""))


def _value(what: str, old: object, new: object) -> list[Difference]:
    if old == new:
        return []
    if old is None:
        return [Difference("+", what, None, _cut(str(new)))]
    if new is None:
        return [Difference("-", what, _cut(str(old)))]
    return [Difference("~", what, *_apart(str(old), str(new)))]


def _items(what: str, old: Sequence[str], new: Sequence[str]) -> list[Difference]:
    gone = [Difference("-", what, _cut(one)) for one in dict.fromkeys(old) if one not in new]
    come = [Difference("+", what, None, _cut(one)) for one in dict.fromkeys(new) if one not in old]
    return come + gone


def _cut(text: str) -> str:
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"
