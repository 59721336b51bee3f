"""What a CITATION.cff says."""

from __future__ import annotations

from pathlib import Path

import pytest

from atd.cards import citation

DATA = Path(__file__).parent / "data"
HEAD = "cff-version: 1.2.0\nmessage: cite\ntitle: T\n"


def test_version_1_2_gives_creators_a_licence_and_the_preferred_citation() -> None:
    found = citation.read((DATA / "CITATION-1.2.cff").read_text())
    assert found.notes == ()
    assert found.values == {
        "title": "Flowers of the Alps",
        "description": "Photographs of flowers, taken above 2,000 m.",
        "license": "CC-BY-4.0 OR ODbL-1.0",
        "tags": ["alps", "botany"],
        "creators": [
            {"name": "Ada von Meier", "url": "https://orcid.org/0000-0002-1825-0097"},
            {"name": "The Flower Lab", "url": "https://lab.example.com"},
        ],
        "homepage": "https://doi.org/10.5281/zenodo.1234",
        "citation": "@article{meier2024,\n"
        "  title = {Flowers \\& trees: 100\\% of them},\n"
        "  author = {Meier, Ada},\n"
        "  year = {2024},\n"
        "  journal = {Journal of Flowers},\n"
        "  volume = {7},\n"
        "  number = {2},\n"
        "  pages = {1--9},\n"
        "  doi = {10.1000/flowers_1},\n"
        "}",
    }


def test_version_1_1_is_cited_itself() -> None:
    found = citation.read((DATA / "CITATION-1.1.cff").read_text())
    assert found.values == {
        "title": "Weather",
        "license": "Apache-2.0",
        "creators": [{"name": "Åsa Lindström", "url": "https://orcid.org/0000-0002-1825-0097"}],
        "homepage": "https://weather.example.com",
        "citation": "@misc{lindstrom2021,\n"
        "  title = {Weather},\n"
        "  author = {Lindström, Åsa},\n"
        "  year = {2021},\n"
        "  version = {2.0},\n"
        "  doi = {10.1234/weather},\n"
        "  url = {https://weather.example.com},\n"
        "}",
    }


@pytest.mark.parametrize(
    "text",
    ["", "[]", "title: T", "a: [", "cff-version: &a 1\nx: *a"],
)
def test_what_is_no_citation_file_says_nothing_and_is_noted(text: str) -> None:
    found = citation.read(text)
    assert not found.fields
    assert len(found.notes) == 1


def test_fields_of_another_type_are_passed_over() -> None:
    found = citation.read(
        HEAD + "authors: [x, {family-names: [a]}, {orcid: b}]\nlicense: {a: b}\nkeywords: {c: d}\n"
        "identifiers: [x, {type: doi}]\nurl: [https://a.example.com]\npreferred-citation: x\n"
    )
    assert found.values == {"title": "T", "citation": "@misc{dataset,\n  title = {T},\n}"}


def test_no_word_leaves_its_braces_in_bibtex() -> None:
    found = citation.read(
        HEAD + "preferred-citation: {type: book, title: '}} @evil{x, \\input{y}', year: '20245',"
        " authors: [{family-names: 'M}{e', given-names: A}, {name: 'Lab {of} Flowers'}],"
        " publisher: {name: 'P}'}, url: 'https://a.example.com/}'}\n"
    )
    assert found.values["citation"] == (
        "@book{me2024,\n"
        "  title = {@evilx, inputy},\n"
        "  author = {Me, A and {Lab of Flowers}},\n"
        "  year = {2024},\n"
        "  publisher = {P},\n"
        "  url = {https://a.example.com/},\n"
        "}"
    )


def test_a_licence_that_is_not_in_the_list_is_noted_not_said() -> None:
    found = citation.read(HEAD + "license: [MIT, Mine]\n")
    assert "license" not in found.values
    assert ["'Mine'" in note for note in found.notes] == [True]


def test_an_address_that_a_record_cannot_hold_is_left_out() -> None:
    people = (
        "authors: [{name: A, website: 'javascript:alert(1)'}, {name: B, orcid: 'https://x/1'}]\n"
    )
    found = citation.read(HEAD + people + "url: file:///etc/passwd\n")
    assert found.values["creators"] == [{"name": "A"}, {"name": "B"}]
    assert "homepage" not in found.values
