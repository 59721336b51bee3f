"""Counting what a reader sees as characters: the only importer of ``regex``.

The standard library knows no grapheme clusters (UAX #29), and what can be guessed from
``unicodedata`` is wrong for flags, families of emoji and Indic conjuncts. The import costs 30 ms
and is hardly ever needed, so `atd.protocol.lexicon` loads this module on the first text whose code
points alone do not decide.
"""

from __future__ import annotations

import regex

_CLUSTER = regex.compile(r"\X")


def count(text: str) -> int:
    """The number of extended grapheme clusters in ``text``."""
    return sum(1 for _ in _CLUSTER.finditer(text))


def cut(text: str, limit: int) -> str:
    """The first ``limit`` extended grapheme clusters of ``text``, all of it if it has no more."""
    if len(text) <= limit:
        return text
    for number, cluster in enumerate(_CLUSTER.finditer(text)):
        if number == limit:
            return text[: cluster.start()]
    return text
