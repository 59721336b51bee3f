"""``network.atd.dataset``: the card of a data set, and the head that points to its release.

It is the one record of ours that is written again by whoever comes later: what an older program
does not know in it stays as it is (``more``), and is not lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Self

from atd.errors import LexiconError, LocalError
from atd.names import DATASET, RELEASE, check_alias, check_name, check_url, split_release_key
from atd.protocol.syntax import AtUri, Did
from atd.records.references import StrongRef, moment, moment_value, placed, present
from atd.records.rules import check_key, leaving, must_be_in


@dataclass(frozen=True)
class Creator:
    """Who made a data set: a name as it should be cited, an account, a page such as an ORCID."""

    name: str
    did: Did | None = None
    url: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.url is not None:
            check_url(self.url)

    def to_value(self) -> dict[str, Any]:
        """The creator as it stands in a data set."""
        known = present(did=self.did and str(self.did), url=self.url)
        return {"name": self.name, **known, **self.more}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The creator at ``path``, whose shape the lexicon has checked."""
        did = value.get("did")
        more = _beside(value, ("name", "did", "url"))
        with placed(path):
            who = None if did is None else Did.parse(did)
            return cls(value["name"], who, value.get("url"), more)


@dataclass(frozen=True)
class Alias:
    """A name for a release, such as ``stable``; it may be moved to another one."""

    name: str
    release: StrongRef
    more: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_alias(self.name)

    def to_value(self) -> dict[str, Any]:
        """The alias as it stands in a data set."""
        return {"name": self.name, "release": self.release.to_value(), **self.more}

    @classmethod
    def from_value(cls, value: Mapping[str, Any], path: str) -> Self:
        """The alias at ``path``, whose shape the lexicon has checked."""
        release = StrongRef.from_value(value["release"], f"{path}.release")
        with placed(path):
            return cls(value["name"], release, _beside(value, ("name", "release")))

    @property
    def version(self) -> str:
        """The version of the release, by its record key."""
        return split_release_key(str(self.release.uri.rkey))[1]


@dataclass(frozen=True)
class Dataset:
    """The record. The only one of ours that changes: ``latest`` moves to each new release.

    Args:
        license: an SPDX expression.
        agreement: what a user must agree to beyond the licence.
        deprecated: why not to use it any more, and what instead; None: it is current.
        aliases: names for releases, distinct.
        more: what stands in the record beside what is known here, as it came.
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
    aliases: tuple[Alias, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        names = [alias.name for alias in self.aliases]
        if len(set(names)) < len(names):
            raise LocalError(f"expected distinct aliases, found {', '.join(sorted(names))}")
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

    def alias(self, name: str) -> Alias | None:
        """The alias of this name, if there is one."""
        return next((alias for alias in self.aliases if alias.name == name), None)

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
                **present(aliases=[alias.to_value() for alias in self.aliases]),
                "createdAt": moment_value(self.created_at),
                **present(updatedAt=updated_at),
                **self.more,
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked; its key gives a missing name."""
        updated_at = value.get("updatedAt")
        creators = enumerate(value.get("creators", ()))
        aliases = enumerate(value.get("aliases", ()))
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
            "aliases": tuple(Alias.from_value(a, f"aliases[{at}]") for at, a in aliases),
            "more": _beside(value, _KNOWN),
        }
        with placed("record"):
            return cls(**given)

    def check_place(self, uri: AtUri) -> None:
        """The key is the name; ``latest`` and all aliases are releases of this very data set."""
        check_key(uri, self.rkey)
        self._check_release(uri, self.latest, "latest")
        for at, alias in enumerate(self.aliases):
            self._check_release(uri, alias.release, f"aliases[{at}].release")

    def _check_release(self, uri: AtUri, release: StrongRef, path: str) -> None:
        must_be_in(uri.did, RELEASE, release, path)
        with placed(f"{path}.uri"):
            name, _ = split_release_key(str(release.uri.rkey))
        if name != self.name:
            found = release.uri
            raise LexiconError(f"{path}.uri: expected a release of {self.name}, found {found}")


_KNOWN: Final = (
    *("$type", "name", "title", "description", "license", "agreement", "tags", "tasks"),
    *("creators", "citation", "homepage", "deprecated", "latest", "aliases"),
    *("createdAt", "updatedAt"),
)


def _beside(value: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What ``value`` has beside the fields that are ``known``."""
    return {name: value[name] for name in value if name not in known}
