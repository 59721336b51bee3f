"""JSON Lines as sources: files, folders by split, stdin."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from atd.errors import BadSource
from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Source
from atd.schema.fields import Float, Int, Json, List, String


def samples(source: Source, split: str = "train") -> list[tuple[str, dict[str, object]]]:
    return list(source.splits[split].samples(source.schema))


def written(path: Path, *lines: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((x.encode() if isinstance(x, str) else x) + b"\n" for x in lines))
    return path


def test_all_lines_decide_the_schema(tmp_path: Path) -> None:
    rows = ['{"n": 1, "text": "ä", "list": []}'] * 3000
    path = written(tmp_path / "x.jsonl", *rows, "", '{"n": 2.5, "text": null, "list": [1]}')
    source = open_source(path)
    kinds = {one.name: (one.kind, one.optional, one.nullable) for one in source.schema}
    assert kinds == {
        "n": (Float(), False, False),
        "text": (String(), False, True),
        "list": (List(Int()), False, False),
    }
    assert source.count == 3001
    assert samples(source)[0] == ("000000000", {"n": 1, "text": "ä", "list": []})


def test_what_lines_lack_is_optional_and_what_mixes_is_json(tmp_path: Path) -> None:
    path = written(tmp_path / "x.ndjson", '{"a": 1, "b": "x"}', '{"b": 2}')
    source = open_source(path)
    assert source.schema["a"].optional
    assert source.schema["b"].kind == Json()
    assert "field b holds values of several types" in source.warnings[0]
    assert pack(source, tmp_path / "out").samples == 2


def test_names_in_any_script_become_fields(tmp_path: Path) -> None:
    path = written(tmp_path / "данные.jsonl", '{"имя": "а", "first name": 1, "class": 2}')
    assert open_source(path).schema.names == ("column_1", "first_name", "class_")


def test_splits_by_file_and_by_folder(tmp_path: Path) -> None:
    written(tmp_path / "train" / "a.jsonl", '{"n": 1}')
    written(tmp_path / "train" / "b.jsonl", '{"n": 2}')
    written(tmp_path / "test.jsonl", '{"n": 3}')
    source = open_source(tmp_path)
    assert {name: one.count for name, one in source.splits.items()} == {"train": 2, "test": 1}


def test_the_name_of_an_outer_folder_is_no_split(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    written(folder / "a.jsonl", '{"n": 1}')
    assert list(open_source(folder).splits) == ["train"]


def test_ids_are_keys_where_they_can_be(tmp_path: Path) -> None:
    good = written(tmp_path / "a.jsonl", '{"id": "x1", "n": 1}', '{"id": "x2", "n": 2}')
    assert [key for key, _ in samples(open_source(good))] == ["x1", "x2"]
    for lines in (
        ['{"id": "x1"}', '{"id": "x1"}'],
        ['{"id": "x y"}'],
        ['{"id": 7}'],
        ['{"n": 1}', '{"id": "x"}'],
    ):
        bad = written(tmp_path / "b.jsonl", *lines)
        assert samples(open_source(bad))[0][0] == "000000000"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2]", "line 2: expected an object, found a list"),
        ('{"a": 1', "line 2: expected JSON text"),
        (b'{"a": "\xff"}', "line 2: byte 0xff is not UTF-8"),
        ('{"a": 1, "a": 2}', "line 2: expected each key of a JSON object once"),
        ('{"a": NaN}', "line 2: expected JSON text"),
        ('{"a": 1e999}', "line 2: expected a JSON number"),
        ('{"a": ' + "[" * 500 + "]" * 500 + "}", "line 2: expected JSON"),
        ('{"a": "\\ud800"}', "line 2: expected text that UTF-8 can carry"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | bytes, message: str) -> None:
    path = written(tmp_path / "x.jsonl", '{"a": 1}', line)
    with pytest.raises(BadSource, match=message) as caught:
        open_source(path)
    assert "x.jsonl" in str(caught.value)


def test_no_lines_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="found none"):
        open_source(written(tmp_path / "x.jsonl", ""))


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", b'\xef\xbb\xbf{"n": 1}')
    assert open_source(path).schema.names == ("n",)


def test_lines_on_stdin_are_published_as_lines_of_a_file(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from atd.publishing.packing import pack_folder\n"
        "made = pack_folder('-', sys.argv[1])\n"
        "print(made.samples, *made.schema.names)\n"
    )
    lines = io.StringIO()
    lines.writelines(f'{{"n": {n}}}\n' for n in range(2000))
    lines.write('{"n": 1, "late": "x"}\n')
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    done = subprocess.run(
        command, input=lines.getvalue(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "2001 n late\n", done.stderr
