"""``network.atd.dataset``: the card of a data set, and the head that points to its release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from atd.errors import LexiconError
from atd.names import DATASET, RELEASE, check_name, check_url, split_release_key
from atd.protocol.syntax import AtUri, Did
from atd.records.references import StrongRef, moment, moment_value, placed, present
from atd.records.rules import check_key, leaving, must_be_in


@dataclass(frozen=True)
class Creator:
    """Who made a data set: a name as it should be cited, an account, a page such as an ORCID."""

    name: str
    did: Did | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None:
            check_url(self.url)

    def to_value(self) -> dict[str, Any]:
        """The creator as it stands in a data set."""
        return {"name": self.name, **present(did=self.did and str(self.did), url=self.url)}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The creator at ``path``, whose shape the lexicon has checked."""
        did = value.get("did")
        with placed(path):
            return cls(value["name"], None if did is None else Did.parse(did), value.get("url"))


@dataclass(frozen=True)
class Dataset:
    """The record. The only one of ours that changes: ``latest`` moves to each new release.

    Args:
        license: an SPDX expression.
        agreement: what a user must agree to beyond the licence.
        deprecated: why not to use it any more, and what instead; None: it is current.
    """

    NSID: ClassVar[str] = DATASET
    name: str
    latest: StrongRef
    created_at: datetime
    updated_at: datetime | None = None
    title: str | None = None
    description: str | None = None
    license: str | None = None
    tags: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    creators: tuple[Creator, ...] = ()
    citation: str | None = None
    homepage: str | None = None
    agreement: str | None = None
    deprecated: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.homepage is not None:
            check_url(self.homepage)

    @property
    def rkey(self) -> str:
        """The name."""
        return self.name

    @property
    def version(self) -> str:
        """The version of the latest release, by its record key."""
        return split_release_key(str(self.latest.uri.rkey))[1]

    def to_value(self) -> dict[str, Any]:
        """The record, checked against its lexicon."""
        updated_at = None if self.updated_at is None else moment_value(self.updated_at)
        return leaving(
            {
                "$type": DATASET,
                "name": self.name,
                **present(
                    title=self.title,
                    description=self.description,
                    license=self.license,
                    agreement=self.agreement,
                    tags=list(self.tags),
                    tasks=list(self.tasks),
                    creators=[creator.to_value() for creator in self.creators],
                    citation=self.citation,
                    homepage=self.homepage,
                    deprecated=self.deprecated,
                ),
                "latest": self.latest.to_value(),
                "createdAt": moment_value(self.created_at),
                **present(updatedAt=updated_at),
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked; its key gives a missing name."""
        updated_at = value.get("updatedAt")
        creators = enumerate(value.get("creators", ()))
        words = ("title", "description", "license", "citation", "homepage", "agreement")
        given = {
            **{word: value.get(word) for word in (*words, "deprecated")},
            "name": value.get("name", rkey),
            "latest": StrongRef.from_value(value["latest"], "latest"),
            "created_at": moment(value["createdAt"], "createdAt"),
            "updated_at": None if updated_at is None else moment(updated_at, "updatedAt"),
            "tags": tuple(value.get("tags", ())),
            "tasks": tuple(value.get("tasks", ())),
            "creators": tuple(Creator.from_value(c, f"creators[{at}]") for at, c in creators),
        }
        with placed("record"):
            return cls(**given)

    def check_place(self, uri: AtUri) -> None:
        """The key is the name, and ``latest`` is a release of this very data set."""
        check_key(uri, self.rkey)
        must_be_in(uri.did, RELEASE, self.latest, "latest")
        with placed("latest.uri"):
            name, _ = split_release_key(str(self.latest.uri.rkey))
        if name != self.name:
            raise LexiconError(
                f"latest.uri: expected a release of {self.name}, found {self.latest.uri}"
            )
