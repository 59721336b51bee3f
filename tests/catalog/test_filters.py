"""Filters, search terms, patterns and facets: what they find, in whatever order it was learned."""

from __future__ import annotations

import itertools
import sqlite3

import pytest
from sqlite_utils import Database, Migrations

from atd import records
from atd.errors import InvalidSyntax
from atd.schema import fields
from atd_daemon.catalog import search as search_module
from atd_daemon.catalog.marks import schema_facts
from atd_daemon.catalog.patterns import Budget, compiled
from atd_daemon.catalog.query import Filters
from atd_daemon.catalog.schema import APPLICATION_ID, STEPS
from atd_daemon.catalog.terms import parse

PIXELS = fields.Schema(
    (
        fields.Field("image", fields.Image()),
        fields.Field("mask", fields.Array("uint8")),
        fields.Field("label", fields.Label(("cat", "dog"))),
    )
)
ROWS = fields.Schema(
    (fields.Field("height", fields.Float(32)), fields.Field("name", fields.String()))
)
SPEECH = fields.Schema(
    (
        fields.Field("clip", fields.Struct((fields.Field("waveform", fields.Audio()),))),
        fields.Field("words", fields.Text("en")),
    )
)


def schema_of(author, name, schema):
    value = {
        "name": name,
        "version": "1.0.0",
        "fields": schema.to_value(),
        "createdAt": "2025-06-01T12:00:00.000Z",
    }
    return author.account.put(records.SCHEMA, f"{name}:1.0.0", value)


def publish(shelf, author, name, schema, *, samples=10, size=1000, order=(0, 1, 2), **card):
    """A data set with its release and its schema, seen in some order."""
    made = schema_of(author, name, schema)
    split = {
        "name": "train",
        "parts": [author.ref(records.SHARDS, "3lrnqk7qs232b")],
        "samples": samples,
        "shards": 1,
        "size": size,
    }
    release = author.release(
        name, schema=made.to_value(), splits=[split], samples=samples, size=size
    )
    head = author.dataset(name, latest=release, **card)
    uris = [made.uri, release.uri, head.uri]
    for at in order:
        shelf.put(author.proved(uris[at]))
    return head


@pytest.fixture
def gallery(shelf):
    """Three data sets of two publishers, one of pictures, one of rows, one of speech."""
    shelf.alice, shelf.bob = shelf.author("alice.test"), shelf.author("bob.example.com")
    publish(
        shelf,
        shelf.alice,
        "cats",
        PIXELS,
        samples=100,
        size=5_000_000,
        tags=["Vision", "toy"],
        tasks=["image-classification"],
        license="CC0-1.0",
        updatedAt="2026-01-15T00:00:00Z",
    )
    publish(
        shelf,
        shelf.alice,
        "heights",
        ROWS,
        samples=99,
        size=4_000,
        tags=["tabular"],
        license="MIT",
    )
    publish(
        shelf,
        shelf.bob,
        "speech",
        SPEECH,
        samples=2_000_000,
        size=10**12,
        tags=["vision", "audio"],
        license="CC-BY-4.0",
        updatedAt="2026-03-01T00:00:00+02:00",
    )
    return shelf


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tag:vision", ["cats", "speech"]),
        ("TAG:VISION", ["cats", "speech"]),
        ("tag:vision tag:toy", ["cats"]),
        ("tag:vision -tag:toy", ["speech"]),
        ("-tag:vision", ["heights"]),
        ("task:image-classification", ["cats"]),
        ("license:cc0-1.0", ["cats"]),
        ("licence:MIT license:CC0-1.0", ["cats", "heights"]),
        ("publisher:alice.test", ["cats", "heights"]),
        ("publisher:@alice.test", ["cats", "heights"]),
        ("publisher:alice", ["cats", "heights"]),
        ("publisher:alice publisher:bob", ["cats", "heights", "speech"]),
        ("publisher:nobody.test", []),
        ("publisher:alice.test.evil.org", []),
        ("-publisher:alice", ["speech"]),
        ("field:image", ["cats"]),
        ("field:waveform", ["speech"]),
        ("kind:uint8", ["cats"]),
        ("kind:label", ["cats"]),
        ("kind:float32", ["heights"]),
        ("kind:audio", ["speech"]),
        ("modality:image", ["cats"]),
        ("modality:tabular", ["heights"]),
        ("modality:audio modality:text", ["speech"]),
        ("type:image", ["cats"]),
        ("type:uint8", ["cats"]),
        ("type:tabular", ["heights"]),
        ("waveform", ["speech"]),
        ("uint8 mask", ["cats"]),
        ("image-classification", ["cats"]),
        ("tag:", []),
        ('tag:"no such tag"', []),
        ("/^c.t/", ["cats"]),
        ("/S$/", ["cats", "heights"]),
        ("-/^c/ tag:vision", ["speech"]),
        ("name~ee", ["speech"]),
        ('name~"e+ch"', ["speech"]),
        ("/^nothing$/", []),
        ("tag:vision /s/", ["cats", "speech"]),
        ("/cats/mice/", []),
    ],
)
def test_terms_find(gallery, text, names):
    assert sorted(gallery.names(text)) == sorted(names)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (Filters(), ["cats", "heights", "speech"]),
        (Filters(min_samples=100), ["cats", "speech"]),
        (Filters(max_samples=99), ["heights"]),
        (Filters(min_samples=99, max_samples=100), ["cats", "heights"]),
        (Filters(min_samples=2_000_001), []),
        (Filters(min_size=5_000_000), ["cats", "speech"]),
        (Filters(max_size=4_999_999), ["heights"]),
        (Filters(min_size=0), ["cats", "heights", "speech"]),
        (Filters(min_samples=2**53 - 1), []),
        (Filters(since="2026-01-15T00:00:00.000Z"), ["cats", "speech"]),
        (Filters(since="2026-02-28T22:00:00.000Z"), ["speech"]),
        (Filters(since="2026-02-28T22:00:01.000Z"), []),
        (Filters(since="1970-01-01T00:00:00.000Z"), ["cats", "heights", "speech"]),
        (Filters(since="9999-01-01T00:00:00.000Z"), []),
        (Filters(tags=("vision",), min_samples=1000), ["speech"]),
        (Filters(licenses=("MIT", "CC0-1.0")), ["cats", "heights"]),
        (Filters(types=("array",)), ["cats"]),
    ],
)
def test_numbers_and_moments_are_exact(gallery, filters, names):
    found = gallery.catalog.search("", filters)
    assert sorted(entry.name for entry in found.entries) == sorted(names)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_samples_and_fields_are_known_whatever_comes_first(shelf, order):
    alice = shelf.author()
    publish(shelf, alice, "cats", PIXELS, samples=7, order=order)
    assert shelf.names("field:image kind:uint8") == ["cats"]
    assert [e.modalities for e in shelf.catalog.search("mask").entries] == [("image", "array")]
    found = shelf.catalog.search("", Filters(min_samples=7, max_samples=7))
    assert [entry.name for entry in found.entries] == ["cats"]


def test_a_snapshot_knows_fields_in_whatever_order_it_comes(shelf):
    alice = shelf.author()
    publish(shelf, alice, "cats", PIXELS, order=())
    repo = alice.repo()
    good, _ = alice.read(repo)
    for number, some in enumerate((good, good[::-1])):
        shelf.catalog.publisher_snapshot(repo, some, now=float(number))
        assert shelf.names("field:image") == ["cats"]


def test_what_was_learned_of_a_pinned_schema_stays_when_its_owner_deletes_it(shelf):
    alice = shelf.author()
    publish(shelf, alice, "cats", PIXELS)
    alice.account.delete(records.SCHEMA, "cats:1.0.0")
    uri = alice.account.uri(records.SCHEMA, "cats:1.0.0")
    shelf.catalog.delete(alice.absence(uri), now=2.0)
    assert shelf.names("field:image") == ["cats"]


def test_another_schema_under_the_same_key_is_not_taken_for_the_pinned_one(shelf):
    alice = shelf.author()
    publish(shelf, alice, "cats", PIXELS, order=(1, 2))
    schema_of(alice, "cats", SPEECH)
    shelf.put(alice.proved(alice.account.uri(records.SCHEMA, "cats:1.0.0")))
    assert shelf.names("field:image") == shelf.names("kind:audio") == []


def test_a_data_set_of_very_many_fields_and_tags_is_found_by_the_first(shelf):
    alice = shelf.author()
    many = fields.Schema(tuple(fields.Field(f"f{n}", fields.Int()) for n in range(600)))
    tags = [f"tag {number} " + "é" * 50 for number in range(50)]
    publish(shelf, alice, "wide", many, tags=tags, title="\x1b[31m \u202e title")
    assert shelf.names("field:f0 kind:int64") == ["wide"]
    assert shelf.names(f'tag:"{tags[49]}"') == ["wide"]
    facts = schema_facts(many)
    assert len(facts.marks) < 250
    assert len(facts.words) < 10_000


# --- patterns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "/(/",
        "name~[",
        "/a{1,999}/",
        "/(?:x){e<=3}/",
        "/x{99999}/",
        "name~" + "a" * 300,
        "name~*",
        "/" + "(" * 100 + "/",
    ],
)
def test_a_regular_expression_that_is_none_is_refused(gallery, text):
    with pytest.raises(InvalidSyntax, match=r"regular expression|repetition"):
        gallery.catalog.search(text)


def test_a_regular_expression_that_would_take_for_ever_is_stopped(shelf):
    alice = shelf.author()
    for number in range(3):
        shelf.publish(alice, "a" * 100 + f"{number}")
    with pytest.raises(InvalidSyntax, match="takes too long"):
        shelf.catalog.search("name~((((a{1,99}){1,99}){1,99}){1,99}){9,99}b")


def test_all_regular_expressions_of_one_question_have_one_time_together():
    """Each just below what one may take, two dozen of them would take two dozen times as much."""
    budget = Budget()
    slow = [compiled(f"(a|aa){{{count},}}$", budget) for count in (1, 2, 3)]
    for matches in slow:
        with pytest.raises(InvalidSyntax, match="takes too long"):
            matches("a" * 120 + "!")
    assert budget.left_s < 0
    assert compiled("^a", Budget())("aha")


@pytest.mark.parametrize("text", ["/(?R)/", "/(a|(?1))*b/", "/(?P<n>a)(?&n)/", "name~(?e:a)"])
def test_a_regular_expression_that_would_take_all_memory_is_refused(gallery, text):
    with pytest.raises(InvalidSyntax, match="plain groups"):
        gallery.catalog.search(text)


def test_a_rare_name_in_a_large_index_is_found_page_by_page(shelf):
    alice = shelf.author()
    alice.dataset("needle")
    alice.account.put_many(
        (records.DATASET, f"hay-{number:05}", alice.card(f"hay-{number:05}"))
        for number in range(search_module.LOOKED + 10)
    )
    repo = alice.repo()
    good, _ = alice.read(repo)
    good.sort(key=lambda pair: pair[0].uri.rkey != "needle")  # it is indexed first: the oldest
    shelf.catalog.publisher_snapshot(repo, good, now=1.0)
    first = shelf.catalog.search("/^n/")
    assert first.entries == ()
    second = shelf.catalog.search("/^n/", cursor=first.cursor)
    assert [entry.name for entry in second.entries] == ["needle"]
    assert second.cursor is None
    counted = shelf.catalog.search("", facets=True).facets
    assert (counted.counted, counted.complete) == (search_module.FACETED, False)
    # Its name has the word, so it comes first however old it is.
    assert shelf.names("needle") == ["needle"]


# --- order and facets -----------------------------------------------------------------------------


def test_a_name_that_is_the_word_comes_before_newer_ones_that_hold_it(shelf):
    alice = shelf.author()
    for name in ("mnist", "mnist-rotated-fashion", "fashion-mnist", "other"):
        shelf.publish(alice, name, description="mnist again")
    assert shelf.names("mnist") == ["mnist", "fashion-mnist", "mnist-rotated-fashion", "other"]
    assert shelf.names("fashion mnist")[0] == "fashion-mnist"


def test_a_title_comes_before_a_tag_and_a_tag_before_a_description(shelf):
    alice = shelf.author()
    shelf.publish(alice, "a", title="Handwritten digits")
    shelf.publish(alice, "b", tags=["digits"])
    shelf.publish(alice, "c", description="digits")
    assert shelf.names("digits") == ["a", "b", "c"]


def test_sorting_by_name_and_by_age(gallery):
    assert gallery.names("", sort="name") == ["cats", "heights", "speech"]
    assert gallery.names("vision", sort="name") == ["cats", "speech"]
    assert gallery.names("vision", sort="newest") == ["speech", "cats"]
    first = gallery.catalog.search("", sort="name", limit=2)
    with pytest.raises(InvalidSyntax, match="cursor"):
        gallery.catalog.search("", sort="newest", cursor=first.cursor)
    second = gallery.catalog.search("", sort="name", limit=2, cursor=first.cursor)
    assert [entry.name for entry in second.entries] == ["speech"]


def test_facets_count_what_was_found(gallery):
    facets = gallery.catalog.search("tag:vision", facets=True, limit=1).facets
    assert (facets.counted, facets.complete) == (2, True)
    assert [(one.value, one.count) for one in facets.tags] == [
        *(("vision", 2), ("audio", 1), ("toy", 1)),
    ]
    assert {one.value for one in facets.licenses} == {"CC0-1.0", "CC-BY-4.0"}
    assert {one.value for one in facets.publishers} == {"alice.test", "bob.example.com"}
    assert {one.value for one in facets.modalities} == {"image", "array", "audio", "text"}
    assert [one.value for one in facets.tasks] == ["image-classification"]


def test_facets_of_more_than_are_counted_do_not_pass_for_all(shelf):
    alice = shelf.author()
    count = search_module.FACETED + 50  # fewer than are looked at for a page
    alice.account.put_many(
        (records.DATASET, f"set-{number}", alice.card(f"set-{number}")) for number in range(count)
    )
    shelf.snapshot(alice)
    facets = shelf.catalog.search("set", facets=True).facets
    assert (facets.counted, facets.complete) == (search_module.FACETED, False)


def test_pages_with_a_comparison_follow_each_other(shelf):
    alice = shelf.author()
    for number in range(20):
        day = f"2026-01-{number + 1:02}T00:00:00Z"
        shelf.publish(alice, f"set-{number:02}", description="word", updatedAt=day)
    filters = Filters(since="2026-01-06T00:00:00.000Z")
    for text in ("word", ""):
        seen, cursor = [], None
        while True:
            page = shelf.catalog.search(text, filters, limit=4, cursor=cursor)
            seen += [entry.name for entry in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(seen) == [f"set-{number:02}" for number in range(5, 20)]


@pytest.mark.parametrize("text", ["tag:x" * 300, "-" * 1000, "tag:" * 300, "/" * 1000, "name~" * 9])
def test_odd_terms_are_harmless(gallery, text):
    parse(text)
    try:
        gallery.catalog.search(text)
    except InvalidSyntax:
        assert "/" in text or "name~" in text


# --- older files ----------------------------------------------------------------------------------


def test_an_index_of_an_earlier_version_is_made_anew_from_its_own_records(
    shelf, open_catalog, tmp_path
):
    alice = shelf.author()
    publish(shelf, alice, "cats", PIXELS, tags=["toy"], samples=12)
    shelf.publish(alice, "older")
    shelf.catalog.close()
    new = tmp_path / "state" / "index.sqlite"
    old = tmp_path / "old.sqlite"
    file = sqlite3.connect(old, isolation_level=None)
    steps = Migrations("atd-index")
    steps(name=STEPS[0][0])(lambda db: db.executescript(STEPS[0][1]))
    steps.apply(Database(file))
    file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    file.execute("PRAGMA user_version = 1")
    file.execute("ATTACH ? AS new", (str(new),))
    for table in ("publishers", "records", "releases", "datasets"):
        columns = [row[1] for row in file.execute(f"PRAGMA main.table_info({table})")]
        names = ", ".join(columns)
        file.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    file.close()
    for path in new.parent.glob("index.sqlite*"):
        path.unlink()
    old.rename(new)
    again = open_catalog()
    assert [e.name for e in again.search("field:image tag:toy").entries] == ["cats"]
    assert [e.name for e in again.search("", Filters(max_samples=12)).entries] == ["cats"]
    assert [e.name for e in again.search("").entries] == ["older", "cats"]
    assert [(one.action, one.uri.rkey) for one in again.log(limit=9)] == [
        *(("create", "older"), ("create", "cats")),
        *(("create", "cats:1.0.0"), ("create", "cats:1.0.0")),
    ]
