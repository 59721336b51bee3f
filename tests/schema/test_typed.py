"""The module of a schema's types: a checker knows every field, and nothing of it becomes code."""

from __future__ import annotations

import ast
import builtins
import keyword
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import atd
from atd.dataset.typed import TypedDataset
from atd.schema import fields
from atd.schema.fields import Field, Schema
from atd.schema.typed import HEAD, to_typed_module
from kinds import Everything, everything, pack_everything

USER = Path(__file__).parent.parent / "typing_user.py"


def checked(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """What mypy says of files in ``folder``, at its strictest."""
    config = folder / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n", "utf-8")
    words = ["--config-file", str(config), "--no-error-summary", "--cache-dir", str(folder / "c")]
    return subprocess.run(
        [sys.executable, "-m", "mypy", *words, *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": os.pathsep.join(sys.path[1:2])},
        capture_output=True,
        text=True,
    )


def run(source: str, folder: Path) -> dict[str, Any]:
    """The names of the module ``source``, imported as a user imports it."""
    path = folder / "generated.py"
    path.write_text(source, "utf-8")
    return runpy.run_path(str(path), run_name="generated")


def test_mypy_knows_samples_batches_and_all_that_follows(tmp_path: Path) -> None:
    pack_everything(tmp_path / "packed")
    made = to_typed_module(atd.schema_of(Everything), "every", str(tmp_path / "packed"))
    (tmp_path / "every.py").write_text(made.source, "utf-8")
    (tmp_path / "user.py").write_text(USER.read_text("utf-8"), "utf-8")
    (tmp_path / "wrong.py").write_text(
        "import atd\nfrom every import EVERY\nds = atd.load(EVERY)\n"
        "ds[0].nothing\nfor batch in ds.batched(2):\n    batch.nothing\n"
        "for batch in ds.loader(2):\n    batch.neither\n",
        "utf-8",
    )
    right = checked(tmp_path, "user.py")
    assert right.returncode == 0, right.stdout + right.stderr
    wrong = checked(tmp_path, "wrong.py").stdout.splitlines()
    assert [line.partition("error: ")[2].rpartition("  [")[0] for line in wrong] == [
        '"Every" has no attribute "nothing"',
        '"EveryBatch" has no attribute "nothing"',
        '"EveryBatch" has no attribute "neither"',
    ]
    ran = subprocess.run([sys.executable, "user.py"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout == "10 [2, 2, 2, 2, 2]\n", ran.stderr


def test_a_reference_loads_what_it_says_as_what_it_says(tmp_path: Path) -> None:
    folder = pack_everything(tmp_path / "packed")
    ref: atd.Ref[Everything, Any] = atd.Ref(str(folder), Everything)
    ds = atd.load(ref)
    assert isinstance(ds, TypedDataset)
    assert isinstance(ds.shuffled(seed=1).take(2), TypedDataset)
    assert ds[3] == everything(3)
    assert str(ref) == str(folder)
    assert isinstance(atd.load(ref, schema=None)[0], Everything)


def test_the_class_reads_and_publishes_the_same_schema(tmp_path: Path) -> None:
    schema = Schema(
        tuple(
            Field(f.name, f.kind, f.optional, f.nullable or f.optional)
            for f in atd.schema_of(Everything)
        )
    )
    names = run(to_typed_module(schema, "every", "./here").source, tmp_path)
    assert atd.schema_of(names["Every"]) == schema
    assert set(names["EveryBatch"].__annotations__) == set(schema.names)


# ------------------------------------------------------------------ strangers

WORDS = (
    *("int", "str", "float", "bool", "bytes", "list", "tuple", "datetime", "Any", "Literal"),
    *("Annotated", "Final", "Protocol", "np", "NDArray", "atd", "fields", "Evil", "EvilBatch"),
    *("EVIL", "Ref", "Columns", "Ragged", "self", "cls", "type", "match", "print", "exec", "_"),
)
NASTY = ("'", '"', "\\", '"""', "'''", "{x}", "${x}", "#", "); import os; (", "\u202e", "é")


def hostile() -> Schema:
    """Every word of the module as a field of many kinds, and every string a trap."""
    kinds = [
        *(fields.Int(32), fields.String(), fields.Float(), fields.Bool(), fields.Bytes()),
        *(fields.Timestamp(), fields.Json(), fields.Label(NASTY), fields.Array("float32", (3,))),
        *(fields.List(fields.String()), fields.Image(), fields.Box()),
        fields.Struct((Field("int", fields.Int()), Field("atd", fields.Label(NASTY)))),
    ]
    return Schema(
        tuple(
            Field(
                word,
                kinds[at % len(kinds)],
                optional=at % 5 == 0,
                nullable=at % 3 == 0,
                description="\n".join(NASTY),
                unit="'); exec('",
            )
            for at, word in enumerate(WORDS)
        )
    )


ALLOWED_CALLS = {
    "About",
    "Shape",
    "Dim",
    "Int",
    "Float",
    "Text",
    "Image",
    "Audio",
    "Video",
    "Box",
} | {"sample"}


def assert_only_types(source: str, constant: str) -> None:
    """Imports, classes of annotations, and one reference: nothing else."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            assert all(isinstance(line, ast.AnnAssign) for line in node.body)
            assert all(
                isinstance(line.value, ast.Constant | None)
                for line in node.body
                if isinstance(line, ast.AnnAssign)
            )
        elif isinstance(node, ast.AnnAssign):
            assert isinstance(node.target, ast.Name)
            assert node.target.id == constant
        elif isinstance(node, ast.ImportFrom):
            assert node.module in ("datetime", "typing", "numpy.typing", "atd.schema", "builtins")
        elif isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"numpy", "atd"}
        else:
            assert isinstance(node, ast.Expr)
            assert isinstance(node.value, ast.Constant)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        assert name in ALLOWED_CALLS or isinstance(call.func, ast.Subscript), ast.dump(call)


@pytest.mark.parametrize("name", ["evil", "1st", "class", "...", "np", "none", "a-b.c", "é", ""])
def test_nothing_of_a_hostile_schema_becomes_code(tmp_path: Path, name: str) -> None:
    made = to_typed_module(hostile(), name, "x'); exec('", ["\n import os", '"""', "coding: utf-7"])
    assert_only_types(made.source, made.constant)
    names = run(made.source, tmp_path)
    assert atd.schema_of(names[made.sample]).names == WORDS
    assert names[made.constant].ref == "x'); exec('"


def test_a_hostile_schema_still_type_checks(tmp_path: Path) -> None:
    made = to_typed_module(hostile(), "evil", "./evil")
    (tmp_path / "evil.py").write_text(made.source, "utf-8")
    found = checked(tmp_path, "evil.py")
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_line_from_elsewhere_can_say_how_the_file_is_encoded() -> None:
    """Python obeys ``coding: …`` in a comment of the first two lines (PEP 263)."""
    made = to_typed_module(hostile(), "evil", "./evil:utf-7", ["coding: utf-7"])
    first, second, third = made.source.split("\n", 2)
    assert first + "\n" == HEAD
    assert second == ""
    assert third.startswith("# coding: utf-7\n")


BAD_NAMES = (
    *("a b", "class", "None", "True", "async", "x=1", "a.b", "1a", "a-b", "", "a\nb", "a\0", "a\\"),
    *("__x", "__init__", "__slots__", "__class_getitem__", "__atd_hints__", "__", "____"),
    # Python takes these for ASCII letters (NFKC), or an eye does.
    *(
        "\uff43lass",
        "\U0001d41e\U0001d42f\U0001d41a\U0001d425",
        "\ufb01eld",
        "\u017felf",
        "\u0430td",
    ),
    *("é", "a\u200b", "a\u200d", "\u202ea", "a" * 65, "a" * 100_000),
)


@pytest.mark.parametrize("bad", BAD_NAMES, ids=lambda bad: ascii(bad)[:30])
def test_a_name_that_is_no_identifier_never_gets_here(bad: str) -> None:
    """Not as a field, within a struct, as an alias, or as a dimension."""
    string = {"$type": "network.atd.schema#string"}
    struct = {"$type": "network.atd.schema#struct", "fields": [{"name": bad, "kind": string}]}
    array = {"$type": "network.atd.schema#array", "dtype": "int8", "dims": [{"name": bad}]}
    for field in (
        {"name": bad, "kind": string},
        {"name": "a", "kind": struct},
        {"name": "a", "kind": string, "aliases": [bad]},
        {"name": "a", "kind": array},
    ):
        with pytest.raises(atd.errors.LexiconError) as caught:
            Schema.from_value([field])
        assert len(str(caught.value)) < 600
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("place", "text"),
    [
        *(("description", text) for text in ("a\x1b[2J", "a\rb", "\x00", "\ud800", "x" * 10_001)),
        *(("unit", text) for text in ("a\nb", "\x07", "x" * 65, "")),
        *(("class", text) for text in ("a\nb", "", "\x85", "x" * 513)),
        *(("dtype", text) for text in ("O", "V8", "int8'", "float32, x", "np.int8", "<f4)\n")),
        *(("mode", text) for text in ("RGB\n", "'", "RGB'", "x" * 33)),
        *(("mediaTypes", text) for text in ("image/png'", "a", "image/png\n", "")),
        *(("language", text) for text in ("en'", "en\n", "")),
        *(("format", text) for text in ("xyxy'", "", "abcd")),
    ],
)
def test_words_that_could_leave_their_quotes_never_get_here(place: str, text: str) -> None:
    """Nor would they leave them, since all goes through ``repr``: this is the second wall."""
    kind = {
        "class": {"$type": "network.atd.schema#label", "classes": [{"name": text}]},
        "dtype": {"$type": "network.atd.schema#array", "dtype": text},
        "mode": {"$type": "network.atd.schema#image", "mode": text},
        "mediaTypes": {"$type": "network.atd.schema#audio", "mediaTypes": [text]},
        "language": {"$type": "network.atd.schema#text", "language": text},
        "format": {"$type": "network.atd.schema#box", "format": text},
    }.get(place, {"$type": "network.atd.schema#string"})
    field = {"name": "a", "kind": kind}
    if place in ("description", "unit"):
        field[place] = text
    if place == "format" and not text:
        assert Schema.from_value([field])["a"].kind == fields.Box()
        return
    with pytest.raises(atd.errors.LexiconError):
        Schema.from_value([field])


NAMES = st.sampled_from(
    sorted(
        name
        for name in {*WORDS, *dir(builtins), *dir(Protocol), "_", "case"}
        if not name.startswith("__") and not keyword.iskeyword(name)
    )
)
WILD = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20) | (
    st.sampled_from(NASTY)
)
LABELS = st.lists(WILD, min_size=1, max_size=3, unique=True).map(fields.Label)
ARRAYS = st.builds(fields.Dim, NAMES, st.none() | st.just(3)).map(
    lambda dim: fields.Array("int8", (dim,))
)


def structs(inner: st.SearchStrategy[fields.Kind]) -> st.SearchStrategy[fields.Kind]:
    members = st.lists(st.builds(Field, NAMES, inner), min_size=1, max_size=3, unique_by=_name)
    return members.map(lambda found: fields.Struct(tuple(found)))


def _name(field: Field) -> str:
    return field.name


KINDS = st.recursive(
    LABELS
    | ARRAYS
    | st.sampled_from(
        [fields.String(), fields.Box("cxcywh"), fields.Image(("image/png",), "RGB"), fields.Int(8)]
    ),
    lambda inner: st.builds(fields.List, inner) | structs(inner),
    max_leaves=4,
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    members=st.lists(
        st.tuples(NAMES, KINDS, WILD, st.booleans()),
        min_size=1,
        max_size=5,
        unique_by=lambda one: one[0],
    ),
    name=WILD,
    ref=WILD,
    said=st.text(max_size=20),
)
def test_any_schema_that_can_be_published_becomes_types_and_nothing_else(
    tmp_path: Path, members: Any, name: str, ref: str, said: str
) -> None:
    schema = Schema(
        tuple(
            Field(field, kind, optional=optional, nullable=optional, description=words)
            for field, kind, words, optional in members
        )
    )
    made = to_typed_module(schema, name, ref, [said])
    assert_only_types(made.source, made.constant)
    found = run(made.source, tmp_path)
    assert atd.schema_of(found[made.sample]) == schema
    assert found[made.constant].ref == ref
