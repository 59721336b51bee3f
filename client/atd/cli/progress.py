"""From the daemon's progress events to the line on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from atd.cli import output


class ProgressLine:
    """Takes a streaming endpoint's events; see ``network.atd.store.defs#progress``."""

    def __init__(self, bar: output.Progress) -> None:
        self._bar = bar

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event: how far it is, or a step that was done."""
        if "step" in event:
            self._bar.done(event["step"]["name"], event["step"].get("detail"))
            return
        progress = event.get("progress", event)
        wait = progress.get("waitS")
        self._bar.show(
            {
                "phase": progress.get("name", ""),
                "done": progress.get("done"),
                "total": progress.get("total"),
                "unit": progress.get("unit", "bytes"),
                "message": f"told to wait {wait} s" if wait else _shards(progress),
            }
        )

    def packing(self, what: str, done: int, total: int | None) -> None:
        """Show how far opening and packing a source are, counted in samples."""
        self({"progress": {"name": what, "done": done, "total": total, "unit": "samples"}})

    def clear(self) -> None:
        """Take the line away before something else is printed."""
        self._bar.clear()


@contextmanager
def progress_line(*, quiet: bool = False) -> Iterator[ProgressLine]:
    """A progress line for the time of a ``with`` block; nothing at all where ``quiet``."""
    with output.Progress(quiet=quiet) as bar:
        yield ProgressLine(bar)


def _shards(progress: Mapping[str, Any]) -> str:
    if not progress.get("shardsTotal"):
        return ""
    return f"shard {progress.get('shards', 0)} of {progress['shardsTotal']}"
