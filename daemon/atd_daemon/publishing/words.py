"""Counts in words, as the steps of a publication say them."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 shard``, ``2 shards``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
