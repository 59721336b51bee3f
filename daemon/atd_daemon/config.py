"""What the daemon was told and the limits it keeps: one frozen value, a unit in every name.

`atd.settings` is the only reader of the environment and of config.toml, for the library and for
the daemon alike. Here its values meet the limits that nobody has to set: how long to wait, how
much to read, how long to believe. A limit has no "off": the largest is still a number.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atd.settings import Settings

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one daemon and its limits.

    ``allow_hosts`` holds exact ``host:port`` pairs, lower case: the loopback or private addresses
    that may be contacted, and the only hosts that may be spoken to over plain http.
    ``dns_server`` is a ``host:port`` that is asked for handles (TXT records) instead of the
    system's resolver; the addresses of hosts always come from the system.
    """

    state_dir: Path
    cache_dir: Path
    config_dir: Path
    run_dir: Path
    plc_url: str = "https://plc.directory"
    dns_server: str | None = None
    allow_hosts: frozenset[str] = frozenset()
    offline: bool = False
    mirrors: tuple[str, ...] = ()
    cache_quota_bytes: int | None = None

    # how long to wait
    fetch_timeout_s: float = 30.0
    connect_timeout_s: float = 10.0
    dns_timeout_s: float = 5.0
    repo_timeout_s: float = 600.0
    upload_grace_s: float = 60.0
    upload_min_bytes_per_s: float = 32.0 * KIB
    stream_idle_timeout_s: float = 30.0
    stream_grace_s: float = 30.0
    stream_min_bytes_per_s: float = 1024.0
    event_ping_s: float = 30.0

    # how much to read
    max_redirects: int = 5
    max_document_bytes: int = 64 * KIB
    max_handle_bytes: int = 4 * KIB
    max_plc_log_bytes: int = 4 * MIB
    max_reply_bytes: int = 2 * MIB
    max_car_bytes: int = 8 * MIB
    max_repo_bytes: int = 512 * MIB
    max_absence_bytes: int = 64 * MIB
    max_spooled_blocks: int = 3_000_000  # of all repositories that are held: about 200 bytes each
    max_shard_bytes: int = 64 * GIB
    max_parts: int = 100_000
    max_part_depth: int = 4
    max_shards: int = 1_000_000
    max_listed_records: int = 10_000

    # how long to believe
    identity_fresh_s: float = 3600.0
    identity_absent_s: float = 60.0
    clock_skew_s: float = 300.0

    @classmethod
    def from_settings(cls, settings: Settings, **limits: Any) -> Config:
        """The configuration that `settings` asks for; ``limits`` overrides fields by name."""
        chosen = cls(
            state_dir=settings.state_dir,
            cache_dir=settings.cache_dir,
            config_dir=settings.config_dir,
            run_dir=settings.run_dir,
            plc_url=settings.plc_url,
            dns_server=settings.dns_server,
            allow_hosts=settings.allow_hosts | _plain(settings.mirrors),
            offline=settings.offline,
            mirrors=settings.mirrors,
            cache_quota_bytes=settings.cache_quota,
        )
        return dataclasses.replace(chosen, **limits)

    @classmethod
    def under(cls, folder: Path, **values: Any) -> Config:
        """A configuration with every folder below ``folder``, as ATD_HOME lays them out."""
        return cls(
            state_dir=folder / "state",
            cache_dir=folder / "cache",
            config_dir=folder,
            run_dir=folder / "run",
            **values,
        )


def _plain(origins: tuple[str, ...]) -> frozenset[str]:
    """The ``host:port`` of those that are spoken to over plain http: whoever sets a mirror such as
    ``http://10.0.0.7:2584`` means to contact it."""
    return frozenset(
        origin.removeprefix("http://") + ("" if origin.rpartition(":")[2].isdigit() else ":80")
        for origin in origins
        if origin.startswith("http://")
    )
