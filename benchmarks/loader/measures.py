"""What is measured, of any loader, and the checks that a fast answer is also the right one.

Every complete pass must see as many samples as there are and the right sum of their labels, or
`WrongSamples` ends the run of that loader. `verify` compares contents as well. Consumers touch what
they are given: a byte of each page of an array, so that no lazy view wins for free.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import numpy as np
from contract import Columns, NotOffered, Peer
from workloads import Base

BATCH: Final = 256
WORKER_BATCH: Final = 32
_PAGE: Final = 4096
_CLOCK_EVERY: Final = 64
_VERIFY_EVERY: Final = 53
_LONG_PASS_S: Final = 3.0
_PICKS: Final = 2000
_AFTER_RESUME: Final = 20


class WrongSamples(Exception):
    """A loader gave other samples than were packed."""


# ------------------------------------------------------------------ passes


def own_time() -> float:
    """Seconds, without those in which this thread could have run but other programs did.

    Linux counts them (``schedstat``: nanoseconds run, nanoseconds waited for a processor). A long
    pass on a busy machine is interrupted and a short one is not, so by the clock alone the slow
    would look slower than they are beside the fast. Waiting for the disk, for locks and for threads
    and processes of its own counts.
    """
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            waited = int(file.read().split()[1])
    except FileNotFoundError:  # not Linux
        waited = 0
    return time.perf_counter() - waited / 1e9


class Tally:
    """Samples of one pass: how many, the sum of their labels, and when the first came."""

    def __init__(self) -> None:
        self.count = self.total = self.first = 0
        self.begun = own_time()
        self.first_at = self.ended = self.begun
        self.complete = True

    def begin(self, count: int) -> None:
        """The first ``count`` samples are there."""
        self.first, self.first_at = count, own_time()

    def end(self, wanted: tuple[int, int]) -> float:
        """Samples a second; refuses a complete pass with wrong samples."""
        ended = own_time()
        if self.complete and (self.count, self.total) != wanted:
            raise WrongSamples(
                f"expected {wanted[0]} samples with labels adding up to {wanted[1]},"
                f" saw {self.count} with {self.total}"
            )
        self.ended = ended
        return self.count / (ended - self.begun)

    @property
    def rate_after_first(self) -> float:
        """Samples a second once the first had come, so without the start of worker processes."""
        return (self.count - self.first) / (self.ended - self.first_at)


def one_by_one(samples: Iterable[Any], fields: Callable[[Any], Columns], cap_s: float) -> Tally:
    """Go through ``samples`` until ``cap_s`` seconds have passed."""
    tally = Tally()
    count = total = 0
    turn, now = _CLOCK_EVERY, time.perf_counter
    last = now() + cap_s
    for sample in samples:
        total += fields(sample)[0]
        if not count:
            tally.begin(1)
        count += 1
        turn -= 1
        if not turn:
            turn = _CLOCK_EVERY
            if now() > last:
                tally.complete = False
                break
    tally.count, tally.total = count, int(total)
    return tally


def in_batches(batches: Iterable[Any], columns: Callable[[Any], Columns], cap_s: float) -> Tally:
    """Go through ``batches`` until ``cap_s`` seconds have passed."""
    tally = Tally()
    last = time.perf_counter() + cap_s
    for batch in batches:
        labels, x, _ = columns(batch)
        if x is not None:
            _touch(x)
        tally.total += int(np.asarray(labels).sum())
        tally.count += len(labels)
        if not tally.first:
            tally.begin(len(labels))
        if time.perf_counter() > last:
            tally.complete = False
            break
    return tally


def _touch(x: Any) -> None:
    if isinstance(x, list | tuple):
        for array in x:
            array.reshape(-1)[:1]
        return
    values = getattr(x, "values", None)
    array = values if isinstance(values, np.ndarray) else np.asarray(x)  # of a ragged batch
    if array.dtype == object:  # arrays of different shapes
        return
    if array.flags.c_contiguous:
        array.reshape(-1).view(np.uint8)[::_PAGE].sum()
    elif array.ndim < 3:
        array[..., 0].sum()
    else:
        array[:, ::8, 0].sum()


def best(run: Callable[[float], Tally], wanted: tuple[int, int], cap_s: float) -> float:
    """Samples a second: of the complete passes that fit into ``cap_s`` the best, since noise only
    slows, after one that warms up. That one is cut short where it takes all too long."""
    rate = run(max(_LONG_PASS_S, cap_s)).end(wanted)
    begun = time.perf_counter()
    while (left := begun + cap_s - time.perf_counter()) > 0:
        tally = run(left)
        if tally.complete:
            rate = max(rate, tally.end(wanted))
    return rate


# ------------------------------------------------------------------ measures


class Measures:
    """The measures of one loader in this process; each returns its value, and raises `NotOffered`
    where the loader has no such thing."""

    def __init__(self, peer: Peer, base: Base, cap_s: float) -> None:
        self.peer = peer
        self.base = base
        self.cap_s = cap_s

    def open(self) -> float:
        """Milliseconds from nothing but imports to the first sample. Comes first in its process."""
        begun = own_time()
        self.peer.open()
        label = self.peer.fields(next(iter(self.peer.samples())))[0]
        spent = own_time() - begun
        self._expect([label], 0)
        return spent * 1e3

    def first(self) -> float:
        """`open` where no process opened the files before."""
        self.peer.forget()
        return self.open()

    def memory(self) -> float:
        """Megabytes of anonymous memory that the last three quarters of a first pass add."""
        quarter, seen, at = self.base.workload.count // 4, 0, 0
        for batch in self.peer.batches(BATCH):
            labels, x, _ = self.peer.columns(batch)
            if x is not None:
                _touch(x)
            seen += len(labels)
            del batch, labels, x
            if not at and seen >= quarter:
                at = anonymous_bytes()
        return (anonymous_bytes() - at) / 1e6

    def verify(self) -> float:
        """How many samples were compared with the base data, field by field.

        Three complete passes: one by one and in batches, whose labels all have to be right, and
        shuffled, whose labels have to add up.
        """
        compared = self._verify_samples() + self._verify_batches()
        self._verify_shuffled()
        return compared

    def _verify_samples(self) -> int:
        compared = count = total = 0
        for i, sample in enumerate(self.peer.samples()):
            found = self.peer.fields(sample)
            count, total = count + 1, total + int(found[0])
            if i % _VERIFY_EVERY == 0:
                self._compare(found, i)
                compared += 1
        self._expect_total(count, total)
        return compared

    def _verify_batches(self) -> int:
        compared = at = 0
        try:
            batches = self.peer.batches(BATCH)
        except NotOffered:
            return 0
        for batch in batches:
            labels, x, text = self.peer.columns(batch)
            self._expect(labels, at)
            for i in range(-at % _VERIFY_EVERY, len(labels), _VERIFY_EVERY):
                one = labels[i], None if x is None else x[i], None if text is None else text[i]
                self._compare(one, at + i)
                compared += 1
            at += len(labels)
        self._expect_total(at)
        return compared

    def _verify_shuffled(self) -> None:
        found: list[int] = []
        try:
            for batch in self.peer.shuffled(BATCH):
                found += np.asarray(self.peer.columns(batch)[0]).tolist()
        except NotOffered:
            return
        self._expect_total(len(found), sum(found))
        if found == self.base.labels.tolist():
            raise WrongSamples("shuffled batches come in order")

    def ordered(self) -> float:
        """Samples a second, in order, one by one."""
        peer = self.peer
        return self._rate(lambda left: one_by_one(peer.samples(), peer.fields, left))

    def batches(self) -> float:
        """Samples a second, in order, in batches of 256."""
        return self._rate(partial(self._pass, self.peer.batches))

    def shuffled(self) -> float:
        """Samples a second, shuffled, in batches of 256."""
        return self._rate(partial(self._pass, self.peer.shuffled))

    def views(self) -> float:
        """Samples a second, in order, in batches of 256 that are read-only views."""
        return self._rate(partial(self._pass, self.peer.views))

    def random(self) -> float:
        """Microseconds for one sample at a random position: the median."""
        pick, fields = self.peer.picker(), self.peer.fields
        order = np.random.default_rng(5).integers(0, self.base.workload.count, _PICKS).tolist()
        spent, last = [], time.perf_counter() + self.cap_s
        for i in order:
            begun = time.perf_counter_ns()
            label = fields(pick(i))[0]
            spent.append(time.perf_counter_ns() - begun)
            self._expect([label], i)
            if time.perf_counter() > last:
                break
        return float(np.median(spent)) / 1e3

    def resume(self) -> float:
        """Milliseconds from wanting to go on at the middle to the first sample there."""
        middle = self.base.workload.count // 2 + 3
        begun = own_time()
        ahead = self.peer.resume(middle)
        labels = [self.peer.fields(next(ahead))[0]]
        spent = own_time() - begun
        labels += [self.peer.fields(next(ahead))[0] for _ in range(_AFTER_RESUME)]
        self._expect(labels, middle)
        return spent * 1e3

    def workers(self) -> float:
        """Two worker processes as a multiple of one."""
        one, two = (max(self._with_workers(count) for _ in range(2)) for count in (1, 2))
        return two / one

    def _with_workers(self, count: int) -> float:
        tally = in_batches(self.peer.with_workers(WORKER_BATCH, count), self.peer.columns, 60.0)
        tally.end(self.base.total)
        return tally.rate_after_first

    def _pass(self, read: Callable[[int], Iterable[Any]], left: float) -> Tally:
        return in_batches(read(BATCH), self.peer.columns, left)

    def _rate(self, run: Callable[[float], Tally]) -> float:
        return best(run, self.base.total, self.cap_s)

    def _expect(self, labels: Any, at: int) -> None:
        seen = np.asarray(labels).tolist()
        wanted = self.base.labels[at : at + len(seen)].tolist()
        if seen != wanted:
            raise WrongSamples(f"at sample {at}: expected the labels {wanted}, found {seen}"[:300])

    def _expect_total(self, count: int, total: int | None = None) -> None:
        wanted = self.base.total if total is not None else self.base.total[:1]
        seen = (count,) if total is None else (count, total)
        if seen != wanted:
            raise WrongSamples(f"expected count and sum of labels {wanted}, saw {seen}")

    def _compare(self, found: Columns, i: int) -> None:
        label, x, text = found
        self._expect([label], i)
        wanted = self.base.x(i)
        if self.base.workload.form == "jpeg":
            wanted = decoded(wanted)
        if wanted is not None:
            array = np.asarray(x)
            if not np.array_equal(array, wanted):  # some widen small integers
                raise WrongSamples(f"sample {i}: its array is another")
        if self.base.workload.text and str(text) != self.base.texts[i]:
            raise WrongSamples(f"sample {i}: its text is another")


def decoded(data: bytes) -> Any:
    """A JPEG as an array of height, width and RGB."""
    # Only workload F needs Pillow.
    from PIL import Image  # noqa: PLC0415

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process (``RssAnon`` of ``/proc/self/status``)."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024
