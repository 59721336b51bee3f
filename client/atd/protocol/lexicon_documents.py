"""Lexicon documents: is this JSON a lexicon?

Belongs here: the form of documents and definitions, the string formats, the resolution of
references. The validation of values is `atd.protocol.lexicon`. Documents may come from the network
(they are published as records): depth and shape are bounded before anything is used, and what is
wrong raises `LexiconError` with the path of the definition. Keys that the specification does not
name are left alone.

Source: atproto.com/specs/lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from atd.errors import InvalidSyntax, LexiconError
from atd.protocol import syntax
from atd.protocol.syntax import Nsid, quote

__all__ = ["FORMATS", "JSON", "Definition", "absolute", "check_lexicon", "references"]

JSON: Final = "application/json"
Definition: TypeAlias = Mapping[str, Any]

FORMATS: Final[Mapping[str, Callable[[str], object]]] = {
    "at-identifier": syntax.parse_actor,
    "at-uri": syntax.AtUri.parse,
    "cid": syntax.CidText.parse,
    "datetime": syntax.Datetime.parse,
    "did": syntax.Did.parse,
    "handle": syntax.Handle.parse,
    "language": syntax.Language.parse,
    "nsid": syntax.Nsid.parse,
    "record-key": syntax.RecordKey.parse,
    "tid": syntax.Tid.parse,
    "uri": syntax.Uri.parse,
}
"""The string formats, each with the function that raises `InvalidSyntax`."""

_MAX_DEPTH: Final = 64
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}")
_PRIMARY = frozenset({"record", "query", "procedure", "subscription", "permission-set"})
_FIELD_TYPES = frozenset(
    {
        *("null", "boolean", "integer", "string", "bytes", "cid-link", "blob"),
        *("array", "object", "ref", "union", "unknown"),
    }
)
_NAMED = (_FIELD_TYPES - {"ref", "union", "unknown", "null"}) | {"token"}
_PARAMS = frozenset({"boolean", "integer", "string", "unknown"})


def check_lexicon(document: object) -> None:
    """Refuse what is not a lexicon document.

    Raises:
        LexiconError: with the path of the definition that is wrong.
    """
    _check_depth(document)
    whole = _Node(document, "lexicon")
    if whole.get("lexicon", int, required=True) != 1:
        raise whole.fault("expected version 1 of the lexicon language")
    try:
        nsid = Nsid.parse(whole.text("id"))
    except InvalidSyntax as error:
        raise whole.fault(error.message) from None
    whole.get("description", str)
    whole.get("revision", int)
    definitions = whole.child("defs")
    for name, definition in definitions.children():
        if not _NAME.fullmatch(name):
            raise definitions.fault(f"expected the name of a definition, found {quote(name)}")
        kind = definition.text("type")
        if kind in _PRIMARY and name != "main":
            raise definition.fault(f"a {kind} must be called main")
        if kind not in _PRIMARY | _NAMED:
            raise definition.fault(f"expected a type that can be defined, found {quote(kind)}")
        _CHECKS[kind](definition)
    _check_local(definitions, nsid)


def absolute(reference: str, nsid: str) -> str:
    """``#name`` within ``nsid`` as ``nsid#name``; ``main`` goes by the NSID alone."""
    full = nsid + reference if reference.startswith("#") else reference
    return full.removesuffix("#main")


def references(definition: object) -> Iterator[str]:
    """The references of every ``ref`` and ``union`` in a definition."""
    if isinstance(definition, Mapping):
        named = {"ref": [definition.get("ref")], "union": definition.get("refs")}
        found = named.get(str(definition.get("type")))
        for reference in found if isinstance(found, list) else []:
            if isinstance(reference, str):
                yield reference
    inner = definition.values() if isinstance(definition, Mapping) else definition
    for item in inner if not isinstance(inner, str) and isinstance(inner, Iterable) else ():
        yield from references(item)


class _Node:
    """One object of a lexicon document, with its path."""

    def __init__(self, value: object, path: str) -> None:
        self.path = path
        if not isinstance(value, Mapping):
            raise self.fault(f"expected an object, found {quote(value)}")
        self.value: Mapping[str, Any] = value

    def fault(self, message: str) -> LexiconError:
        return LexiconError(f"{self.path}: {message}")

    def get(self, key: str, kind: type, *, required: bool = False) -> Any:
        """The value at ``key``, of type ``kind``; None where it is missing."""
        found = self.value.get(key)
        if found is None and not required and key not in self.value:
            return None
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.fault(f"expected {key} to be a {kind.__name__}, found {quote(found)}")
        return found

    def text(self, key: str) -> str:
        return str(self.get(key, str, required=True))

    def strings(self, key: str, *, required: bool = False) -> list[str]:
        found = self.get(key, list, required=required) or []
        if not all(isinstance(item, str) for item in found):
            raise self.fault(f"expected {key} to be a list of strings")
        return list(found)

    def child(self, key: str) -> _Node:
        return _Node(self.value.get(key), f"{self.path}.{ascii(key)[1:-1][:80]}")

    def children(self) -> list[tuple[str, _Node]]:
        if not all(isinstance(key, str) for key in self.value):
            raise self.fault("expected keys to be strings")
        return [(key, self.child(key)) for key in self.value]

    def items(self, key: str) -> list[_Node]:
        found = self.get(key, list) or []
        return [_Node(item, f"{self.path}.{key}[{at}]") for at, item in enumerate(found)]

    def limits(self, what: str) -> None:
        """``min…`` and ``max…`` are integers, not negative for lengths, and in order."""
        low, high = self.get(f"min{what}", int), self.get(f"max{what}", int)
        negative = any(limit is not None and limit < 0 for limit in (low, high))
        if (negative and what != "imum") or (low is not None and high is not None and low > high):
            raise self.fault(f"expected 0 <= min{what} <= max{what}, found {low} and {high}")


def _field(node: _Node, allowed: frozenset[str] = _FIELD_TYPES) -> None:
    """A definition that stands where a value is: a property, an item, a schema."""
    kind = node.text("type")
    if kind not in allowed:
        raise node.fault(f"expected one of {', '.join(sorted(allowed))}, found {quote(kind)}")
    node.get("description", str)
    _CHECKS[kind](node)


def _plain(node: _Node) -> None:
    node.get("description", str)


def _boolean(node: _Node) -> None:
    node.get("default", bool)
    node.get("const", bool)


def _integer(node: _Node) -> None:
    node.limits("imum")
    _choices(node, int)


def _string(node: _Node) -> None:
    node.limits("Length")
    node.limits("Graphemes")
    node.strings("knownValues")
    _choices(node, str)
    name = node.get("format", str)
    if name is not None and name not in FORMATS:
        raise node.fault(f"expected a string format, found {quote(name)}")


def _choices(node: _Node, kind: type) -> None:
    node.get("default", kind)
    node.get("const", kind)
    values = node.get("enum", list) or []
    if not all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
        raise node.fault(f"expected enum to be a list of {kind.__name__}")


def _bytes(node: _Node) -> None:
    node.limits("Length")


def _blob(node: _Node) -> None:
    node.strings("accept")
    node.limits("Size")


def _array(node: _Node) -> None:
    node.limits("Length")
    _field(node.child("items"))


def _object(node: _Node) -> None:
    names = _properties(node, _FIELD_TYPES)
    for name in node.strings("nullable"):
        if name not in names:
            raise node.fault(f"nullable names {quote(name)}, which is no property")


def _properties(node: _Node, allowed: frozenset[str]) -> set[str]:
    """The names of the properties; ``required`` names only such."""
    names: set[str] = set()
    if "properties" in node.value:
        for name, item in node.child("properties").children():
            _field(item, allowed)
            names.add(name)
    for name in node.strings("required"):
        if name not in names:
            raise node.fault(f"required names {quote(name)}, which is no property")
    return names


def _params(node: _Node) -> None:
    if node.text("type") != "params":
        raise node.fault("expected type params")
    _properties(node, _PARAMS | {"array"})
    for _, item in node.child("properties").children():
        if item.text("type") == "array":
            _field(item.child("items"), _PARAMS)


def _ref(node: _Node) -> None:
    _check_reference(node, node.text("ref"))


def _union(node: _Node) -> None:
    node.get("closed", bool)
    refs = node.strings("refs", required=True)
    for ref in refs:
        _check_reference(node, ref)
    if not refs and node.value.get("closed"):
        raise node.fault("a closed union needs refs")


def _check_reference(node: _Node, reference: str) -> None:
    nsid, hash_, name = reference.partition("#")
    try:
        if nsid or not hash_:
            Nsid.parse(nsid)
    except InvalidSyntax as error:
        raise node.fault(error.message) from None
    if hash_ and not _NAME.fullmatch(name):
        raise node.fault(f"expected a reference NSID#NAME, found {quote(reference)}")


def _record(node: _Node) -> None:
    key = node.text("key")
    if key not in ("tid", "nsid", "any") and not key.startswith("literal:"):
        raise node.fault(f"expected the key tid, nsid, any or literal:…, found {quote(key)}")
    _field(node.child("record"), frozenset({"object"}))


def _method(node: _Node) -> None:
    if "parameters" in node.value:
        _params(node.child("parameters"))
    for where in ("input", "output"):
        if where in node.value:
            body = node.child(where)
            body.text("encoding")
            if "schema" in body.value:
                _field(body.child("schema"), frozenset({"object", "ref", "union"}))
    _errors(node)


def _subscription(node: _Node) -> None:
    if "parameters" in node.value:
        _params(node.child("parameters"))
    if "message" in node.value:
        _field(node.child("message").child("schema"), frozenset({"union"}))
    _errors(node)


def _errors(node: _Node) -> None:
    for error in node.items("errors"):
        if not error.text("name") or " " in error.text("name"):
            raise error.fault("expected the name of an error")


def _permissions(node: _Node) -> None:
    for permission in node.items("permissions"):
        if permission.text("type") != "permission" or not permission.text("resource"):
            raise permission.fault("expected a permission with its resource")


_CHECKS: Final[Mapping[str, Callable[[_Node], None]]] = {
    **dict.fromkeys(("null", "cid-link", "unknown", "token"), _plain),
    "boolean": _boolean,
    "integer": _integer,
    "string": _string,
    "bytes": _bytes,
    "blob": _blob,
    "array": _array,
    "object": _object,
    "ref": _ref,
    "union": _union,
    "record": _record,
    "query": _method,
    "procedure": _method,
    "subscription": _subscription,
    "permission-set": _permissions,
}


def _check_local(definitions: _Node, nsid: str) -> None:
    """Every reference into this very document finds a definition."""
    known = {absolute(f"#{name}", nsid) for name in definitions.value}
    for reference in references(definitions.value):
        full = absolute(reference, nsid)
        if full.partition("#")[0] == nsid and full not in known:
            raise definitions.fault(f"{quote(reference)} is not defined in this lexicon")


def _check_depth(document: object) -> None:
    """Bound the depth first, without recursion, so that everything after may recurse."""
    level: list[object] = [document]
    for _ in range(_MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            inner.extend(item.values() if isinstance(item, Mapping) else ())
            inner.extend(item if isinstance(item, list) else ())
        level = inner
    if level:
        raise LexiconError(f"lexicon: nested deeper than {_MAX_DEPTH} levels")
