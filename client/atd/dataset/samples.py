"""Samples made of columns of values: rows, or instances of the user's class.

What belongs here: `Maker`, and with how little Python a sample can be made. The slow twin is the
flow's reading of one decoded sample (`atd.schema.resolve.Reading`).
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from typing import Any, Final, cast

from atd.dataset.blocks import Block, Uncommon
from atd.dataset.flow import Flow
from atd.errors import SchemaMismatch
from atd.schema import fields
from atd.schema.convert import Step, Unreadable
from atd.schema.resolve import Reading
from atd.schema.row import Row

LAZY: Final = (
    fields.List,
    fields.Struct,
    fields.Json,
    fields.Timestamp,
    fields.Bytes,
    fields.Media,
)
"""Kinds whose values cost more than a look-up, so that each is made when it is asked for."""


class Maker:
    """Samples of a reading out of columns of values.

    Attributes:
        eager: nothing but look-ups, which cannot fail: no value is converted, none is decoded when
            asked for, and no code of the class runs when an instance is made.
    """

    def __init__(self, flow: Flow) -> None:
        reading: Reading[Any] = flow.reading
        steps = _positional(reading.reader, reading.steps)
        self.steps = reading.steps if steps is None else steps
        self._names = tuple(step.name for step in self.steps)
        self._make = _maker(reading)
        self._build = _builder(reading, self._names, steps is not None)
        written = {field.name: field for field in flow.source.schema}
        kinds = [written[step.source].kind for step in self.steps]
        self._lazy = [isinstance(kind, LAZY) for kind in kinds]
        self._optional = [written[step.source].optional for step in self.steps]
        self._converts = [_quickly(*pair) for pair in zip(self.steps, kinds, strict=True)]
        plain = reading.reader is None or plain_class(reading.reader)
        sure = [
            step.convert is None or isinstance(kind, fields.Label)
            for step, kind in zip(self.steps, kinds, strict=True)
        ]
        self.eager = plain and all(sure) and not any(self._lazy)

    def driven(self, block: Block) -> tuple[Iterator[Any], Iterator[Any]]:
        """The samples, and the iterator that tells how many of them are left (`eager` only).

        The last column is taken from last, so that a sample is counted once it is made.

        Raises:
            Uncommon: one of the samples lacks an optional field.
        """
        columns, whole = self._columns(block)
        if not whole:
            raise Uncommon
        if not hasattr(columns[-1], "__length_hint__"):
            columns[-1] = iter(list(columns[-1]))
        return self._build(*columns), columns[-1]

    def samples(self, block: Block) -> Iterator[Any]:
        """The samples, each made when it is asked for."""
        columns, whole = self._columns(block)
        made: Iterator[Any] = self._build(*columns) if whole else self._partly(columns)
        return made

    def _columns(self, block: Block) -> tuple[list[Iterator[Any]], bool]:
        """The values of each step, and whether every sample has all of them."""
        columns, whole = [], True
        for number, step in enumerate(self.steps):
            convert = self._converts[number]
            lazy = self._lazy[number]
            values = block.lazily(step.source) if lazy else block.each(step.source)
            if convert is not None:
                values = map(convert, values)
            absent = block.absent(step.source) if self._optional[number] else None
            if absent is not None:
                values, whole = map(_unless, values, absent), False
            columns.append(values)
        return columns, whole

    def _partly(self, columns: list[Iterator[Any]]) -> Iterator[Any]:
        """Samples that lack some of the fields."""
        for values in zip(*columns, strict=False):
            pairs = zip(self._names, values, strict=True)
            yield self._make({name: value for name, value in pairs if value is not _ABSENT})


_ABSENT: Final[Any] = object()


def _unless(value: Any, absent: bool) -> Any:
    return _ABSENT if absent else value


def _quickly(step: Step, kind: fields.Kind) -> Callable[[Any], Any] | None:
    """The conversion of one value; that of a label, out of a table of all there are."""
    if step.convert is None:
        return None
    if isinstance(kind, fields.Label):
        table: dict[int | None, Any] = {None: None}
        table.update((index, step.convert(index)) for index in range(len(kind.names)))
        return table.__getitem__
    return converting(step)


def converting(step: Step) -> Callable[[Any], Any]:
    """The step's conversion of one value, with the error that a reading gives."""
    convert = step.convert
    assert convert is not None

    def one(value: Any) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except Unreadable as error:
            problem = error.within(step.name)
            raise SchemaMismatch(f"a sample does not fit the class: {problem}") from None

    return one


def _maker(reading: Reading[Any]) -> Callable[[dict[str, Any]], Any]:
    """From values by name to a sample."""
    if reading.reader is None:
        return Row
    return lambda values: cast("Any", reading.reader)(**values)


def _builder(
    reading: Reading[Any], names: tuple[str, ...], positional: bool
) -> Callable[..., Iterator[Any]]:
    """From iterators of values to an iterator of samples, with as little Python as can be."""
    if positional:
        return partial(map, cast("Any", reading.reader))
    make = _maker(reading)

    def build(*columns: Iterator[Any]) -> Iterator[Any]:
        return map(make, map(dict, map(zip, repeat(names), zip(*columns, strict=False))))

    return build


def _positional(cls: type[Any] | None, steps: tuple[Step, ...]) -> tuple[Step, ...] | None:
    """The steps in the order of the class's parameters, if it can be called with just those."""
    if cls is None:
        return None
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return None
    by_name = {step.name: step for step in steps}
    first = parameters[: len(steps)]
    named = all(p.kind is p.POSITIONAL_OR_KEYWORD and p.name in by_name for p in first)
    if not named or len(first) != len(steps):
        return None
    return tuple(by_name[p.name] for p in first)


def plain_class(cls: type[Any]) -> bool:
    """Whether an instance is its fields and nothing more: no code of the user runs when it is made
    or asked. Only then may a batch be made without the instances."""
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.init or hasattr(cls, "__post_init__"):
        return False
    own: Any = cls
    if own.__new__ is not object.__new__ or own.__getattribute__ is not object.__getattribute__:
        return False
    if own.__setattr__ is not object.__setattr__ and not parameters.frozen:
        return False
    return not any(
        hasattr(type(held), "__set__") and not isinstance(held, types.MemberDescriptorType)
        for held in (inspect.getattr_static(cls, f.name, None) for f in dataclasses.fields(cls))
    )
