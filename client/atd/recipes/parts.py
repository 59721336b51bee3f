"""One piece of prepared data, ``ds.train.images``: light, until somebody looks at the data."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd.errors import ShardError
from atd.recipes.model import ROWS, Reader


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


@dataclass(frozen=True)
class Samples:
    """The samples of one split: data that belong together, position by position.

    Iterating gives dicts, each time from the first one.

    Args:
        name: of the split, with that of the data set.
        fields: the data of each field; under the empty name, data whose samples are rows.
    """

    name: str
    fields: Mapping[str, Part]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every sample.

        Raises (while iterating):
            ShardError: the data have not equally many, or are not what the recipe says.
        """
        columns = [iter(part) for part in self.fields.values()]
        ends = object()
        for number in itertools.count():
            values = [next(column, ends) for column in columns]
            over = [name for name, value in zip(self.fields, values, strict=True) if value is ends]
            if len(over) == len(columns):
                return
            if over:
                named = ", ".join(self.fields[name].name for name in over)
                raise ShardError(
                    f"{self.name}: {named} ends after {number:,} samples, and the others do not",
                    next_step="the recipe joins data that do not belong together",
                )
            yield self._sample(dict(zip(self.fields, values, strict=True)))

    def _sample(self, values: dict[str, Any]) -> dict[str, Any]:
        row = values.pop(ROWS, None)
        if row is None:
            return values
        if not isinstance(row, Mapping):
            raise ShardError(
                f"{self.name}: {self.fields[ROWS].name} has no rows with names",
                next_step='say which field it is, in the recipe: samples = { field = "…" }',
            )
        return {**row, **values}


def _readers() -> Any:
    """The readers, which need numpy."""
    return importlib.import_module("atd.recipes.readers")
