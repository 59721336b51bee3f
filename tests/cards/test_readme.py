"""What a README says: the Hub's front matter, and Markdown."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from atd.cards import readme
from atd.cards.said import TEXT_LIMITS

DATA = Path(__file__).parent / "data"
HUB = (DATA / "hub.md").read_text("utf-8")


def front(*lines: str) -> str:
    return "\n".join(["---", *lines, "---", ""])


def test_a_dataset_card_of_the_hub_gives_every_field_that_a_card_has() -> None:
    found = readme.read(HUB)
    assert found.notes == ()
    assert found.values == {
        "title": "Flowers of the Alps",
        "license": "CC-BY-4.0",
        "tags": ["flowers", "alps", "language:no", "language:en"],
        "tasks": ["image-classification", "multi-class-image-classification"],
        "description": "Photographs of *flowers*, taken above 2,000 m.\n\n"
        '```python\n# not a heading\nload("flowers")\n```',
        "citation": "@misc{flowers2024,\n  title = {Flowers of the Alps},\n"
        "  author = {Meier, Ada},\n}",
        "homepage": "https://flowers.example.com/alps",
    }
    assert {said.origin for said in found.fields.values()} == {"README.md"}


def test_without_front_matter_the_first_heading_is_the_title() -> None:
    found = readme.read(
        "# Dataset card for [Weather](https://w.example.com) `v2`\n\nAn hour a row.\n"
    )
    assert found.values == {"title": "Weather v2", "description": "An hour a row."}


def test_text_before_any_heading_is_a_description() -> None:
    assert "one an hour" in readme.read((DATA / "plain.md").read_text()).values["description"]


@pytest.mark.parametrize(
    ("lines", "expected", "noted"),
    [
        (["license: mit"], "MIT", None),
        (["license: odc-by"], "ODC-By-1.0", None),
        (["license: ODbL"], "ODbL-1.0", None),
        (["license: [apache-2.0]"], "Apache-2.0", None),
        (["license: gpl-3.0"], "GPL-3.0", None),
        (["license: llama3.1"], "LicenseRef-llama3.1", None),
        (["license: other", "license_name: Flower Terms v2!"], "LicenseRef-Flower-Terms-v2", None),
        (["license: other", "license_name: cc-by-nc-4.0"], "CC-BY-NC-4.0", None),
        (["license: other"], None, "'other'"),
        (["license: cc"], None, "'cc'"),
        (["license: unknown"], None, "'unknown'"),
        (["license: my own"], None, "'my own'"),
        (["license: [mit, apache-2.0]"], None, "2 licences"),
        (["license: {a: b}"], None, None),
        (["license:"], None, None),
    ],
)
def test_a_licence_of_the_hub_is_spdx_or_not_said(
    lines: list[str], expected: str | None, noted: str | None
) -> None:
    found = readme.read(front(*lines))
    assert found.values.get("license") == expected
    assert ([noted in note for note in found.notes] == [True]) if noted else not found.notes


def test_values_are_the_text_that_was_written() -> None:
    found = readme.read(
        front("pretty_name: 2021-01-01", "tags: [yes, 1.10, 0x1F, ~]", "language: no")
    )
    assert found.values == {
        "title": "2021-01-01",
        "tags": ["yes", "1.10", "0x1F", "language:no"],
    }


def test_front_matter_of_other_types_says_nothing() -> None:
    found = readme.read(front("pretty_name: [a]", "tags: {a: b}", "task_categories: [[x], {y: z}]"))
    assert found.values == {}


def test_front_matter_that_is_not_yaml_is_noted_and_the_rest_is_read() -> None:
    found = readme.read(front("a: [", "b: }") + "# Weather\n\nAn hour a row.")
    assert found.values == {"title": "Weather", "description": "An hour a row."}
    assert ["README.md, line" in note and "not YAML" in note for note in found.notes] == [True]


def test_control_and_direction_characters_go() -> None:
    found = readme.read(
        front('pretty_name: "A\\e[31m\\u202ED\\0"') + "a\x1b[2Jb\u2066c\r\nd\x00\te"
    )
    assert found.values == {"title": "A[31mD", "description": "a[2Jbc\nd    e"}


def test_a_long_text_is_cut_to_what_a_record_holds() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"
    for text in ("x" * 300_000, family * 10_001, "\N{FLEXED BICEPS}" * 60_000):
        value = readme.read(text).values["description"]
        graphemes, size = TEXT_LIMITS["description"]
        assert value.endswith("…")
        assert len(value.encode()) <= size
        assert len(value.replace(family, "x")) <= graphemes
    assert readme.read(family * 9_000 + "").values["description"].endswith("…")


def test_at_most_fifty_tags_and_none_too_long() -> None:
    tags = [f"t{n}" for n in range(80)] + ["x" * 65]
    found = readme.read(front("tags:", *(f"- {tag}" for tag in reversed(tags))))
    assert found.values["tags"] == [f"t{n}" for n in range(79, 29, -1)]


@pytest.mark.parametrize(
    "text",
    [
        "#" + " " * 300_000 + "x",
        "[" * 300_000,
        "[](" * 100_000,
        "![a](" * 80_000,
        "<a" * 150_000,
        "\n \n" * 100_000,
        "<!--" * 80_000,
        "[More Information Needed](" * 12_000,
        "**Homepage:**" * 25_000,
        "```\n@" * 60_000,
        "## Citation\n" + "```\n@a\n" * 40_000,
        "---\n" * 80_000,
        "# a\n" * 80_000,
        "-" * 300_000,
        "* " * 150_000,
        "- a" + " " * 300_000 + "b",
        "- a" + "1" * 300_000 + "b",
        "a\n" + " " * 300_000 + "- " + " " * 300_000 + "b",
        "\N{REGIONAL INDICATOR SYMBOL LETTER A}" * 250_000,
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_hostile_markdown_takes_no_time(text: str) -> None:
    start = time.process_time()
    readme.read(text)
    assert time.process_time() - start < 5  # quadratic would be minutes
