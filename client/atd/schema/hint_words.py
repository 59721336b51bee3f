"""Annotations in words, for messages: what a class asks for."""

from __future__ import annotations

from atd.schema import hints
from atd.schema.words import describe, describe_dims, listed


def describe_hint(hint: hints.Hint) -> str:
    """What an annotation asks for, such as ``str`` or ``float32 array of any shape``."""
    match hint:
        case hints.Scalar():
            return hint.type.__name__
        case hints.Names():
            return f"label of {len(hint.names)} ({listed(hint.names)})"
        case hints.NumpyArray():
            return f"{hint.dtype or 'any'} array {describe_dims(hint.dims)}"
        case hints.Items():
            return f"list of {describe_hint(hint.item)}"
        case hints.Nested():
            return f"struct {hint.cls.__name__}"
        case hints.Given() | hints.Encoded():
            return describe(hint.kind)
        case hints.Picture():
            return "image"
        case hints.Four():
            return "box"
        case hints.Document():
            return "json or struct"
        case hints.Anything():
            return "anything"
