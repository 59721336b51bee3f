"""Numbers for a Prometheus server: what they are called, and the text format. Pure.

Written by hand because it is forty lines. Names follow the conventions: a unit in each, ``_total``
for what only grows. A label's values come from code of ours (states, reasons, routes), never from
somebody's bytes: nobody can make the list grow.

Source: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from atd_daemon.catalog.following import Followed, RejectCount
from atd_daemon.health import Health

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """One metric: its samples by their labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Mapping[Labels, float] = field(default_factory=dict)

    @classmethod
    def one(cls, name: str, kind: Literal["counter", "gauge"], help: str, value: float) -> Family:
        """A metric without labels."""
        return cls(name, kind, help, {(): value})

    @classmethod
    def by(
        cls,
        name: str,
        kind: Literal["counter", "gauge"],
        help: str,
        label: str,
        values: Mapping[str, float],
    ) -> Family:
        """A metric with one label."""
        return cls(name, kind, help, {((label, key),): value for key, value in values.items()})


def expose(families: Iterable[Family]) -> str:
    """The text that a Prometheus server reads."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in sorted(family.samples.items()):
        shown = ",".join(f'{name}="{_quoted(text)}"' for name, text in labels)
        yield f"{family.name}{{{shown}}} {value:.17g}" if shown else f"{family.name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


def of_health(health: Health) -> list[Family]:
    """The three answers, 1 for yes, and how many publishers are behind the last."""
    verdicts = {"live": health.live, "ready": health.ready, "fresh": health.fresh}
    return [
        Family.by(
            "atd_health",
            "gauge",
            "Whether the daemon is live, ready, fresh.",
            "check",
            {name: float(verdict.ok) for name, verdict in verdicts.items()},
        ),
        Family.one(
            "atd_following_stale", "gauge", "Followed publishers not fresh.", len(health.stale)
        ),
    ]


def of_clients(
    served: Mapping[str, float], refused: Mapping[str, float], sent: int
) -> list[Family]:
    """What strangers were given, where the public mode is on."""
    return [
        Family.by("atd_public_requests_total", "counter", "Requests answered.", "status", served),
        Family.by(
            "atd_public_refused_total", "counter", "Requests over a limit.", "limit", refused
        ),
        Family.one("atd_public_sent_bytes_total", "counter", "Bytes sent.", sent),
    ]


def of_following(
    rows: Iterable[Followed], states: Iterable[str], rejects: Iterable[RejectCount], now_s: float
) -> list[Family]:
    """How many publishers are in each state, how far behind they are, and what was refused."""
    known = list(rows)
    counts: Counter[str] = Counter(dict.fromkeys(states, 0))
    counts.update(row.state for row in known)
    ages = [
        now_s - max(moments)
        for row in known
        if (moments := [at for at in (row.verified_at, row.checked_at) if at is not None])
    ]
    refused: Counter[str] = Counter()
    for one in rejects:
        refused[one.reason] += one.count
    return [
        Family.by("atd_following", "gauge", "Followed publishers.", "state", counts),
        Family.one(
            "atd_following_oldest_seconds",
            "gauge",
            "Since the followed publisher that was verified longest ago was verified.",
            max(ages, default=0.0),
        ),
        Family.one(
            "atd_following_delay_seconds",
            "gauge",
            "From a publisher's revision to the index, the slowest of the last live commits.",
            max((row.delay_s for row in known if row.delay_s is not None), default=0.0),
        ),
        Family.by(
            "atd_rejects_total", "counter", "Messages of followed hosts refused.", "reason", refused
        ),
    ]
