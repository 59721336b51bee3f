"""The kinds of a field that hold no other field: scalars, labels, arrays, boxes and media.

Belongs here: what each kind is and how it stands in a record (``to_value``, ``read``: JSON values
only). `atd.schema.fields` adds the kinds that nest and gives them all under one roof: import the
kinds from there. The constructors check, by `atd.schema.limits`, whatever the value came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from atd.names import SCHEMA
from atd.schema import limits
from atd.schema.limits import DTYPES, MAX_CLASSES, MAX_DIMS, Reader


@dataclass(frozen=True)
class Kind:
    """What a field holds. The subclasses below are all the kinds there are."""

    tag: ClassVar[str] = ""

    def to_value(self) -> dict[str, Any]:
        """The kind as it stands in a record: ``{"$type": "network.atd.schema#…", …}``."""
        return {"$type": f"{SCHEMA}#{self.tag}", **self.properties()}

    def properties(self) -> dict[str, Any]:
        """What the kind says beside its name."""
        return {}

    @classmethod
    def read(cls, value: Reader) -> Self:
        """The kind out of a record; a constructor's `LocalError` is the caller's to place."""
        return cls()


@dataclass(frozen=True)
class Bool(Kind):
    """True or false."""

    tag: ClassVar[str] = "bool"


@dataclass(frozen=True)
class Int(Kind):
    """An integer of 8, 16, 32 or 64 bits."""

    tag: ClassVar[str] = "int"
    bits: int = 64
    signed: bool = True

    def __post_init__(self) -> None:
        limits.among("bits of an int", self.bits, (8, 16, 32, 64))

    @property
    def dtype(self) -> str:
        """The numpy name of this integer type."""
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest value."""
        if self.signed:
            return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1

    def properties(self) -> dict[str, Any]:
        return {"bits": self.bits, "signed": self.signed}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(value.integer("bits", 64), value.flag("signed", True))


@dataclass(frozen=True)
class Float(Kind):
    """An IEEE 754 number of 16, 32 or 64 bits."""

    tag: ClassVar[str] = "float"
    bits: int = 64

    def __post_init__(self) -> None:
        limits.among("bits of a float", self.bits, (16, 32, 64))

    @property
    def dtype(self) -> str:
        """The numpy name of this floating-point type."""
        return f"float{self.bits}"

    def properties(self) -> dict[str, Any]:
        return {"bits": self.bits}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(value.integer("bits", 64))


@dataclass(frozen=True)
class String(Kind):
    """A short string: a name, a path, an identifier."""

    tag: ClassVar[str] = "string"


@dataclass(frozen=True)
class Text(Kind):
    """Running text, in ``language`` (BCP 47) where that is known."""

    tag: ClassVar[str] = "text"
    language: str | None = None

    def __post_init__(self) -> None:
        if self.language is not None:
            limits.language(self.language)

    def properties(self) -> dict[str, Any]:
        return present(language=self.language)

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(value.maybe_text("language"))


@dataclass(frozen=True)
class Bytes(Kind):
    """Bytes that mean nothing to the schema."""

    tag: ClassVar[str] = "bytes"


@dataclass(frozen=True)
class Timestamp(Kind):
    """A moment: RFC 3339 text in a shard, an aware ``datetime`` in a sample."""

    tag: ClassVar[str] = "timestamp"


@dataclass(frozen=True)
class Json(Kind):
    """A JSON document of any shape."""

    tag: ClassVar[str] = "json"


@dataclass(frozen=True)
class Dim:
    """One dimension of an array: an identifier for a name; a missing size is ragged."""

    name: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            limits.field_name(self.name)
        if self.size is not None:
            limits.size("size of a dimension", self.size)


@dataclass(frozen=True)
class Array(Kind):
    """An n-dimensional array of ``dtype``, in C order.

    Args:
        dtype: a key of `DTYPES`; codes such as ``<f4`` are normalised (byte order belongs to the
            file, not to the type).
        dims: outermost first. Empty means that the schema does not fix the shape, not even the
            number of dimensions. An integer or None stands for a `Dim` of that size.
    """

    tag: ClassVar[str] = "array"
    dtype: str
    dims: tuple[Dim, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", limits.dtype_name(self.dtype))
        dims = tuple(dim if isinstance(dim, Dim) else Dim(size=dim) for dim in self.dims)
        object.__setattr__(self, "dims", dims)
        limits.at_most("dimensions", MAX_DIMS, len(dims))
        limits.distinct("dimension", [dim.name for dim in dims if dim.name is not None])
        elements = math.prod(dim.size or 1 for dim in dims)
        limits.size("bytes of an array", elements * DTYPES[self.dtype])

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape that every sample has, or None if it may differ between samples."""
        sizes = tuple(dim.size for dim in self.dims if dim.size is not None)
        return sizes if sizes and len(sizes) == len(self.dims) else None

    def properties(self) -> dict[str, Any]:
        dims = [present(name=dim.name, size=dim.size) for dim in self.dims]
        return {"dtype": self.dtype, **({"dims": dims} if dims else {})}

    @classmethod
    def read(cls, value: Reader) -> Self:
        dims = []
        for dim in value.children("dims"):
            with dim.faults():
                dims.append(Dim(dim.maybe_text("name"), dim.maybe_integer("size")))
        return cls(value.text("dtype"), tuple(dims))


@dataclass(frozen=True, init=False)
class Label(Kind):
    """One of a fixed, ordered list of classes; stored as the index into ``names``.

    ``Label("cat", "dog")`` and ``Label(["cat", "dog"])`` are the same.
    """

    tag: ClassVar[str] = "label"
    names: tuple[str, ...]

    def __init__(self, *names: str | Iterable[str]) -> None:
        groups = [(name,) if isinstance(name, str) else tuple(name) for name in names]
        object.__setattr__(self, "names", tuple(name for group in groups for name in group))
        limits.size("number of classes", len(self.names))
        limits.at_most("classes", MAX_CLASSES, len(self.names))
        for name in self.names:
            limits.text("name of a class", name, 512)
        limits.distinct("class", self.names)

    def properties(self) -> dict[str, Any]:
        return {"classes": [{"name": name} for name in self.names]}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls([item.text("name") for item in value.children("classes")])


@dataclass(frozen=True)
class Media(Kind):
    """An encoded file, kept as it is: what image, audio and video share.

    Args:
        media_types: such as ``("image/jpeg",)``; empty means any.
    """

    media_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "media_types", limits.media_types(self.media_types))

    def properties(self) -> dict[str, Any]:
        return {"mediaTypes": list(self.media_types)} if self.media_types else {}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(value.strings("mediaTypes"))


@dataclass(frozen=True)
class Image(Media):
    """An encoded image.

    Args:
        mode: Pillow's mode (``RGB``, ``L`` …) if every image has it.
        size: (width, height) in pixels if every image has it.
    """

    tag: ClassVar[str] = "image"
    mode: str | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode is not None:
            limits.image_mode(self.mode)
        if self.size is not None:
            width, height = self.size
            pair = limits.size("width", width), limits.size("height", height)
            object.__setattr__(self, "size", pair)

    def properties(self) -> dict[str, Any]:
        size = None if self.size is None else dict(zip(("width", "height"), self.size, strict=True))
        return {**super().properties(), **present(mode=self.mode, size=size)}

    @classmethod
    def read(cls, value: Reader) -> Self:
        size = None
        if value.has("size"):
            given = value.child("size")
            size = given.integer("width", 0), given.integer("height", 0)
        return cls(value.strings("mediaTypes"), value.maybe_text("mode"), size)


@dataclass(frozen=True)
class Audio(Media):
    """An encoded sound."""

    tag: ClassVar[str] = "audio"


@dataclass(frozen=True)
class Video(Media):
    """An encoded film."""

    tag: ClassVar[str] = "video"


@dataclass(frozen=True)
class Box(Kind):
    """A rectangle as four numbers, in the order that ``format`` spells: xyxy, xywh, cxcywh."""

    tag: ClassVar[str] = "box"
    format: str = "xyxy"

    def __post_init__(self) -> None:
        limits.among("format of a box", self.format, ("xyxy", "xywh", "cxcywh"))

    def properties(self) -> dict[str, Any]:
        return {"format": self.format}

    @classmethod
    def read(cls, value: Reader) -> Self:
        return cls(value.maybe_text("format") or "xyxy")


def present(**values: Any) -> dict[str, Any]:
    """The keywords that are not None: a record leaves out what it does not say."""
    return {key: value for key, value in values.items() if value is not None}
