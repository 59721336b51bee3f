"""From what a user typed to a proved recipe: the one that a release carries, else that of the name.

A release pins its recipe by CID, so what was proved with the release is what is prepared. A recipe
that stands by itself may change; the one that its publisher has now is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from atd.errors import Offline, RecordAbsent
from atd.names import RECIPE, split_release_key
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did
from atd.records import (
    Dataset,
    RecipeRecord,
    Record,
    Release,
    StrongRef,
    check_name,
    head_uri,
    recipe_uri,
    release_uri,
)
from atd.refs import DatasetRef, parse_dataset_ref
from atd_daemon.sync.found import Found
from atd_daemon.sync.release import named, of_kind
from atd_daemon.sync.resolve import Resolver

_PULL: Final = "it has shards instead: atd pull {ref}"


@dataclass(frozen=True)
class FoundRecipe:
    """A proved recipe, its publisher, and the release that carries it, if one does."""

    identity: Identity
    recipe: Found[RecipeRecord]
    release: AtUri | None = None


@dataclass(frozen=True)
class RecipeFinder:
    """One question for a recipe.

    Args:
        allow_previous_key: accept what only an earlier key of the publisher signed.
    """

    resolver: Resolver
    allow_previous_key: bool = False

    async def find(self, text: str) -> FoundRecipe:
        """The recipe that ``text`` names.

        Raises:
            RecordAbsent: proved: there is none; says so if there is a data set of that name.
            AtdError: as `Resolver.record`.
        """
        ref = _parsed(text)
        identity = await self.resolver.identity(ref.authority)
        did = identity.did
        release = await self._release(ref, did)
        if release is not None and release.record.recipe is not None:
            pinned = await self._record(release.record.recipe)
            return FoundRecipe(identity, pinned, release.uri)
        if release is not None and not ref.is_latest:
            raise RecordAbsent(f"{ref} carries no recipe", next_step=_PULL.format(ref=ref))
        try:
            return FoundRecipe(identity, await self._record(recipe_uri(did, ref.name)))
        except RecordAbsent as absent:
            if release is None:
                raise RecordAbsent(
                    f"{did} publishes neither a recipe nor a data set {ref.name}",
                    proof=absent.proof,
                ) from None
            raise RecordAbsent(f"{ref} has no recipe", next_step=_PULL.format(ref=ref)) from None

    async def _release(self, ref: DatasetRef, did: Did) -> Found[Release] | None:
        """The release that is meant; None: no data set of that name, and no version or alias."""
        if ref.version is not None:
            return of_kind(await self._get(release_uri(did, ref.name, ref.version)), Release)
        try:
            head = of_kind(await self._get(head_uri(did, ref.name)), Dataset)
        except (RecordAbsent, Offline):
            if ref.alias is not None:
                raise
            return None  # with the network off: none that is known
        meant = head.record.latest if ref.alias is None else named(head, ref.alias).release
        return of_kind(await self._get(meant), Release)

    async def _record(self, where: AtUri | StrongRef) -> Found[RecipeRecord]:
        return of_kind(await self._get(where), RecipeRecord)

    async def _get(self, where: AtUri | StrongRef) -> Found[Record]:
        return await self.resolver.record(where, allow_previous_key=self.allow_previous_key)


def _parsed(text: str) -> DatasetRef:
    """What ``text`` names; the URI of a recipe is taken as well."""
    uri = AtUri.parse(text) if text.startswith("at://") else None
    if uri is None or uri.collection != RECIPE or uri.rkey is None:
        return parse_dataset_ref(text)
    name, version = str(uri.rkey), None
    if ":" in name:
        name, version = split_release_key(name)
    return DatasetRef(uri.authority, check_name(name), version)
