"""A data set as a pandas DataFrame: the only importer of pandas.

What a column is depends on the schema, not on the values: numbers have their dtype, or pandas' own
nullable one where the field may be missing; labels are categories; text is ``str`` as pandas has
it; arrays, media (their bytes), lists and structs are objects, an array in its shape.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from atd.dataset import arrow_door
from atd.dataset.arrow_columns import Form, column, member
from atd.dataset.flow import Flow
from atd.schema import fields
from atd.schema.kinds import Kind
from atd.shards.media import Media

PandasFrame: TypeAlias = pd.DataFrame

_FORM: Final = Form(arrays="fixed")
_NULLABLE: Final[dict[Any, Any]] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
}


def frame(flow: Flow) -> PandasFrame:
    """All samples, one row each."""
    whole = arrow_door.plan(flow, _FORM)
    kept: dict[str, list[Any]] = {name: [] for name, _ in whole.columns}
    for sample in whole.samples:
        for name, kind in whole.columns:
            kept[name].append(_object(kind, member(sample, name)))
    return pd.DataFrame(
        {
            name: _series(kind, kept.pop(name), whole.schema.field(name))
            for name, kind in whole.columns
        }
    )


def _object(kind: Kind, value: Any) -> Any:
    """``value`` as a cell: arrays that are views of a shard are copied, media are their bytes."""
    if isinstance(kind, fields.Array) and value is not None:
        return np.array(value, dtype=kind.dtype)
    return value.bytes if isinstance(value, Media) else value


def _series(kind: Kind, values: list[Any], field: pa.Field) -> pd.Series[Any]:
    match kind:
        case fields.Bool() | fields.Int() | fields.Float() | fields.Timestamp() | fields.String():
            pass
        case fields.Label() | fields.Text():
            pass
        case _:
            cells = np.empty(len(values), dtype=object)
            cells[:] = values
            return pd.Series(cells, dtype=object)
    array = column(kind, values, _FORM)
    mapper = _NULLABLE.get if field.nullable else None
    series: pd.Series[Any] = array.to_pandas(types_mapper=mapper)
    return series
