"""Regular expressions that strangers type: bounded in length, in what they may say, and in time.

One of two modules that import ``regex``, whose matching can be given a time; that of the standard
library cannot, and ``(a+)+$`` would take it for ever.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import regex

from atd.errors import InvalidSyntax
from atd.protocol.syntax import quote

MAX_LENGTH: Final = 200
MAX_REPEAT: Final = 128  # a name is not longer
BUDGET_S: Final = 0.5
"""What all names of one question may take together; an honest pattern takes a microsecond each."""
_GROUPS: Final = re.compile(r"\(\?(?!:|=|!|<=|<!)")  # a group that is more than a group
_COUNTS: Final = re.compile(r"\{([^{}]*)\}")
_COUNT: Final = re.compile(r"(\d{0,4})(?:,(\d{0,4}))?")


@dataclass
class Budget:
    """The time that the patterns of one question have left, all together."""

    left_s: float = BUDGET_S


def compiled(pattern: str, budget: Budget) -> Callable[[str], bool]:
    """A function that tells whether ``pattern`` is somewhere in a name; case does not count.

    Raises:
        InvalidSyntax: it is no regular expression, or too much of one. The function raises the same
            when nothing is left of ``budget``.
    """
    _refuse_excess(pattern)
    try:
        program = regex.compile(pattern, regex.IGNORECASE)
    except (regex.error, ValueError, RecursionError, OverflowError) as error:
        raise InvalidSyntax(
            f"expected a regular expression, got {quote(pattern)} ({quote(str(error))})"
        ) from None

    def matches(name: str) -> bool:
        start = time.perf_counter()
        try:
            return program.search(name, timeout=max(budget.left_s, 1e-3)) is not None
        except TimeoutError:
            raise InvalidSyntax(
                f"the regular expression {quote(pattern)} takes too long",
                next_step="write it without repetitions inside of repetitions",
            ) from None
        finally:
            budget.left_s -= time.perf_counter() - start

    return matches


def _refuse_excess(pattern: str) -> None:
    if len(pattern) > MAX_LENGTH:
        raise InvalidSyntax(
            f"expected a regular expression of at most {MAX_LENGTH} characters, got {len(pattern)}"
        )
    if _GROUPS.search(pattern):
        # Recursion, of all that the package can do, would take memory before it takes time.
        raise InvalidSyntax(
            f"expected a regular expression with plain groups, got {quote(pattern)}",
            next_step="write groups as (…), (?:…), (?=…), (?!…), (?<=…) or (?<!…)",
        )
    for counts in _COUNTS.findall(pattern):
        match = _COUNT.fullmatch(counts)  # anything else in braces is the package's fuzzy matching
        if match is None or any(int(part) > MAX_REPEAT for part in match.groups() if part):
            raise InvalidSyntax(
                f"expected a repetition such as {{2,5}}, at most {MAX_REPEAT}, got"
                f" {quote('{' + counts + '}')}"
            )
