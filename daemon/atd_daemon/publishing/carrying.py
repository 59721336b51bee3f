"""The recipe that a release carries: whether it is another one, and its record.

Belongs here: comparing the recipe that a publication brings with the one that the last release
carries. The same recipe is referred to again; another one is a record of its own, under the version
of the release that brings it, so that no later release can change what this one meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atd.errors import Absent, RemoteError
from atd.protocol.syntax import AtUri, Did
from atd.recipes.strangers import must_be_publishable
from atd.records import RecipeRecord, StrongRef, recipe_uri
from atd_daemon.publishing.current import Current
from atd_daemon.sync.resolve import Resolver

Writer = Callable[[AtUri, RecipeRecord], StrongRef]


@dataclass(frozen=True)
class Carried:
    """What a publication says of its recipe, and what the last release says.

    Args:
        record: what is to be carried, without a version yet; None: no recipe.
        before: the recipe of the last release, and where it is.
    """

    record: RecipeRecord | None = None
    before: tuple[RecipeRecord, StrongRef] | None = None

    @property
    def changed(self) -> bool:
        """Whether the release has to say something else than the last one."""
        if self.record is None:
            return False
        return self.before is None or self.before[0].body != self.record.body

    def refer(self, did: Did, version: str, now: datetime, write: Writer) -> StrongRef | None:
        """The reference for the release ``version``; a new recipe is given to ``write``."""
        if self.record is None:
            return None
        if self.before is not None and not self.changed:
            return self.before[1]
        name = self.record.name
        record = RecipeRecord(name, self.record.body, now, version=version)
        return write(recipe_uri(did, name, version), record)


async def carried(
    resolver: Resolver, current: Current, name: str, body: Mapping[str, Any] | None, now: datetime
) -> Carried:
    """What a publication of ``name`` carries.

    Args:
        body: of a recipe, as in the record; None: it brings none.

    Raises:
        LocalError, RecipeError: it is none that can be published.
        Unreachable: what the last release carries could not be read now.
    """
    if body is None:
        return Carried()
    record = RecipeRecord.of_body(name, body, now)
    must_be_publishable(record.recipe())
    before = None if current.resolved is None else current.resolved.release.record.recipe
    if before is None:
        return Carried(record)
    try:
        found = await resolver.record(before, allow_previous_key=True)
    except (RemoteError, Absent):
        return Carried(record)  # it is not usable, so this release brings its own
    assert isinstance(found.record, RecipeRecord), "a rule of releases"
    return Carried(record, (found.record, before))
