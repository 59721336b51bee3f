"""Lexicon documents from strangers, and our own."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest

from atd import api, lexicon_files, names
from atd.errors import LexiconError
from atd.protocol.lexicon import Lexicons, check_lexicon


def document(**definitions: Any) -> dict[str, Any]:
    return {"lexicon": 1, "id": "com.example.thing", "defs": definitions}


def properties(**items: Any) -> dict[str, Any]:
    return document(main={"type": "object", "properties": items})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], r"^lexicon: expected an object"),
        ({}, r"expected lexicon to be a int"),
        ({"lexicon": True, "id": "com.example.thing", "defs": {}}, r"expected lexicon to be a int"),
        ({"lexicon": 2, "id": "com.example.thing", "defs": {}}, r"expected version 1"),
        ({"lexicon": 1, "id": "com.example.thing"}, r"^lexicon\.defs: expected an object"),
        (document(**{"a b": {"type": "token"}}), r"expected the name of a definition"),
        (document(main={"type": "martian"}), r"expected a type that can be defined"),
        (document(main={"type": "union", "refs": []}), r"expected a type that can be defined"),
        (document(main={"type": "array"}), r"^lexicon\.defs\.main\.items: expected an object"),
        (document(main={"type": "object", "required": ["x"]}), r"required names 'x'"),
        (document(main={"type": "object", "nullable": ["x"]}), r"nullable names 'x'"),
        (properties(a={"type": "token"}), r"properties\.a: expected one of"),
        (properties(a={"type": "record"}), r"properties\.a: expected one of"),
        (properties(a={"type": "string", "format": "color"}), r"expected a string format"),
        (
            properties(a={"type": "string", "minLength": 2, "maxLength": 1}),
            r"minLength <= maxLength",
        ),
        (properties(a={"type": "string", "maxLength": -1}), r"0 <= minLength"),
        (properties(a={"type": "integer", "enum": ["a"]}), r"enum to be a list of int"),
        (properties(a={"type": "integer", "default": "a"}), r"default to be a int"),
        (properties(a={"type": "ref", "ref": "#gone"}), r"'#gone' is not defined"),
        (properties(a={"type": "ref", "ref": "not an nsid"}), r"expected an NSID"),
        (properties(a={"type": "ref", "ref": "com.example.other#a b"}), r"expected a reference"),
        (properties(a={"type": "union", "refs": [1]}), r"refs to be a list of strings"),
        (properties(a={"type": "union", "refs": [], "closed": True}), r"closed union needs refs"),
        (
            document(main={"type": "record", "key": "x", "record": {"type": "object"}}),
            r"the key tid",
        ),
        (document(main={"type": "query", "parameters": {"type": "object"}}), r"type params"),
        (document(main={"type": "query", "output": {}}), r"encoding"),
        (document(main={"type": "query", "errors": [{"name": "A B"}]}), r"name of an error"),
        (
            document(main={"type": "subscription", "message": {"schema": {"type": "object"}}}),
            r"expected one of union",
        ),
        (
            document(main={"type": "permission-set", "permissions": [{"type": "x"}]}),
            r"permission with its resource|resource to be",
        ),
    ],
)
def test_what_is_not_a_lexicon_is_refused(bad: object, message: str) -> None:
    with pytest.raises(LexiconError, match=message):
        check_lexicon(bad)


def test_a_document_nested_without_end_is_refused_without_recursion() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(LexiconError, match="nested deeper"):
        check_lexicon(document(main=deep))


def test_what_the_specification_does_not_name_is_left_alone() -> None:
    extra = {"type": "ref", "ref": 5, "refs": {"type": "union", "refs": 7}}
    Lexicons([{**properties(a={"type": "integer", "extra": extra}), "$type": "x"}])


def test_a_property_may_be_called_like_a_keyword_of_lexicons() -> None:
    rules = Lexicons([properties(type={"type": "string"}, ref={"type": "ref", "ref": "#main"})])
    assert rules.unresolved() == set()


def test_two_documents_of_one_id_are_refused() -> None:
    one = document(main={"type": "token"})
    with pytest.raises(LexiconError, match=r"two lexicons have the id com\.example\.thing"):
        Lexicons([one, one])


def test_our_lexicons_are_lexicons_and_need_nothing_else() -> None:
    assert lexicon_files.catalog().unresolved() == set()


def test_each_of_our_lexicons_lies_where_its_id_says() -> None:
    for file in lexicon_files.files(resources.files("atd") / "lexicons"):
        nsid = json.loads(file.read_text("utf-8"))["id"]
        assert str(file).endswith(f"lexicons/{nsid.replace('.', '/')}.json")


def test_every_record_and_endpoint_of_ours_has_a_lexicon() -> None:
    nsids = lexicon_files.catalog().nsids
    assert set(names.COLLECTIONS) <= set(nsids)
    assert set(api.ENDPOINTS) <= set(nsids)


@pytest.mark.parametrize("nsid", names.COLLECTIONS)
def test_our_records_follow_the_style_guide(nsid: str) -> None:
    """Strings are bounded, lists too, unions open, and everything says what it is."""
    (found,) = [item for item in lexicon_files.documents() if item["id"] == nsid]
    faults = []

    def walk(node: Any, path: str) -> None:
        if isinstance(node, list):
            return
        kind = node.get("type") if isinstance(node.get("type"), str) else None
        bounded = "maxLength" in node or node.get("format") in ("datetime", "at-uri", "cid")
        if kind in ("string", "array") and not bounded:
            faults.append(f"{path}: no maxLength")
        if kind == "union" and node.get("closed"):
            faults.append(f"{path}: closed")
        if kind == "integer" and not ("maximum" in node or "enum" in node):
            faults.append(f"{path}: no maximum")
        if (
            kind not in (None, "ref", "object")
            and "description" not in node
            and "items" not in path
        ):
            faults.append(f"{path}: no description")
        for key, item in node.items():
            if isinstance(item, dict):
                walk(item, f"{path}.{key}")

    walk(found["defs"], nsid)
    assert not faults
