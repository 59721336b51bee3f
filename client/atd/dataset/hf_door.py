"""A data set as Hugging Face's ``datasets.Dataset``: the only importer of that library.

The samples are written, batch by batch, to an Arrow file that is then mapped: memory stays flat.
Labels are ``ClassLabel``, images ``Image``, arrays of one shape with 2 to 5 dimensions ``Array2D``
to ``Array5D``; sounds and films keep their bytes until they are cast to decode.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import datasets
import pyarrow as pa

from atd.dataset import arrow_door
from atd.dataset.arrow_columns import Form, arrow_type
from atd.dataset.arrow_door import Plan
from atd.dataset.cursor import state_of
from atd.dataset.flow import Flow
from atd.schema import fields
from atd.schema.kinds import Kind

HfDataset: TypeAlias = datasets.Dataset

_FORM: Final = Form(arrays="lists", labels="index")
_SHAPED: Final = {
    2: datasets.Array2D,
    3: datasets.Array3D,
    4: datasets.Array4D,
    5: datasets.Array5D,
}


def dataset(flow: Flow, folder: str | os.PathLike[str] | None = None) -> HfDataset:
    """All samples, in a file of ``folder`` (of the cache of ``datasets`` where it is None)."""
    place = Path(folder or Path(datasets.config.HF_DATASETS_CACHE) / "atd")
    place.mkdir(parents=True, exist_ok=True)
    whole = arrow_door.plan(flow, _FORM)
    features = datasets.Features({name: _shaped(kind) for name, kind in whole.columns})
    path = place / f"{_name(flow)}.arrow"
    _write(whole, features.arrow_schema, path)
    return datasets.Dataset.from_file(str(path))


def _shaped(kind: Kind) -> Any:
    """What ``datasets`` calls ``kind``; it knows arrays with a shape, but not within others."""
    if isinstance(kind, fields.Array) and kind.shape is not None and kind.dtype[0] != "c":
        found = _SHAPED.get(len(kind.shape))
        if found is not None:
            return found(shape=kind.shape, dtype=kind.dtype)
    return _plain(kind)


def _plain(kind: Kind) -> Any:
    match kind:
        case fields.Label():
            return datasets.ClassLabel(names=list(kind.names))
        case fields.Image():
            return datasets.Image()
        case fields.Audio():
            return datasets.Audio(decode=False)
        case fields.Video():
            return datasets.Video(decode=False)
        case fields.List():
            return datasets.List(_plain(kind.item))
        case fields.Struct():
            return {field.name: _plain(field.kind) for field in kind.fields}
    return datasets.features.features.generate_from_arrow_type(arrow_type(kind, _FORM))


def _write(whole: Plan, schema: pa.Schema, path: Path) -> None:
    """The batches as an Arrow stream, whole or not at all; a file in use is replaced, not cut."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            with pa.ipc.new_stream(file, schema) as stream:
                for batch in _typed(whole.batches(arrow_door.BATCH), schema):
                    stream.write_batch(batch)
            file.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _typed(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The same batches with the types of ``datasets``, whose arrays wrap lists of lists."""
    for batch in batches:
        arrays = [
            pa.ExtensionArray.from_storage(field.type, array)
            if isinstance(field.type, pa.BaseExtensionType)
            else array.cast(field.type)
            for field, array in zip(schema, batch.columns, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _name(flow: Flow) -> str:
    """A name for the file: the same samples in the same order go by the same one."""
    told = [state_of(flow, 0), flow.world, len(flow.stages)]
    return "atd-" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
