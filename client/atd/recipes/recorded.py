"""Recipes as records have them: from `Recipe` to the body of a ``network.atd.recipe``, and back.

What belongs here: the two forms side by side. A record has lists of objects with names where a file
has tables, because a lexicon knows no tables with keys of one's own; and a resource says how it
comes to be in a union. Pure; what is recorded goes through `atd.recipes.values`, like every file.

A union or a word that this version does not know is no fault of the record: a later atd may have
written it. Then there is no recipe, and `unknown` says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from atd.errors import RecipeError
from atd.names import RECIPE
from atd.protocol.syntax import quote
from atd.recipes.model import KINDS, READERS, ROWS, STREAMING, Recipe, Resource, plain
from atd.recipes.rules import UNPACKING
from atd.recipes.values import from_value, resource_value

Body = Mapping[str, Any]

TEXTS: Final = ("title", "description", "homepage", "license", "agreement")
_STEPS: Final = UNPACKING | STREAMING
_OF_RESOURCE: Final = {"path": "path", "transient": "transient", "max_bytes": "maxBytes"}
_OF_KIND: Final[Mapping[str, Mapping[str, str]]] = {
    "link": {"target": "target"},
    "folder": {"key": "key"},
    "hf": {"target": "repository", "key": "revision", "size": "size", "sha256": "sha256"},
    "blob": {"target": "did", "key": "cid", "size": "size"},
}
"""For each kind of resource: the words of the record for those of the model."""


def body_of(recipe: Recipe) -> dict[str, Any]:
    """What a record says of ``recipe``: everything but its name, its version and its times.

    Raises:
        RecipeError: it has code in it.
    """
    body: dict[str, Any] = {key: getattr(recipe, key) for key in TEXTS if getattr(recipe, key)}
    body["resources"] = [_resource(name, one) for name, one in recipe.resources.items()]
    if recipe.data:
        body["data"] = [{"name": name, **_reader(one)} for name, one in recipe.data.items()]
    if recipe.variants:
        listed = recipe.variants.items()
        body["variants"] = [{"name": name, "values": list(values)} for name, values in listed]
    if recipe.samples:
        body["samples"] = [
            {"split": split, "fields": [_field(*pair) for pair in fields.items()]}
            for split, fields in recipe.samples.items()
        ]
    return body


def recipe_of_body(name: str, body: Body) -> Recipe:
    """The recipe called ``name`` that a record with this ``body`` describes.

    Args:
        body: of the shape that the lexicon says.

    Raises:
        RecipeError: it is none; says where and why.
    """
    for why in unknown(body):
        raise RecipeError(f"{name}: {why}", next_step="a newer atd may know it")
    resources = _table("resources", body["resources"], "name", _resource_value)
    data = _table("data", body.get("data", ()), "name", _reader_value)
    value = {
        **{key: body[key] for key in TEXTS if key in body},
        "name": name,
        "resources": resources,
        "data": data,
        "variants": _table("variants", body.get("variants", ()), "name", lambda one: one["values"]),
        "samples": _table("samples", body.get("samples", ()), "split", _fields_value),
    }
    return from_value(value)


def unknown(body: Body) -> Iterator[str]:
    """What in ``body`` this version does not know, in words."""
    for one in body["resources"]:
        kind = _kind(one["how"])
        if kind is None:
            yield f"the resource {quote(one['name'])} is a {quote(one['how']['$type'])}"
        for step in one["how"].get("transforms", ()) if kind else ():
            if step["do"] not in _STEPS:
                yield f"{quote(one['name'])} is to be transformed by {quote(step['do'])}"
    for one in body.get("data", ()):
        if one["kind"] not in READERS:
            yield f"{quote(one['name'])} is read as {quote(one['kind'])}"


# ------------------------------------------------------------------ out


def _resource(name: str, one: Resource) -> dict[str, Any]:
    value = resource_value(one)
    kind = value.pop("kind")
    found: dict[str, Any] = {"name": name}
    path = "path" if kind in ("file", "archive", "concat", "blob") else ""
    for ours, theirs in _OF_RESOURCE.items():
        if ours in value and ours in ("transient", "max_bytes", path):
            found[theirs] = value.pop(ours)
    if "when" in value:
        chosen = value.pop("when").items()
        found["when"] = [{"name": key, "value": choice} for key, choice in chosen]
    how = {_OF_KIND.get(kind, {}).get(key, key): inner for key, inner in value.items()}
    if "urls" in how:
        how["urls"] = [{"url": url} for url in how["urls"]]
    return {**found, "how": {"$type": f"{RECIPE}#{kind}", **how}}


def _reader(one: Any) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in plain(one).items()}


def _field(field: str, data: str) -> dict[str, str]:
    return {"data": data} if field == ROWS else {"field": field, "data": data}


# ------------------------------------------------------------------ in


def _kind(how: Body) -> str | None:
    """Which kind of resource ``how`` is; None: one of a later version."""
    space, _, kind = how["$type"].partition("#")
    return kind if space == RECIPE and kind in KINDS and kind != "compute" else None


def _table(where: str, listed: Any, key: str, made: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in listed:
        if one[key] in found:
            raise RecipeError(f"{where}: {quote(one[key])} is there twice")
        found[one[key]] = made(one)
    return found


def _resource_value(one: Body) -> dict[str, Any]:
    how, kind = one["how"], _kind(one["how"])
    assert kind is not None, "unknown kinds were refused"
    words = {theirs: ours for ours, theirs in _OF_KIND.get(kind, {}).items()}
    known = {*words, "path", *("urls", "of", "size", "sha256", "transforms")}
    value = {words.get(key, key): inner for key, inner in how.items() if key in known}
    value |= {ours: one[theirs] for ours, theirs in _OF_RESOURCE.items() if theirs in one}
    if "urls" in value:
        value["urls"] = [place["url"] for place in value["urls"]]
    if "transforms" in value:
        steps = ("do", "path", "skip", "take", "starts", "contains")
        value["transforms"] = [
            {key: step[key] for key in steps if key in step} for step in value["transforms"]
        ]
    if "when" in one:
        value["when"] = _table("when", one["when"], "name", lambda pair: pair["value"])
    return {**value, "kind": kind}


def _reader_value(one: Body) -> dict[str, Any]:
    return {key: one[key] for key in ("kind", "of", "path", "delimiter", "columns") if key in one}


def _fields_value(one: Body) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in one["fields"]:
        field = pair.get("field", ROWS)
        if field in found:
            raise RecipeError(f"samples: the field {quote(field)} is there twice")
        found[field] = pair["data"]
    return found
