"""What a program asks of the catalogue: each function is one question to the local daemon.

What belongs here: the synchronous functions behind ``atd.ls``, ``atd.search``, ``atd.show`` and
their neighbours, and the values they answer with. Each value keeps the daemon's own JSON object in
``raw`` (described by the lexicon of the endpoint), which is what ``--json`` prints.

Every function takes ``connection``, the daemon to ask; where it is None, the one that the
environment names (see `atd.settings`). All raise what the daemon raised, as the same class of
`atd.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from atd import api
from atd.connection import Connection, Param
from atd.errors import DaemonError
from atd.refs import parse_authority, parse_dataset_ref

Event = Mapping[str, Any]
OnProgress = Callable[[Event], None]


@dataclass(frozen=True)
class DatasetInfo:
    """A data set in a list. ``handle`` is set only where it was proved in both directions.

    ``samples``, ``shards`` and ``size`` (bytes) are those of the latest release, None where that is
    not known here. ``proof`` is ``proved``, ``previousKey`` or ``unproved``.
    """

    uri: str
    cid: str
    did: str
    handle: str | None
    name: str
    title: str | None
    description: str | None
    license: str | None
    tags: tuple[str, ...]
    version: str | None
    samples: int | None
    shards: int | None
    size: int | None
    proof: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def ref(self) -> str:
        """What to pass to `atd.load`: by handle where that is proved, else by DID."""
        return f"@{self.handle}/{self.name}" if self.handle else f"{self.did}/{self.name}"

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DatasetInfo:
        """From ``network.atd.catalog.defs#dataset``."""
        latest = value.get("latest", {})
        return cls(
            uri=value["uri"],
            cid=value["cid"],
            did=value["did"],
            handle=value.get("handle"),
            name=value["name"],
            title=value.get("title"),
            description=value.get("description"),
            license=value.get("license"),
            tags=tuple(value.get("tags", ())),
            version=latest.get("version"),
            samples=latest.get("samples"),
            shards=latest.get("shards"),
            size=latest.get("size"),
            proof=value["proof"]["state"],
            raw=value,
        )


@dataclass(frozen=True)
class DatasetDetail:
    """Everything about one data set; ``raw`` has schema, splits, shards and proofs."""

    info: DatasetInfo
    card: Mapping[str, Any]
    releases: tuple[str, ...]
    splits: Mapping[str, int]
    python: str | None
    problems: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DatasetDetail:
        """From the answer of ``network.atd.catalog.getDataset``."""
        return cls(
            info=DatasetInfo.from_json(value["dataset"]),
            card=value["card"],
            releases=tuple(release["version"] for release in value["releases"]),
            splits={split["name"]: split["samples"] for split in value.get("splits", ())},
            python=value.get("schema", {}).get("python"),
            problems=tuple(problem["reason"] for problem in value["problems"]),
            raw=value,
        )


@dataclass(frozen=True)
class Step:
    """One step of a proof: what was expected, what was found, and whether it holds."""

    name: str
    holds: bool
    expected: str
    found: str
    raw: Mapping[str, Any] = field(repr=False)


def ls(
    actor: str | None = None, *, refresh: bool = True, connection: Connection | None = None
) -> list[DatasetInfo]:
    """The data sets that ``actor`` (a handle, with or without ``@``, or a DID) publishes.

    Args:
        actor: the publisher; every known data set where it is None.
        refresh: ask the publisher's PDS again instead of trusting a fresh index.

    Raises:
        AtdError: HandleAbsent, IdentityMismatch, Unreachable … as the question went.
    """
    answer = listing(actor, refresh=refresh, connection=connection)
    return [DatasetInfo.from_json(value) for value in answer["datasets"]]


def listing(
    actor: str | None, *, refresh: bool = True, connection: Connection | None = None
) -> Mapping[str, Any]:
    """As `ls`, with what could not be proved: the answer of ``listDatasets`` itself."""
    params: dict[str, Param] = {
        "actor": None if actor is None else str(parse_authority(actor)),
        "refresh": refresh,
    }
    return (connection or Connection()).call(api.LIST_DATASETS, params)


def search(
    text: str, *, limit: int = 25, connection: Connection | None = None
) -> list[DatasetInfo]:
    """The data sets the daemon knows that ``text`` finds, best first, at most ``limit`` (1-100)."""
    answer = (connection or Connection()).call(api.SEARCH_DATASETS, {"q": text, "limit": limit})
    return [DatasetInfo.from_json(value) for value in answer["datasets"]]


def show(
    ref: str,
    *,
    refresh: bool = True,
    allow_previous_key: bool = False,
    connection: Connection | None = None,
) -> DatasetDetail:
    """Card, schema, releases, shards and proof state of ``@handle/name[@version]``.

    Raises:
        RecordAbsent: it is proved that the publisher has no such data set.
    """
    params: dict[str, Param] = {
        "ref": str(parse_dataset_ref(ref)),
        "refresh": refresh,
        "allowPreviousKey": allow_previous_key,
    }
    return DatasetDetail.from_json((connection or Connection()).call(api.GET_DATASET, params))


def verify(
    ref: str,
    *,
    fetch: bool = False,
    allow_previous_key: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Iterator[Step | Event]:
    """Prove everything again, from the handle to the bytes, one `Step` at a time.

    The last item is the verdict, a mapping with ``holds``. ``fetch`` also fetches the shards that
    are not in the store; without it they are counted as absent, not as wrong.
    """
    question = {
        "ref": str(parse_dataset_ref(ref)),
        "fetch": fetch,
        "allowPreviousKey": allow_previous_key,
    }
    for event in (connection or Connection()).stream(api.VERIFY, question):
        if "step" in event:
            step = event["step"]
            yield Step(step["name"], step["holds"], step["expected"], step["found"], step)
        elif "result" in event:
            yield event["result"]
        elif on_progress is not None:
            on_progress(event["progress"])


def pull(
    ref: str,
    *,
    splits: Iterable[str] = (),
    allow_previous_key: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Fetch the shards of a release into the store, verified; resumes where it was interrupted.

    Returns:
        ``uri, cid, did, name, version, shards, samples, bytes, fetched`` (bytes that were fetched).
    """
    question = {
        "ref": str(parse_dataset_ref(ref)),
        "splits": list(splits),
        "allowPreviousKey": allow_previous_key,
    }
    return finish((connection or Connection()).stream(api.PULL, question), on_progress)


def unpublish(
    name: str,
    *,
    account: str | None = None,
    consent: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Delete the records of a data set. Copies that others made stay where they are.

    Raises:
        NeedsConsent: ``consent`` was not given.
    """
    question: dict[str, Any] = {"name": name, "consent": consent}
    if account is not None:
        question["account"] = str(parse_authority(account))
    return finish((connection or Connection()).stream(api.UNPUBLISH, question), on_progress)


def login(
    handle: str, password: str, *, pds: str | None = None, connection: Connection | None = None
) -> Mapping[str, Any]:
    """Log in with an app password, which is used once and not kept; gives ``did``, ``pds`` …"""
    question = {"handle": str(parse_authority(handle)), "password": password}
    if pds is not None:
        question["pds"] = pds
    account: Mapping[str, Any] = (connection or Connection()).call(api.LOGIN, input=question)[
        "account"
    ]
    return account


def logout(account: str, *, connection: Connection | None = None) -> Mapping[str, Any]:
    """End the session of a handle or a DID and forget its tokens."""
    question = {"account": str(parse_authority(account))}
    gone: Mapping[str, Any] = (connection or Connection()).call(api.LOGOUT, input=question)[
        "account"
    ]
    return gone


def accounts(*, connection: Connection | None = None) -> list[Mapping[str, Any]]:
    """The accounts that are logged in, each with ``did``, ``handle`` and ``pds``."""
    return list((connection or Connection()).call(api.LIST_ACCOUNTS)["accounts"])


def finish(events: Iterable[Event], on_progress: OnProgress | None = None) -> Mapping[str, Any]:
    """The result at the end of ``events``; steps and progress go to ``on_progress``."""
    for event in events:
        if "result" in event:
            result: Mapping[str, Any] = event["result"]
            return result
        if on_progress is not None:
            on_progress(event)
    raise DaemonError("the daemon ended its answer without a result")
