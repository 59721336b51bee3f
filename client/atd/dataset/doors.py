"""Doors from a data set to other libraries, each loaded when it is first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from atd.errors import LocalError

if TYPE_CHECKING:
    from atd.dataset.arrow_door import reader as arrow_reader
    from atd.dataset.arrow_door import table as arrow_table
    from atd.dataset.hf_door import dataset as hf_dataset
    from atd.dataset.pandas_door import frame as pandas_frame
    from atd.dataset.polars_door import frame as polars_frame
    from atd.dataset.ray_door import dataset as ray_dataset
    from atd.dataset.torch_door import batches as torch_batches
    from atd.dataset.webdataset_door import pipeline as webdataset_pipeline

__all__ = [
    "arrow_reader",
    "arrow_table",
    "hf_dataset",
    "pandas_frame",
    "polars_frame",
    "ray_dataset",
    "torch_batches",
    "webdataset_pipeline",
]

_DOORS = {
    "arrow_reader": ("atd.dataset.arrow_door", "reader", "arrow"),
    "arrow_table": ("atd.dataset.arrow_door", "table", "arrow"),
    "hf_dataset": ("atd.dataset.hf_door", "dataset", "hf"),
    "pandas_frame": ("atd.dataset.pandas_door", "frame", "pandas"),
    "polars_frame": ("atd.dataset.polars_door", "frame", "polars"),
    "ray_dataset": ("atd.dataset.ray_door", "dataset", "ray"),
    "torch_batches": ("atd.dataset.torch_door", "batches", "torch"),
    "webdataset_pipeline": ("atd.dataset.webdataset_door", "pipeline", ""),
}
"""Name here: module, name there, and the extra that brings the library (none: always there)."""


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute, extra = _DOORS[name]
    try:
        door = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").partition(".")[0] == "atd":
            raise
        raise LocalError(
            f"this needs {error.name}, which is not installed",
            next_step=f"install it with: pip install 'atd-catalog[{extra}]'",
        ) from error
    return getattr(door, attribute)
