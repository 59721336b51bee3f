"""CSV files as sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.errors import BadSource, SchemaMismatch
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import (
    Array,
    Bool,
    Field,
    Float,
    Int,
    Json,
    Label,
    Schema,
    String,
    Timestamp,
)


def table(tmp_path: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows(source: Source, split: str = "train") -> list[tuple[str, dict[str, object]]]:
    return list(source.splits[split].samples(source.schema))


def kinds(source: Source) -> dict[str, object]:
    return {field.name: field.kind for field in source.schema}


def test_types_are_inferred_over_every_row(tmp_path: Path) -> None:
    source = open_source(
        table(
            tmp_path,
            "a,b,c,d,e,f\n"
            "1,1,true,x,2024-01-05T10:00:00Z,\n"
            "2,2.5,False,y,2024-01-05 10:00:00+02:00,\n"
            "-3,1e9,TRUE,,2024-02-05T10:00:00.5Z,\n",
        )
    )
    assert kinds(source) == {
        "a": Int(),
        "b": Float(),
        "c": Bool(),
        "d": String(),
        "e": Timestamp(),
        "f": String(),
    }
    assert source.schema["d"].nullable
    assert not source.schema["a"].nullable
    assert rows(source)[0] == (
        "000000000",
        {"a": 1, "b": 1.0, "c": True, "d": "x", "e": "2024-01-05T10:00:00Z", "f": None},
    )


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "x"], String()),
        (["007", "12"], String()),
        (["0", "-0", "+5"], Int()),
        (["99999999999999999999"], Float()),
        (["1", "NA"], String()),
        (["1", "nan"], Float()),
        (["1_000"], String()),
        (["2024-01-05"], String()),
        (["2024-01-05T10:00:00"], String()),
        (["true", "1"], String()),
        (["１２"], String()),
    ],
)
def test_what_a_column_is(tmp_path: Path, cells: list[str], kind: object) -> None:
    assert (
        kinds(open_source(table(tmp_path, "x,y\n" + "".join(f"{c},z\n" for c in cells))))["x"]
        == kind
    )


def test_what_turned_numbers_into_text_is_said(tmp_path: Path) -> None:
    source = open_source(table(tmp_path, "age,n\n1,1\nNA,2\n"))
    assert source.warnings == ("column age is text, because line 3 has 'NA' among other things",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_what_the_header_has_most_of(tmp_path: Path, delimiter: str) -> None:
    text = f'a{delimiter}"b,;x"{delimiter}c\n1{delimiter}2{delimiter}3\n'
    assert open_source(table(tmp_path, text)).schema.names == ("a", "b_x", "c")


def test_quotes_line_ends_and_byte_order_marks(tmp_path: Path) -> None:
    source = open_source(table(tmp_path, b'\xef\xbb\xbfa,b\r\n"x,\r\ny","say ""hi"""\r\n\r\n'))
    assert [sample for _, sample in rows(source)] == [{"a": "x,\r\ny", "b": 'say "hi"'}]


def test_a_ragged_row_is_named_by_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"data\.csv, line 3: expected 2 cells .* found 3"):
        open_source(table(tmp_path, "a,b\n1,2\n1,2,3\n"))


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"data\.csv, line 3: byte 0xe9 is not UTF-8"):
        open_source(table(tmp_path, b"a,b\n1,2\ncaf\xe9,2\n"))
    with pytest.raises(BadSource, match="is UTF-16"):
        open_source(table(tmp_path, "a,b\n1,2\n".encode("utf-16")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "column names and no rows"),
        ("1,2\n3,4\n", "expected column names, found '1,2'"),
        ("a,a\n1,2\n", "two column names are the same"),
        ('a,b\n"x,1\n', r"line \d: unexpected end of data"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadSource, match=message):
        open_source(table(tmp_path, text))


def test_titles_become_identifiers(tmp_path: Path) -> None:
    titles = "sepal length (cm),class,2nd,名前,,Größe,x!,x?"
    source = open_source(table(tmp_path, f"{titles}\n1,2,3,4,5,6,7,8\n"))
    assert source.schema.names == (
        "sepal_length_cm",
        "class_",
        "_2nd",
        "column_4",
        "column_5",
        "Gro_e",
        "x",
        "x_8",
    )
    assert source.schema["sepal_length_cm"].description == "sepal length (cm)"
    assert source.schema["column_4"].description == "名前"


def test_files_named_as_splits_are_splits(tmp_path: Path) -> None:
    table(tmp_path, "a,b\n1,x\n", "test.csv")
    table(tmp_path, "a,b\n1.5,\n", "train-00000-of-00002.csv")
    table(tmp_path, "a,b\n2,y\n", "train-00001-of-00002.csv")
    source = open_source(tmp_path)
    assert {split: one.count for split, one in source.splits.items()} == {"train": 2, "test": 1}
    assert kinds(source) == {"a": Float(), "b": String()}
    assert [key for key, _ in rows(source)] == ["000000000", "000000001"]


def test_tables_with_other_columns_are_refused(tmp_path: Path) -> None:
    table(tmp_path, "a,b\n1,x\n", "test.csv")
    table(tmp_path, "a,c\n1,x\n", "train.csv")
    with pytest.raises(BadSource, match=r"a, c in .*train\.csv; a, b in .*test\.csv"):
        open_source(tmp_path)


def test_a_column_of_keys_makes_the_keys(tmp_path: Path) -> None:
    source = open_source(table(tmp_path, "ID,x\nb7,1\na-2,2\n"))
    assert [key for key, _ in rows(source)] == ["b7", "a-2"]
    assert source.schema.names == ("ID", "x")


@pytest.mark.parametrize("ids", [("1", "1"), ("a", "b.c"), ("", "x"), ("a", "ü")])
def test_what_cannot_be_keys_is_only_a_column(tmp_path: Path, ids: tuple[str, str]) -> None:
    source = open_source(table(tmp_path, "id,x\n" + "".join(f"{one},1\n" for one in ids)))
    assert [key for key, _ in rows(source)] == ["000000000", "000000001"]


def test_a_schema_says_what_cells_mean(tmp_path: Path) -> None:
    wanted = Schema(
        (
            Field("kind", Label("cat", "dog")),
            Field("meta", Json()),
            Field("good", Bool()),
            Field("code", String()),
            Field("size", Float(), nullable=True),
            Field("note", String(), optional=True),
        )
    )
    text = 'code,good,kind,meta,size,note\n007,1,dog,"{""a"": 1}",,\n8,false,cat,[],2,hm\n'
    source = open_source(table(tmp_path, text), schema=wanted)
    assert [sample for _, sample in rows(source)] == [
        {"kind": "dog", "meta": {"a": 1}, "good": True, "code": "007", "size": None},
        {"kind": "cat", "meta": [], "good": False, "code": "8", "size": 2.0, "note": "hm"},
    ]


def test_a_cell_that_does_not_fit_is_named(tmp_path: Path) -> None:
    source = open_source(table(tmp_path, "n,x\n1,a\n2.5,b\n"), schema=Schema((Field("n", Int()),)))
    with pytest.raises(BadSource, match=r"line 3: expected an integer for n, found '2\.5'"):
        rows(source)


def test_kinds_that_no_cell_can_hold(tmp_path: Path) -> None:
    wanted = Schema((Field("n", Array("uint8")),))
    source = open_source(table(tmp_path, "n,x\n1,a\n"), schema=wanted)
    with pytest.raises(SchemaMismatch, match="no CSV cell can hold"):
        rows(source)


def test_long_cells_are_read(tmp_path: Path) -> None:
    source = open_source(table(tmp_path, f"a,b\n{'x' * 300_000},1\n"))
    assert len(rows(source)[0][1]["a"]) == 300_000


def test_tabs_separate_the_cells_of_a_tsv_file(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text('id\tname, in full\tn\nx1\tDoe, Jane\t1\nx2\t"a\tb"\t2\n', "utf-8")
    source = open_source(path)
    assert source.schema.names == ("id", "name_in_full", "n")
    found = dict(source.splits["train"].samples(source.schema))
    assert found["x1"]["name_in_full"] == "Doe, Jane"
    assert found["x2"]["name_in_full"] == "a\tb"
    path.write_text("a\tb\n1\t2\t3\n", "utf-8")
    with pytest.raises(BadSource, match=r"table\.tsv, line 2: expected 2 cells"):
        open_source(path)
