"""Faults of tables that Arrow reads: Parquet, Arrow files, saved data sets, DataFrames."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq

from publish import pictures
from publishing.sources.faults.case import Case, Cell, Not, giant, unreadable
from publishing.sources.faults.forms import Form, Write, cells_of
from publishing.sources.faults.media import NOTHING_INSIDE, written

_NOTED = {b"huggingface": b'{"info": {"features": {"image": {"_type": "Image"}}}}'}
_ROW_NUMBERS = Not("keys are the numbers of rows")
_WHO = "who would say which of the tables is wrong?"
_HUGE = 8 * 1024**2


def table(**columns: Any) -> Any:
    """A table whose column ``image`` holds files, where it has one."""
    made = pa.table(columns)
    return made.replace_schema_metadata(_NOTED) if "image" in columns else made


def pictured() -> Any:
    """Three rows, of which the second has no whole picture."""
    whole = pictures.encoded()
    files = [{"bytes": data, "path": "x.png"} for data in (whole, whole[:80], whole)]
    return table(n=[0, 1, 2], image=files)


def repeated() -> Any:
    """200 rows with one value of 8 MB: 1.6 GB as Python values."""
    value = pa.array([b"\0" * _HUGE])
    return pa.table({"x": pa.DictionaryArray.from_arrays(pa.array([0] * 200), value)})


def _parquet(made: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(made, out, **options)
    return out.getvalue()


def _arrow(made: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_file(out, made.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(made, max_chunksize=100)
    return out.getvalue()


def _spoiled() -> bytes:
    """Three row groups of 100 rows; no page of the second can be read."""
    made = pa.table({"n": list(range(300))})
    data = bytearray(_parquet(made, row_group_size=100, compression="zstd", use_dictionary=False))
    chunk = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0)
    begin = chunk.data_page_offset
    data[begin : begin + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    return bytes(data)


def _alone(name: str, write: Write) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        write(folder / name)
        return folder

    return make


def _cells(form: Form, encode: Callable[[Any], bytes]) -> dict[str, Cell]:
    name = f"x{form.suffix}"
    return {
        **cells_of(form),
        "bad row": Case(
            _alone(name, written(encode(pictured()))), (r"row 1: image \(not a decodable",), 2
        ),
        "mixed schemas": Case(
            form.beside(written(encode(table(n=["x"])))),
            (rf"n int64 in .*train-0\{form.suffix}; n string in .*test-1\{form.suffix}",),
            None,
            _WHO,
        ),
        "duplicate keys": _ROW_NUMBERS,
        "slip": NOTHING_INSIDE,
        "bomb": Case(_alone(name, written(encode(repeated()))), (), 200, packed=False),
    }


_GOOD = table(n=[1, 2])
_PARQUET = Form(".parquet", written(_parquet(_GOOD)), written(_parquet(_GOOD)[:-9]))
_ARROW = Form(".arrow", written(_arrow(_GOOD)), written(_arrow(_GOOD)[:-9]))

PARQUET: dict[str, Cell] = {
    **_cells(_PARQUET, _parquet),
    "corrupt": Case(
        _alone("x.parquet", written(_spoiled())), (r"row group 1 \(rows 100 to 199\)",), 200
    ),
}
ARROW = _cells(_ARROW, lambda made: _arrow(made, compression="zstd"))


# ------------------------------------------------------------------ saved by datasets


def _saved(second: Write, name: str = "data-1.arrow") -> Callable[[Path], Path]:
    """A folder that ``save_to_disk`` wrote, of two files."""

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True)
        (folder / "data-0.arrow").write_bytes(_arrow(_GOOD))
        second(folder / "data-1.arrow")
        listed = [{"filename": "data-0.arrow"}, {"filename": name}]
        (folder / "state.json").write_text(json.dumps({"_data_files": listed}))
        return folder

    return make


def _outside(path: Path) -> None:
    real = path.parent.parent / "real.arrow"
    real.write_bytes(_arrow(_GOOD))
    path.symlink_to(real)


def _gone(folder: Path) -> None:
    (folder / "data-1.arrow").unlink()


_SECOND = r"data-1\.arrow"

SAVED: dict[str, Cell] = {
    "corrupt": Case(_saved(written(_arrow(_GOOD)[:-9])), (_SECOND,), 2),
    "bad row": Not("its files are Arrow files, read by the same reader: see there"),
    "mixed schemas": Case(
        _saved(written(_arrow(table(n=["x"])))), ("n int64 in .*; n string in .*",), None, _WHO
    ),
    "unreadable": Case(_saved(unreadable), (_SECOND,), 2),
    "pipe": Case(_saved(os.mkfifo), (_SECOND,), 2),
    "vanished": Case(
        _saved(written(_arrow(_GOOD))), (_SECOND,), None, "it was good before", after=_gone
    ),
    "duplicate keys": _ROW_NUMBERS,
    "empty": Case(_saved(Path.touch), (_SECOND,), 2),
    "link loop": Not("it is read by its list of files, not by its folders"),
    "link out": Case(_saved(_outside), (), 4),
    "slip": Case(
        _saved(Path.touch, "../data-1.arrow"),
        (r"expected the plain name of a file, found '\.\./data",),
        None,
        "its list of files is not to be trusted",
    ),
    "bomb": Not("its files are Arrow files, read by the same reader: see there"),
    "4 GB": Case(_saved(giant), (_SECOND,), 2),
    "names": Not("datasets numbers its files; other names are those of slip"),
}

_NO_FILE = Not("a table in memory is no file")

FRAMES: dict[str, Cell] = {
    "corrupt": _NO_FILE,
    "bad row": Case(lambda _: pictured(), (r"row 1: image \(not a decodable",), 2),
    "mixed schemas": Case(
        lambda _: {
            "train": pandas.DataFrame({"n": [1]}),
            "test": pandas.DataFrame({"n": ["x"]}),
        },
        ("n int64 in DataFrame; n .*string in DataFrame",),
        None,
        _WHO,
    ),
    **dict.fromkeys(("unreadable", "pipe", "vanished", "link loop", "link out", "slip"), _NO_FILE),
    "duplicate keys": _ROW_NUMBERS,
    "empty": Case(lambda _: pandas.DataFrame({"n": []}), ("no rows",), None, "nothing is left"),
    "bomb": Case(lambda _: repeated(), (), 200, packed=False),
    "4 GB": Not("it is in memory already"),
    "names": Case(lambda _: pandas.DataFrame({"имя": ["ж"], "two\nlines": [1]}), (), 1),
}
