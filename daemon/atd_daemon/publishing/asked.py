"""What a publication is asked to do, and what it says when it is done.

Belongs here: the values between the daemon's endpoints ``network.atd.publishing.*`` and the steps,
with their JSON. Checked here: names, versions, sizes; what a destination is, is checked by
`atd_daemon.publishing.destinations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from atd.errors import LocalError
from atd.names import check_name, check_url, check_version
from atd.protocol.cbor import Cid
from atd.protocol.syntax import Did
from atd.records import Creator, CutParameters, Dataset, StrongRef
from atd_daemon.publishing.holders import Holder

CARD: Final = (
    *("title", "description", "license", "agreement", "tags", "tasks", "creators"),
    *("citation", "homepage"),
)
"""The fields of a card that a publication can set."""

_SAID: Final = ("card", "notes", "derivedFrom", "recipe")
"""What of a commit's input a plan is made of."""

MIN_SHARD: Final = 64 * 1024


@dataclass(frozen=True)
class Begin:
    """The input of ``network.atd.publishing.begin``.

    Args:
        store: ``pds``, a folder, ``s3://…`` or ``https://…``; None: not said, so ``pds``.
        base_url: where a folder or a bucket is served.
        shard_size: of bytes, to aim at; None: as the last release, or the default.
        order: ``hash`` or ``keep``; None: as the last release, or ``hash``.
        proposed: what files beside the data say of it: kept for the next publication.
        append: what is packed is added to the latest release, all of which stays.
        force_version: ``version`` may say less than what changed.
    """

    name: str
    account: str | None = None
    store: str | None = None
    base_url: str | None = None
    version: str | None = None
    shard_size: int | None = None
    order: str | None = None
    append: bool = False
    force_version: bool = False
    dry_run: bool = False
    proposed: Mapping[str, Any] = field(default_factory=dict)
    holder: Holder = field(default_factory=Holder)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.version is not None:
            check_version(self.version)
        if self.base_url is not None:
            check_url(self.base_url, base=True)
        if self.shard_size is not None and self.shard_size < MIN_SHARD:
            raise LocalError(
                f"a shard of {self.shard_size} bytes is too small: {MIN_SHARD} or more"
            )

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From the endpoint's input, whose shape its lexicon has checked."""
        base = given.get("baseUrl")
        return cls(
            name=given["name"],
            account=given.get("account"),
            store=given.get("store"),
            base_url=base if base is None or base.endswith("/") else f"{base}/",
            version=given.get("version"),
            shard_size=given.get("shardSize"),
            order=given.get("order"),
            append=given.get("append", False),
            force_version=given.get("forceVersion", False),
            dry_run=given.get("dryRun", False),
            proposed=given.get("proposed", {}),
            holder=Holder.of(given.get("pid", 0), given.get("call", "")),
        )

    def to_journal(self, store: str, base_url: str | None, previous: Cid | None) -> dict[str, Any]:
        """What the journal keeps of it: what `commit` needs later.

        Args:
            store: where the shards go, asked for or not; ``base_url`` likewise.
            previous: the release that is followed; None: there is none that could be used.
        """
        return {
            "store": store,
            "baseUrl": base_url,
            "storeAsked": self.store is not None,
            "version": self.version,
            "proposed": dict(self.proposed),
            "append": self.append,
            "forceVersion": self.force_version,
            "previous": None if previous is None else str(previous),
        }


@dataclass(frozen=True)
class Begun:
    """What `begin` found out and prepared; ``id`` and ``staging`` are None in a dry run.

    ``reachable`` says that others can fetch the shards from where they will be.
    """

    did: Did
    handle: str | None
    pds: str
    first: bool
    cuts: CutParameters
    reachable: bool
    id: str | None = None
    staging: str | None = None
    resumed: bool = False
    previous: Mapping[str, Any] | None = None
    fields: list[dict[str, Any]] | None = None
    card: Mapping[str, Any] | None = None
    proposed: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``network.atd.publishing.begin`` answers."""
        said = {
            "id": self.id,
            "staging": self.staging,
            "did": str(self.did),
            "handle": self.handle,
            "pds": self.pds,
            "first": self.first,
            "resumed": self.resumed,
            "reachable": self.reachable,
            "cuts": self.cuts.to_value(),
            "previous": self.previous,
            "fields": self.fields,
            "card": self.card,
            "proposed": self.proposed,
        }
        return {key: value for key, value in said.items() if value is not None}


@dataclass(frozen=True)
class Card:
    """What to say of a data set; what is not in ``words`` stays as it is."""

    words: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From ``network.atd.publishing.commit#card``."""
        words = {name: given[name] for name in CARD if name in given}
        for name in ("tags", "tasks"):
            if name in words:
                words[name] = tuple(words[name])
        if "creators" in words:
            made = enumerate(words["creators"])
            words["creators"] = tuple(
                Creator.from_value(one, f"card.creators[{at}]") for at, one in made
            )
        return cls(words)

    def over(self, current: Dataset | None) -> dict[str, Any]:
        """Every field of the card: what is said here, else what ``current`` says."""
        if current is None:
            return dict(self.words)
        return {name: self.words.get(name, getattr(current, name)) for name in CARD}


def card_of(dataset: Dataset | None) -> dict[str, Any] | None:
    """What a data set says of itself, as ``network.atd.publishing.commit#card``; None: nothing."""
    value = {} if dataset is None else dataset.to_value()
    return {name: value[name] for name in CARD if name in value} or None


@dataclass(frozen=True)
class Commit:
    """The input of ``network.atd.publishing.commit``; see the lexicon."""

    consent: bool = False
    card: Card = field(default_factory=Card)
    notes: str | None = None
    derived_from: tuple[StrongRef, ...] = ()
    recipe: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From the endpoint's input, whose shape its lexicon has checked."""
        sources = enumerate(given.get("derivedFrom", ()))
        return cls(
            consent=given.get("consent", False),
            card=Card.from_json(given.get("card", {})),
            notes=given.get("notes"),
            derived_from=tuple(
                StrongRef.from_value(one, f"derivedFrom[{at}]") for at, one in sources
            ),
            recipe=given.get("recipe"),
            raw={key: given[key] for key in _SAID if key in given},
        )


@dataclass(frozen=True)
class Published:
    """A release that was read back with proof.

    Args:
        unchanged: the same data was published already; ``card_changed``: but its card was not.
        new_shards: shards that the last release did not have; ``uploaded``: bytes sent for them.
        changes: `atd.comparing.Changes` as JSON; None: nothing changed, or there was no release.
    """

    release: StrongRef
    name: str
    version: str
    handle: str | None
    shards: int
    samples: int
    size: int
    unchanged: bool
    new_shards: int
    uploaded: int
    card_changed: bool = False
    rev: str | None = None
    warnings: tuple[str, ...] = ()
    changes: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``network.atd.publishing.commit#published``."""
        said = {
            "uri": str(self.release.uri),
            "cid": str(self.release.cid),
            "did": str(self.release.uri.did),
            "handle": self.handle,
            "name": self.name,
            "version": self.version,
            "shards": self.shards,
            "samples": self.samples,
            "bytes": self.size,
            "unchanged": self.unchanged,
            "cardChanged": self.card_changed,
            "newShards": self.new_shards,
            "uploaded": self.uploaded,
            "rev": self.rev,
            "warnings": list(self.warnings),
            "changes": self.changes,
        }
        return {key: value for key, value in said.items() if value is not None}
