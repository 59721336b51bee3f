"""What words, filters and cursors find; and that nothing a user types is an error."""

from __future__ import annotations

import base64
import contextlib
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atd import records
from atd.errors import InvalidSyntax, ProofError
from atd_daemon.catalog import search as search_module
from atd_daemon.catalog.marks import card_marks

HOSTILE = [
    '"',
    '""',
    "'",
    "*",
    "-",
    "--",
    "(",
    ")))",
    "AND",
    "OR NOT",
    "NEAR(a b, 3)",
    "name:flowers",
    "{name} : flowers",
    "- {name} : flowers",
    "^flowers",
    "flowers + iris",
    "keys:kdataset",
    "a\x00b",
    "\ud800",
    "%_%",
    "'; DROP TABLE datasets; --",
    "\x1b[31mred",
    "‮flowers",
    "x" * 100_000,
    "a " * 50_000,
    '"' * 999,
    "😀",
    "क्षत्रिय",
    "日本語",
]


@pytest.fixture
def library(shelf):
    """Four data sets of two publishers."""
    alice, bob = shelf.author("alice.test"), shelf.author("bob.example.com")
    shelf.publish(
        alice,
        "iris_flowers",
        title="Fisher's irises",
        description="Measurements of Déjà vu blossoms",
        tags=["Botany", "tabular"],
        license="CC-BY-4.0",
    )
    shelf.publish(
        alice,
        "com.lecun.mnist",
        title="Handwritten digits",
        description="Seventy thousand digits, no flowers",
        tags=["computer vision", "digits"],
        license="MIT",
    )
    shelf.publish(bob, "birds-2024", title="Birds", tags=["computer vision"], license="MIT")
    shelf.publish(bob, "cc", title="Not a licence", license="CC0-1.0")
    shelf.alice, shelf.bob = alice, bob
    return shelf


def many(author, count, description):
    """Publish so many data sets in one commit."""
    names = [f"set-{number:05}" for number in range(count)]
    author.account.put_many(
        (records.DATASET, name, author.card(name, description=description)) for name in names
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("mnist", ["com.lecun.mnist"]),
        ("lecun", ["com.lecun.mnist"]),
        ("com.lecun.mnist", ["com.lecun.mnist"]),
        ("mni", ["com.lecun.mnist"]),
        ("iris", ["iris_flowers"]),
        ("iris flowers", ["iris_flowers"]),
        ("flowers iris", ["iris_flowers"]),
        ("flo", ["iris_flowers", "com.lecun.mnist"]),
        ("IRIS", ["iris_flowers"]),
        ("deja", ["iris_flowers"]),
        ("DÉJÀ VU", ["iris_flowers"]),
        ("birds 2024", ["birds-2024"]),
        ("computer vision digits", ["com.lecun.mnist"]),
        ('"vision computer"', []),
        ('"computer vision"', ["com.lecun.mnist", "birds-2024"]),
        ("vision -birds", ["com.lecun.mnist"]),
        ('vision -"handwritten digits"', ["birds-2024"]),
        ("-flowers -birds", ["cc"]),
        ("alice", ["com.lecun.mnist", "iris_flowers"]),
        ("bob.example.com mit", ["birds-2024"]),
        ("mni* hand", ["com.lecun.mnist"]),
        ("mni ", []),
        ("mni hand", []),
        ("nothing-of-this-kind", []),
        ("!!!", []),
    ],
)
def test_words_find(library, text, names):
    assert sorted(library.names(text)) == sorted(names)


def test_a_word_in_the_name_outranks_one_in_the_description(library):
    assert library.names("flowers") == ["iris_flowers", "com.lecun.mnist"]


def test_no_words_find_everything_newest_first(library):
    assert library.names("") == ["cc", "birds-2024", "com.lecun.mnist", "iris_flowers"]
    library.publish(library.alice, "iris_flowers", title="again")
    assert library.names(" ")[0] == "iris_flowers"


def test_proving_a_record_again_does_not_make_it_newer(library):
    library.put(library.alice.proved(library.alice.uri("iris_flowers")))
    assert library.names("")[-1] == "iris_flowers"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"license": "mit"}, ["birds-2024", "com.lecun.mnist"]),
        ({"license": "CC"}, []),
        ({"tag": "computer VISION"}, ["birds-2024", "com.lecun.mnist"]),
        ({"tag": "computer"}, []),
        ({"tag": "botany", "license": "CC-BY-4.0"}, ["iris_flowers"]),
        ({"tag": "botany", "license": "MIT"}, []),
    ],
)
def test_filters_are_exact(library, filters, names):
    assert library.names("", **filters) == names


def test_filters_and_words_go_together(library):
    assert library.names("flowers", license="mit") == ["com.lecun.mnist"]
    assert library.names("", did=library.bob.did) == ["cc", "birds-2024"]
    assert library.names("digits", did=library.bob.did) == []
    assert library.names("-birds", did=library.bob.did) == ["cc"]


def test_the_words_of_filters_are_not_to_be_found_by_typing(library):
    for word in card_marks(
        name="mnist",
        did="x",
        license="MIT",
        tags=["digits"],
        tasks=[],
        updated="2025-01-01",
        samples=10,
        size=1000,
    ):
        assert library.names(word) == []


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:20])
def test_no_text_is_an_error(library, text):
    library.catalog.search(text)
    library.catalog.search(text, license=text, tag=text)
    assert library.catalog.counts().datasets == 4


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet=st.one_of(st.characters(), st.sampled_from('"*-+:(){}^ aisANDORT'))))
def test_no_text_at_all_is_an_error_but_a_regular_expression_that_is_none(library, text):
    try:
        library.catalog.search(text)
    except InvalidSyntax:
        assert "/" in text or "name~" in text.lower()


def test_hostile_text_in_records_is_stored_as_text(shelf):
    alice = shelf.author()
    title = '"; DROP TABLE datasets; -- \u202e \x1b[31m'
    shelf.publish(alice, "flowers", title=title, tags=['a"b', "c\nd", "{e}"], description="*" * 99)
    (entry,) = shelf.catalog.search("drop table").entries
    assert (entry.title, entry.tags) == (title, ('a"b', "c\nd", "{e}"))
    assert shelf.names("", tag="C\nD") == ["flowers"]


def test_pages_follow_each_other_without_gap_or_repeat(shelf):
    alice = shelf.author()
    for number in range(25):
        shelf.publish(alice, f"set-{number}", description="word " * (number % 7 + 1))
    for text in ("", "word", "-other"):
        seen, cursor = [], None
        while True:
            page = shelf.catalog.search(text, limit=4, cursor=cursor)
            seen += [entry.name for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(f"set-{number}" for number in range(25)), text
        assert seen == shelf.names(text, limit=100)


def test_what_is_published_between_two_pages_moves_nothing(shelf):
    alice = shelf.author()
    for number in range(10):
        shelf.publish(alice, f"set-{number}", description="word " * (number % 3 + 1))
    for text in ("", "word"):
        whole = shelf.names(text, limit=100)
        first = shelf.catalog.search(text, limit=5)
        shelf.publish(alice, f"newer-{len(whole)}", title="word", description="word")
        second = shelf.catalog.search(text, limit=100, cursor=first.cursor)
        names = [entry.name for entry in (*first.entries, *second.entries)]
        assert names == whole
        assert second.cursor is None


def test_deleting_what_was_shown_last_loses_nothing_that_follows(shelf):
    alice = shelf.author()
    for number in range(10):
        shelf.publish(alice, f"set-{number}", description="word")
    first = shelf.catalog.search("word", limit=5)
    rest = shelf.names("word", limit=100)[5:]
    shelf.catalog.problem(first.entries[-1].uri, ProofError, "gone", now=1.0)
    second = shelf.catalog.search("word", limit=100, cursor=first.cursor)
    assert [entry.name for entry in second.entries] == rest


def test_beyond_the_ranked_candidates_pages_go_on_newest_first(shelf):
    alice = shelf.author()
    count = search_module.CANDIDATES + 60
    many(alice, count, "word")
    shelf.snapshot(alice)
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = shelf.catalog.search("word", limit=100, cursor=cursor)
        seen += [entry.name for entry in page.entries]
        cursor, pages = page.cursor, pages + 1
    assert len(seen) == len(set(seen)) == count
    tail = seen[search_module.CANDIDATES :]
    assert tail == sorted(tail, reverse=True)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "=", "é", "[]", "a" * 10_000, "W10", "\x00", "-1", "W1sxXV0"],
)
def test_a_cursor_that_is_none_is_refused(library, cursor):
    with pytest.raises(InvalidSyntax, match="cursor"):
        library.catalog.search("flowers", cursor=cursor)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    fields=st.lists(
        st.one_of(st.integers(), st.none(), st.text(max_size=4), st.floats(), st.booleans()),
        max_size=6,
    )
)
def test_a_forged_cursor_is_refused_or_harmless(library, fields):
    page = library.catalog.search("digits flowers", limit=1)
    assert page.cursor is None
    mark = json.loads(
        base64.urlsafe_b64decode(library.catalog.search("flo", limit=1).cursor + "===")
    )[0]
    forged = base64.urlsafe_b64encode(json.dumps([mark, *fields]).encode()).decode().rstrip("=")
    with contextlib.suppress(InvalidSyntax):
        library.catalog.search("flo", cursor=forged)


def test_a_cursor_of_another_search_is_refused(library):
    cursor = library.catalog.search("flo", limit=1).cursor
    with pytest.raises(InvalidSyntax, match="this very search"):
        library.catalog.search("vision", cursor=cursor)
    with pytest.raises(InvalidSyntax):
        library.catalog.search("flo", license="MIT", cursor=cursor)


def test_a_limit_is_kept(library):
    assert len(library.names("", limit=2)) == 2
    assert len(library.names("", limit=0)) == 1
    assert len(library.names("", limit=10**9)) == 4


def test_a_common_word_in_a_large_index_is_ranked_in_bounded_time(shelf):
    alice = shelf.author()
    many(alice, 6000, "common " * 20)
    shelf.snapshot(alice)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        shelf.catalog.search("common")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.25
