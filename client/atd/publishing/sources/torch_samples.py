"""Data sets of PyTorch as samples: map-style (``dataset[3]``) and iterable ones.

Belongs here: recognising them by the names of their types, and what their items are as samples;
torch itself is never imported. Tensors become arrays, tensors without dimensions numbers. An item
that is a dict has its keys as fields. A pair is ``image`` (a Pillow image, else ``input``) and
``label`` (a number or text, else ``target``); the names of classes come from the data set's own
``classes`` where it has some. Other tuples are ``item_0``, ``item_1`` …
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from atd.errors import BadSource, LocalError
from atd.protocol.syntax import quote
from atd.publishing.infer import infer
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Item, Source, SplitSource
from atd.schema.fields import Int, Label, Schema
from atd.shards import media

LOOKED_AT: Final = 1_000
"""Samples that are looked at to infer a schema, spread over the data set, at most."""


def _has(value: object, name: str) -> bool:
    """Whether one of the types of ``value`` is torch's own of that name."""
    return any(
        cls.__name__ == name and cls.__module__.partition(".")[0] == "torch"
        for cls in type(value).__mro__
    )


def is_map_style(value: object) -> bool:
    """Whether ``value`` is a data set of torch that is read by number."""
    return _has(value, "Dataset") and not _has(value, "IterableDataset")


def is_iterable(value: object) -> bool:
    """Whether ``value`` is a data set of torch that is read from its start."""
    return _has(value, "IterableDataset")


def open_map_style(
    dataset: Any, split: str, schema: Schema | None, *, skip_bad: bool = False
) -> Source:
    """The samples of a map-style data set, each loaded when it is packed.

    Args:
        skip_bad: do not look at items that cannot be read.

    Raises:
        BadSource: it has no length or no samples, or they fit no schema.
    """
    try:
        count = len(dataset)
    except (TypeError, NotImplementedError):
        raise BadSource(
            f"the {type(dataset).__name__} does not say how many samples it has"
        ) from None
    if not count:
        raise BadSource(f"the {type(dataset).__name__} has no samples")
    step = -(-count // LOOKED_AT)
    found = schema or _labelled(infer(_head(dataset, range(0, count, step), skip_bad)), dataset)
    return Source(
        what="torch data set",
        origin=type(dataset).__name__,
        schema=found,
        splits={split: SplitSource(items=partial(_items, dataset, count), count=count)},
        travels=(f"the fields {', '.join(found.names)} of every sample",),
        inferred=schema is None,
    )


def _head(dataset: Any, rows: range, skip_bad: bool) -> Iterator[Any]:
    """Some samples, to infer a schema from."""
    for row in rows:
        try:
            yield sample_of(_item(dataset, row))
        except BadSource:
            if not skip_bad:
                raise


def _item(dataset: Any, row: int) -> Any:
    """Item ``row``; whatever the data set's own code raises is told with its number."""
    try:
        return dataset[row]
    except Exception as error:
        raise BadSource(
            f"item {row} of the {type(dataset).__name__} cannot be read: "
            f"{type(error).__name__}: {quote(str(error), 160)}"
        ) from error


def samples_of(dataset: Any) -> Iterator[Any]:
    """The samples of an iterable data set."""
    return (sample_of(item) for item in dataset)


def sample_of(item: Any) -> Any:
    """An item of a data set as a sample; what is neither a dict nor a tuple is left as it is."""
    if isinstance(item, Mapping):
        return {str(name): _plain(value) for name, value in item.items()}
    if isinstance(item, list | tuple) and not hasattr(item, "_asdict"):
        values = [_plain(value) for value in item]
        return dict(zip(_names(values), values, strict=True))
    if _has(item, "Tensor") or media.is_pillow(item):
        return {"image" if media.is_pillow(item) else "input": _plain(item)}
    return item


def _names(values: list[Any]) -> list[str]:
    if len(values) != 2:
        return [f"item_{at}" for at in range(len(values))]
    first, second = values
    return [
        "image" if media.is_pillow(first) else "input",
        "label" if isinstance(second, int | str) else "target",
    ]


def _plain(value: Any) -> Any:
    if not _has(value, "Tensor"):
        return value
    array = value.detach().cpu().numpy()
    return array if array.ndim else array.item()


def _labelled(schema: Schema, dataset: Any) -> Schema:
    """The schema, with the names of classes that the data set itself tells."""
    names = getattr(dataset, "classes", None)
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        return schema
    if "label" not in schema or not isinstance(schema["label"].kind, Int):
        return schema
    try:
        kind = Label(names)
    except LocalError:
        return schema  # names that cannot be those of a label: the numbers stay
    return Schema(tuple(replace(one, kind=kind) if one.name == "label" else one for one in schema))


def _items(dataset: Any, count: int, schema: Schema) -> Iterator[Item]:
    names = frozenset(schema.names)
    return ((row_key(row), partial(_load, dataset, names, row)) for row in range(count))


def _load(dataset: Any, names: frozenset[str], row: int) -> Any:
    sample = sample_of(_item(dataset, row))
    if isinstance(sample, dict):
        return {name: value for name, value in sample.items() if name in names}
    return sample
