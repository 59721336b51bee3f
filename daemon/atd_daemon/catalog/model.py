"""What the index gives out: frozen values, typed where a type carries trust.

Moments that publishers wrote are text in the spelling of records; moments of our own clock are
seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from atd.protocol.cbor import Cid
from atd.protocol.syntax import AtUri, Did, Handle, Tid


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as it was proved.

    ``block`` are its bytes, ``proof`` is the CAR that `atd.protocol.proof.verify_record` accepts
    again; ``rev`` and ``commit`` say when its publisher last signed it that we know of.
    """

    uri: AtUri
    cid: Cid
    rev: Tid
    commit: Cid
    block: bytes
    proof: bytes
    verified_at: float


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """A release that is in the index."""

    uri: AtUri
    cid: Cid
    name: str
    version: str
    samples: int
    shards: int
    size: int
    created_at: str
    notes: str | None
    rev: Tid
    commit: Cid
    verified_at: float


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A data set, as lists show it.

    ``handle`` is the publisher's, if proved; ``latest_uri`` and ``latest_cid`` are what the head
    points to, and ``release`` is that very release where the index has it.
    """

    uri: AtUri
    cid: Cid
    did: Did
    handle: Handle | None
    name: str
    title: str | None
    description: str | None
    license: str | None
    tags: tuple[str, ...]
    tasks: tuple[str, ...]
    modalities: tuple[str, ...]
    version: str
    latest_uri: AtUri
    latest_cid: Cid
    deprecated: str | None
    created_at: str
    updated_at: str | None
    rev: Tid
    commit: Cid
    verified_at: float
    release: ReleaseEntry | None


@dataclass(frozen=True, slots=True)
class RecipeEntry:
    """A recipe that stands by itself, as lists show it; ``size`` is what it says of downloads."""

    uri: AtUri
    cid: Cid
    did: Did
    handle: Handle | None
    name: str
    title: str | None
    description: str | None
    license: str | None
    size: int
    updated_at: str
    rev: Tid
    commit: Cid
    verified_at: float


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Some of what was found, best first; ``cursor`` asks for the next page, None: that was all.

    A page may be short, or empty, and still have a cursor. ``facets`` are there if asked for.
    """

    entries: tuple[DatasetEntry, ...]
    cursor: str | None
    facets: Facets | None = None


@dataclass(frozen=True, slots=True)
class FacetValue:
    """So many data sets have this value."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """How the newest ``counted`` matches are distributed; ``complete``: there are no others.

    The most frequent values first. A publisher is its proved handle, else its DID.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("licenses", "tags", "tasks", "modalities", "publishers")
    counted: int
    complete: bool
    licenses: tuple[FacetValue, ...]
    tags: tuple[FacetValue, ...]
    tasks: tuple[FacetValue, ...]
    modalities: tuple[FacetValue, ...]
    publishers: tuple[FacetValue, ...]


@dataclass(frozen=True, slots=True)
class NamedDataset:
    """A data set that has some name.

    ``domain_proved`` says that the name begins with the publisher's proved domain, reversed.
    """

    uri: AtUri
    did: Did
    handle: Handle | None
    name: str
    domain_proved: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What the index saw happen to one record; ``id`` is the order in which things were seen.

    ``action`` is ``create``, ``update`` or ``delete``; ``cid`` is what is there since, ``prev_cid``
    what was there before; ``alarm`` is one of `history`'s, if any.
    """

    id: int
    uri: AtUri
    handle: Handle | None
    action: str
    cid: Cid | None
    prev_cid: Cid | None
    rev: Tid
    commit: Cid
    seen_at: float
    alarm: str | None


@dataclass(frozen=True, slots=True)
class Flaw:
    """A record that is there and cannot be used: the name of the error's class, and its message."""

    uri: AtUri
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A record that could not be proved or read, and why."""

    uri: AtUri
    reason: str
    message: str
    first_seen: float
    last_seen: float


@dataclass(frozen=True, slots=True)
class Publisher:
    """What is known of a publisher.

    ``handle`` was proved at ``handle_at``; ``rev`` is the newest revision that was proved, at
    ``verified_at``; at ``complete_at`` everything it had at ``complete_rev`` was. ``error`` is the
    class of what was wrong when it was last asked, None if nothing was.
    """

    did: Did
    handle: Handle | None
    handle_at: float | None
    pds: str | None
    rev: Tid | None
    verified_at: float | None
    complete_rev: Tid | None
    complete_at: float | None
    error: str | None
    error_message: str | None
    error_at: float | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a snapshot changed: how many of our records are new, other, gone."""

    created: int
    updated: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much the index holds."""

    publishers: int
    records: int
    datasets: int
    releases: int
    problems: int
