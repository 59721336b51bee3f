"""The sample of someone who brought no class: a read-only mapping with attributes.

Belongs here: `Row`, `LabelIndex`, and the comparison of samples by value. What a row holds was
decoded and checked before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np


class Row(Mapping[str, Any]):
    """One sample: ``row["image"]`` and ``row.image`` are the same, and neither can be set.

    A field that is called like a method of a mapping (``keys``, ``values`` …) is reached by ``[]``.
    Rows compare by value, arrays included.
    """

    __slots__ = ("_Row__fields",)
    __fields: dict[str, Any]

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        # Libraries that map over nested values (grain, jax) rebuild a mapping from its items.
        owned = fields if type(fields) is dict else dict(fields)
        object.__setattr__(self, "_Row__fields", owned)

    def __getitem__(self, name: str) -> Any:
        return self.__fields[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__fields[name]
        except KeyError:
            known = ", ".join(self.__fields)
            raise AttributeError(f"no field {name!r} in this sample; it has {known}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a row is read-only; dict(row) gives a copy to change")

    def __iter__(self) -> Iterator[str]:
        return iter(self.__fields)

    def __len__(self) -> int:
        return len(self.__fields)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.__fields]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and same(dict(self), dict(other))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Row], tuple[dict[str, Any]]]:
        return type(self), (self.__fields,)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={_brief(value)}" for name, value in self.__fields.items())
        return f"Row({inside})"


class LabelIndex(int):
    """A label as a row has it: the index of the class, with its ``name``."""

    name: str

    def __new__(cls, index: int, name: str) -> LabelIndex:
        """The class of that index and name."""
        made = super().__new__(cls, index)
        made.name = name
        return made

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]
        return int(self), self.name

    def __repr__(self) -> str:
        return f"{int(self)} ({self.name!r})"


def same(one: Any, other: Any) -> bool:
    """Whether two values of a sample are equal; arrays by dtype, shape and elements, NaN included.

    ``==`` of arrays gives an array, which is why plain dataclasses of arrays cannot be compared.
    """
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        if not (isinstance(one, np.ndarray) and isinstance(other, np.ndarray)):
            return False
        exact = one.dtype == other.dtype and one.shape == other.shape
        return bool(exact and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(left, right) for left, right in pairs)
    return bool(one == other)


def _brief(value: Any, limit: int = 60) -> str:
    """``value`` in at most about ``limit`` characters: arrays by dtype and shape."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, str | bytes) and len(value) > limit:
        return f"{value[:limit]!r}… ({len(value)})"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"[{_brief(value[0])}, … ({len(value)})]"
    return repr(value)
