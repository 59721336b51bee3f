"""Which version comes next, and which one says enough. Pure: semver without build metadata.

Belongs here: how large a step a release is, the version that a step leads to, and the step that a
version claims. From 1.0.0 on as https://semver.org has it. Below, where semver leaves everything
open (its rule 4), the numbers move one place to the right, as dependants of 0.x read them (Cargo's
and npm's ``^``): the second number says that old readers cannot read, the third says the rest. What
is below 1.0.0 stays there until its publisher says 1.0.0.
"""

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
    """The version after ``version``: the least that says as much as ``step``.

    A pre-release is followed by what it was leading up to.

    >>> following("1.2.3", Step.MINOR)
    '1.3.0'
    >>> following("0.2.3", Step.MAJOR)
    '0.3.0'
    """
    (major, minor, patch), early = _numbers(version)
    if early and step <= _ends((major, minor, patch)):
        return f"{major}.{minor}.{patch}"
    if major == 0:
        return f"0.{minor + 1}.0" if step is Step.MAJOR else f"0.{minor}.{patch + 1}"
    if step is Step.MAJOR:
        return f"{major + 1}.0.0"
    if step is Step.MINOR:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def claimed(latest: str, version: str) -> Step:
    """How large a step from ``latest`` to the newer ``version`` says that it is.

    What follows a pre-release is also the end of what that was leading up to.

    >>> claimed("1.2.3", "1.2.4").name, claimed("0.2.3", "0.2.4").name
    ('PATCH', 'MINOR')
    """
    old, early = _numbers(latest)
    new, _ = _numbers(version)
    begun = _ends(old) if early else Step.PATCH
    if new[0] != old[0]:
        return Step.MAJOR
    if new[1] != old[1]:
        return max(begun, Step.MINOR if new[0] else Step.MAJOR)
    if new[2] != old[2]:
        return max(begun, Step.PATCH if new[0] else Step.MINOR)
    return begun


def _numbers(version: str) -> tuple[tuple[int, int, int], bool]:
    """The three numbers, and whether it is a pre-release."""
    numbers, dash, _ = check_version(version).partition("-")
    major, minor, patch = (int(number) for number in numbers.split("."))
    return (major, minor, patch), bool(dash)


def _ends(numbers: tuple[int, int, int]) -> Step:
    """The largest step that a version with these numbers can be the end of."""
    major, minor, patch = numbers
    if patch:
        return Step.PATCH if major else Step.MINOR
    return Step.MINOR if minor and major else Step.MAJOR
