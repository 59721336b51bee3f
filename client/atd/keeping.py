"""Data sets on this machine: what is kept of them, what is newer, what goes.

As in `atd.service`, each function is one question to the daemon, answered with its own JSON object;
``connection`` is the daemon to ask, or the one that the environment names where it is None. All
raise what the daemon raised. A data set is *kept* once it was pulled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from atd import api
from atd.connection import Connection, Param
from atd.errors import AtdError, DaemonError, LocalError
from atd.service import OnProgress, finish, resolved

Answer = Mapping[str, Any]


def held(ref: str, split: str | None = None, *, connection: Connection | None = None) -> Answer:
    """What of a data set is here: of the release that is kept, else of the latest.

    Args:
        split: name each shard of this split as well, under ``files``.

    Returns:
        ``uri, cid, did, handle, name, version, kept, splits``, as
        ``network.atd.keeping.getDataset`` has them.
    """
    question: dict[str, Param] = {"ref": str(resolved(ref, connection)), "split": split}
    return (connection or Connection()).call(api.GET_KEPT, question)


def kept_digests(
    answer: Answer, splits: Iterable[str], *, connection: Connection | None = None
) -> frozenset[str]:
    """The digests of the shards of a release that are here.

    Args:
        answer: names the release by ``did``, ``name`` and ``version``.
        splits: of which splits.

    Raises:
        LocalError: there are none.
    """
    ref = f"{answer['did']}/{answer['name']}@{answer['version']}"
    found = frozenset(
        one["digest"]
        for name in splits
        for split in held(ref, name, connection=connection)["splits"]
        for one in split["files"]
        if one["stored"]
    )
    if not found:
        raise LocalError(
            f"nothing of {ref} is here", next_step="fetch some of it with: atd pull REF --shard N"
        )
    return found


def remove(
    ref: str,
    *,
    splits: Iterable[str] = (),
    shards: Iterable[int] | None = None,
    force: bool = False,
    dry_run: bool = False,
    connection: Connection | None = None,
) -> Answer:
    """Remove the shards of a data set from this machine; the publisher is not concerned.

    What another kept data set has too stays (``shared``), and so does what is being read
    (``inUse``) or pinned (``pinned``). A whole data set is kept no longer, if nothing stays.

    Args:
        ref: one version of it, or all.
        splits: only these.
        shards: only these of the one split, counted from 0.
        force: pinned ones too; their pins go.
        dry_run: only say what would go.

    Raises:
        LocalError: there is no such split or shard, or nothing of it is here.
    """
    question: dict[str, Any] = {"ref": str(resolved(ref, connection)), "splits": list(splits)}
    question |= {"force": force, "dryRun": dry_run}
    if shards is not None:
        question["shards"] = list(shards)
    return (connection or Connection()).call(api.REMOVE, input=question)


def outdated(ref: str | None = None, *, connection: Connection | None = None) -> list[Answer]:
    """The data sets that are kept, or one of them, each compared with its publisher.

    Returns:
        for each ``uri, cid, did, handle, name, version, outdated``; where it is, also ``latest``,
        ``shards`` (those that take the place of what is here), ``size`` and ``replaced``; where its
        publisher could not be asked, ``error`` and ``detail``.

    Raises:
        LocalError: this one is not kept.
    """
    question: dict[str, Param] = {"ref": None if ref is None else str(resolved(ref, connection))}
    return list((connection or Connection()).call(api.LIST_OUTDATED, question)["datasets"])


def pull_outdated(
    ref: str | None = None,
    *,
    on_dataset: Callable[[Answer], object] | None = None,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> list[Answer]:
    """Bring what is kept up to the newest release; fetches only the shards that changed.

    Of each data set, the shards that take the place of those that are here. Interrupted anywhere,
    it is done again and fetches what is missing. Shards that the newer release does not have stay
    until `remove` or the quota takes them.

    Args:
        ref: only this data set.
        on_dataset: called with each that is outdated, as `outdated` has it, before it is fetched.

    Returns:
        what `outdated` said of each, with ``pulled``, the result of the pull, where there was one;
        with ``error`` and ``detail`` where it failed, which keeps nobody from the others.
    """
    done: list[Answer] = []
    for one in outdated(ref, connection=connection):
        if not one["outdated"]:
            done.append(one)
            continue
        if on_dataset is not None:
            on_dataset(one)
        question = {"ref": f"{one['did']}/{one['name']}@{one['latest']}", "changed": True}
        try:
            events = (connection or Connection()).stream(api.PULL, question)
            done.append({**one, "pulled": finish(events, on_progress)})
        except DaemonError:
            raise  # so it would be with the others
        except AtdError as error:
            done.append({**one, "error": type(error).__name__, "detail": str(error)})
    return done


def untrack(ref: str, *, connection: Connection | None = None) -> Answer:
    """Keep a data set no longer. Its files stay: ``shards``, ``size`` and ``pinned`` say which.

    Raises:
        LocalError: it is not kept.
    """
    question = {"ref": str(resolved(ref, connection))}
    return (connection or Connection()).call(api.UNTRACK, input=question)


def collect(*, dry_run: bool = False, connection: Connection | None = None) -> Answer:
    """Remove what is left over of downloads, publications and shards that are gone.

    Returns:
        ``leftovers`` (each with ``kind``, ``path`` and ``size``), ``freed`` in bytes, ``dryRun``.
    """
    return (connection or Connection()).call(api.COLLECT, input={"dryRun": dry_run})
