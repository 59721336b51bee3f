"""Loaders: what makes one sample when its turn comes, here or in another process.

Belongs here: what sources with random access share about their loaders. A loader is called without
arguments. If it pickles, it can be sent to where samples are packed; if it says which files it
reads (`files_read`), packing that was interrupted can tell that nothing changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any


def files_read(load: Callable[[], Any]) -> tuple[Path, ...] | None:
    """The files that the sample of ``load`` is made of; None where it does not say.

    A loader that says so, as its attribute ``reads``, gives the same sample as long as these files
    are the same, and what it `says` of itself is.
    """
    reads: tuple[Path, ...] | None = getattr(load, "reads", None)
    return reads


def says(load: Callable[[], Any]) -> bytes:
    """All but its files that the sample of ``load`` depends on: what it says as its attribute
    ``said``, else how it pickles.

    Raises:
        Exception: it does not pickle.
    """
    said: str | None = getattr(load, "said", None)
    return bytes(ForkingPickler.dumps(load)) if said is None else said.encode()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of arrays in memory, as a sample; it is sent as its cells, not as the arrays.

    Args:
        arrays: by field name.
        cell: what makes the value of a field from an element; a function of a module.
        reads: the files that the arrays were read from; None: they are not from files, and packing
            the row again is all there is to do.
    """

    arrays: Mapping[str, Any]
    row: int
    cell: Callable[[Any], Any]
    reads: tuple[Path, ...] | None = None

    def __call__(self) -> dict[str, Any]:
        """The sample."""
        return {name: self.cell(array[self.row]) for name, array in self.arrays.items()}

    @property
    def said(self) -> str:
        """Which row of which fields: to look at the cells would be to read everything twice."""
        return f"row {self.row} of {sorted(self.arrays)}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Cells, (self(),)


@dataclass(frozen=True, slots=True)
class Cells:
    """A `Row` that was sent."""

    values: Mapping[str, Any]

    def __call__(self) -> Mapping[str, Any]:
        """The sample."""
        return self.values
