"""What a program asks of the catalogue: each function is one question to the local daemon.

What belongs here: the synchronous functions behind ``atd.ls``, ``atd.search``, ``atd.show`` and
their neighbours, and the values they answer with. Each value keeps the daemon's own JSON object in
``raw`` (described by the lexicon of the endpoint), which is what ``--json`` prints.

Every function takes ``connection``, the daemon to ask; where it is None, the one that the
environment names (see `atd.settings`). All raise what the daemon raised, as the same class of
`atd.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from atd import api
from atd.connection import Connection, Param
from atd.errors import AmbiguousName, DaemonError, RecordAbsent
from atd.protocol.syntax import Did
from atd.refs import (
    DatasetRef,
    NameRef,
    name_of,
    parse_authority,
    parse_dataset_ref,
    parse_name,
)

Event = Mapping[str, Any]
OnProgress = Callable[[Event], None]

MAX_PAGES: Final = 40
"""How often a search asks for more before it gives what it has."""
MAX_SHOWN: Final = 8
"""How many candidates of an ambiguous name are listed."""


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
    tasks: tuple[str, ...]
    modalities: tuple[str, ...]
    version: str | None
    samples: int | None
    shards: int | None
    size: int | None
    proof: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def ref(self) -> str:
        """What to pass to `atd.load`: by handle where that is proved, else by DID."""
        return name_of(self.did, self.handle, self.name)

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
            tasks=tuple(value.get("tasks", ())),
            modalities=tuple(value.get("modalities", ())),
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

    @property
    def aliases(self) -> dict[str, str]:
        """The names that the publisher has for releases, each with the version."""
        said = self.card.get("aliases", ())
        return {one["name"]: one["release"]["uri"].rpartition(":")[2] for one in said}

    @property
    def deprecated(self) -> str | None:
        """Why it should no longer be used, if its publisher says so."""
        return self.info.raw.get("deprecated")

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
    actor: str | None,
    *,
    refresh: bool = True,
    limit: int | None = None,
    cursor: str | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """As `ls`, with what could not be proved: the answer of ``listDatasets`` itself.

    Args:
        limit: how many at most, and a ``cursor`` in the answer if there are more; None: all.
    """
    params: dict[str, Param] = {
        "actor": None if actor is None else str(parse_authority(actor)),
        "refresh": refresh,
        "limit": limit,
        "cursor": cursor,
    }
    return (connection or Connection()).call(api.LIST_DATASETS, params)


def search(
    text: str = "",
    *,
    license: str | Sequence[str] = (),
    publisher: str | Sequence[str] = (),
    tag: str | Sequence[str] = (),
    task: str | Sequence[str] = (),
    modality: str | Sequence[str] = (),
    field: str | Sequence[str] = (),
    kind: str | Sequence[str] = (),
    since: str | None = None,
    min_samples: int | None = None,
    max_samples: int | None = None,
    min_size: int | None = None,
    max_size: int | None = None,
    sort: str = "relevance",
    limit: int = 25,
    connection: Connection | None = None,
) -> list[DatasetInfo]:
    """The data sets the daemon knows that ``text`` and the filters find, at most ``limit``.

    Args:
        text: words and search terms (``tag:``, ``field:``, ``/regular expression/`` …).
        license: SPDX; of several, one is enough. So with ``publisher``: a handle, a DID, or a word
            of a handle. Of all other filters, each is meant.
        kind: a kind of field or a dtype: ``image``, ``uint8``.
        since: its card changed then or later: ``2026-01``, ``7d`` …
        min_samples: of the latest release, as the other numbers; sizes are bytes.
        sort: ``relevance``, ``newest`` or ``name``.

    Raises:
        InvalidSyntax: a regular expression or a moment is none.
    """
    filters: dict[str, Param] = {
        "licenses": _several(license),
        "publishers": _several(publisher),
        "tags": _several(tag),
        "tasks": _several(task),
        "modalities": _several(modality),
        "fields": _several(field),
        "kinds": _several(kind),
        "since": since,
        "minSamples": min_samples,
        "maxSamples": max_samples,
        "minSize": min_size,
        "maxSize": max_size,
        "sort": sort,
    }
    answer = searching(text, filters, limit=limit, connection=connection)
    return [DatasetInfo.from_json(value) for value in answer["datasets"]]


def searching(
    text: str,
    filters: Mapping[str, Param],
    *,
    limit: int,
    at: str | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """As `search`, with the parameters of ``searchDatasets`` by their own names; its answer.

    A page may be short although there is more, so pages are asked for until there are ``limit``
    (or `MAX_PAGES` were asked for; there is a ``cursor`` then). ``at`` is another daemon, in its
    public mode, to ask instead of the index: what it answers is not proved.
    """
    daemon = connection or Connection()
    found: dict[str, Any] = {"datasets": []}
    cursor: str | None = None
    for page in range(MAX_PAGES):
        wanted = min(limit - len(found["datasets"]), 100)
        given = {**filters, "q": text, "limit": wanted, "cursor": cursor}
        if at is not None:
            answer = daemon.call(api.SEARCH_AT, {**given, "facets": None, "at": at})
        else:
            facets = filters.get("facets") if page == 0 else None
            answer = daemon.call(api.SEARCH_DATASETS, {**given, "facets": facets})
        found["datasets"] += answer["datasets"]
        cursor = answer.get("cursor")
        if "facets" in answer:
            found["facets"] = answer["facets"]
        if cursor is None or len(found["datasets"]) >= limit:
            break
    return found if cursor is None else {**found, "cursor": cursor}


def recipes(
    text: str = "", *, limit: int = 25, connection: Connection | None = None
) -> Mapping[str, Any]:
    """The published recipes that the daemon knows and that have every word of ``text``.

    Returns:
        ``recipes``, best first, each with ``uri, did, name, size`` …, and ``more``.
    """
    params: dict[str, Param] = {"q": text, "limit": min(limit, 100)}
    return (connection or Connection()).call(api.SEARCH_RECIPES, params)


def _several(value: str | Sequence[str]) -> list[str] | None:
    return [value] if isinstance(value, str) else list(value) or None


@dataclass(frozen=True)
class NamedDataset:
    """What a name alone means: the data set, who that is in words, and why it is that one."""

    ref: DatasetRef
    friendly: str
    reason: str


def resolved(ref: str, connection: Connection | None = None) -> DatasetRef:
    """The data set that ``ref`` names; a name alone is looked for among what is known here.

    Raises:
        InvalidSyntax: it names a folder or a URL, or nothing at all.
        RecordAbsent, AmbiguousName: as `find_name`.
    """
    name = parse_name(ref)
    return parse_dataset_ref(ref) if name is None else find_name(name, connection).ref


def find_name(name: NameRef, connection: Connection | None = None) -> NamedDataset:
    """The data set that a name alone means (docs/decisions/0017 has the rule).

    Raises:
        RecordAbsent: no data set of this name is known here.
        AmbiguousName: several are, and nothing decides between them.
    """
    answer = (connection or Connection()).call(api.RESOLVE_NAME, {"name": name.name})
    chosen, candidates = answer.get("chosen"), answer["candidates"]
    if chosen is not None:
        return NamedDataset(name.of(Did.parse(chosen["did"])), _who(chosen), answer["reason"])
    if not candidates:
        raise RecordAbsent(
            f"no data set named {name.name} is known here",
            next_step=f"say who publishes it: @HANDLE/{name.name}"
            + (f"; or, if it is a publisher: atd ls @{name.name}" if "." in name.name else ""),
        )
    shown = ", ".join(_who(one) for one in candidates[:MAX_SHOWN])
    more = ", …" if len(candidates) > MAX_SHOWN else ""
    raise AmbiguousName(f"{name.name} is ambiguous ({answer['reason']}): {shown}{more}")


def _who(candidate: Mapping[str, Any]) -> str:
    owner = f"@{candidate['handle']}" if "handle" in candidate else candidate["did"]
    proved = " (of its own domain)" if candidate["domainProved"] else ""
    return f"{owner}/{candidate['name']}{proved}"


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
        "ref": str(resolved(ref, connection)),
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
        "ref": str(resolved(ref, connection)),
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
    shards: Iterable[int] | None = None,
    allow_previous_key: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Fetch the shards of a release into the store, verified; resumes where it was interrupted.

    The data set is *kept* from then on (`atd.keeping`).

    Args:
        splits: only these.
        shards: only these of the one split, counted from 0 as `atd.keeping.held` does.

    Returns:
        ``uri, cid, did, name, version, shards, stored, samples, bytes, fetched`` (bytes that were
        fetched). ``stored`` is less than ``shards`` if the quota, or somebody, took some meanwhile.

    Raises:
        StorageFault: the disk is full, or the quota has no room for them.
    """
    question: dict[str, Any] = {
        "ref": str(resolved(ref, connection)),
        "splits": list(splits),
        "allowPreviousKey": allow_previous_key,
    }
    if shards is not None:
        question["shards"] = list(shards)
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


def finish(events: Iterable[Event], on_progress: OnProgress | None = None) -> Mapping[str, Any]:
    """The result at the end of ``events``; steps and progress go to ``on_progress``."""
    for event in events:
        if "result" in event:
            result: Mapping[str, Any] = event["result"]
            return result
        if on_progress is not None:
            on_progress(event)
    raise DaemonError("the daemon ended its answer without a result")
