"""Recipes as data: from JSON or TOML values to `Recipe`, and back. Pure.

Rules. The reader is strict: a key that is not known, a value of another type, or one that is too
large is `RecipeError`, which says where. What it returns was checked by `atd.recipes.model`. Code
has no form here, so `to_value` refuses a recipe that has some, and `from_value` cannot make one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from atd.errors import RecipeError
from atd.protocol.syntax import quote
from atd.recipes.model import ROWS, Reader, Recipe, Resource, Transform, plain

FORM: Final = 1
"""The number of the form that is written; a recipe of a later form is refused."""

MAX_STRING: Final = 100_000
MAX_ITEMS: Final = 4096

_TEXTS: Final = ("name", "title", "description", "homepage", "license", "agreement")
_RECIPE: Final = frozenset({"recipe", "resources", "data", "variants", "samples", *_TEXTS})
Made = TypeVar("Made")
_WRITTEN: Final = frozenset({"file", "archive", "concat", "link", "folder", "hf", "blob"})


def from_value(value: Any) -> Recipe:
    """The recipe that ``value`` describes, as it comes out of a JSON or TOML file.

    Raises:
        RecipeError: it is none; says where and why.
        InvalidSyntax: its name is not one of a data set.
    """
    table = _table(value, "a recipe", _RECIPE)
    form = table.get("recipe", FORM)
    if type(form) is not int or form != FORM:
        raise RecipeError(f"expected a recipe of form {FORM}, found {form!a}")
    texts = {key: _text(table[key], key) for key in _TEXTS if key in table}
    if "name" not in texts:
        raise RecipeError(
            "a recipe has no name", next_step='give it one: name = "org.example.data"'
        )
    resources = _items(table.get("resources", {}), "resources")
    data = _items(table.get("data", {}), "data")
    variants = _items(table.get("variants", {}), "variants")
    samples = _items(table.get("samples", {}), "samples")
    return Recipe(
        resources={name: _resource(one, f"resources.{name}") for name, one in resources.items()},
        data={name: _reader(one, f"data.{name}") for name, one in data.items()},
        variants={key: _texts(values, f"variants.{key}") for key, values in variants.items()},
        samples={split: _fields(one, f"samples.{split}") for split, one in samples.items()},
        **texts,
    )


def to_value(recipe: Recipe) -> dict[str, Any]:
    """``recipe`` as JSON values; `from_value` of it is the same recipe.

    Raises:
        RecipeError: it has code in it, which cannot be written down.
    """
    texts = {key: getattr(recipe, key) for key in _TEXTS if getattr(recipe, key)}
    value: dict[str, Any] = {"recipe": FORM, **texts}
    if recipe.variants:
        value["variants"] = {key: list(values) for key, values in recipe.variants.items()}
    value["resources"] = {name: resource_value(one) for name, one in recipe.resources.items()}
    value["data"] = {
        name: {key: _simple(inner) for key, inner in plain(one).items()}
        for name, one in recipe.data.items()
    }
    if recipe.samples:
        value["samples"] = {split: _written(one) for split, one in recipe.samples.items()}
    return value


def resource_value(one: Resource) -> dict[str, Any]:
    """One resource as JSON values.

    Raises:
        RecipeError: it is code.
    """
    if one.function is not None:
        raise RecipeError(
            "a recipe with code in it cannot be written down or published",
            next_step="make the file beforehand, put it where it can be fetched, and declare that",
        )
    return {key: _simple(inner) for key, inner in plain(one).items()}


def digests(recipe: Recipe) -> dict[str, str]:
    """What each resource depends on, as a hash (hex, 64 characters), by its name.

    Addresses are left out: the same bytes from elsewhere are the same bytes. Of code, its name and
    its compiled form count.
    """
    found: dict[str, str] = {}
    for name in recipe.order:  # each after its needs, so that every one is hashed once
        one = recipe.resources[name]
        left_out = ("function", "urls", "max_bytes")
        shown = {key: _simple(value) for key, value in plain(one).items() if key not in left_out}
        if one.function is not None:
            code = getattr(one.function, "__code__", None)
            body = hashlib.sha256(code.co_code).hexdigest() if code is not None else ""
            shown["function"] = f"{getattr(one.function, '__qualname__', '')} {body}"
        shown["of"] = [found[need] for need in one.needs]
        found[name] = hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    return found


def _simple(value: Any) -> Any:
    if isinstance(value, Transform):
        return plain(value)
    if isinstance(value, tuple):
        return [_simple(one) for one in value]
    if isinstance(value, Resource):
        raise RecipeError("a resource is made of something that is not part of its recipe")
    return dict(value) if isinstance(value, Mapping) else value


def _resource(value: Any, where: str) -> Resource:
    takes: dict[str, Callable[[Any, str], Any]] = {
        "kind": _text,
        "urls": _texts,
        "of": _texts,
        "size": _number,
        "sha256": _text,
        "transforms": _transforms,
        "transient": _flag,
        "path": _text,
        "target": _text,
        "key": _text,
        "when": _choices,
        "max_bytes": _number,
    }
    table = _table(value, where, frozenset(takes))
    kind = _text(table.get("kind", "file"), f"{where}.kind")
    if kind not in _WRITTEN:
        raise RecipeError(
            f"{where}: expected a kind ({', '.join(sorted(_WRITTEN))}), found {kind!a}"
        )
    found = {key: takes[key](inner, f"{where}.{key}") for key, inner in table.items()}
    return _made(lambda: Resource(**{"kind": "file", **found}), where)


def _transforms(value: Any, where: str) -> tuple[Transform, ...]:
    return tuple(_transform(one, where) for one in _list(value, where))


def _transform(value: Any, where: str) -> Transform:
    if isinstance(value, str):
        return _made(lambda: Transform(value), where)
    takes: dict[str, Callable[[Any, str], Any]] = {
        "do": _text,
        "path": _text,
        "skip": _number,
        "take": _number,
        "starts": _text,
        "contains": _text,
    }
    table = _table(value, where, frozenset(takes))
    found = {key: takes[key](inner, f"{where}.{key}") for key, inner in table.items()}
    if "do" not in found:
        raise RecipeError(f"{where}: a transform does not say what to do")
    return _made(lambda: Transform(**found), where)


def _reader(value: Any, where: str) -> Reader:
    takes: dict[str, Callable[[Any, str], Any]] = {
        "kind": _text,
        "of": _text,
        "path": _text,
        "delimiter": _text,
        "columns": _texts,
    }
    table = _table(value, where, frozenset(takes))
    found = {key: takes[key](inner, f"{where}.{key}") for key, inner in table.items()}
    if not {"kind", "of"} <= found.keys():
        raise RecipeError(f"{where}: expected kind and of")
    return _made(lambda: Reader(**found), where)


def _made(make: Callable[[], Made], where: str) -> Made:
    try:
        return make()
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", next_step=error.next_step) from None


def _table(value: Any, where: str, known: frozenset[str]) -> dict[str, Any]:
    table = _items(value, where)
    odd = sorted(set(table) - known)
    if odd:
        names = ", ".join(quote(key) for key in odd[:5])
        raise RecipeError(
            f"{where} has keys that are not known: {names}",
            next_step=f"those that are: {', '.join(sorted(known))}",
        )
    return table


def _items(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise RecipeError(f"{where}: expected a table, found {type(value).__name__}")
    if len(value) > MAX_ITEMS:
        raise RecipeError(f"{where}: more than {MAX_ITEMS} entries")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise RecipeError(f"{where}: expected a list of at most {MAX_ITEMS} entries")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_STRING:
        raise RecipeError(f"{where}: expected a text of at most {MAX_STRING:,} characters")
    return value


def _texts(value: Any, where: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else _list(value, where)
    return tuple(_text(one, where) for one in listed)


def _number(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise RecipeError(f"{where}: expected a whole number, found {value!a:.60}")
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise RecipeError(f"{where}: expected true or false, found {value!a:.60}")
    return value


def _fields(value: Any, where: str) -> dict[str, str]:
    """Which data give which fields; of data whose rows have the fields, their name alone."""
    return {ROWS: value} if isinstance(value, str) else _choices(value, where)


def _written(fields: Mapping[str, str]) -> str | dict[str, str]:
    return fields[ROWS] if list(fields) == [ROWS] else dict(fields)


def _choices(value: Any, where: str) -> dict[str, str]:
    return {key: _text(inner, where) for key, inner in _items(value, where).items()}
