"""Lexicons: does a record, a parameter, an input, an output or a message satisfy its schema?

::

    Lexicons(documents) ──┬─ validate_record(value, nsid)      check_key(nsid, rkey)
      documents checked   ├─ validate_params / read_params     (query string -> typed values)
      (lexicon_documents) ├─ validate_input / validate_output  error_names(nsid)
      refs made absolute  └─ validate_message

Belongs here: the validation of values. Values are of the data model (CIDs as `Cid`, bytes as
``bytes``, no floats), as `atd.protocol.cbor` gives them. A value that does not fit raises
`LexiconError`: the path, what was expected, what was found. Keys that a lexicon does not name are
allowed, so that records can grow. Pure: the documents are given as dicts.

Source: atproto.com/specs/lexicon.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from atd.errors import InvalidSyntax, LexiconError
from atd.protocol.cbor import Cid
from atd.protocol.lexicon_documents import (
    FORMATS,
    JSON,
    Definition,
    absolute,
    check_lexicon,
    references,
)
from atd.protocol.syntax import RecordKey, Tid, quote

__all__ = ["Lexicons", "check_lexicon"]

_MAX_DEPTH: Final = 100
_Path: TypeAlias = tuple[str | int, ...]
_Check: TypeAlias = Callable[["Lexicons", Definition, Any, _Path], None]


class Lexicons:
    """A set of lexicon documents, and the validation of values against them.

    Args:
        documents: parsed lexicon JSON; each is checked by `check_lexicon`.

    Raises:
        LexiconError: a document is not a lexicon, or two have the same id.
    """

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self._definitions: dict[str, Definition] = {}
        for document in documents:
            check_lexicon(document)
            nsid = document["id"]
            for name, definition in document["defs"].items():
                key = absolute(f"#{name}", nsid)
                if key in self._definitions:
                    raise LexiconError(f"two lexicons have the id {nsid}")
                self._definitions[key] = _rebased(definition, nsid)

    @property
    def nsids(self) -> tuple[str, ...]:
        """The ids whose ``main`` is defined."""
        return tuple(name for name in self._definitions if "#" not in name)

    def definition(self, name: str) -> Definition:
        """The definition ``nsid`` or ``nsid#name``; references in it are absolute."""
        found = self._definitions.get(name.removesuffix("#main"))
        if found is None:
            raise LexiconError(f"no lexicon here defines {quote(name)}")
        return found

    def unresolved(self) -> set[str]:
        """References that nothing here defines: empty for a complete set."""
        return {
            name
            for definition in self._definitions.values()
            for name in references(definition)
            if name not in self._definitions
        }

    def validate_record(self, value: object, nsid: str) -> None:
        """A record of collection ``nsid``: its ``$type`` says so, and it has the fields."""
        definition = self._main(nsid, "record")
        if not isinstance(value, dict):
            raise _fault((), "an object", value)
        if value.get("$type") != nsid:
            raise _fault(("$type",), nsid, value.get("$type"))
        self._check(definition["record"], value, ())

    def check_key(self, nsid: str, rkey: str) -> None:
        """A record key of the kind that collection ``nsid`` asks for."""
        kind = self._main(nsid, "record")["key"]
        try:
            RecordKey.parse(rkey)
            if kind == "tid":
                Tid.parse(rkey)
            elif kind == "nsid":
                FORMATS["nsid"](rkey)
        except InvalidSyntax as error:
            raise LexiconError(f"rkey: {error.message}") from None
        if kind.startswith("literal:") and rkey != kind.removeprefix("literal:"):
            raise _fault(("rkey",), kind.removeprefix("literal:"), rkey)

    def validate_params(self, value: Mapping[str, Any], nsid: str) -> None:
        """The parameters of a query, procedure or subscription, already typed."""
        definition = self._main(nsid, "query", "procedure", "subscription")
        self._check(definition.get("parameters", _NO_PARAMS), value, ("params",))

    def read_params(self, pairs: Iterable[tuple[str, str]], nsid: str) -> dict[str, Any]:
        """The typed parameters that the query string ``pairs`` spell, with defaults, validated."""
        definition = self._main(nsid, "query", "procedure", "subscription")
        properties = definition.get("parameters", _NO_PARAMS)["properties"]
        found: dict[str, Any] = {}
        for name, text in pairs:
            if name not in properties:
                continue
            path = ("params", name)
            if properties[name]["type"] == "array":
                found.setdefault(name, []).append(_param(properties[name]["items"], text, path))
            elif name in found:
                raise LexiconError(f"{_shown(path)}: given twice")
            else:
                found[name] = _param(properties[name], text, path)
        for name, item in properties.items():
            if "default" in item:
                found.setdefault(name, item["default"])
        self.validate_params(found, nsid)
        return found

    def validate_input(self, value: object, nsid: str, *, encoding: str = JSON) -> None:
        """The body of a procedure's request; ``None`` where there is none."""
        self._check_body(self._main(nsid, "procedure").get("input"), value, encoding, "input")

    def validate_output(self, value: object, nsid: str, *, encoding: str = JSON) -> None:
        """The body of a query's or procedure's answer; ``None`` where there is none."""
        body = self._main(nsid, "query", "procedure").get("output")
        self._check_body(body, value, encoding, "output")

    def validate_message(self, value: object, nsid: str) -> None:
        """A message of a subscription, with its ``$type``."""
        message = self._main(nsid, "subscription").get("message", {})
        if "schema" in message:
            self._check(message["schema"], value, ("message",))

    def error_names(self, nsid: str) -> frozenset[str]:
        """The errors that a query, procedure or subscription declares."""
        definition = self._main(nsid, "query", "procedure", "subscription")
        return frozenset(error["name"] for error in definition.get("errors", ()))

    def _main(self, nsid: str, *types: str) -> Definition:
        definition = self.definition(nsid)
        if definition["type"] not in types:
            raise LexiconError(
                f"expected {nsid} to be a {' or '.join(types)}, found a {definition['type']}"
            )
        return definition

    def _check_body(
        self, body: Definition | None, value: object, encoding: str, where: str
    ) -> None:
        if body is None:
            if value is not None:
                raise _fault((where,), "no body", value)
            return
        accepted = [part.strip() for part in body["encoding"].split(",")]
        if not any(_accepts(pattern, encoding) for pattern in accepted):
            raise _fault((where,), body["encoding"], encoding)
        if "schema" in body:
            self._check(body["schema"], value, (where,))

    def _check(self, definition: Definition, value: Any, path: _Path) -> None:
        if len(path) > _MAX_DEPTH:
            raise LexiconError(f"{_shown(path[:8])}…: nested deeper than {_MAX_DEPTH} levels")
        _CHECKS[definition["type"]](self, definition, value, path)

    def _check_object(self, definition: Definition, value: Any, path: _Path) -> None:
        if not isinstance(value, dict):
            raise _fault(path, "an object", value)
        for name in definition.get("required", ()):
            if name not in value:
                raise LexiconError(f"{_shown((*path, name))}: required, and missing")
        nullable = definition.get("nullable", ())
        for name, item in definition.get("properties", {}).items():
            if name not in value or (value[name] is None and name in nullable):
                continue
            self._check(item, value[name], (*path, name))

    def _check_array(self, definition: Definition, value: Any, path: _Path) -> None:
        if not isinstance(value, list | tuple):
            raise _fault(path, "a list", value)
        _check_range(definition, "Length", len(value), "items", path)
        for index, item in enumerate(value):
            self._check(definition["items"], item, (*path, index))

    def _check_ref(self, definition: Definition, value: Any, path: _Path) -> None:
        self._check_named(definition["ref"], value, path)

    def _check_union(self, definition: Definition, value: Any, path: _Path) -> None:
        if not isinstance(value, dict):
            raise _fault(path, "an object with $type", value)
        name = value.get("$type")
        if not isinstance(name, str) or not name:
            raise _fault((*path, "$type"), "the name of a type", name)
        if name.removesuffix("#main") in definition["refs"]:
            self._check_named(name.removesuffix("#main"), value, path)
        elif definition.get("closed", False):
            raise _fault((*path, "$type"), "one of " + ", ".join(definition["refs"]), name)

    def _check_named(self, name: str, value: Any, path: _Path) -> None:
        target = self.definition(name)
        if target["type"] == "token":
            if value != name:
                raise _fault(path, f"the token {name}", value)
        elif target["type"] == "record":
            self._check(target["record"], value, path)
        else:
            self._check(target, value, path)


_NO_PARAMS: Final[Definition] = {"type": "params", "properties": {}}


def _check_null(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if value is not None:
        raise _fault(path, "null", value)


def _check_boolean(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, bool):
        raise _fault(path, "a boolean", value)
    _check_choice(definition, value, path)


def _check_integer(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _fault(path, "an integer", value)
    _check_choice(definition, value, path)
    _check_range(definition, "imum", value, "", path)


def _check_string(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, str):
        raise _fault(path, "a string", value)
    _check_choice(definition, value, path)
    if "format" in definition:
        try:
            FORMATS[definition["format"]](value)
        except InvalidSyntax as error:
            raise LexiconError(f"{_shown(path)}: {error.message}") from None
    if "minLength" in definition or "maxLength" in definition:
        length = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        _check_range(definition, "Length", length, "bytes in UTF-8", path)
    if "minGraphemes" in definition or "maxGraphemes" in definition:
        _check_graphemes(definition, value, path)


def _check_graphemes(definition: Definition, text: str, path: _Path) -> None:
    """Clusters are never more than code points: mostly these decide, without counting."""
    few = "minGraphemes" not in definition and len(text) <= definition["maxGraphemes"]
    if few:
        return
    plain = text.isascii() and "\r" not in text
    count = len(text) if plain else importlib.import_module(_GRAPHEMES).count(text)
    _check_range(definition, "Graphemes", count, "graphemes", path)


def _check_bytes(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, bytes):
        raise _fault(path, "bytes", value)
    _check_range(definition, "Length", len(value), "bytes", path)


def _check_link(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, Cid):
        raise _fault(path, "a CID link", value)


def _check_blob(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, dict) or value.get("$type") != "blob":
        raise _fault(path, "a blob", value)
    if not isinstance(value.get("ref"), Cid):
        raise _fault((*path, "ref"), "a CID link", value.get("ref"))
    mime, size = value.get("mimeType"), value.get("size")
    if not isinstance(mime, str) or not mime:
        raise _fault((*path, "mimeType"), "a media type", mime)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _fault((*path, "size"), "a size in bytes", size)
    if size > definition.get("maxSize", size):
        raise _fault((*path, "size"), f"at most {definition['maxSize']}", size)
    accepted = definition.get("accept", ["*/*"])
    if not any(_accepts(pattern, mime) for pattern in accepted):
        raise _fault((*path, "mimeType"), " or ".join(accepted), mime)


def _check_unknown(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    if not isinstance(value, dict) or value.get("$type") == "blob":
        raise _fault(path, "an object", value)


def _check_token(_: Lexicons, definition: Definition, value: Any, path: _Path) -> None:
    raise LexiconError(f"{_shown(path)}: a token is a name, and holds no value")


_GRAPHEMES: Final = "atd.protocol.graphemes"
_CHECKS: Final[Mapping[str, _Check]] = {
    "null": _check_null,
    "boolean": _check_boolean,
    "integer": _check_integer,
    "string": _check_string,
    "bytes": _check_bytes,
    "cid-link": _check_link,
    "blob": _check_blob,
    "unknown": _check_unknown,
    "token": _check_token,
    "object": Lexicons._check_object,
    "params": Lexicons._check_object,
    "array": Lexicons._check_array,
    "ref": Lexicons._check_ref,
    "union": Lexicons._check_union,
}


def _check_choice(definition: Definition, value: object, path: _Path) -> None:
    if "const" in definition and value != definition["const"]:
        raise _fault(path, quote(definition["const"]), value)
    if "enum" in definition and value not in definition["enum"]:
        raise _fault(path, "one of " + ", ".join(map(str, definition["enum"])), value)


def _check_range(definition: Definition, what: str, found: int, unit: str, path: _Path) -> None:
    """The limits ``min{what}`` and ``max{what}``, both inclusive."""
    low, high = definition.get(f"min{what}"), definition.get(f"max{what}")
    if low is not None and found < low:
        raise LexiconError(
            f"{_shown(path)}: expected at least {low} {unit}".rstrip() + f", found {found}"
        )
    if high is not None and found > high:
        raise LexiconError(
            f"{_shown(path)}: expected at most {high} {unit}".rstrip() + f", found {found}"
        )


def _accepts(pattern: str, media_type: str) -> bool:
    """Whether ``*/*``, ``image/*`` or a plain media type covers ``media_type``."""
    plain = media_type.partition(";")[0].strip().lower()
    if pattern.endswith("*"):
        return plain.startswith(pattern.removesuffix("*").removesuffix("*/"))
    return plain == pattern.lower()


def _param(definition: Definition, text: str, path: _Path) -> bool | int | str:
    """One parameter out of a query string, by the type its lexicon gives it."""
    if definition["type"] == "boolean":
        if text not in ("true", "false"):
            raise _fault(path, "true or false", text)
        return text == "true"
    if definition["type"] == "integer":
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise _fault(path, "an integer", text)
        return int(text)
    return text


def _rebased(definition: Any, nsid: str) -> Any:
    """A copy of ``definition`` whose references are absolute."""
    if isinstance(definition, Mapping):
        copy = {key: _rebased(item, nsid) for key, item in definition.items()}
        if copy.get("type") == "ref" and isinstance(copy.get("ref"), str):
            copy["ref"] = absolute(copy["ref"], nsid)
        elif copy.get("type") == "union" and isinstance(copy.get("refs"), list):
            copy["refs"] = [absolute(ref, nsid) for ref in references(definition)]
        return copy
    if isinstance(definition, list):
        return [_rebased(item, nsid) for item in definition]
    return definition


def _shown(path: _Path) -> str:
    """``("splits", 0, "name")`` as ``splits[0].name``; keys come from lexicons, not from values."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "record"


def _fault(path: _Path, expected: str, found: object) -> LexiconError:
    return LexiconError(f"{_shown(path)}: expected {expected}, found {quote(found)}")
