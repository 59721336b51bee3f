"""Small parts that several tests make recipes from."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np

from atd.recipes.engine import Options
from atd.recipes.model import Reader, Recipe, Resource
from atd.recipes.prepare import Prepared, plan, run
from atd.settings import Settings


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """``array`` of uint8 as an IDX file."""
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def recipe(data: dict[str, Reader] | None = None, /, **resources: Resource) -> Recipe:
    return Recipe("org.example.data", resources, data or {})


def prepared(what: Any, settings: Settings, **options: Any) -> Prepared:
    """What `atd.prepare_dataset` does, with any options of the engine."""
    return run(plan(what, settings), settings, Options(**options), lambda event: None)


def left(settings: Settings) -> list[str]:
    """Every file of prepared data but states and locks, from the folder of all."""
    folder = settings.cache_dir / "prepared"
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(one) for one in found if not {"state", "locks"} & {*one.parts[:4]})


def noise(count: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return np.random.default_rng(seed).bytes(count)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path
