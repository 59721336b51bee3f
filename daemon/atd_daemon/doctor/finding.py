"""One line of what the doctor finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """How well something is; the largest is the worst."""

    OK = 0
    SKIP = 1
    WARN = 2
    FAIL = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """``check`` names what was looked at; ``next_step`` is empty where there is nothing to do."""

    check: str
    state: State
    message: str
    next_step: str = ""


def ok(check: str, message: str) -> Finding:
    """It is well."""
    return Finding(check, State.OK, message)


def skipped(check: str, message: str) -> Finding:
    """It was not looked at, and why."""
    return Finding(check, State.SKIP, message)


def warn(check: str, message: str, next_step: str) -> Finding:
    """It works, but not as it should, or not for long."""
    return Finding(check, State.WARN, message, next_step)


def fail(check: str, message: str, next_step: str) -> Finding:
    """It does not work."""
    return Finding(check, State.FAIL, message, next_step)


def worst(findings: Iterable[Finding]) -> State:
    """The worst state among them; what was skipped is no worse than well."""
    states = (one.state for one in findings)
    return max((state for state in states if state != State.SKIP), default=State.OK)
