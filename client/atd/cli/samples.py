"""A sample in words: what ``atd preview`` prints. Knows values by their form, and imports none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from atd.cli import output

_TEXT = 60
_ITEMS = 6


def describe_sample(sample: Any) -> dict[str, str]:
    """Each field of a sample, in a few words."""
    names = sample if isinstance(sample, Mapping) else vars(sample)
    return {str(name): describe_value(_value(sample, name)) for name in names}


def describe_value(value: Any) -> str:
    """``value`` in a few words: numbers and short text as they are, the rest by type and size."""
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, str):
        shown = value if len(value) <= _TEXT else value[:_TEXT] + "…"
        return f'"{output.clean(shown)}"' + (
            f" ({len(value):,} characters)" if shown != value else ""
        )
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{output.human_bytes(len(value))} of bytes"
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _array(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{output.clean(k)}: {describe_value(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, Sequence):
        shown = ", ".join(describe_value(item) for item in value[:_ITEMS])
        more = f", … {len(value):,} in all" if len(value) > _ITEMS else ""
        return f"[{shown}{more}]"
    return output.clean(repr(value))


def _value(sample: Any, name: Any) -> Any:
    return sample[name] if isinstance(sample, Mapping) else getattr(sample, name)


def _array(value: Any) -> str:
    if not value.shape:
        return str(value)
    size = "x".join(str(n) for n in value.shape)
    spread = ""
    if value.size and value.dtype.kind in "iuf":
        spread = f", {value.min():g} to {value.max():g}"
    return f"{value.dtype} {size}{spread}"
