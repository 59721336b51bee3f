"""The samples that every loader reads: four workloads, the same on every machine.

A: float32[64], int, short text. B: uint8[64,64,3], int, caption. C: uint8[256,256,3], int.
D: text of 1 to 4 KB, int. About a tenth of the text is not ASCII.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from functools import cached_property
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray

import atd

_WORDS: Final = (
    "the quick brown fox jumps over lazy dog lorem ipsum dolor sit amet neuron voltage trace "
    "microscope calcium imaging spike train protein fold token gradient shard iterator café "
    "naïve Zürich données federation データ"
)


@dataclass(frozen=True)
class Workload:
    """One kind of sample.

    Args:
        name: its letter.
        count: samples; shards hold a tenth of them.
        dtype, shape: of the array field ``x``; None without one.
        text: least and most characters of the field ``text``; None without one.
    """

    name: str
    count: int
    dtype: str | None
    shape: tuple[int, ...]
    text: tuple[int, int] | None

    @property
    def per_shard(self) -> int:
        """Samples in a shard."""
        return -(-self.count // 10)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields in the order of the class."""
        return ("label", *(("x",) if self.dtype else ()), *(("text",) if self.text else ()))

    @cached_property
    def cls(self) -> type[Any]:
        """The class of a sample: a plain dataclass, the same for all loaders that take one."""
        hints: dict[str, Any] = {
            "label": int,
            "x": Annotated[NDArray[np.dtype(self.dtype or "u1").type], atd.Shape(*self.shape)],
            "text": str,
        }
        return make_dataclass(f"Sample{self.name}", [(name, hints[name]) for name in self.fields])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The labels of all samples."""
        return np.random.default_rng(ord(self.name)).integers(0, 1000, self.count)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Every sample as a dict, in order."""
        rng = np.random.default_rng(ord(self.name) + 1)
        known = _WORDS.split()
        words = " ".join(known[i] for i in rng.integers(0, len(known), 50_000))
        for label in self.labels.tolist():
            sample: dict[str, Any] = {"label": label}
            if self.dtype:
                sample["x"] = rng.integers(0, 256, self.shape, np.uint8).astype(self.dtype)
            if self.text:
                start = int(rng.integers(0, 40_000))
                sample["text"] = words[start : start + int(rng.integers(*self.text))]
            yield sample


def workloads(scale: float) -> list[Workload]:
    """All four, with ``scale`` times the usual number of samples."""
    return [
        Workload("A", int(200_000 * scale), "float32", (64,), (8, 24)),
        Workload("B", int(50_000 * scale), "uint8", (64, 64, 3), (20, 120)),
        Workload("C", int(5_000 * scale), "uint8", (256, 256, 3), None),
        Workload("D", int(100_000 * scale), None, (), (1000, 4000)),
    ]
