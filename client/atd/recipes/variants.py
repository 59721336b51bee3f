"""Variants: one recipe with parameters, and the name of one choice of them, ``name[k=v]``. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from atd.errors import RecipeError
from atd.names import check_name
from atd.protocol.syntax import quote
from atd.recipes.model import Recipe, filled, settled

_CHOICE: Final = re.compile(r"([a-z][a-z0-9_]{0,63})=([A-Za-z0-9][A-Za-z0-9._+-]{0,63})")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: the name of a recipe, and the values of some of its parameters."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        inner = ",".join(f"{key}={value}" for key, value in sorted(self.values.items()))
        return f"{self.name}[{inner}]" if inner else self.name


def parse_choice(text: str) -> Choice:
    """``name`` or ``name[k=v,…]``.

    Raises:
        RecipeError: it is not written so.
        InvalidSyntax: the name is not one of a data set.
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return Choice(check_name(name))
    if not rest.endswith("]"):
        raise RecipeError(f"expected NAME[KEY=VALUE,…], found {quote(text)}")
    values: dict[str, str] = {}
    for part in rest[:-1].split(","):
        match = _CHOICE.fullmatch(part.strip())
        if match is None or match[1] in values:
            raise RecipeError(
                f"expected KEY=VALUE in the brackets, each key once, found {quote(part)}"
            )
        values[match[1]] = match[2]
    return Choice(check_name(name), values)


def choose(recipe: Recipe, values: Mapping[str, str]) -> tuple[Recipe, Choice]:
    """``recipe`` with its parameters settled, the first value where none was given.

    Returns:
        The recipe of this variant, and its full name.

    Raises:
        RecipeError: a parameter or a value that it does not have; the variant is not whole.
    """
    for key, value in values.items():
        known = recipe.variants.get(key)
        if known is None:
            has = ", ".join(recipe.variants) or "none"
            raise RecipeError(f"{recipe.name} has no parameter {quote(key)}; it has: {has}")
        if value not in known:
            raise RecipeError(f"{recipe.name}: {key} can be {', '.join(known)}, not {quote(value)}")
    full = {key: values.get(key, known[0]) for key, known in recipe.variants.items()}
    if not recipe.variants:
        return recipe, Choice(recipe.name)
    kept = {
        filled(name, full): settled(one, full)
        for name, one in recipe.resources.items()
        if all(full.get(key) == value for key, value in one.when.items())
    }
    data = {
        filled(name, full): replace(
            one,
            of=filled(one.of, full) if isinstance(one.of, str) else one.of,
            path=None if one.path is None else filled(one.path, full),
        )
        for name, one in recipe.data.items()
    }
    return replace(recipe, resources=kept, data=data, variants={}), Choice(recipe.name, full)
