"""``atd.load``: from what a user types to a data set."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from atd import api
from atd.connection import Connection, Param
from atd.dataset.dataset import Dataset
from atd.dataset.flow import Flow
from atd.dataset.selection import Selection
from atd.dataset.source import OnProgress, ShardSource, folder_source, release_source
from atd.dataset.typed import Ref, TypedDataset
from atd.errors import LocalError, RecordAbsent
from atd.locks import pinned_answer
from atd.refs import DatasetRef, FolderRef, parse_name, parse_ref
from atd.refs import Ref as Place
from atd.schema.resolve import resolve
from atd.schema.row import Row
from atd.service import find_name

T = TypeVar("T")
B = TypeVar("B")

_MAX_SAID: Final = 500


@overload
def load(
    ref: Ref[T, B],
    *,
    split: str | None = None,
    schema: None = None,
    allow_previous_key: bool = False,
    refresh: bool = False,
    lock: str | Path | None = None,
    shards: str = "all",
    connection: Connection | None = None,
    on_progress: OnProgress | None = None,
) -> TypedDataset[T, B]: ...
@overload
def load(
    ref: str,
    *,
    split: str | None = None,
    schema: None = None,
    allow_previous_key: bool = False,
    refresh: bool = False,
    lock: str | Path | None = None,
    shards: str = "all",
    connection: Connection | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset[Row]: ...
@overload
def load(
    ref: str | Ref[Any, Any],
    *,
    split: str | None = None,
    schema: type[T],
    allow_previous_key: bool = False,
    refresh: bool = False,
    lock: str | Path | None = None,
    shards: str = "all",
    connection: Connection | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset[T]: ...
def load(
    ref: str | Ref[Any, Any],
    *,
    split: str | None = None,
    schema: type[Any] | None = None,
    allow_previous_key: bool = False,
    refresh: bool = False,
    lock: str | Path | None = None,
    shards: str = "all",
    connection: Connection | None = None,
    on_progress: OnProgress | None = None,
) -> Dataset[Any]:
    """Open a data set: every record proved now, every shard before its first byte is read.

    Args:
        ref: ``@handle/name``, ``handle/name``, ``did:…/name`` or ``at://…``, with ``@version`` and
            ``:split``; a folder made by ``atd pack``; or shards outside any catalogue, as an
            ``http(s)://`` or ``s3://`` address (of ``atd.json``'s folder, or of tar files with
            ``{000..009}``, which are fetched now), proved only where an ``atd.json`` says how;
            or a name alone, where no folder is called so and it means one data set among those
            that are known here (a warning says which: programs had better name the publisher);
            or a typed `Ref` of any of these, which brings the class to read samples as.
        split: which split; all of them, one after the other, where it is None.
        schema: a class to read samples as; rows where it is None.
        allow_previous_key: accept records signed by an earlier key of the publisher.
        refresh: also ask again who the publisher is, even where that was learned within the hour.
            The newest release is asked for in any case.
        lock: a lockfile (`atd.lock`): load what it pins, and nothing else; offline too.
        shards: ``all``, each fetched when it is needed; or ``kept``, those that are in the store
            now (`atd pull --shard`), as if there were no others: nothing is fetched, offline too.
        connection: the daemon to ask; the one that the environment names where it is None.
        on_progress: called while a published release is read, in whichever thread waits for a
            shard, with a mapping: ``name`` of the shard, ``done`` of its ``total`` bytes, and
            ``shards`` of ``shardsTotal`` that are there. Not in loader workers.

    Warns:
        UserWarning: the publisher says that the data set should no longer be used.

    Raises:
        LocalError: ``shards`` is neither; or nothing of a published data set is kept, where only
            that is to be read.
        SchemaMismatch: the class cannot read what is published.
        RecordAbsent: it is proved that the publisher has no such data set.
        PinMismatch: what is published is not what ``lock`` pins.
        AtdError: whatever else stood in the way; see `atd.errors`.
    """
    if shards not in ("all", "kept"):
        raise LocalError(f"expected the shards all or kept, got {shards!r}")
    place = _looked_up(parse_ref(str(ref)), connection)
    source: ShardSource
    if isinstance(place, DatasetRef):
        daemon = connection or Connection()
        wanted = split or place.split
        question: dict[str, Param] = {
            "ref": str(place),
            "refresh": refresh,
            "allowPreviousKey": allow_previous_key,
        }
        if lock is None:
            answer = daemon.call(api.GET_RELEASE, question)
        else:
            answer = pinned_answer(lock, place, question, daemon)
        _warn(place, answer.get("deprecated"))
        kept = shards == "kept"
        source = release_source(answer, wanted, daemon, on_progress, kept=kept)
    elif lock is not None:
        raise LocalError(f"a lockfile pins published data sets, not {place}")
    elif isinstance(place, FolderRef):
        source = folder_source(Path(place.path).expanduser(), split)
    else:
        source = _outside().url_source(place.pattern, split)
    reader = ref.sample if isinstance(ref, Ref) and schema is None else schema
    flow = Flow(source, Selection.whole(source.counts), resolve(source.schema, reader))
    return TypedDataset(flow) if isinstance(ref, Ref) else Dataset(flow)


def _looked_up(place: Place, connection: Connection | None) -> Place:
    """``place``; or, where it is a name alone and no such folder is there, what it means."""
    if not isinstance(place, FolderRef) or Path(place.path).exists():
        return place
    name = parse_name(place.path)
    if name is None:
        return place
    try:
        found = find_name(name, connection)
    except RecordAbsent:
        return place  # then the folder is what is missing
    warnings.warn(
        f"{place.path} means {found.friendly} here ({found.reason}); write {found.ref}",
        stacklevel=3,
    )
    return found.ref


def _warn(place: Place, deprecated: str | None) -> None:
    """Say that the publisher would rather have another data set used."""
    if deprecated is not None:
        said = ascii(" ".join(deprecated.split()))[1:-1]
        short = said if len(said) <= _MAX_SAID else f"{said[:_MAX_SAID]}…"
        warnings.warn(f"{place} is deprecated: {short}", stacklevel=3)


def _outside() -> Any:
    """The module for bare addresses: few need it, and it brings urllib, tempfile and more."""
    return importlib.import_module("atd.dataset.outside")
