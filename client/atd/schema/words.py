"""Kinds in words, for messages and for ``atd schema show``.

Belongs here: short descriptions that fit into a line. Names and words of a schema come from
strangers: everything passes through `printable`. No numpy: the daemon describes schemas too.
"""

from __future__ import annotations

from collections.abc import Sequence

from atd.schema import fields


def describe(kind: fields.Kind) -> str:
    """Such as ``int32``, ``uint8 array (height, width, 3)``, ``label of 3 (cat, dog, bird)``."""
    match kind:
        case fields.Int() | fields.Float():
            return kind.dtype
        case fields.Array():
            return f"{kind.dtype} array {describe_dims(kind.dims)}"
        case fields.List():
            return f"list of {describe(kind.item)}"
        case fields.Struct():
            return f"struct ({listed([field.name for field in kind.fields])})"
        case fields.Label():
            return f"label of {len(kind.names)} ({listed(kind.names)})"
        case fields.Image():
            size = () if kind.size is None else (f"{kind.size[0]} x {kind.size[1]}",)
            return _with("image", (*kind.media_types, *([kind.mode] if kind.mode else []), *size))
        case fields.Media():
            return _with(kind.tag, kind.media_types)
        case fields.Text():
            return _with("text", (kind.language,) if kind.language else ())
        case fields.Box():
            return f"box ({kind.format})"
        case _:
            return kind.tag


def describe_dims(dims: Sequence[fields.Dim]) -> str:
    """Such as ``(height, 64, 3)``; ``*`` is a size that differs; no dims: ``of any shape``."""
    if not dims:
        return "of any shape"
    parts = []
    for dim in dims:
        size = "*" if dim.size is None else str(dim.size)
        named = size if dim.name is None else f"{dim.name}={size}"
        parts.append(dim.name if dim.name is not None and dim.size is None else named)
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def printable(text: str) -> str:
    """``text`` with everything that could act on a terminal escaped: controls, bidi marks …"""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def listed(names: Sequence[str], limit: int = 5) -> str:
    """The first ``limit`` names, and a sign that there are more."""
    shown = ", ".join(printable(name)[:40] for name in names[:limit])
    return shown + (", …" if len(names) > limit else "")


def _with(what: str, details: Sequence[str]) -> str:
    return f"{what} ({', '.join(details)})" if details else what
