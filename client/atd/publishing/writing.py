"""``atd.writer``: samples handed over one after the other, published when the block ends.

Belongs here: turning `atd.publish`, which reads samples, into something that they are written to.
It runs in a thread of its own and reads from a short queue: so samples are packed into the staging
folder while they come, and one that does not fit is an error at the next `Writer.write`.

Rules. A block that ends with an exception publishes nothing: the publication is given up like any
other that fails before it is committed. Nothing waits for a thread that has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from atd.errors import BadSource, LocalError
from atd.publishing.client import publish
from atd.publishing.released import PublishedRelease
from atd.schema.fields import Schema

AHEAD: Final = 64
"""Samples that may wait to be packed."""


class _Abandoned(Exception):
    """The block was left with an exception: what is being packed is not to be published."""


class _Queue:
    """Samples on their way from the writing thread to the packing one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Any] = deque()
        self._ended = False
        self._abandoned = False
        self._deaf = False

    def put(self, item: Any) -> bool:
        """Hand over one sample; False if nobody takes samples any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._deaf or len(self._waiting) < AHEAD)
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._deaf

    def end(self, *, abandoned: bool = False) -> None:
        """There are no more samples, or none is to be published."""
        with self._changed:
            self._ended, self._abandoned = True, abandoned
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody takes samples any more."""
        with self._changed:
            self._deaf = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._abandoned:
                    raise _Abandoned
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item


class Writer:
    """What `writer` gives: a context manager that publishes what was written in its block.

    ``release`` is what was published, after the block; None before.
    """

    def __init__(self, name: str, schema: type[Any] | Schema | None, options: dict[str, Any]):
        self.release: PublishedRelease | None = None
        self._publish = {"name": name, "schema": schema, **options}
        self._queue = _Queue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def write(self, sample: Any, key: str | None = None) -> None:
        """Add one sample: a dict, or an instance of a dataclass.

        Args:
            key: of the sample; its number where it is None.

        Raises:
            AtdError: as `atd.publish`; an earlier sample did not fit, say.
            LocalError: outside of the ``with`` block.
        """
        if self._thread is None or self.release is not None:
            raise LocalError(
                "samples are written inside of the block",
                next_step="with atd.writer(name, schema) as w: w.write(sample)",
            )
        if not self._queue.put(sample if key is None else (key, sample)):
            self._thread.join()
            raise self._failure()

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise LocalError("a writer is used once", next_step="make another: atd.writer(…)")
        # A daemon: whoever interrupts the wait for the end is not kept waiting by it.
        self._thread = threading.Thread(target=self._run, name="atd-writer", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._queue.end(abandoned=error is not None)
        self._thread.join()
        if error is None and self.release is None:
            raise self._failure()

    def _run(self) -> None:
        try:
            self.release = publish(iter(self._queue), **self._publish)
        except BaseException as error:  # raised again in the thread that writes
            self._error = error
        finally:
            self._queue.stop()

    def _failure(self) -> BaseException:
        return self._error or BadSource("the publication ended before the last sample")


def writer(name: str, schema: type[Any] | Schema | None = None, **options: Any) -> Writer:
    """A context manager to publish samples as they are made, as the next release of ``name``.

    They are packed while they come. A block that is left without an exception publishes them, and
    returns when all was read back with proof; one that is left with an exception publishes nothing.

    Example:
        >>> with atd.writer("flowers", Flower, license="CC-BY-4.0") as w:
        ...     w.write(Flower("rose", 5))
        >>> w.release.version
        '1.0.0'

    Args:
        name, schema: as `atd.publish` has them; without a schema the first 1,000 samples decide.
        options: any other of `atd.publish`. ``on_progress`` and ``confirm`` are called from another
            thread than the one that writes.

    Raises:
        AtdError: in `Writer.write` and at the end of the block, as `atd.publish`.
    """
    return Writer(name, schema, options)
