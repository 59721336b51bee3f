"""What a publication gives: a release that was read back with proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atd.comparing import Changes
from atd.refs import name_of


@dataclass(frozen=True)
class PublishedRelease:
    """A release that was published and read back with proof.

    Args:
        uri: of the record ``network.atd.release``; ``cid``: its CID.
        handle: the publisher's, if proved in both directions.
        bytes: of all shards.
        unchanged: the same data was published already; nothing but perhaps the card was written.
        new_shards: shards that the release before did not have.
        uploaded_bytes: what was sent for them.
        warnings: what the publisher should know.
        changes: what it changed since the release before; None: nothing, or there was none.
        raw: the daemon's own answer.
    """

    uri: str
    cid: str
    did: str
    handle: str | None
    name: str
    version: str
    shards: int
    samples: int
    bytes: int
    unchanged: bool
    new_shards: int
    uploaded_bytes: int
    warnings: tuple[str, ...] = ()
    changes: Changes | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> str:
        """What to pass to `atd.load`: by handle where that is proved, else by DID."""
        return name_of(self.did, self.handle, self.name)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PublishedRelease:
        """From ``network.atd.publishing.commit#published``."""
        return cls(
            uri=value["uri"],
            cid=value["cid"],
            did=value["did"],
            handle=value.get("handle"),
            name=value["name"],
            version=value["version"],
            shards=value["shards"],
            samples=value["samples"],
            bytes=value["bytes"],
            unchanged=value["unchanged"],
            new_shards=value.get("newShards", 0),
            uploaded_bytes=value["uploaded"],
            warnings=tuple(value.get("warnings", ())),
            changes=Changes.from_json(value["changes"]) if "changes" in value else None,
            raw=value,
        )

    @classmethod
    def repeated(cls, begun: Mapping[str, Any], name: str) -> PublishedRelease:
        """The latest release, which added just these samples already.

        Args:
            begun: what ``network.atd.publishing.begin`` answered.
        """
        last = begun["previous"]
        said = {
            **{key: begun[key] for key in ("did", "handle") if key in begun},
            **{key: last[key] for key in ("uri", "cid", "version", "samples", "shards")},
            "name": name,
            "bytes": last["size"],
            "unchanged": True,
            "newShards": 0,
            "uploaded": 0,
            "warnings": [
                f"{last['version']} added these samples already: they were not added again"
            ],
        }
        return cls.from_json(said)
