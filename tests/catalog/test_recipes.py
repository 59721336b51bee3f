"""Recipes in the index: listed, found, changed, gone; two thousand of them found by a word."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atd import records
from atd.errors import LexiconError
from atd_daemon.catalog import Catalog
from atd_daemon.catalog.schema import STEPS
from catalog.conftest import CREATED, Author, Shelf

ADJECTIVES = ["small", "large", "noisy", "clean", "rare"]
THINGS = ["letters", "birds", "stars", "roads", "faces", "leaves", "words", "songs"]


def body(name: str, title: str = "", **more: Any) -> dict[str, Any]:
    """A recipe record of one download."""
    how = {
        "$type": "network.atd.recipe#file",
        "urls": [{"url": f"https://data.example.org/{name}.csv.gz"}],
        "size": 1000,
        "sha256": "0" * 64,
        "transforms": [{"do": "gunzip"}],
    }
    value = {"name": name, "resources": [{"name": "raw", "how": how}], "createdAt": CREATED}
    return {**value, **({"title": title} if title else {}), **more}


def put(shelf: Shelf, author: Author, name: str, title: str = "", **more: Any) -> Any:
    strong = author.account.put(records.RECIPE, name, body(name, title, **more))
    verified = author.proved(strong.uri)
    shelf.put(verified)
    return verified


def names(shelf: Shelf, text: str = "", limit: int = 100) -> list[str]:
    return [entry.name for entry in shelf.catalog.recipes(text, limit=limit)[0]]


def test_recipes_are_found_by_the_words_of_names_titles_and_publishers(shelf: Shelf) -> None:
    alice, bob = shelf.author(), shelf.author("bob.example.com")
    put(shelf, alice, "com.lecun.mnist", "Handwritten digits", license="CC0-1.0")
    put(shelf, alice, "digits", "Others")
    put(shelf, bob, "birds", description="no digits at all, Déjà vu")
    assert names(shelf, "mnist") == ["com.lecun.mnist"]
    assert names(shelf, "com.lecun.mnist") == ["com.lecun.mnist"]
    assert names(shelf, "digits") == ["digits", "com.lecun.mnist", "birds"]
    assert names(shelf, "handwr") == ["com.lecun.mnist"]
    assert names(shelf, "deja") == ["birds"]
    assert names(shelf, "bob example") == ["birds"]
    assert names(shelf) == ["birds", "digits", "com.lecun.mnist"]
    assert names(shelf, "mnist birds") == []
    (found,), more = shelf.catalog.recipes("lecun", limit=1)
    assert (found.handle, found.size, more) == ("alice.test", 1000, False)
    assert shelf.catalog.recipes("digits", limit=2)[1]


@pytest.mark.parametrize(
    "typed", ['"', "a AND", "NEAR(a b)", "name:x", "*", "' --", "\x00", "日本"]
)
def test_whatever_is_typed_is_words(shelf: Shelf, typed: str) -> None:
    put(shelf, shelf.author(), "letters")
    names(shelf, typed)


def test_a_changed_recipe_is_found_by_what_it_says_now_and_a_deleted_one_not(shelf: Shelf) -> None:
    alice = shelf.author()
    put(shelf, alice, "letters", "Old words")
    put(shelf, alice, "letters", "New songs")
    assert (names(shelf, "old"), names(shelf, "songs")) == ([], ["letters"])
    alice.account.delete(records.RECIPE, "letters")
    shelf.catalog.delete(alice.absence(alice.account.uri(records.RECIPE, "letters")), now=1.0)
    assert names(shelf) == []


def test_what_a_release_carries_is_a_record_and_not_listed(shelf: Shelf) -> None:
    alice = shelf.author()
    value = {**body("letters"), "version": "1.0.0"}
    uri = alice.account.put(records.RECIPE, "letters:1.0.0", value).uri
    shelf.put(alice.proved(uri))
    assert shelf.catalog.record(uri) is not None
    assert names(shelf) == []


def test_a_recipe_that_cannot_be_one_is_a_problem(shelf: Shelf) -> None:
    alice = shelf.author()
    put(shelf, alice, "good")
    how = {"$type": "network.atd.recipe#concat", "of": ["raw"]}
    circle = {**body("circle"), "resources": [{"name": "raw", "how": how}]}
    alice.account.put(records.RECIPE, "circle", circle)
    shelf.snapshot(alice)
    assert names(shelf) == ["good"]
    (problem,) = shelf.catalog.problems(alice.did)
    assert "raw → raw" in problem.message
    with pytest.raises(LexiconError, match="each other"):
        records.parse(alice.proved(alice.account.uri(records.RECIPE, "circle")))


def test_what_a_later_version_wrote_is_listed_though_it_cannot_be_prepared(shelf: Shelf) -> None:
    alice = shelf.author()
    how = {"$type": "network.atd.recipe#torrent", "hash": "x"}
    put(shelf, alice, "later", resources=[{"name": "raw", "how": how}])
    assert names(shelf) == ["later"]


def test_two_thousand_recipes_of_a_repository_are_found_by_word(shelf: Shelf) -> None:
    alice = shelf.author()
    writes = []
    for number in range(2000):
        thing, kind = THINGS[number % len(THINGS)], ADJECTIVES[number % len(ADJECTIVES)]
        name = f"org.example{number % 50:02}.{thing}-{number:04}"
        writes.append((records.RECIPE, name, body(name, f"{kind} {thing} number {number}")))
    alice.account.put_many(writes)
    shelf.snapshot(alice)
    assert names(shelf, "1234") == ["org.example34.stars-1234"]
    assert len(shelf.catalog.recipes("birds", limit=100)[0]) == 100
    assert names(shelf, "noisy leaves", 1)[0].endswith("-1997")
    assert names(shelf, "org.example08.letters", 100)[0].startswith("org.example08.letters")
    alice.account.replace({})
    shelf.snapshot(alice)
    assert names(shelf) == []


def test_an_older_index_is_told_to_look_again(
    tmp_path: Path, open_catalog: Callable[[], Catalog]
) -> None:
    path = tmp_path / "state" / "index.sqlite"
    path.parent.mkdir()
    step = next(at for at, (name, _) in enumerate(STEPS) if name == "recipes")
    with sqlite3.connect(path) as db:
        for _, statements in STEPS[:step]:
            db.executescript(statements)
        db.execute("INSERT INTO publishers (did, rev, complete_rev) VALUES ('did:plc:x', '3', '3')")
        db.execute(
            "INSERT INTO following (did, since_at, state, complete)"
            " VALUES ('did:plc:x', 1.0, 'synchronized', 1)"
        )
        db.executescript(STEPS[step][1])
        rows = db.execute(
            "SELECT p.rev, p.complete_rev, f.state FROM publishers p JOIN following f USING (did)"
        ).fetchall()
    assert rows == [("3", None, "desynchronized")]
