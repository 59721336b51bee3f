"""A schema as a module of types: the class of samples, its batch twin, and a typed reference.

::

    @atd.sample
    class Flowers:
        image: atd.Image
        label: Literal['rose', 'tulip']

    class FlowersBatch(atd.Columns, Protocol):
        image: NDArray[np.uint8] | atd.Ragged
        label: list[Literal['rose', 'tulip']]

    FLOWERS: Final = atd.Ref[Flowers, FlowersBatch]('…', Flowers)

Belongs here: what a column of a batch is to a type checker, by the rules of `atd.shards.batch`. How
nothing of a schema becomes code is said in `atd.schema.export`, whose `Source` writes everything;
what is said about the origin is ASCII, one line each, and never on the first two lines, where a
comment can change how Python reads a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atd.schema import fields
from atd.schema.export import Source, class_name

HEAD: Final = '"""Typed samples, written by `atd schema pull`: do not edit, pull again."""\n'
"""How every module begins: what begins like this may be replaced."""


@dataclass(frozen=True)
class TypedModule:
    """The source of a module, and the names in it: two classes and the `Ref` ``constant``."""

    source: str
    ref: str
    sample: str
    batch: str
    constant: str


def to_typed_module(
    schema: fields.Schema, name: str, ref: str, origin: Iterable[str] = ()
) -> TypedModule:
    """A module that makes ``atd.load`` fully typed for one data set.

    Args:
        name: of the data set; names the class, and in capitals the reference.
        ref: what to load.
        origin: lines for a reader that say where this comes from.
    """
    source = Source(schema)
    sample = source.add_class(class_name(name), schema.fields)
    batch = _Twins(source).add(sample, schema.fields)
    constant = source.fresh(_constant(name))
    made = f"{source.word('atd')}.Ref[{sample}, {batch}]"
    end = f"{constant}: {source.word('Final')} = {made}({ref!r}, {sample})\n"
    said = "".join(f"# {ascii(line)[1:-1]}\n" for line in (*origin, f"load {ref}"))
    text = f"{HEAD}\n{said}\n{source.module()}\n\n{end}"
    return TypedModule(text, ref, sample, batch, constant)


def _constant(name: str) -> str:
    """``com.lecun.mnist`` as ``COM_LECUN_MNIST``: an identifier, whatever ``name`` is."""
    words = "_".join(re.findall(r"[A-Za-z0-9]+", name)).upper()
    return words if words[:1].isalpha() else f"REF_{words}"


class _Twins:
    """The classes of batches: one for the samples, and one for each struct in them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._word = source.word

    def add(self, sample: str, members: tuple[fields.Field, ...]) -> str:
        """Write the twin of the class ``sample``, and give the name that it got."""
        lines = [f"    {field.name}: {self._column(sample, field)}" for field in members]
        name = self._source.fresh(f"{sample}Batch")
        head = f"class {name}({self._word('atd')}.Columns, {self._word('Protocol')}):"
        self._source.classes.append("\n".join([head, *lines]))
        return name

    def _column(self, owner: str, field: fields.Field) -> str:
        kind = field.kind
        if field.optional or field.nullable:
            return self._list(f"{self._value(owner, field.name, kind)} | None")
        match kind:
            case fields.Bool():
                return self._array("bool_")
            case fields.Int() | fields.Float():
                return self._array(kind.dtype)
            case fields.Box():
                return self._array("float64")
            case fields.Image():
                return f"{self._array('uint8')} | {self._word('atd')}.Ragged"
            case fields.Array():
                return self._arrays(kind)
            case fields.Struct():
                return self.add(self._source.structs[owner, field.name], kind.fields)
        return self._list(self._value(owner, field.name, kind))

    def _arrays(self, kind: fields.Array) -> str:
        """Stacked where the shape is known, else perhaps ragged, or not even that."""
        one = self._array("bool_" if kind.dtype == "bool" else kind.dtype)
        if kind.shape is not None:
            return one
        ragged = f"{one} | {self._word('atd')}.Ragged"
        return ragged if kind.dims else f"{ragged} | {self._list(one)}"

    def _value(self, owner: str, name: str, kind: fields.Kind) -> str:
        """One value, as the class of samples has it."""
        match kind:
            case fields.Bool():
                return self._word("bool")
            case fields.Int():
                return self._word("int")
            case fields.Float():
                return self._word("float")
            case fields.Timestamp():
                return self._word("datetime")
            case fields.Json():
                return self._word("Any")
            case fields.Label():
                return f"{self._word('Literal')}[{', '.join(map(repr, kind.names))}]"
            case fields.Array():
                return self._array("bool_" if kind.dtype == "bool" else kind.dtype)
            case fields.Image():
                return f"{self._word('atd')}.Image"
            case fields.Audio():
                return f"{self._word('atd')}.Audio"
            case fields.Bytes() | fields.Media():
                return self._word("bytes")
            case fields.Box():
                return f"{self._word('tuple')}[{', '.join([self._word('float')] * 4)}]"
            case fields.List():
                return self._list(self._value(owner, name, kind.item))
            case fields.Struct():
                return self._source.structs[owner, name]
        return self._word("str")

    def _array(self, dtype: str) -> str:
        return f"{self._word('NDArray')}[{self._word('np')}.{dtype}]"

    def _list(self, item: str) -> str:
        return f"{self._word('list')}[{item}]"
