"""``network.atd.recipe``: how a data set that lies elsewhere is prepared, declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Self

from atd.names import RECIPE, check_name, check_url, check_version, release_key
from atd.protocol.syntax import AtUri
from atd.recipes.model import Recipe
from atd.recipes.recorded import TEXTS, body_of, recipe_of_body, unknown
from atd.records.references import moment, moment_value, placed, present
from atd.records.rules import check_key, leaving

_BODY = (*TEXTS, "resources", "data", "variants", "samples")


@dataclass(frozen=True)
class RecipeRecord:
    """The record. With a version it never changes: it is what a release carries.

    Args:
        body: what it says of the recipe, as the lexicon has it (`atd.recipes.recorded`).
        version: of the release that carries it; None: it is the head, which changes.
    """

    NSID: ClassVar[str] = RECIPE
    name: str
    body: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime | None = None
    version: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.version is not None:
            check_version(self.version)
        if "homepage" in self.body:
            check_url(self.body["homepage"])
        if self.unknown is None:
            self.recipe()

    @classmethod
    def of(cls, recipe: Recipe, created_at: datetime, **values: Any) -> Self:
        """The record of ``recipe``.

        Raises:
            RecipeError: it has code in it.
        """
        return cls(recipe.name, body_of(recipe), created_at, **values)

    @classmethod
    def of_body(cls, name: str, body: Mapping[str, Any], created_at: datetime) -> Self:
        """The record with a ``body`` whose shape nobody has checked.

        Raises:
            LocalError: it does not satisfy the lexicon, or is no recipe.
        """
        known = {key: body[key] for key in _BODY if key in body}
        times = {"createdAt": moment_value(created_at)}
        leaving({"$type": RECIPE, "name": name, **known, **times})
        return cls(name, known, created_at)

    @property
    def rkey(self) -> str:
        """``name``, or ``name:version``."""
        return self.name if self.version is None else release_key(self.name, self.version)

    @property
    def unknown(self) -> str | None:
        """What in it this version of atd does not know; None: it knows all of it."""
        return next(unknown(self.body), None)

    def recipe(self) -> Recipe:
        """The recipe that it describes.

        Raises:
            RecipeError: this version does not know all that is in it.
        """
        return recipe_of_body(self.name, self.body)

    def text(self, name: str) -> str | None:
        """One of its texts: title, description, homepage, license or agreement."""
        found = self.body.get(name)
        return None if found is None else str(found)

    def to_value(self) -> dict[str, Any]:
        """The record, checked against its lexicon."""
        updated_at = None if self.updated_at is None else moment_value(self.updated_at)
        return leaving(
            {
                "$type": RECIPE,
                "name": self.name,
                **present(version=self.version),
                **{key: self.body[key] for key in _BODY if key in self.body},
                "createdAt": moment_value(self.created_at),
                **present(updatedAt=updated_at),
            }
        )

    @classmethod
    def from_value(cls, value: Mapping[str, Any], rkey: str) -> Self:
        """The record, whose shape the lexicon has checked."""
        updated_at = value.get("updatedAt")
        created = moment(value["createdAt"], "createdAt")
        updated = None if updated_at is None else moment(updated_at, "updatedAt")
        body = {key: value[key] for key in _BODY if key in value}
        with placed("record"):
            return cls(value["name"], body, created, updated, value.get("version"))

    def check_place(self, uri: AtUri) -> None:
        """The key is what the record says."""
        check_key(uri, self.rkey)
