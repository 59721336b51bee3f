"""``atd.ray``: data sets as sources of Ray Data. Brings nothing before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atd.connection import Connection
from atd.dataset import doors
from atd.dataset.load import load
from atd.errors import LocalError

if TYPE_CHECKING:
    from atd.dataset.ray_door import RayDataset

__all__ = ["read"]


def read(
    ref: str,
    *,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    schema: type[Any] | None = None,
    allow_previous_key: bool = False,
    lock: str | Path | None = None,
    connection: Connection | None = None,
    **options: Any,
) -> RayDataset:
    """A data set as a ``ray.data.Dataset``, with one read task for each shard.

    The records are proved now, by the daemon of this machine. A read task opens its shard where it
    runs, and every byte is proved there before it is decoded. So a machine of the cluster needs
    atd, and either a daemon that can reach the shards (it is started when it is needed), or, for a
    folder, the same folder by the same path.

    Example:
        >>> atd.ray.read("@alice.example.com/flowers", split="train", columns=["label"])

    Args:
        ref, split, allow_previous_key, lock, connection: as for `atd.load`.
        columns: the fields to read; the others are not decoded. All where it is None.
        schema: a class whose fields are read instead; see `atd.load`.
        options: for ``ray.data.read_datasource``: ``concurrency``, ``num_cpus`` …

    Raises:
        LocalError: Ray is not installed, there is no such column, or both columns and a class.
        AtdError: as `atd.load`.
    """
    if columns is not None and schema is not None:
        raise LocalError("expected columns or a class, got both: leave the fields out of the class")
    # A worker starts elsewhere.
    place = str(Path(ref).absolute()) if Path(ref).is_dir() else ref
    opened: Any = load(
        place,
        split=split,
        allow_previous_key=allow_previous_key,
        lock=lock,
        connection=connection,
    )
    if columns is not None:
        opened = opened.select(*columns)
    elif schema is not None:
        opened = opened.as_type(schema)
    found: RayDataset = doors.ray_dataset(opened.flow, **options)
    return found
