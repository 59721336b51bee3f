"""Which reader takes what, and what is said where none does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atd.errors import BadSource
from atd.publishing.sources import kinds
from atd.publishing.sources.opening import open_source
from publish import pictures


def test_every_kind_is_named_where_nothing_fits(tmp_path: Path) -> None:
    (tmp_path / "x.docx").write_text("dear reader")
    with pytest.raises(BadSource, match="of no kind that is known") as caught:
        open_source(tmp_path / "x.docx")
    assert all(kind.words in (caught.value.next_step or "") for kind in kinds.KINDS)


def test_every_kind_has_a_reader() -> None:
    for kind in kinds.KINDS:
        if kind.library:
            pytest.importorskip(kind.library)
        reader = kinds.door(kind.module)
        assert callable(reader.fetched if kind.scheme else reader.open_given)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="is empty"):
        open_source(tmp_path)


def test_tables_of_two_kinds_are_not_guessed_between(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n")
    (tmp_path / "b.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(BadSource, match=r"several kinds.*a\.csv.*b\.jsonl"):
        open_source(tmp_path)


def test_a_pattern_chooses_files(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "test-0", "other"):
        (tmp_path / f"{name}.jsonl").write_text('{"n": 1}\n')
    source = open_source(str(tmp_path / "t*.jsonl"))
    assert {name: one.count for name, one in source.splits.items()} == {"train": 2, "test": 1}
    with pytest.raises(BadSource, match="no file is called"):
        open_source(str(tmp_path / "z*.jsonl"))


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "a[1].jsonl"
    path.write_text('{"n": 1}\n')
    assert open_source(path).count == 1


def test_a_link_that_leads_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jsonl").write_text('{"n": 1}\n')
    os.symlink(tmp_path, tmp_path / "a" / "again")
    with pytest.raises(BadSource, match="leads back to a folder above it"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("csv", "n\n1\n", "n\n1,2\n"),
        ("jsonl", '{"n": 1}\n', "hello\n"),
    ],
)
def test_tables_that_cannot_be_read_are_left_out_and_named(
    tmp_path: Path, name: str, good: str, bad: str
) -> None:
    (tmp_path / f"train-0.{name}").write_text(good)
    (tmp_path / f"train-1.{name}").write_text(bad)
    (tmp_path / f"test.{name}").write_text(bad)
    with pytest.raises(BadSource):
        open_source(tmp_path)
    source = open_source(tmp_path, skip_bad=True)
    assert source.count == 1
    assert len(source.skipped) == 2
    assert f"train-1.{name}" in " ".join(source.skipped)
    (tmp_path / f"train-0.{name}").unlink()
    with pytest.raises(BadSource, match="nothing is left"):
        open_source(tmp_path, skip_bad=True)


def test_names_that_are_no_text_are_shown_and_make_keys(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/rose"
    os.mkdir(folder)
    for name in (b"a\xff.png", b"b\xfe.png"):
        with open(folder + b"/" + name, "wb") as file:
            file.write(pictures.encoded() if name[:1] == b"a" else b"no picture")
    with pytest.raises(BadSource, match=r"b\\udcfe\.png"):
        open_source(tmp_path)
    source = open_source(tmp_path, skip_bad=True)
    ((key, _),) = source.splits["train"].samples(source.schema)
    assert key.isascii()
