"""One piece of prepared data, ``ds.train.images``: light, until somebody looks at the data."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd.recipes.model import Reader


@dataclass(frozen=True)
class Part:
    """One piece of prepared data, and how it is read.

    Iterating gives samples; `data` all of them at once, and numpy takes it as an array where its
    reader is ``idx``.
    """

    name: str
    path: Path
    reader: Reader

    def data(self) -> Any:
        """All of it: an array (``idx``), the path (``path``), else a list of samples.

        Raises:
            ShardError: the file is not what the recipe says. StorageFault: it cannot be read.
        """
        if self.reader.kind == "idx":
            return _readers().read_idx(self.path)
        return self.path if self.reader.kind == "path" else list(self)

    def __iter__(self) -> Iterator[Any]:
        """The samples, see `atd.recipes.readers.samples`."""
        found: Iterator[Any] = _readers().samples(self.path, self.reader)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        found = _readers().as_array(self.data())
        return found if dtype is None else found.astype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an array (``idx``), from its header alone."""
        found: tuple[int, ...] = _readers().idx_shape(self.path)
        return found


def _readers() -> Any:
    """The readers, which need numpy."""
    return importlib.import_module("atd.recipes.readers")
