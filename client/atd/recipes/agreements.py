"""What a user agreed to, and where their data folders are: two small files of this machine.

``agreements.json`` (state) says when the agreement of a recipe was accepted, by the hash of its
text, and when a stranger's recipe was, by its URI and CID: another text is another agreement.
``folders.json`` (configuration) says where the folders lie that recipes cannot fetch. Both are
rewritten whole, under a lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atd.disk import storing
from atd.errors import NeedsConsent, RecipeError, StorageFault
from atd.files import private_folder
from atd.recipes.model import Recipe
from atd.recipes.places import write_json
from atd.recipes.strangers import Origin
from atd.settings import Settings

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def agreed(recipe: Recipe, settings: Settings) -> bool:
    """Whether nothing has to be agreed to, or it was."""
    return not recipe.agreement or _mark(recipe) in _read(_agreements(settings))


def agree(recipe: Recipe, settings: Settings) -> None:
    """Record that the user agreed to what ``recipe`` asks for."""
    with _changing(_agreements(settings)) as known:
        known[_mark(recipe)] = f"{recipe.name} {_now()}"


def trusted(origin: Origin, settings: Settings) -> bool:
    """Whether the user agreed to run this very recipe of a stranger."""
    return _trust_mark(origin) in _read(_agreements(settings))


def trust(origin: Origin, settings: Settings) -> None:
    """Record that the user agreed to run the recipe; another content is another recipe."""
    with _changing(_agreements(settings)) as known:
        known[_trust_mark(origin)] = f"{origin.uri} {_now()}"


def must_trust(origin: Origin) -> NeedsConsent:
    """The error that says that nobody agreed to run a stranger's recipe."""
    return NeedsConsent(
        f"{origin.uri} is a recipe of {origin.who}: what it fetches and from where is their choice",
        next_step="look at the plan, then answer yes, or pass --yes (in Python: agree=True)",
    )


def must_agree(recipe: Recipe) -> NeedsConsent:
    """The error that says what has to be agreed to."""
    return NeedsConsent(
        f"{recipe.name} asks for your agreement before anything is downloaded",
        next_step="read it, then answer yes, or pass --yes (in Python: agree=True)",
    )


def folders(settings: Settings) -> dict[str, str]:
    """Every data folder, by its key."""
    return _read(_folders(settings))


def folder_of(key: str, settings: Settings) -> Path:
    """The folder that the user said for ``key``.

    Raises:
        RecipeError: they said none, or it is not there.
    """
    found = folders(settings).get(key)
    if found is None:
        raise RecipeError(
            f"the data in the folder {key} have to be provided by you",
            next_step=f"get them, then say where they are: atd folder set {key} PATH",
        )
    return Path(found)


def set_folder(key: str, path: Path, settings: Settings) -> Path:
    """Remember that the data of ``key`` lie at ``path``; returns it absolute.

    Raises:
        RecipeError: it is not a folder, or the key is none.
    """
    if not _KEY.fullmatch(key):
        raise RecipeError(f"expected a key such as imagenet, found {key!a}")
    full = path.expanduser().absolute()
    if not full.is_dir():
        raise RecipeError(f"{full} is not a folder", next_step="give the path of one that is there")
    with _changing(_folders(settings)) as known:
        known[key] = str(full)
    return full


def remove_folder(key: str, settings: Settings) -> None:
    """Forget where the data of ``key`` lie; the folder itself stays.

    Raises:
        RecipeError: nothing was remembered.
    """
    with _changing(_folders(settings)) as known:
        if known.pop(key, None) is None:
            raise RecipeError(f"no folder is set for {key!a}", next_step="see: atd folder ls")


def _mark(recipe: Recipe) -> str:
    said = f"{recipe.name}\0{recipe.agreement}"
    return hashlib.sha256(said.encode()).hexdigest()


def _trust_mark(origin: Origin) -> str:
    return hashlib.sha256(f"{origin.uri}\0{origin.cid}".encode()).hexdigest()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _agreements(settings: Settings) -> Path:
    return settings.state_dir / "agreements.json"


def _folders(settings: Settings) -> Path:
    return settings.config_dir / "folders.json"


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageFault(
            f"{path} cannot be read: {error}", next_step="mend it, or remove it"
        ) from None
    if not isinstance(found, dict):
        raise StorageFault(f"{path} does not hold a table", next_step="mend it, or remove it")
    return {str(key): str(value) for key, value in found.items()}


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, str]]:
    """The table in ``path``, written back when the block ends well; one process at a time."""
    with storing(path):
        private_folder(path.parent)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with storing(path):
            fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(path)
        yield known
        write_json(path, known)
    finally:
        os.close(lock)
