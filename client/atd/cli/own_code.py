"""The user's own code, named on the command line as MODULE:NAME.

Only here, never in the library: a text that a program was given must not become code. And only here
its errors become words: in a program an exception goes to the code that it came from.
"""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from atd.errors import AtdError, BadSource, InvalidSyntax
from atd.protocol.syntax import quote

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
        given = found() if call and callable(found) else found
        return _told(given) if isinstance(given, Iterator) else given
    except Exception as error:  # whatever the user's own module does
        raise InvalidSyntax(
            f"cannot load {reference!a}: {type(error).__name__}: {error}",
            next_step=f"give {form} that Python can import from this folder",
        ) from error


def _told(items: Iterator[Any]) -> Iterator[Any]:
    """``items``; what the user's code raises comes as `BadSource`, with the sample and the line."""
    number = 0
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except AtdError:
            raise
        except Exception as error:  # whatever the user's own code does
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise BadSource(
                f"sample {number} could not be made: {type(error).__name__}: "
                f"{quote(str(error), 160)} ({Path(last.filename).name}, line {last.lineno})",
                next_step="correct the function, then run the same command again",
            ) from error
        yield item
        number += 1
