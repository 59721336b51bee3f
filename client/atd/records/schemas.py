"""``network.atd.schema``: a version of what a sample is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from atd.names import SCHEMA, check_name, check_version, release_key
from atd.protocol.syntax import AtUri
from atd.records.references import moment, moment_value, placed, present
from atd.records.rules import check_key, leaving
from atd.schema.fields import Schema


@dataclass(frozen=True)
class SchemaRecord:
    """The record: a named, versioned `Schema`."""

    NSID: ClassVar[str] = SCHEMA
    name: str
    version: str
    schema: Schema
    created_at: datetime
    description: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_version(self.version)

    @property
    def rkey(self) -> str:
        """``name:version``."""
        return release_key(self.name, self.version)

    def to_value(self) -> dict[str, Any]:
        """The record, checked against its lexicon."""
        return leaving(
            {
                "$type": SCHEMA,
                "name": self.name,
                "version": self.version,
                "fields": self.schema.to_value(),
                **present(description=self.description),
                "createdAt": moment_value(self.created_at),
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked."""
        schema = Schema.from_value(value["fields"], "fields")
        created_at = moment(value["createdAt"], "createdAt")
        with placed("record"):
            return cls(
                value["name"], value["version"], schema, created_at, value.get("description")
            )

    def check_place(self, uri: AtUri) -> None:
        """The key is ``name:version``."""
        check_key(uri, self.rkey)
