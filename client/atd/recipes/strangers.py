"""Recipes that somebody published: what is asked of them, and what they may do here. Pure.

A published recipe is data of a stranger. It is run by the same engine as one's own, and:

- every download says its size and its sha-256, so the publisher alone decides what the bytes are,
  and not who serves them, and how much comes is known before the first byte;
- it has no code, and it links to published recipes alone: a name in it means one of its own
  publisher's, never one of this machine, which may run code;
- its resources, with all that it links to, are no more than `MAX_DATASETS` data sets;
- what it fetches is fetched under `atd.addresses`, and into a budget of disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from atd.errors import RecipeError
from atd.protocol.syntax import Did
from atd.recipes.model import Recipe, Resource
from atd.recipes.rules import has_holes, parse_link

MAX_DATASETS: Final = 64
"""How many data sets one run may prepare: links of links included."""


@dataclass(frozen=True)
class Origin:
    """Where a published recipe was proved to be.

    Args:
        uri: of the record; ``cid``: its content.
        did: who signed it; ``handle``: theirs, if it was proved in both directions.
        rev: the revision of their repository at which it was proved.
        version: the release that carries it; empty: it stands by itself.
    """

    uri: str
    cid: str
    did: str
    handle: str | None = None
    rev: str = ""
    version: str = ""

    @property
    def who(self) -> str:
        """The publisher in words."""
        return f"@{self.handle}" if self.handle else self.did


def faults(recipe: Recipe) -> Iterator[str]:
    """What keeps ``recipe`` from being published, or from being run for its publisher; in words."""
    for name, one in recipe.resources.items():
        if one.function is not None:
            yield f"{name} is made by code, which is never published"
        elif one.is_download and (one.size is None or one.digest is None):
            lacking = " and ".join(
                word
                for word, value in (("size", one.size), ("sha256", one.digest))
                if value is None
            )
            yield f"{name} is downloaded and does not say its {lacking}"
        if one.is_download and any(has_holes(url) for url in one.urls):
            yield f"{name} has another address in each variant: declare one for each, with when"
        if one.kind == "hf" and (has_holes(one.path or "") or has_holes(one.target or "")):
            yield f"{name} is another file in each variant: declare one for each, with when"


def must_be_publishable(recipe: Recipe) -> None:
    """Refuse a recipe that cannot be published.

    Raises:
        RecipeError: says all that is in the way.
    """
    found = list(faults(recipe))
    if not found:
        return
    sealing = any(one.is_download for one in recipe.resources.values()) and all(
        "does not say" in fault for fault in found
    )
    raise RecipeError(
        f"{recipe.name} cannot be published: {'; '.join(found)}",
        next_step="fill in sizes and hashes with: atd recipe seal FILE" if sealing else None,
    )


def of_stranger(recipe: Recipe, did: str) -> Recipe:
    """``recipe`` as it is run here, if ``did`` published it: its links lead to what is published.

    Raises:
        RecipeError: it lacks what a published recipe has.
    """
    found = next(faults(recipe), None)
    if found is not None:
        raise RecipeError(f"{recipe.name} of {did}: {found}", next_step="tell the publisher")
    resources = {
        name: replace(one, target=_led(one.target or "", did)) if one.kind == "link" else one
        for name, one in recipe.resources.items()
    }
    return replace(recipe, resources=resources)


def links(recipe: Recipe) -> list[str]:
    """The recipes that ``recipe`` links to without saying whose they are."""
    targets = (one.target or "" for one in recipe.resources.values() if one.kind == "link")
    return [link.name for link in map(parse_link, targets) if link.owner is None]


def hosts(resources: Iterator[Resource] | list[Resource], hf_endpoint: str) -> list[str]:
    """The hosts that may be asked for ``resources``, each once, in order."""
    found: dict[str, None] = {}
    for one in resources:
        for url in (hf_endpoint,) if one.kind == "hf" else one.urls:
            found[urlsplit(url).netloc] = None
        if one.kind == "blob":
            found[f"the PDS of {one.target}"] = None
    return list(found)


def _led(target: str, did: str) -> str:
    link = parse_link(target)
    if link.owner is not None:
        return target
    resource = f":{link.resource}" if link.resource else ""
    return f"{Did(did)}/{link.recipe}{resource}"
