"""The plan of a publication, in words: what ``--dry-run`` prints, and what is asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atd.cli.cardwords import print_card
from atd.cli.changes import print_changes
from atd.cli.output import clean, clean_lines, human_bytes, plural, say

_UNKNOWN = "not known before it is read"


def print_plan(plan: Any, to: Callable[[str], None] = say) -> None:
    """Print an `atd.publishing.planning.Plan`, line by line, with ``to``."""
    to(f"{clean(plan.source)}: {clean(plan.origin)}")
    to("")
    to(clean_lines(plan.python).rstrip())
    to("")
    for split, count in plan.splits.items():
        amount = _UNKNOWN if count is None else plural(count, "sample")
        to(f"split     {clean(split)}: {amount}")
    if plan.shards is not None:
        to(f"shards    about {plan.shards:,}, {human_bytes(plan.size or 0)}")
    to(f"store     {clean(plan.store)}")
    print_card(plan.card.to_json(), to)
    if plan.license is None:
        to("licence   none given (add --license SPDX)")
    if plan.account:
        who = plan.account.get("handle") or plan.account.get("did")
        to(f"account   {clean(who)} at {clean(plan.account.get('pds', '?'))}")
    if plan.previous:
        change = f" (schema change: {clean(plan.step)})" if plan.step else ""
        to(f"previous  {clean(plan.previous['version'])}{change}")
        if plan.changes is not None:
            print_changes(plan.changes, to)
    elif plan.first:
        to("previous  none: this is the first publication of the name")
    for item in plan.travels:
        to(f"travels   {clean(item)}")
    for warning in plan.warnings:
        to(f"note      {clean(warning)}")
