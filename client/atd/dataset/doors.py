"""Doors from a data set to other libraries, each loaded when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atd.dataset.webdataset_door import pipeline as webdataset_pipeline

__all__ = ["webdataset_pipeline"]

_DOORS = {"webdataset_pipeline": ("atd.dataset.webdataset_door", "pipeline")}


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _DOORS[name]
    return getattr(importlib.import_module(module), attribute)
