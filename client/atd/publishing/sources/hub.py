"""Data sets of the Hugging Face Hub: ``hf://datasets/OWNER/NAME[@REVISION][/PATH]``.

Belongs here: the address, and fetching; the only module that imports ``huggingface_hub``, which
brings its own cache, account and endpoint (``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT``). What lies
there is then a folder as any other: no script of it is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from huggingface_hub import errors, snapshot_download
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from atd.errors import Absent, AtdError, BadSource, LoginRefused, Offline, Unreachable
from atd.protocol.syntax import quote
from atd.publishing.sources.source import Progress
from atd.settings import Settings

_ADDRESS: Final = re.compile(
    r"hf://datasets/(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.~-]+))?(?:/(?P<path>.+))?"
)

_ABOUT: Final = ("README.md", "CITATION.cff", "LICENSE*", "LICENCE*", "COPYING*")


def fetched(address: str, progress: Progress) -> Path:
    """A copy of the data set at ``address``, or of a file or folder in it, in the Hub's own cache.

    Raises:
        BadSource: no such address. Absent: there is no such data set, revision or path.
        LoginRefused: its owner wants to know who asks.
        Offline: the network is switched off and it is not in the cache.
        Unreachable: the Hub does not answer, or answers with an error.
    """
    match, path = _parsed(address)
    wanted = None if path == PurePosixPath() else [str(path), f"{path}/**"]
    progress(f"fetching {match['name']}", 0, None)
    there = _snapshot(address, match, wanted) / path
    if not there.exists():
        what = quote(str(path)) if match["path"] else "files"
        raise Absent(f"{quote(match['name'])} on the Hub has no {what}")
    return there


def about(address: str) -> Path:
    """A folder with what says what the data set at ``address`` is: README.md and its kin, if any.

    Raises:
        AtdError: as `fetched`.
    """
    match, _ = _parsed(address)
    return _snapshot(address, match, list(_ABOUT))


def _parsed(address: str) -> tuple[re.Match[str], PurePosixPath]:
    """The address in parts, and the path in the data set."""
    match = _ADDRESS.fullmatch(address.rstrip("/"))
    path = PurePosixPath(match["path"] or "") if match else PurePosixPath()
    if match is None or ".." in path.parts:
        raise BadSource(
            f"expected hf://datasets/OWNER/NAME, found {quote(address)}",
            next_step="add @REVISION or /PATH if need be: hf://datasets/alice/flowers@main/data",
        )
    return match, path


def _snapshot(address: str, match: re.Match[str], wanted: list[str] | None) -> Path:
    with _told(address):
        folder = snapshot_download(
            match["name"],
            repo_type="dataset",
            revision=match["revision"],
            allow_patterns=wanted,
            local_files_only=Settings.load().offline,
        )
    return Path(str(folder))


@contextmanager
def _told(address: str) -> Iterator[None]:
    """The Hub's errors as ours, and its own progress bars out of the way."""
    barred = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except (OSError, ValueError) as error:  # what all errors of that library are
        raise _ours(error, address) from error
    finally:
        if not barred:
            enable_progress_bars()


def _ours(error: Exception, address: str) -> AtdError:
    if isinstance(error, errors.GatedRepoError):
        return LoginRefused(
            f"{quote(address)} is for those who accepted its conditions",
            next_step="accept them on its page, and set HF_TOKEN",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return Absent(f"the Hub knows no {quote(address)}, or keeps it private")
    if isinstance(error, errors.HFValidationError):
        return BadSource(f"the Hub takes no such address: {quote(address)}")
    if Settings.load().offline:
        return Offline(f"{quote(address)} is not in the Hub's cache, and the network is off")
    return Unreachable(f"the Hub does not give {quote(address)}: {quote(str(error), 120)}")
