"""What is said of shards that went, and of those that stayed: by ``rm``, ``cache rm``, ``pull``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atd import errors
from atd.cli import output


def say_freed(done: Mapping[str, Any], verb: str) -> None:
    """Say how many shards went, and how large they were together."""
    freed = output.human_bytes(done["freed"])
    output.say(f"{verb} {output.plural(done['removed'], 'shard')}, {freed} freed")


def refuse_stayed(done: Mapping[str, Any], next_step: str) -> None:
    """End with an error if shards stayed that were to go.

    Raises:
        Busy: some are pinned or in use.
    """
    if done["pinned"] or done["inUse"]:
        raise errors.Busy(
            f"{output.plural(done['pinned'] + done['inUse'], 'shard')} stayed:"
            f" {done['pinned']:,} pinned, {done['inUse']:,} in use",
            next_step=next_step,
        )


def refuse_gone(*pulled: Mapping[str, Any]) -> None:
    """End with an error if shards that were pulled are not here any more.

    Raises:
        Busy: the quota, or another command, took some meanwhile.
    """
    gone = sum(one["shards"] - one["stored"] for one in pulled)
    if gone:
        raise errors.Busy(
            f"{output.plural(gone, 'shard')} went meanwhile: the quota, or another command, took"
            f" {'it' if gone == 1 else 'them'}",
            next_step="run the same command again; see the quota with: atd cache ls",
        )
