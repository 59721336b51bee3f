"""Recipes as Python classes: the decorator `recipe`.

    @atd.recipe("org.example.letters", license="CC0-1.0")
    class Letters:
        '''Handwritten letters.'''

        images = recipes.file("https://example.org/letters.idx.gz", transforms=[recipes.gunzip()])
        data = {"train.images": recipes.reader("idx", images)}

What belongs here: from the attributes of a class to a `Recipe`. Resources are told by identity, so
that one is made of another by naming it, as above.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from atd.errors import RecipeError
from atd.recipes.model import ROWS, Reader, Recipe, Resource

Class = TypeVar("Class", bound=type[Any])

ATTRIBUTE: Final = "__recipe__"
"""Where a class carries the recipe that was made of it."""

_TEXTS: Final = ("title", "description", "homepage", "license", "agreement")


def recipe(
    name: str,
    *,
    title: str = "",
    description: str = "",
    homepage: str = "",
    license: str = "",
    agreement: str = "",
) -> Callable[[Class], Class]:
    """Make a recipe of a class: its attributes that are resources, and its ``data``.

    Args:
        name: of the data set, such as ``com.lecun.mnist``.
        title: one line; the first of the class's docstring if empty.
        description: the docstring if empty.
        agreement: what must be agreed to before anything is fetched; an attribute ``agreement`` of
            the class says the same.

    Raises:
        RecipeError: the class is no recipe; says why. InvalidSyntax: the name is none.
    """
    given = {
        "title": title,
        "description": description,
        "homepage": homepage,
        "license": license,
        "agreement": agreement,
    }

    def made(cls: Class) -> Class:
        setattr(cls, ATTRIBUTE, _made(name, cls, given))
        return cls

    return made


def recipe_of(thing: object) -> Recipe | None:
    """The recipe that ``thing`` is, or that its class was made to; None for anything else."""
    if isinstance(thing, Recipe):
        return thing
    found = vars(thing).get(ATTRIBUTE) if isinstance(thing, type) else None
    return found if isinstance(found, Recipe) else None


def _made(name: str, cls: type[Any], given: Mapping[str, str]) -> Recipe:
    resources = {key: value for key, value in vars(cls).items() if isinstance(value, Resource)}
    names = {id(value): key for key, value in resources.items()}
    doc = inspect.cleandoc(cls.__doc__) if cls.__doc__ else ""
    texts = {key: given[key] or str(vars(cls).get(key, "")) for key in _TEXTS}
    texts["title"] = texts["title"] or doc.partition("\n")[0]
    texts["description"] = texts["description"] or doc
    data = vars(cls).get("data", {})
    if not isinstance(data, Mapping) or not all(isinstance(v, Reader) for v in data.values()):
        raise RecipeError(f"{name}: expected data to be a dict of readers")
    return Recipe(
        name,
        {
            key: replace(one, of=tuple(_named(name, names, need) for need in one.of))
            for key, one in resources.items()
        },
        {key: replace(one, of=_named(name, names, one.of)) for key, one in data.items()},
        variants={key: tuple(one) for key, one in vars(cls).get("variants", {}).items()},
        samples={
            split: {ROWS: one} if isinstance(one, str) else dict(one)
            for split, one in vars(cls).get("samples", {}).items()
        },
        **texts,
    )


def _named(recipe: str, names: Mapping[int, str], one: str | Resource) -> str:
    if isinstance(one, str):
        return one
    if id(one) not in names:
        raise RecipeError(
            f"{recipe}: something is made of a resource that is no attribute of the class",
            next_step="give it a name: raw = atd.recipes.file(…); then use raw",
        )
    return names[id(one)]
