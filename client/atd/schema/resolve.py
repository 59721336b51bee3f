"""Reading what was published into what the user's class says, decided before the first byte.

::

    writer: Schema  ──┐
                      ├─ resolve ──▶ Reading ── (sample as decoded) ──▶ Row, or the user's class
    reader: class   ──┘     └ or one SchemaMismatch that lists every problem

As Avro does it: match by name, then by alias; a field that is not published takes its default, or
is a problem; fields that the class does not name are not read. Values are promoted where nothing
can be lost, and turned into what the class asks for where that is plain: a label into its name, an
image into pixels, bytes or a Pillow image. The conversions are in `atd.schema.convert`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

from atd.errors import SchemaMismatch
from atd.schema.convert import Step, Unreadable, match_members, row_conversion, take
from atd.schema.fields import Schema
from atd.schema.hints import members
from atd.schema.outcome import outcome
from atd.schema.row import Row

T_co = TypeVar("T_co", covariant=True)


class Reading(Generic[T_co]):
    """The plan of reading: call it with a decoded sample to get a row or an instance of the class.

    Made by `resolve`. It pickles as its schema and class, and plans again on the other side.

    Attributes:
        writer: the published schema.
        reader: the class, or None for rows.
        steps: what is read, in the reader's order.
        names: the published fields that must be decoded; all others may be stepped over.
    """

    def __init__(self, writer: Schema, reader: type[T_co] | None, steps: tuple[Step, ...]) -> None:
        self.writer = writer
        self.reader = reader
        self.steps = steps
        self.names = tuple(dict.fromkeys(step.source for step in steps))
        self._build: Any = Row if reader is None else lambda values: reader(**values)

    @cached_property
    def schema(self) -> Schema:
        """What a sample is once it was read: what batches are made by."""
        if self.reader is None:
            return self.writer
        return Schema(outcome(self.writer.fields, members(self.reader)))

    def __call__(self, sample: Mapping[str, Any]) -> T_co:
        """The sample as the reader wants it; missing optional fields take their defaults.

        Args:
            sample: published names to values as the shard reader gives them.

        Raises:
            SchemaMismatch: a value cannot be what the class says, such as an array of another shape
                where the schema left the shape open.
        """
        try:
            values = take(self.steps, sample)
        except Unreadable as error:
            raise SchemaMismatch(f"a sample does not fit the class: {error}") from None
        made: T_co = self._build(values)
        return made

    def __reduce__(self) -> tuple[Any, tuple[Schema, type[T_co] | None]]:
        return resolve, (self.writer, self.reader)

    def __repr__(self) -> str:
        into = "rows" if self.reader is None else self.reader.__name__
        return f"Reading({', '.join(self.names)} -> {into})"


def resolve(writer: Schema, reader: type[T_co] | None) -> Reading[T_co]:
    """Plan how samples of ``writer`` are read as ``reader`` (None: as rows).

    Raises:
        SchemaMismatch: the class cannot read this schema; the message lists every field that does
            not fit, with what was expected and what is published.
    """
    if reader is None:
        rows = (Step(field.name, field.name, row_conversion(field.kind)) for field in writer)
        return Reading(writer, reader, tuple(rows))
    try:
        steps = match_members(writer.fields, members(reader))
    except Unreadable as error:
        raise SchemaMismatch(
            f"{reader.__name__} cannot read what is published: {error}",
            next_step="change the class; the published fields are: " + ", ".join(writer.names),
        ) from None
    return Reading(writer, reader, steps)
