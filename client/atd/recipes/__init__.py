"""Recipes: how a data set is prepared on this machine, declared; and the engine that does it.

::

    name ── catalogue ──▶ Recipe ── variants ──▶ Plan ── engine ──▶ files at their final paths
                          (model)                         ├── making      one resource
                          (values: JSON, TOML)            ├── downloads   ── fetching (the door)
                          (classes: @atd.recipe)          ├── streams, archives
                                                          └── places      folders, locks, states
    Prepared ── parts ── readers ──▶ arrays, rows, lines, images

This module has what recipes are written with: ``from atd import recipes``, then `recipes.file`,
`recipes.gunzip` and their kin. Light: no numpy, no network.
"""

from __future__ import annotations

from atd.recipes.writing import (
    archive,
    blob,
    bunzip2,
    compute,
    concat,
    file,
    folder,
    gunzip,
    hf_file,
    lines,
    link,
    reader,
    untar,
    unxz,
    unzip,
    unzstd,
)

__all__ = [
    "archive",
    "blob",
    "bunzip2",
    "compute",
    "concat",
    "file",
    "folder",
    "gunzip",
    "hf_file",
    "lines",
    "link",
    "reader",
    "untar",
    "unxz",
    "unzip",
    "unzstd",
]
