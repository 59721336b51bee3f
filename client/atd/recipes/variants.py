"""Variants: one recipe with parameters, and the name of one choice of them, ``name[k=v]``. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from atd.errors import RecipeError
from atd.names import check_name
from atd.protocol.syntax import quote
from atd.recipes.model import Recipe, settled
from atd.recipes.rules import filled

_MAX_FOLDER: Final = 200
_CHOICE: Final = re.compile(r"([a-z][a-z0-9_]{0,63})=([A-Za-z0-9][A-Za-z0-9._+-]{0,63})")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for: the name of a recipe, and the values of some of its parameters.

    ``owner`` is the DID of who published it, empty for one of this machine; ``version`` the release
    that carries it, empty for the one that stands by itself.
    """

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    version: str = ""

    def __str__(self) -> str:
        return f"{self.owner}/{self._own}" if self.owner else self._own

    @property
    def folder(self) -> str:
        """Where it is prepared, below the folder of all: no two choices share one.

        A DID has a colon, which no name has.
        """
        if len(self.owner) <= _MAX_FOLDER:
            return str(self)
        return f"did:{hashlib.sha256(self.owner.encode()).hexdigest()}/{self._own}"

    @property
    def _own(self) -> str:
        inner = ",".join(f"{key}={value}" for key, value in sorted(self.values.items()))
        version = f"@{self.version}" if self.version else ""
        return f"{self.name}{version}{f'[{inner}]' if inner else ''}"


def parse_choice(text: str) -> Choice:
    """``name`` or ``name[k=v,…]``.

    Raises:
        RecipeError: it is not written so.
        InvalidSyntax: the name is not one of a data set.
    """
    name, values = parse_variant(text)
    return Choice(check_name(name), values)


def parse_variant(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the brackets, and the values in them.

    Raises:
        RecipeError: it is not written so.
    """
    name, bracket, rest = text.partition("[")
    if not bracket:
        return name, {}
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
    return name, values


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
    samples = {
        split: {field: filled(name, full) for field, name in fields.items()}
        for split, fields in recipe.samples.items()
    }
    whole = replace(recipe, resources=kept, data=data, samples=samples, variants={})
    return whole, Choice(recipe.name, full)
