"""Values against lexicons: what is said, and what the vectors do not cover."""

from __future__ import annotations

from typing import Any

import pytest

from atd.errors import LexiconError
from atd.protocol import graphemes
from atd.protocol.cbor import RAW, Cid
from atd.protocol.lexicon import Lexicons


def lexicons(**definitions: Any) -> Lexicons:
    return Lexicons([{"lexicon": 1, "id": "com.example.thing", "defs": definitions}])


def record(**properties: Any) -> Lexicons:
    main = {"type": "record", "key": "tid", "record": {"type": "object", "properties": properties}}
    node = {
        "type": "object",
        "properties": {
            "next": {"type": "ref", "ref": "#node"},
            "any": {"type": "union", "refs": ["#node"]},
        },
    }
    return lexicons(main=main, node=node, mark={"type": "token"})


def check(definition: dict[str, Any], value: object) -> None:
    rules = record(field=definition)
    rules.validate_record({"$type": "com.example.thing", "field": value}, "com.example.thing")


@pytest.mark.parametrize(
    ("definition", "value", "message"),
    [
        ({"type": "string"}, 3, r"^field: expected a string, found 3$"),
        ({"type": "boolean"}, 1, r"^field: expected a boolean, found 1$"),
        ({"type": "boolean", "const": True}, False, r"expected True, found False"),
        ({"type": "integer"}, True, r"expected an integer, found True"),
        ({"type": "integer", "minimum": 2}, 1, r"^field: expected at least 2, found 1$"),
        ({"type": "string", "maxLength": 2}, "é€", r"at most 2 bytes in UTF-8, found 5"),
        ({"type": "string", "minGraphemes": 2}, "é", r"at least 2 graphemes, found 1"),
        ({"type": "string", "format": "did"}, "alice", r"^field: expected a DID"),
        ({"type": "string", "enum": ["a", "b"]}, "c", r"expected one of a, b, found 'c'"),
        ({"type": "string", "const": "a"}, "b", r"expected 'a', found 'b'"),
        ({"type": "bytes", "maxLength": 1}, b"ab", r"at most 1 bytes, found 2"),
        ({"type": "cid-link"}, "bafy", r"expected a CID link"),
        (
            {"type": "array", "items": {"type": "integer"}},
            [1, "x"],
            r"^field\[1\]: expected an int",
        ),
        ({"type": "array", "items": {"type": "null"}}, [1], r"^field\[0\]: expected null"),
        ({"type": "blob", "maxSize": 3}, "blob", r"expected a blob"),
        ({"type": "unknown"}, [], r"expected an object"),
        (
            {"type": "ref", "ref": "#mark"},
            "com.example.thing",
            r"the token com\.example\.thing#mark",
        ),
        ({"type": "ref", "ref": "#node"}, {"next": 1}, r"^field\.next: expected an object"),
        ({"type": "union", "refs": ["#node"]}, {"$type": ""}, r"^field\.\$type: expected the name"),
        (
            {"type": "union", "refs": ["#node"], "closed": True},
            {"$type": "com.example.thing#other"},
            r"expected one of com\.example\.thing#node",
        ),
    ],
)
def test_a_fault_says_where_what_and_what_instead(
    definition: dict[str, Any], value: object, message: str
) -> None:
    with pytest.raises(LexiconError, match=message):
        check(definition, value)


def test_an_open_union_takes_what_it_does_not_know() -> None:
    check({"type": "union", "refs": ["#node"]}, {"$type": "com.example.other#thing", "a": 1})


def test_a_token_is_its_own_name() -> None:
    check({"type": "ref", "ref": "#mark"}, "com.example.thing#mark")


@pytest.mark.parametrize("mime", ["image/png", "IMAGE/PNG", "image/png; q=1"])
def test_a_blob_of_an_accepted_type(mime: str) -> None:
    blob = {"$type": "blob", "ref": Cid.of(b"", RAW), "mimeType": mime, "size": 0}
    check({"type": "blob", "accept": ["image/*"]}, blob)
    check({"type": "blob", "accept": ["*/*"]}, blob)
    check({"type": "blob", "accept": ["image/png"]}, blob)
    with pytest.raises(LexiconError, match="expected video"):
        check({"type": "blob", "accept": ["video/mp4"]}, blob)


@pytest.mark.parametrize("change", [{"ref": "x"}, {"size": -1}, {"size": True}, {"mimeType": ""}])
def test_a_blob_that_lies_about_its_form(change: dict[str, Any]) -> None:
    blob = {"$type": "blob", "ref": Cid.of(b"", RAW), "mimeType": "a/b", "size": 0, **change}
    with pytest.raises(LexiconError):
        check({"type": "blob"}, blob)


def test_null_is_only_where_it_is_allowed() -> None:
    properties = {"a": {"type": "integer"}}
    inner = {"type": "object", "nullable": ["a"], "properties": properties}
    check(inner, {"a": None})
    with pytest.raises(LexiconError, match=r"field\.a"):
        check({"type": "object", "properties": properties}, {"a": None})


def test_a_record_names_its_collection() -> None:
    with pytest.raises(LexiconError, match=r"^\$type: expected com\.example\.thing, found None$"):
        record().validate_record({}, "com.example.thing")
    with pytest.raises(LexiconError, match=r"^record: expected an object"):
        record().validate_record([], "com.example.thing")


def test_nesting_without_end_is_refused() -> None:
    value: dict[str, Any] = {}
    for _ in range(300):
        value = {"next": value}
    with pytest.raises(LexiconError, match="nested deeper than"):
        check({"type": "ref", "ref": "#node"}, value)


def test_hostile_text_is_escaped_in_messages() -> None:
    with pytest.raises(LexiconError) as caught:
        check({"type": "integer"}, "\x1b[31m\u202e" + "x" * 9999)
    assert str(caught.value).removesuffix("…").isascii()
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_definition_that_is_not_there() -> None:
    rules = record(field={"type": "ref", "ref": "com.example.elsewhere#x"})
    assert rules.unresolved() == {"com.example.elsewhere#x"}
    with pytest.raises(LexiconError, match=r"no lexicon here defines 'com\.example\.elsewhere#x'"):
        rules.validate_record({"$type": "com.example.thing", "field": {}}, "com.example.thing")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("é", 1),
        ("🇩🇪🏳️‍🌈", 2),
        ("👩‍👩‍👦‍👦", 1),
        ("\r\n", 1),
        ("각", 1),
        ("क्षि", 1),
    ],
)
def test_graphemes_are_counted_as_readers_see_them(text: str, count: int) -> None:
    assert graphemes.count(text) == count
    exact = {"type": "string", "minGraphemes": count, "maxGraphemes": count}
    check(exact, text)


QUERY = {
    "type": "query",
    "parameters": {
        "type": "params",
        "required": ["q"],
        "properties": {
            "q": {"type": "string", "maxLength": 5},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
            "deep": {"type": "boolean"},
            "tag": {"type": "array", "items": {"type": "string"}, "maxLength": 2},
        },
    },
    "output": {"encoding": "application/json", "schema": {"type": "ref", "ref": "#page"}},
    "errors": [{"name": "TooMuch"}],
}
PAGE = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def test_parameters_are_typed_by_the_lexicon_and_take_defaults() -> None:
    rules = lexicons(main=QUERY, page=PAGE)
    pairs = [("q", "7"), ("deep", "true"), ("tag", "a"), ("tag", "b"), ("other", "x")]
    found = rules.read_params(pairs, "com.example.thing")
    assert found == {"q": "7", "deep": True, "tag": ["a", "b"], "limit": 50}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], r"params\.q: required, and missing"),
        ([("q", "a"), ("q", "b")], r"params\.q: given twice"),
        ([("q", "a"), ("limit", "1e3")], r"params\.limit: expected an integer"),
        ([("q", "a"), ("limit", "٣")], r"params\.limit: expected an integer"),
        ([("q", "a"), ("limit", "9" * 5000)], r"params\.limit: expected an integer"),
        ([("q", "a"), ("limit", "101")], r"params\.limit: expected at most 100"),
        ([("q", "a"), ("deep", "yes")], r"params\.deep: expected true or false"),
        ([("q", "a"), ("tag", "a"), ("tag", "b"), ("tag", "c")], r"at most 2 items"),
    ],
)
def test_wrong_parameters(pairs: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(LexiconError, match=message):
        lexicons(main=QUERY, page=PAGE).read_params(pairs, "com.example.thing")


def test_outputs_and_errors_of_a_query() -> None:
    rules = lexicons(main=QUERY, page=PAGE)
    rules.validate_output({"n": 1}, "com.example.thing")
    assert rules.error_names("com.example.thing") == {"TooMuch"}
    with pytest.raises(LexiconError, match=r"^output\.n: expected an integer"):
        rules.validate_output({"n": "1"}, "com.example.thing")
    with pytest.raises(
        LexiconError, match=r"^output: expected application/json, found 'text/html'"
    ):
        rules.validate_output({"n": 1}, "com.example.thing", encoding="text/html")
    with pytest.raises(LexiconError, match="to be a procedure, found a query"):
        rules.validate_input({}, "com.example.thing")


def test_inputs_of_a_procedure() -> None:
    body = {"encoding": "application/json", "schema": PAGE}
    rules = lexicons(main={"type": "procedure", "input": body})
    rules.validate_input({"n": 1}, "com.example.thing")
    rules.validate_params({}, "com.example.thing")
    rules.validate_output(None, "com.example.thing")
    with pytest.raises(LexiconError, match=r"^input: expected an object, found None"):
        rules.validate_input(None, "com.example.thing")
    with pytest.raises(LexiconError, match=r"^output: expected no body"):
        rules.validate_output({}, "com.example.thing")


def test_messages_of_a_subscription() -> None:
    message = {"schema": {"type": "union", "refs": ["#page"], "closed": True}}
    rules = lexicons(main={"type": "subscription", "message": message}, page=PAGE)
    rules.validate_message({"$type": "com.example.thing#page", "n": 1}, "com.example.thing")
    with pytest.raises(LexiconError, match=r"^message\.n: required"):
        rules.validate_message({"$type": "com.example.thing#page"}, "com.example.thing")


@pytest.mark.parametrize(
    ("kind", "rkey", "ok"),
    [
        ("tid", "3kznmn7xqxl22", True),
        ("tid", "self", False),
        ("nsid", "com.example.thing", True),
        ("nsid", "self", False),
        ("any", "a:b", True),
        ("any", "..", False),
        ("literal:self", "self", True),
        ("literal:self", "other", False),
    ],
)
def test_record_keys(kind: str, rkey: str, ok: bool) -> None:
    rules = lexicons(main={"type": "record", "key": kind, "record": {"type": "object"}})
    if ok:
        rules.check_key("com.example.thing", rkey)
    else:
        with pytest.raises(LexiconError, match=r"^rkey: "):
            rules.check_key("com.example.thing", rkey)
