"""What a release changes, in words: before it is published, and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from atd.cli.output import clean, human_bytes, plural, say

_UNDECIDED = "the next, or the same: that is known once it is packed"


def print_changes(changes: Any, to: Callable[[str], None] = say) -> None:
    """Print `atd.comparing.Changes`, line by line, with ``to``."""
    step = "" if changes.step is None else f" ({changes.step.name.lower()})"
    to(f"changes   {clean(changes.before)} -> {clean(changes.after or _UNDECIDED)}{step}")
    for split in changes.splits:
        to(f"  {clean(split.name)}: {', '.join(_split(split))}")
    for one in changes.schema:
        to(f"  schema: {clean(one.line)}")
    for line in changes.consequences:
        to(f"  ! {clean(line)}")


def print_way_back(release: Any, to: Callable[[str], None] = say) -> None:
    """Say how the version before can still be had, and how to return to it."""
    if release.changes is not None:
        before = clean(f"{release.ref}@{release.changes.before}")
        to(f'  the version before stays: atd.load("{before}")')
        to("  to return to it, publish its data again: shards that are there are not sent again")


def _split(one: Any) -> Iterator[str]:
    if one.after == 0:
        yield f"gone ({plural(one.before, 'sample')})"
        return
    if not one.before:
        yield "new"
    if one.after is None:
        yield f"{one.before:,} -> ? samples"
    elif one.before:
        yield f"{one.before:,} -> {plural(one.after, 'sample')}"
    else:
        yield plural(one.after, "sample")
    keys = one.keys
    if keys is not None and one.before:
        yield f"{keys.added:,} added, {keys.removed:,} removed, {keys.changed:,} changed"
    for name in ("kept", "new", "gone"):
        amount = getattr(one, name)
        if amount is not None and amount.shards:
            yield f"{plural(amount.shards, 'shard')} {name} ({human_bytes(amount.size)})"
