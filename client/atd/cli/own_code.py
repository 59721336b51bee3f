"""The user's own code, named on the command line as MODULE:NAME.

Only here, never in the library: a text that a program was given must not become code.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, Final

from atd.errors import InvalidSyntax

OWN_CODE: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def own(reference: str, form: str, example: str, *, call: bool = False) -> Any:
    """What ``module:name`` leads to, called if so asked: the user's own code."""
    module, colon, name = reference.partition(":")
    if not colon or not module or not name:
        raise InvalidSyntax(
            f"expected {form}, got {reference!a}",
            next_step=f"flowers:{example} is {example} in flowers.py of this folder",
        )
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), name)
        return found() if call and callable(found) else found
    except Exception as error:  # whatever the user's own module does
        raise InvalidSyntax(
            f"cannot load {reference!a}: {type(error).__name__}: {error}",
            next_step=f"give {form} that Python can import from this folder",
        ) from error
