r"""What somebody typed, taken apart: words, search terms, patterns. Pure.

::

    handwritten digits       both words
    "optical recognition"    a phrase
    -synthetic               not this
    recogn*                  what begins so; so does the last word while it is being typed
    tag:vision  -tag:toy     task: license: publisher: field: kind: modality: type:
    tag:"computer vision"
    /^com\.lecun\./  name~mnist$     a regular expression somewhere in the name

Nothing that is typed here is FTS5 syntax. A piece that is no search term is words; but a regular
expression that is none is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

MAX_TEXT: Final = 1000
MAX_PIECES: Final = 24
INDEXED_PREFIXES: Final = (3, 4)
"""As the table ``search`` says."""
_SHORTEST_PREFIX: Final = 3  # shorter ones are not indexed, and match half of everything

FIELDS: Final = {
    "tag": "tag",
    "task": "task",
    "type": "type",
    "license": "license",
    "licence": "license",
    "publisher": "publisher",
    "field": "field",
    "kind": "kind",
    "modality": "modality",
}
"""What may stand before a colon, and what it means."""
_PIECE: Final = re.compile(
    rf"""
    (?P<minus>-?)
    (?:
        /(?P<pattern>(?:[^/\\\s]|\\.)+)/(?=\s|$)
      | name~(?:"(?P<quoted>[^"]*)"?|(?P<bare>[^\s"]+))
      | (?:(?P<term>{"|".join(FIELDS)}):)?(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Words:
    """Words that must stand one after the other; ``prefix``: the last may be a beginning.

    ``typing`` says that it may be one because nothing follows it, not because of an asterisk.
    """

    text: str
    prefix: bool = False
    typing: bool = False

    @property
    def indexed(self) -> bool:
        """Whether the beginning that it ends with is in the index as such."""
        return len(_last_word(self.text)) in INDEXED_PREFIXES

    def expression(self, *, prefix: bool | None = None) -> str:
        """As a string of FTS5, whose tokeniser takes it apart as it took the records apart."""
        begins = self.prefix if prefix is None else prefix
        return '"' + self.text.replace('"', '""') + '"' + ("*" if begins else "")


@dataclass(frozen=True, slots=True)
class Term:
    """A search term: ``name`` is a value of `FIELDS`."""

    name: str
    value: str
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Typed:
    """Everything that was typed. ``empty``: nothing was, or only an asterisk."""

    wanted: tuple[Words, ...] = ()
    unwanted: tuple[Words, ...] = ()
    terms: tuple[Term, ...] = ()
    patterns: tuple[tuple[str, bool], ...] = ()
    empty: bool = field(default=True)


def parse(text: str) -> Typed:
    """What ``text`` asks for; what is too much of it is not looked at."""
    clean = "".join(c if c.isprintable() or c.isspace() else " " for c in text[:MAX_TEXT])
    wanted: list[Words] = []
    unwanted: list[Words] = []
    terms: list[Term] = []
    patterns: list[tuple[str, bool]] = []
    found = list(_PIECE.finditer(clean))[:MAX_PIECES]
    for piece in found:
        keep = not piece["minus"]
        pattern = piece["pattern"] or piece["quoted"] or piece["bare"]
        if pattern:
            patterns.append((pattern, keep))
            continue
        body = piece["word"] if piece["phrase"] is None else piece["phrase"]
        if piece["term"] and body and body.strip():
            terms.append(Term(FIELDS[piece["term"].lower()], body.strip(), keep))
            continue
        last = piece is found[-1] and piece.end() == len(clean)
        words = _words(body or "", phrase=piece["word"] is None, last=last and keep)
        if words is not None:
            (wanted if keep else unwanted).append(words)
    empty = text.strip() in ("", "*")
    return Typed(tuple(wanted), tuple(unwanted), tuple(terms), tuple(patterns), empty)


def _words(body: str, *, phrase: bool, last: bool) -> Words | None:
    """The words in ``body``; None: it has no letter and no digit, which would match nothing."""
    if not any(c.isalnum() for c in body):
        return None
    text = body.rstrip("*")
    starred = not phrase and text != body
    typing = last and not phrase and not starred
    if not (starred or typing) or not _long_enough(text):
        return Words(text)
    return Words(text, prefix=True, typing=typing)


def _long_enough(text: str) -> bool:
    """Whether what stands last in ``text`` may be taken for a beginning."""
    word = _last_word(text)
    return len(word) >= _SHORTEST_PREFIX or (bool(word) and not word.isascii())


def _last_word(text: str) -> str:
    """The letters and digits at the end of ``text``."""
    end = len(text)
    while end and text[end - 1].isalnum():
        end -= 1
    return text[end:]
