"""A data set as a polars DataFrame: the only importer of polars.

Through Arrow, batch by batch: labels are categories, arrays of one shape are ``Array``, other ones
``List``, media are structs.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import polars as pl

from atd.dataset import arrow_door
from atd.dataset.arrow_columns import Form
from atd.dataset.flow import Flow

PolarsFrame: TypeAlias = pl.DataFrame

_FORM: Final = Form(arrays="fixed")


def frame(flow: Flow) -> PolarsFrame:
    """All samples, one row each."""
    made = pl.from_arrow(arrow_door.table(flow, _FORM))
    assert isinstance(made, pl.DataFrame)
    return made
