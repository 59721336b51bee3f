"""Filling in what a recipe does not say of its downloads: their sizes and hashes.

The file is edited as text, so that comments and order stay: in TOML two lines go below the head of
the resource's table. What comes out is read again and compared with what was meant; a file that is
written in another way is left as it was.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atd.disk import storing, write_whole
from atd.errors import RecipeError
from atd.recipes import catalogue, published
from atd.recipes.access import Access
from atd.recipes.downloads import download
from atd.recipes.engine import Event
from atd.recipes.model import Recipe, Resource
from atd.recipes.values import from_value, to_value
from atd.settings import Settings

Sealed = dict[str, tuple[int, str]]
"""Size and sha-256 by the name of the resource."""


def seal(
    file: str | os.PathLike[str], settings: Settings, report: Callable[[Event], None]
) -> Sealed:
    """Fill in the sizes and hashes that the recipe in ``file`` lacks; returns those.

    Raises:
        RecipeError: it is Python, or cannot be edited.
        AtdError: as `atd.recipes.downloads.download`.
    """
    path = Path(file)
    if path.suffix not in (".toml", ".json"):
        raise RecipeError(
            f"expected a recipe in TOML or JSON, found {path}",
            next_step="of a recipe in Python: write size= and sha256= where it says the address",
        )
    (recipe,) = catalogue.load_file(path)
    found = _found(recipe, settings, report)
    if found:
        _write(path, recipe, found)
    return found


def _found(recipe: Recipe, settings: Settings, report: Callable[[Event], None]) -> Sealed:
    access = Access(settings, locate=lambda did: published.locate(did, settings))
    found: Sealed = {}
    with tempfile.TemporaryDirectory(prefix="atd-seal-", dir=_spare(settings)) as folder:
        for name, one in recipe.resources.items():
            if not one.is_download or (one.size is not None and one.digest is not None):
                continue

            def told(done: int, total: int | None, name: str = name) -> None:
                report(Event(name, "fetching", done, total))

            target = Path(folder, name)
            got = download(
                access.addresses(one),
                target,
                sha256=one.digest,
                size=one.size,
                access=access.of(one),
                report=told,
            )
            target.unlink()
            found[name] = (got.size, got.sha256)
    return found


def _spare(settings: Settings) -> Path:
    folder = settings.cache_dir
    with storing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _write(path: Path, recipe: Recipe, found: Sealed) -> None:
    resources = {
        name: _with(one, *found[name]) if name in found else one
        for name, one in recipe.resources.items()
    }
    wanted = to_value(replace(recipe, resources=resources))
    text = path.read_text("utf-8")
    edited = _toml(text, recipe, found) if path.suffix == ".toml" else _json(text, found)
    if _read(path.suffix, edited) != wanted:
        lines = "; ".join(f"{name}: size = {s}, sha256 = {h}" for name, (s, h) in found.items())
        raise RecipeError(
            f"{path} is written in a way that is not edited here",
            next_step=f"write into it: {lines}",
        )
    write_whole(path, edited.encode())


def _with(one: Resource, size: int, sha256: str) -> Resource:
    return replace(one, size=size, sha256=None if one.kind == "blob" else sha256)


def _read(suffix: str, text: str) -> Mapping[str, Any] | None:
    try:
        return to_value(from_value(tomllib.loads(text) if suffix == ".toml" else json.loads(text)))
    except (ValueError, RecipeError):
        return None


def _toml(text: str, recipe: Recipe, found: Sealed) -> str:
    """``text`` with two lines, or the one that lacks, below the head of each table."""
    for name, (size, sha256) in found.items():
        one = recipe.resources[name]
        lines = [] if one.size is not None else [f"size = {size}\n"]
        lines += [] if one.digest is not None else [f'sha256 = "{sha256}"\n']
        head = re.compile(rf'^[ \t]*\[[ \t]*resources[ \t]*\.[ \t]*"?{name}"?[ \t]*\].*\n', re.M)
        match = head.search(text)
        if match is not None:
            text = text[: match.end()] + "".join(lines) + text[match.end() :]
    return text


def _json(text: str, found: Sealed) -> str:
    value = json.loads(text)
    for name, (size, sha256) in found.items():
        one = value["resources"][name]
        one["size"] = size
        if one.get("kind", "file") != "blob":
            one["sha256"] = sha256
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
