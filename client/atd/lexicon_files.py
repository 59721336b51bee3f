"""The lexicons that ship with the package, read once.

Belongs here: reading ``atd/lexicons/**/*.json``. The validation itself is pure and lives in
`atd.protocol.lexicon`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from atd.protocol.lexicon import Lexicons


@cache
def catalog() -> Lexicons:
    """Every lexicon of the package, checked."""
    return Lexicons(documents())


def documents() -> Iterator[dict[str, Any]]:
    """The documents of the package, parsed, in the order of their paths."""
    for file in files(resources.files("atd") / "lexicons"):
        yield json.loads(file.read_text(encoding="utf-8"))


def files(folder: Traversable) -> Iterator[Traversable]:
    """The JSON files below ``folder``, in the order of their paths."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from files(entry)
        elif entry.name.endswith(".json"):
            yield entry
