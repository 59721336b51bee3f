"""Which version comes next. Pure: semver (https://semver.org) without build metadata."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from atd.names import check_version

FIRST: Final = "1.0.0"


class Step(IntEnum):
    """How much a release changes; ordered, so the larger of two is their maximum."""

    PATCH = 1
    """The same samples, to be had elsewhere or described otherwise."""
    MINOR = 2
    """Other samples, or a schema that old readers still read."""
    MAJOR = 3
    """A schema that old readers do not read."""


def following(version: str, step: Step) -> str:
    """The version after ``version``; a pre-release is followed by what it was leading up to.

    >>> following("1.2.3", Step.MINOR)
    '1.3.0'
    """
    numbers, dash, _ = check_version(version).partition("-")
    major, minor, patch = (int(number) for number in numbers.split("."))
    if dash and step <= _size(minor, patch):
        return numbers
    if step is Step.MAJOR:
        return f"{major + 1}.0.0"
    if step is Step.MINOR:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def _size(minor: int, patch: int) -> Step:
    """The largest step that a version with these numbers can be the end of."""
    if patch:
        return Step.PATCH
    return Step.MINOR if minor else Step.MAJOR
