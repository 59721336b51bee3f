"""From the events of the daemon, and of packing, to the line on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from atd.cli.bar import Bar, Moment


class ProgressLine:
    """Takes a streaming endpoint's events; see ``network.atd.store.defs#progress``.

    Args:
        bar: where they are drawn.
        moving: what is done to shards, such as ``fetching``: many shards are one piece of work.
    """

    def __init__(self, bar: Bar, moving: str) -> None:
        self._bar = bar
        self._moving = moving

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event: how far it is, or a step that was done."""
        if "step" in event:
            step = event["step"]
            detail = step.get("detail")
            self._bar.leave(f"{step['name']}: {detail}" if detail else step["name"])
            return
        self._bar.show(self._moment(event.get("progress", event)))

    def clear(self) -> None:
        """Take the line away before something else is printed."""
        self._bar.clear()

    def _moment(self, state: Mapping[str, Any]) -> Moment:
        if state.get("waitS"):
            return Moment(state["name"], message=f"({state['waitS']} s left)")
        shards = state.get("shardsTotal")
        return Moment(
            phase=self._moving if shards else state.get("name", ""),
            done=state.get("done"),
            total=state.get("total", 0),
            unit=state.get("unit", "bytes"),
            message=f"({state.get('shards', 0)} of {shards} shards)" if shards else "",
        )


@contextmanager
def progress_line(moving: str = "moving", *, quiet: bool = False) -> Iterator[ProgressLine]:
    """A progress line for the time of a ``with`` block; nothing at all where ``quiet``."""
    with Bar(quiet=quiet) as bar:
        yield ProgressLine(bar, moving)
