"""The names that people type: what they may be, and how versions are ordered."""

from __future__ import annotations

import random

import pytest

from atd import names
from atd.errors import InvalidSyntax

GOOD_NAMES = ["flowers", "com.lecun.mnist", "0", "a-b_c.d", "a" * 128]
BAD_NAMES = [
    *("", "Flowers", "-a", ".a", "_a", "a b", "a/b", "a:b", "a@1", "é", "a\n", "a" * 129),
    "\N{FULLWIDTH LATIN SMALL LETTER A}",
]
ORDERED = [
    *("0.0.1", "0.9.0", "0.10.0", "1.0.0-0", "1.0.0-2", "1.0.0-11", "1.0.0-alpha"),
    *("1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
    *("1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.11.0", "2.0.0", "10.0.0"),
]
BAD_VERSIONS = [
    *("", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.00.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b"),
    *(
        "1.0.0+1",
        "1.0.0-a+b",
        "1.0.0\n",
        "1.0.0-é",
        "1.0.٣",
        "1.0.0-" + "a" * 64,
        "9" * 99 + ".0.0",
    ),
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_of_data_sets(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_what_is_no_name_of_a_data_set(name: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a data set name") as caught:
        names.check_name(name)
    assert "start with a letter or a digit" in caught.value.next_step


@pytest.mark.parametrize("version", ORDERED)
def test_versions(version: str) -> None:
    assert names.check_version(version) == version
    assert names.split_release_key(names.release_key("a.b", version)) == ("a.b", version)


@pytest.mark.parametrize("version", BAD_VERSIONS, ids=ascii)
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a version"):
        names.check_version(version)


def test_versions_are_ordered_by_semver_precedence() -> None:
    mixed = random.Random(1).sample(ORDERED, len(ORDERED))
    assert sorted(mixed, key=names.version_order) == ORDERED


@pytest.mark.parametrize("alias", ["stable", "a", "best-of.2024_x", "v", "vision", "x" * 64])
def test_aliases_of_releases(alias: str) -> None:
    assert names.check_alias(alias) == alias


@pytest.mark.parametrize(
    "alias",
    ["", "latest", "v1", "v1.0.0", "v2-rc", "1", "1.0.0", "A", "-a", "a b", "a\n", "x" * 65],
)
def test_what_is_no_alias_of_a_release(alias: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected the alias"):
        names.check_alias(alias)


@pytest.mark.parametrize("split", ["train", "test-2", "a.b"])
def test_names_of_splits(split: str) -> None:
    assert names.check_split(split) == split


@pytest.mark.parametrize("split", ["", "Train", "a/b", "..", "a:b", "a" * 65])
def test_what_is_no_name_of_a_split(split: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected the name of a split"):
        names.check_split(split)


@pytest.mark.parametrize("rkey", ["flowers", "flowers:", ":1.0.0", "a:1.0.0:2", "A:1.0.0"])
def test_what_is_no_key_of_a_release(rkey: str) -> None:
    with pytest.raises(InvalidSyntax):
        names.split_release_key(rkey)
