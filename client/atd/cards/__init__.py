"""The card of a data set out of the files that people write anyway, and as a file to edit.

Belongs here: pure functions from the bytes of README.md, CITATION.cff and LICENSE to what they say
about a data set, each word with the file that said it; checking SPDX expressions; and the card as a
small document for an editor. Only `atd.cards.files` looks at the disk.

Rules. All of it is hostile: bounded before it is parsed, text and never a type or a tag, without
control characters, within the limits of the lexicon. What is not certain is not said, but noted.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from atd.cards.document import MAX_BYTES as MAX_DOCUMENT
    from atd.cards.document import changes, parse, render, with_problem
    from atd.cards.files import proposed
    from atd.cards.said import FIELDS
    from atd.cards.spdx import check_license

__all__ = [
    "FIELDS",
    "MAX_DOCUMENT",
    "changes",
    "check_license",
    "parse",
    "proposed",
    "render",
    "with_problem",
]

_WHERE: Final = {
    "FIELDS": ("said", "FIELDS"),
    "MAX_DOCUMENT": ("document", "MAX_BYTES"),
    "changes": ("document", "changes"),
    "check_license": ("spdx", "check_license"),
    "parse": ("document", "parse"),
    "proposed": ("files", "proposed"),
    "render": ("document", "render"),
    "with_problem": ("document", "with_problem"),
}


def __getattr__(name: str) -> Any:
    """The names that the command line needs, each from its module (PEP 562): few calls do."""
    if name in _WHERE:
        module, own_name = _WHERE[name]
        return getattr(importlib.import_module(f"{__name__}.{module}"), own_name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
