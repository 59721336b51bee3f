"""How much, how long, how often: every limit of the host, as one frozen value.

A limit has its unit in its name and no "off". Those that the protocol fixes name their source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_RECORD_BYTES: Final = 1_000_000
"""A record's block (atproto.com/specs/repository)."""
MAX_COMMIT_BYTES: Final = 2_000_000
"""The blocks of one #commit event (atproto.com/specs/sync); a larger commit is refused."""
MAX_WRITES: Final = 200
"""Operations in one commit (atproto.com/specs/sync)."""


@dataclass(frozen=True, kw_only=True)
class HostLimits:
    """Limits of one host; the defaults suit a laboratory's own server."""

    max_json_bytes: int = 2_000_000
    max_blob_bytes: int = 50 * 1024 * 1024
    max_car_streams: int = 16
    max_subscribers: int = 100
    max_get_blocks: int = 200

    access_token_s: float = 2 * 3600.0
    refresh_token_s: float = 90 * 86400.0
    refresh_grace_s: float = 2 * 3600.0
    max_sessions: int = 1000
    failed_logins: int = 30
    failed_logins_window_s: float = 300.0

    unused_blob_s: float = 24 * 3600.0
    tidy_every_s: float = 3600.0
    event_retention_s: float = 3 * 86400.0
    max_events: int = 100_000
    page_bytes: int = 1024 * 1024
    max_lag_events: int = 2000
    send_timeout_s: float = 30.0
    receive_timeout_s: float = 60.0
