"""What is to be prepared: from what a user typed to recipes in their order, and nothing done yet.

What belongs here: which recipe is meant, of this machine or published, and what it links to. A plan
touches nothing but what describes recipes; `atd.recipes.prepare` carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import RecipeError
from atd.recipes import catalogue, published
from atd.recipes.classes import recipe_of
from atd.recipes.model import Recipe
from atd.recipes.places import Places
from atd.recipes.published import PublishedRecipe
from atd.recipes.rules import parse_link
from atd.recipes.strangers import MAX_DATASETS, Origin, hosts
from atd.recipes.variants import Choice, choose, parse_variant
from atd.refs import DatasetRef, parse_ref
from atd.settings import Settings

MAX_LINKS: Final = 16
_PUBLISHED: Final = ("@", "did:", "at://")

Find = Callable[[str, Settings], PublishedRecipe]
"""From the name of a published recipe to the recipe, proved."""


@dataclass(frozen=True)
class Plan:
    """One data set that is to be prepared, after those it links to.

    Args:
        origin: where its recipe was proved to be; None: it is of this machine.
    """

    recipe: Recipe
    choice: Choice
    places: Places
    links: Mapping[str, Plan]
    origin: Origin | None = None

    def everything(self) -> Iterator[Plan]:
        """This, after all that it needs, each data set once."""
        known: dict[str, Plan] = {}
        self._collect(known)
        yield from known.values()

    @property
    def download_bytes(self) -> int | None:
        """How much is downloaded for it alone; None: its recipe does not say it all."""
        sizes = [one.size for one in self.recipe.resources.values() if one.is_download]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def hosts(self, settings: Settings) -> list[str]:
        """Whom its downloads may be asked from."""
        return hosts(list(self.recipe.resources.values()), settings.hf_endpoint)

    def _collect(self, known: dict[str, Plan]) -> None:
        if str(self.choice) not in known:
            for other in self.links.values():
                other._collect(known)
            known[str(self.choice)] = self


@dataclass(frozen=True)
class _Meant:
    """A recipe that was found, and what was said of it."""

    recipe: Recipe
    values: Mapping[str, str]
    origin: Origin | None = None


def plan(
    what: str | os.PathLike[str] | Recipe | type[Any],
    settings: Settings,
    find: Find = published.find,
) -> Plan:
    """What ``what`` means: ``name``, ``name[k=v]``, ``@handle/name``, a recipe file, or a recipe.

    Args:
        find: who is asked for published recipes: the daemon.

    Raises:
        RecipeError: no such recipe or variant, or data sets that link to each other in a circle.
        RecordAbsent, AtdError: a published recipe could not be had, or not proved.
    """
    return _Planner(settings, find).plan(what, ())


class _Planner:
    """Plans one data set and all that it links to, each recipe looked for once."""

    def __init__(self, settings: Settings, find: Find) -> None:
        self._settings = settings
        self._find = find
        self._known: dict[str, Plan] = {}
        self._found: dict[str, PublishedRecipe] = {}

    def plan(self, what: Any, above: tuple[str, ...]) -> Plan:
        meant = _meant(what, self._settings, self._published)
        one, choice = choose(meant.recipe, meant.values)
        if meant.origin is not None:
            choice = Choice(choice.name, choice.values, meant.origin.did, meant.origin.version)
        name = str(choice)
        if name in above:
            raise RecipeError(f"data sets that link to each other: {' → '.join([*above, name])}")
        if len(above) >= MAX_LINKS:
            raise RecipeError(f"{above[0]} links to {name} over more than {MAX_LINKS} others")
        if name not in self._known:
            links = {
                key: self._linked(resource.target or "", (*above, name))
                for key, resource in one.resources.items()
                if resource.kind == "link"
            }
            if len(self._known) >= MAX_DATASETS:
                raise RecipeError(f"{name} links to more than {MAX_DATASETS} data sets in all")
            places = Places(self._settings, one, choice)
            self._known[name] = Plan(one, choice, places, links, meant.origin)
        return self._known[name]

    def _linked(self, target: str, above: tuple[str, ...]) -> Plan:
        return self.plan(parse_link(target).recipe, above)

    def _published(self, ref: str) -> PublishedRecipe:
        """The published recipe ``ref``; asked for once, however many links lead there."""
        if ref not in self._found:
            if len(self._found) >= MAX_DATASETS:
                raise RecipeError(
                    f"{next(iter(self._found))} links to more than {MAX_DATASETS} recipes in all"
                )
            self._found[ref] = self._find(ref, self._settings)
        return self._found[ref]


def local_recipe(what: str | os.PathLike[str], settings: Settings) -> Recipe:
    """The recipe of this machine that ``what`` means: a name, or a file that holds one.

    Raises:
        RecipeError: there is none.
    """
    text = os.fspath(what)
    if not _is_file(text):
        return catalogue.find(text, settings)
    found = catalogue.load_file(Path(text))
    if len(found) != 1:
        raise RecipeError(f"expected one recipe in {text}, found {len(found)}")
    return found[0]


def _is_file(text: str) -> bool:
    return text.endswith(catalogue.SUFFIXES) and ("/" in text or Path(text).is_file())


def _meant(what: Any, settings: Settings, find: Callable[[str], PublishedRecipe]) -> _Meant:
    recipe = recipe_of(what)
    if recipe is not None:
        return _Meant(recipe, {})
    text = os.fspath(what)
    bare, bracket, rest = text.partition("[")
    if bare.startswith(_PUBLISHED):
        return _published(text, find)
    if not _is_file(bare) and isinstance(parse_ref(bare), DatasetRef):
        return _published(text, find)
    return _Meant(local_recipe(bare, settings), parse_variant(f"x{bracket}{rest}")[1])


def _published(text: str, find: Callable[[str], PublishedRecipe]) -> _Meant:
    ref, values = parse_variant(text)
    found = find(ref)
    return _Meant(found.recipe, values, found.origin)
