"""Functions of a module, as spawned loader workers need them."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

import atd


def is_odd(sample: Any) -> bool:
    return bool(sample.number % 2)


def is_small(sample: Any) -> bool:
    return bool(sample.number < 30)


def as_pair(sample: Any) -> dict[str, Any]:
    return {"number": sample.number, "veins": sample.veins}


def refuse_17(sample: Any) -> Any:
    if sample.number == 17:
        raise ValueError("seventeen is no number")
    return sample


class Odd(Exception):
    """An error that does not survive pickling."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def raise_odd(sample: Any) -> Any:
    raise Odd(1, 2)


def die_at_17(sample: Any) -> Any:
    if sample.number == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return sample


def as_lambda(sample: Any) -> Any:
    return lambda: sample


def slowly(sample: Any) -> Any:
    time.sleep(0.01)
    return sample


def process(sample: Any) -> int:
    return os.getpid()


def as_tensor(sample: Any) -> dict[str, Any]:
    torch = sys.modules["torch"]
    veins = torch.from_numpy(sample.veins.copy())
    return {"x": veins, "note": sample.note}


def number(sample: Any) -> int:
    return int(sample.number)


def numbers_of(samples: list[Any]) -> np.ndarray[Any, Any]:
    return np.array([sample.number for sample in samples])


@dataclass
class Picture:
    number: int
    image: atd.Image


def pictures(count: int, broken: int) -> Iterator[Picture]:
    """Small PNGs, of which one is cut short."""
    for at in range(count):
        out = io.BytesIO()
        PIL.Image.new("RGB", (4, 4), (at, 0, 0)).save(out, "PNG")
        data = out.getvalue()
        yield Picture(at, atd.Image(data[:45] if at == broken else data))
