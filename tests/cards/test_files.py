"""The files beside data: which speak, who has the last word, and what cannot harm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from atd.cards import said
from atd.cards.files import folder_of, is_card_file, proposed
from atd.lexicon_files import documents

DATA = Path(__file__).parent / "data"


def lay(folder: Path, **names: str) -> Path:
    """``name=file of data``: with ``_`` for the dot of a name."""
    for name, source in names.items():
        shutil.copy(DATA / source, folder / name.replace("_", "."))
    return folder


def test_the_readme_wins_over_the_citation_and_both_over_the_licence(tmp_path: Path) -> None:
    lay(tmp_path, README_md="hub.md", CITATION_cff="CITATION-1.2.cff", LICENSE="MIT.txt")
    found = proposed(tmp_path)
    assert {name: one.origin for name, one in found.fields.items()} == {
        "title": "README.md",
        "description": "README.md",
        "license": "README.md",
        "tags": "README.md",
        "tasks": "README.md",
        "creators": "CITATION.cff",
        "citation": "CITATION.cff",
        "homepage": "README.md",
    }
    assert found.values["license"] == "CC-BY-4.0"
    assert found.values["citation"].startswith("@article{meier2024")
    assert [note for note in found.notes if "MIT" in note and "which is taken" in note]


def test_a_title_in_a_citation_file_wins_over_a_heading(tmp_path: Path) -> None:
    lay(tmp_path, CITATION_cff="CITATION-1.1.cff", COPYING="CC0-1.0.txt")
    (tmp_path / "readme.md").write_text("# weather-data\n\nRows.\n")
    found = proposed(tmp_path)
    assert found.fields["title"] == said.Said("Weather", "CITATION.cff", 1)
    assert found.values["license"] == "Apache-2.0"
    assert found.values["description"] == "Rows."


def test_two_licence_files_that_differ_say_nothing(tmp_path: Path) -> None:
    lay(tmp_path, LICENSE="MIT.txt", COPYING="CC0-1.0.txt")
    found = proposed(tmp_path)
    assert not found.fields
    assert found.notes == ("COPYING and LICENSE are not the same licence",)
    lay(tmp_path, COPYING="MIT.txt")
    assert proposed(tmp_path).values == {"license": "MIT"}


def test_only_files_of_these_names_speak() -> None:
    names = ("README.md", "readme.markdown", "CITATION.cff", "LICENCE.md", "COPYING", "License.txt")
    assert all(map(is_card_file, names))
    others = ("README", "README.md.bak", "LICENSE.jpg", "xREADME.md", "license.csv", "a.cff")
    assert not any(map(is_card_file, others))


def test_what_speaks_for_a_source_is_beside_it(tmp_path: Path) -> None:
    table = tmp_path / "in" / "a.csv"
    table.parent.mkdir()
    table.write_text("a\n1\n")
    assert folder_of(str(table.parent)) == table.parent
    assert folder_of(table) == table.parent
    assert folder_of(f"{table.parent}/*.csv") == table.parent
    assert folder_of(f"{tmp_path}/i*/a-{{0..9}}.csv") == tmp_path
    for nothing in ("-", "hf://datasets/a/b", [1], {"a": 1}, str(tmp_path / "no" / "a.csv")):
        assert folder_of(nothing) is None


def test_files_that_are_no_text_are_noted_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    (tmp_path / "CITATION.cff").write_bytes(b"\xff\xfe")
    (tmp_path / "LICENSE").write_bytes(b"x" * (1024 * 1024 + 1))
    found = proposed(tmp_path)
    assert not found.fields
    assert found.notes == (
        "README.md is not taken: it is not a regular file",
        "CITATION.cff is not taken: it is not UTF-8",
        "LICENSE is not taken: it has more than 1048576 bytes",
    )


def test_links_that_lead_nowhere_and_folders_are_noted(tmp_path: Path) -> None:
    (tmp_path / "README.md").symlink_to("nowhere")
    (tmp_path / "LICENSE").mkdir()
    notes = proposed(tmp_path).notes
    assert [note.partition(":")[0] for note in notes] == [
        "README.md is not taken",
        "LICENSE is not taken",
    ]


def test_a_link_that_leads_out_of_the_folder_is_not_published(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", tmp_path / "home" / "data"
    (folder / "docs").mkdir(parents=True)
    (home / "key").write_text("# secret\n\nnobody is to read this\n")
    (folder / "README.md").symlink_to("../key")
    (folder / "CITATION.cff").symlink_to(home / "key")
    (folder / "LICENSE").symlink_to("docs/up")
    (folder / "docs" / "up").symlink_to("../../key")
    found = proposed(folder)
    assert not found.fields
    assert [note.partition(": ")[2] for note in found.notes] == [
        "it is a link that leads out of its folder"
    ] * 3


def test_a_link_of_the_hubs_cache_is_followed_and_none_that_looks_like_one(tmp_path: Path) -> None:
    cache = tmp_path / "datasets--a--b"
    for place in ("blobs", "snapshots/1f", "snapshots/2f"):
        (cache / place).mkdir(parents=True)
    (cache / "blobs" / "digest").write_text("# Flowers\n")
    (cache / "snapshots" / "1f" / "README.md").symlink_to("../../blobs/digest")
    assert proposed(cache / "snapshots" / "1f").values == {"title": "Flowers"}
    (tmp_path / "key").write_text("# secret\n")
    (cache / "blobs" / "other").symlink_to("../../key")
    (cache / "snapshots" / "2f" / "README.md").symlink_to("../../blobs/other")
    assert not proposed(cache / "snapshots" / "2f").values


def test_a_link_to_a_file_below_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "docs").mkdir(parents=True)
    (tmp_path / "real" / "docs" / "about.md").write_text("# Flowers\n")
    (tmp_path / "real" / "README.md").symlink_to("docs/about.md")
    (tmp_path / "linked").symlink_to("real")
    for folder in ("real", "linked"):
        assert proposed(tmp_path / folder).values == {"title": "Flowers"}


def test_a_licence_in_latin_1_is_read(tmp_path: Path) -> None:
    text = (DATA / "MIT.txt").read_text().replace("(c)", "©")
    (tmp_path / "LICENSE").write_bytes(text.encode("latin-1"))
    assert proposed(tmp_path).values == {"license": "MIT"}


def test_the_limits_are_those_of_the_lexicon() -> None:
    record = next(one for one in documents() if one["id"] == "network.atd.dataset")
    fields = record["defs"]["main"]["record"]["properties"]
    for name, limits in said.TEXT_LIMITS.items():
        assert limits == (fields[name]["maxGraphemes"], fields[name]["maxLength"])
    tag, task = (fields[name]["items"] for name in ("tags", "tasks"))
    name = record["defs"]["creator"]["properties"]["name"]
    assert (tag["maxGraphemes"], tag["maxLength"]) == said.TAG_LIMITS
    assert (name["maxGraphemes"], name["maxLength"]) == said.NAME_LIMITS
    assert task["maxLength"] == said.MAX_TASK_BYTES
    assert fields["tags"]["maxLength"] == fields["tasks"]["maxLength"] == said.MAX_WORDS
    assert fields["creators"]["maxLength"] == said.MAX_CREATORS


@pytest.mark.parametrize(
    ("text", "limits", "expected"),
    [
        ("abc", (3, 3), "abc"),
        ("abcd", (3, 9), "ab…"),
        ("äöü", (9, 5), "ä…"),
        ("🇩🇪🇫🇷🇮🇹", (2, 100), "🇩🇪…"),
        ("a b  ", (3, 9), "a…"),
    ],
)
def test_a_text_is_cut_between_graphemes(text: str, limits: tuple[int, int], expected: str) -> None:
    assert said.bounded(text, limits) == expected
