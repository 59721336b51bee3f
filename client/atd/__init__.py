"""atd: datasets as citizens of the AT Protocol.

Publish, discover by handle, prove, load::

    import atd

    ds = atd.load("@alice.example.com/flowers", split="train")
    for batch in ds.shuffled(seed=0).batched(256):
        ...

``import atd`` loads almost nothing: each name below brings its room when it is first used
(PEP 562), so that loader workers and the command line stay light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from atd import errors

__version__ = "0.1.0"

if TYPE_CHECKING:
    from atd import ray
    from atd.changes import ChangeInfo, history, log
    from atd.connection import Connection
    from atd.dataset.dataset import Dataset
    from atd.dataset.load import load
    from atd.dataset.mixing import concat, mix
    from atd.dataset.typed import Columns, Ref
    from atd.editing import Edited, deprecate, edit, tag
    from atd.keeping import outdated, remove, untrack
    from atd.locks import lock
    from atd.proofs import check_proof, prove
    from atd.publishing import PublishedRelease, publish, schema_diff, writer
    from atd.publishing import pack_folder as pack
    from atd.recipes.classes import recipe
    from atd.recipes.prepare import Prepared, prepare_dataset
    from atd.schema.classes import About, Shape, sample, schema_of
    from atd.schema.fields import Label
    from atd.schema.row import Row
    from atd.service import (
        DatasetDetail,
        DatasetInfo,
        ls,
        pull,
        search,
        show,
        unpublish,
        verify,
    )
    from atd.sessions import accounts, login, logout
    from atd.shards.batch import Batch, Ragged
    from atd.shards.media import Audio, Image
    from atd.statistics.asking import ReleaseStatistics, stats

_ROOMS = {
    "atd.changes": ("ChangeInfo", "history", "log"),
    "atd.connection": ("Connection",),
    "atd.dataset.dataset": ("Dataset",),
    "atd.dataset.load": ("load",),
    "atd.dataset.mixing": ("concat", "mix"),
    "atd.dataset.typed": ("Columns", "Ref"),
    "atd.editing": ("Edited", "deprecate", "edit", "tag"),
    "atd.keeping": ("outdated", "remove", "untrack"),
    "atd.locks": ("lock",),
    "atd.proofs": ("check_proof", "prove"),
    "atd.publishing": ("PublishedRelease", "publish", "schema_diff", "writer"),
    "atd.recipes.classes": ("recipe",),
    "atd.recipes.prepare": ("Prepared", "prepare_dataset"),
    "atd.schema.classes": ("About", "Shape", "sample", "schema_of"),
    "atd.schema.fields": ("Label",),
    "atd.schema.row": ("Row",),
    "atd.service": (
        "DatasetDetail",
        "DatasetInfo",
        "ls",
        "pull",
        "search",
        "show",
        "unpublish",
        "verify",
    ),
    "atd.sessions": ("accounts", "login", "logout"),
    "atd.shards.batch": ("Batch", "Ragged"),
    "atd.shards.media": ("Audio", "Image"),
    "atd.statistics.asking": ("ReleaseStatistics", "stats"),
}
_HOMES = {name: (room, name) for room, names in _ROOMS.items() for name in names}
_HOMES["pack"] = ("atd.publishing", "pack_folder")

__all__ = [
    "About",
    "Audio",
    "Batch",
    "ChangeInfo",
    "Columns",
    "Connection",
    "Dataset",
    "DatasetDetail",
    "DatasetInfo",
    "Edited",
    "Image",
    "Label",
    "Prepared",
    "PublishedRelease",
    "Ragged",
    "Ref",
    "ReleaseStatistics",
    "Row",
    "Shape",
    "__version__",
    "accounts",
    "check_proof",
    "concat",
    "deprecate",
    "edit",
    "errors",
    "history",
    "load",
    "lock",
    "log",
    "login",
    "logout",
    "ls",
    "mix",
    "outdated",
    "pack",
    "prepare_dataset",
    "prove",
    "publish",
    "pull",
    "ray",
    "recipe",
    "remove",
    "sample",
    "schema_diff",
    "schema_of",
    "search",
    "show",
    "stats",
    "tag",
    "unpublish",
    "untrack",
    "verify",
    "writer",
]


_MODULES = frozenset({"ray"})
"""Modules that are public themselves."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"atd.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'atd' has no attribute {name!r}")
    room, own_name = home
    value = getattr(importlib.import_module(room), own_name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
