"""Better words for errors about what somebody typed: which one was meant, what there is instead.

Looks only at what the local index knows: an error is no reason to ask the network again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from atd import service
from atd.errors import AtdError, BadSource, HandleAbsent, RecordAbsent
from atd.names import DATASET, RELEASE, release_key
from atd.refs import DatasetRef, FolderRef, parse_dataset_ref, parse_name, parse_ref
from atd.service import DatasetInfo


@contextmanager
def about(text: str) -> Iterator[None]:
    """Errors inside are about ``text``, a data set or a publisher; they keep their class."""
    try:
        yield
    except RecordAbsent as error:
        if parse_name(text) is not None:
            raise  # a name alone that nobody has: it says so itself
        ref = parse_dataset_ref(text)
        if not _is_meant(ref, error):
            raise
        raise _no_such_dataset(ref, error) from error
    except HandleAbsent as error:
        raise _nobody(text, error) from error


@contextmanager
def about_folder(text: str) -> Iterator[None]:
    """As `about`, where ``text`` may also name a folder of shards."""
    ref = parse_ref(text)
    try:
        with about(text):
            yield
    except BadSource as error:
        if not isinstance(ref, FolderRef) or "/" in ref.path:
            raise
        raise BadSource(
            f"{text} is no folder of shards here, and a published data set has a handle before it",
            next_step=f"write @HANDLE/{text}; see what is known with: atd ls",
        ) from error


def _is_meant(ref: DatasetRef, error: RecordAbsent) -> bool:
    """Whether what is absent is what was asked for, not something that it refers to."""
    meant = [f"/{DATASET}/{ref.name}"]
    if ref.version is not None:
        meant.append(f"/{RELEASE}/{release_key(ref.name, ref.version)}")
    return any(place in error.message for place in meant)


def _no_such_dataset(ref: DatasetRef, error: RecordAbsent) -> RecordAbsent:
    owner = str(ref).partition("/")[0]
    names = {info.name for info in _known() if ref.authority in (info.did, info.handle)}
    close = difflib.get_close_matches(ref.name, names - {ref.name}, n=1)
    if ref.name in names and not ref.is_latest:
        step = f"see its versions with: atd show {owner}/{ref.name}"
    elif close:
        step = f"did you mean {owner}/{close[0]}? see all with: atd ls {owner}"
    else:
        step = f"see what there is with: atd ls {owner}"
    return RecordAbsent(f"{ref} does not exist: {error.message}", next_step=step)


def _nobody(text: str, error: HandleAbsent) -> HandleAbsent:
    handle = text.removeprefix("at://").removeprefix("@").partition("/")[0].lower()
    handles = {info.handle for info in _known() if info.handle}
    close = difflib.get_close_matches(handle, handles, n=1)
    step = f"did you mean @{close[0]}?" if close else error.next_step
    return HandleAbsent(error.message, next_step=step)


def _known() -> list[DatasetInfo]:
    """Every data set in the index; none where it cannot be asked."""
    try:
        return service.ls()
    except AtdError:
        return []
