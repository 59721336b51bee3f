"""Data that cannot be published, and what is said about it: which file, which line, and why.

``atd pack`` reads a source as ``atd publish`` does, and leaves no folder behind that could be taken
for a good one.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atd
from atd.errors import BadSource, InvalidSyntax, SchemaMismatch, StorageFault
from cli.conftest import MakePerson, Town
from cli.stage import Person, write


@pytest.fixture(scope="module")
def anybody(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody who packs: no daemon is needed for that, and none is started."""
    return Person.at(tmp_path_factory.mktemp("packing") / "home")


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


TABLES = {
    "ragged": (b"a,b\n1,2\n3\n", "line 3", "expected 2 cells", "found 1"),
    "too wide": (b"a,b\n1,2,3\n", "line 2", "expected 2 cells", "found 3"),
    "latin-1": (b"a,b\n1,\xe9t\xe9\n", "line 2", "byte 0xe9 is not UTF-8", ""),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-8", "is UTF-16", ""),
    "open quote": (b'a,b\n1,"x\n', "line 2", "unexpected end of data", ""),
    "twins": (b"a,a\n1,2\n", "line 1", "two column names are the same", "'a'"),
    "no rows": (b"a,b\n", "no rows", "", ""),
    "empty": (b"", "is empty", "", ""),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_that_is_wrong_names_file_and_line(
    anybody: Person, tmp_path: Path, kind: str
) -> None:
    data, *words = TABLES[kind]
    source = write(tmp_path / "table.csv", data)
    result = anybody.run("pack", str(source), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "table.csv", *words)
    assert not (tmp_path / "out").exists()


def test_corrupt_images_are_all_named_in_words_for_people(anybody: Person, tmp_path: Path) -> None:
    good = picture()
    for name in ("red/0.png", "red/1.png", "blue/0.png"):
        write(tmp_path / "images" / name, good)
    write(tmp_path / "images/red/1.png", good[: len(good) // 2])
    write(tmp_path / "images/blue/0.png", b"not a picture")
    result = anybody.run("pack", str(tmp_path / "images"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "2 images", "red/1.png", "blue/0.png", advice="repair or remove")
    assert "not a decodable picture (none of JPEG, PNG," in result.message
    assert " object at 0x" not in result.err
    assert not (tmp_path / "out").exists()


def test_an_image_with_more_pixels_than_bytes_could_hold(anybody: Person, tmp_path: Path) -> None:
    bomb = bytearray(picture())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # the size that IHDR declares
    write(tmp_path / "images/red/0.png", bytes(bomb))
    result = anybody.run("pack", str(tmp_path / "images"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "red/0.png")


def test_a_name_of_a_file_that_would_write_to_the_terminal(anybody: Person, tmp_path: Path) -> None:
    write(tmp_path / "images" / "red" / "\x1b[2J\n0.png", b"not a picture")
    result = anybody.run("pack", str(tmp_path / "images"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "0.png")


def test_arrays_of_python_objects_are_not_unpickled(anybody: Person, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    objects = np.array([Trap(), 1], dtype=object)
    np.savez(tmp_path / "objects.npz", objects=objects)
    result = anybody.run("pack", str(tmp_path / "objects.npz"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "objects.npz", advice="numpy.savez")
    assert not (tmp_path / "sprung").exists()


def test_arrays_of_different_lengths(anybody: Person, tmp_path: Path) -> None:
    np.savez(tmp_path / "uneven.npz", a=np.zeros(3), b=np.zeros(4))
    result = anybody.run("pack", str(tmp_path / "uneven.npz"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "uneven.npz", "a (3,), b (4,)")


@pytest.mark.parametrize("name", ["data.npz", "data.parquet", "data.tar.gz", "data"])
def test_a_file_that_is_not_what_its_name_says(anybody: Person, tmp_path: Path, name: str) -> None:
    source = write(tmp_path / name, b"PK\x03\x04 PAR1 nothing of the kind")
    result = anybody.run("pack", str(source), "-o", str(tmp_path / "out"))
    result.refused(BadSource, name)


def test_a_path_that_leads_nowhere(anybody: Person, tmp_path: Path) -> None:
    result = anybody.run("pack", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "nowhere does not exist", advice="check the spelling")


def test_an_empty_folder(anybody: Person, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = anybody.run("pack", str(tmp_path / "empty"), "-o", str(tmp_path / "out"))
    result.refused(BadSource, "empty")


def test_parquet_without_its_library_says_what_to_install(anybody: Person, tmp_path: Path) -> None:
    # An interpreter that sees the same packages but for one: pyarrow is an extra.
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in map(Path, sys.path):
        for item in path.iterdir() if path.name == "site-packages" else ():
            if not item.name.startswith("pyarrow"):
                (packages / item.name).symlink_to(item)
    source = write(tmp_path / "table.parquet", b"PAR1")
    arguments = ("-m", "atd", "pack", str(source), "-o", str(tmp_path / "out"))
    without = anybody.having(PYTHONPATH=":".join([str(packages), *client_paths()]))
    result = without.run_python("-S", *arguments)
    result.refused(BadSource, "pyarrow", advice="pip install 'atd-catalog[parquet]'")


def client_paths() -> list[str]:
    """Where this project's own packages are imported from."""
    root = Path(__file__).parents[2]
    return [str(root / "client"), str(root / "daemon")]


def test_a_folder_of_shards_that_is_no_such_thing(anybody: Person, tmp_path: Path) -> None:
    write(tmp_path / "packed/atd.json", b'{"$type": "something else"}')
    result = anybody.run("preview", str(tmp_path / "packed"))
    result.refused(BadSource, "atd.json")


def test_a_shard_of_a_folder_that_was_altered_is_refused(anybody: Person, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "n\n1\n2\n")
    out = tmp_path / "packed"
    anybody.run("pack", str(source), "-o", str(out)).done()
    shard = next(out.glob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-600])
    result = anybody.run("preview", str(out))
    assert result.code in (36, 37), result
    assert shard.name in result.message
    assert result.out == ""


def test_a_folder_for_shards_that_holds_other_things(anybody: Person, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "n\n1\n")
    result = anybody.run("pack", str(source), "-o", str(tmp_path))
    result.refused(BadSource, "holds other things", advice="empty folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"]


def test_a_folder_for_shards_that_cannot_be_made(anybody: Person, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "n\n1\n")
    result = anybody.run("pack", str(source), "-o", str(source / "out"))
    result.refused(StorageFault, "t.csv")


def test_a_class_that_does_not_fit_the_table(anybody: Person, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "height,name\n1,rose\n")
    write(
        tmp_path / "plants.py",
        "import atd\n\n@atd.sample\nclass Plant:\n    height: int\n    colour: str\n",
    )
    arguments = ("pack", str(source), "-o", str(tmp_path / "out"), "--schema", "plants:Plant")
    result = anybody.run(*arguments, cwd=tmp_path)
    assert result.code in (BadSource.exit_code, SchemaMismatch.exit_code), result
    assert "colour" in result.message


def test_a_module_that_fails_when_it_is_imported(anybody: Person, tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "n\n1\n")
    write(tmp_path / "broken.py", "1 / 0\n")
    arguments = ("pack", str(source), "-o", str(tmp_path / "out"), "--schema", "broken:Plant")
    anybody.run(*arguments, cwd=tmp_path).refused(InvalidSyntax, "ZeroDivisionError")


def test_a_source_that_is_wrong_begins_no_publication(town: Town, tmp_path: Path) -> None:
    before = town.alice.files("cache", "staging")
    source = write(tmp_path / "ragged.csv", b"a,b\n1,2\n3\n")
    result = town.alice.run("publish", str(source), "--name", "ragged", "--yes")
    result.refused(BadSource, "ragged.csv, line 3")
    assert town.alice.files("cache", "staging") == before


def test_packing_starts_no_daemon(somebody: MakePerson, tmp_path: Path) -> None:
    person = somebody()
    source = write(tmp_path / "t.csv", "n\n1\n2\n")
    made = person.run("pack", str(source), "-o", str(tmp_path / "out"), "--json").done().json
    assert (made["shards"], made["samples"]) == (1, 2)
    assert not person.home.exists()


# ------------------------------------------------------------------ what PATH may be


def test_lines_on_stdin(anybody: Person, tmp_path: Path) -> None:
    made = anybody.run(
        "pack", "-", "-o", str(tmp_path / "out"), "--json", stdin='{"n": 1}\n{"n": 2}\n'
    )
    assert made.done().json["samples"] == 2
    bad = anybody.run("pack", "-", "-o", str(tmp_path / "bad"), stdin='{"n": 1}\nhello\n')
    bad.refused(BadSource, "stdin, line 2: expected JSON")
    assert not (tmp_path / "bad").exists()


def test_a_function_of_ones_own_runs_and_says_so(anybody: Person, tmp_path: Path) -> None:
    write(tmp_path / "rows.py", b"def samples():\n    yield from ({'n': n} for n in range(3))\n")
    made = anybody.run("pack", "rows:samples", "-o", "out", "--json", cwd=tmp_path).done()
    assert made.json["samples"] == 3
    assert "rows:samples: running your own code" in made.err
    lost = anybody.run("pack", "rows:nothing", "-o", "none", cwd=tmp_path)
    lost.refused(InvalidSyntax, "rows:nothing", advice="MODULE:FUNCTION")


def test_a_path_in_a_program_never_becomes_code(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="rows:samples does not exist"):
        atd.pack("rows:samples", tmp_path / "out")


def test_bad_files_are_left_out_where_that_is_asked_for(
    anybody: Person, town: Town, tmp_path: Path
) -> None:
    write(tmp_path / "in" / "red" / "0.png", picture())
    write(tmp_path / "in" / "red" / "näh.png", b"no picture")
    refused = anybody.run("pack", str(tmp_path / "in"), "-o", str(tmp_path / "out"))
    refused.refused(BadSource, "red/näh.png", advice="--skip-bad")
    arguments = ("pack", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--skip-bad")
    said = anybody.run(*arguments).done()
    assert "left out: red/näh.png" in said.err
    (line,) = anybody.run(*arguments, "--json").done().json["skipped"]
    assert line.startswith("red/näh.png (")
    arguments = ("publish", str(tmp_path / "in"), "--name", "reds", "--skip-bad", "--yes", "--json")
    said = town.alice.run(*arguments).done()
    (line,) = said.json["warnings"]
    assert line.startswith("left out: red/näh.png (")


def test_a_table_of_tabs_is_called_so(anybody: Person, tmp_path: Path) -> None:
    table = write(tmp_path / "plants.tsv", "name\tpetals\nrose\t5\n")
    said = anybody.run("publish", str(table), "--name", "plants", "--dry-run").done().out
    assert said.startswith("TSV table: ")
