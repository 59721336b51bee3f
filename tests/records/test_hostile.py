"""Records that say what they should not: each is refused, with the path of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from atd import records
from atd.errors import LexiconError
from atd.protocol.cbor import Cid
from records.samples import ALICE, MALLORY, at, proved, uri, value

Change = Callable[[dict[str, Any]], object]
REF = "network.atd.release/flowers:1.0.0"


def changed(name: str, change: Change) -> dict[str, Any]:
    content = value(name)
    change(content)
    return content


def put(*path: str | int, to: Any) -> Change:
    def change(content: Any) -> None:
        for part in path[:-1]:
            content = content[part]
        content[path[-1]] = to

    return change


def drop(key: str) -> Change:
    return lambda content: content.pop(key)


def to_ref(collection: str, rkey: str, did: str = ALICE) -> dict[str, str]:
    return {"uri": f"at://{did}/{collection}/{rkey}", "cid": str(Cid.of(b"x"))}


SHARD = "network.atd.shards"
CASES: list[tuple[str, Change, str]] = [
    # --- what a record is
    ("dataset", put("$type", to="network.atd.release"), r"^\$type: expected network\.atd\.dataset"),
    ("dataset", drop("latest"), r"latest: required, and missing"),
    ("dataset", put("title", to=7), r"title: expected a string"),
    ("dataset", put("title", to="x" * 301), r"title: expected at most 300 graphemes"),
    ("dataset", put("createdAt", to="yesterday"), r"createdAt: expected a date and time"),
    ("dataset", put("createdAt", to="0000-01-01T00:00:00Z"), r"createdAt: "),
    ("dataset", put("creators", 0, "did", to="@alice.test"), r"creators\[0\]\.did: expected a DID"),
    ("dataset", put("name", to="tulips"), r"rkey: expected tulips .* found flowers"),
    ("dataset", put("name", to="Flowers"), r"expected a data set name, found 'Flowers'"),
    ("schema", put("version", to="1.0.1"), r"rkey: expected flowers:1\.0\.1"),
    ("schema", put("version", to="1.0.0+build"), r"expected a version such as"),
    ("release", put("name", to="tulips"), r"rkey: expected tulips:1\.1\.0"),
    ("release", put("version", to="latest"), r"expected a version such as"),
    # --- where it points
    (
        "dataset",
        put("latest", to=to_ref(SHARD, "3kznmn7xqxl22")),
        r"latest\.uri: expected a network\.atd\.r",
    ),
    (
        "dataset",
        put("latest", to=to_ref("network.atd.release", "flowers:1.0.0", MALLORY)),
        r"latest\.uri: expected a record of did:plc:7iza",
    ),
    (
        "dataset",
        put("latest", to=to_ref("network.atd.release", "tulips:1.0.0")),
        r"latest\.uri: expected a release of flowers",
    ),
    (
        "dataset",
        put("aliases", 1, "release", to=to_ref("network.atd.release", "tulips:1.0.0")),
        r"aliases\[1\]\.release\.uri: expected a release of flowers",
    ),
    (
        "dataset",
        put("aliases", 0, "release", to=to_ref("network.atd.release", "flowers:1.0.0", MALLORY)),
        r"aliases\[0\]\.release\.uri: expected a record of did:plc:7iza",
    ),
    ("dataset", put("aliases", 0, "name", to="latest"), r"aliases\[0\]: expected the alias"),
    (
        "dataset",
        put("aliases", 0, "name", to="next"),
        r"expected distinct aliases, found next, next",
    ),
    (
        "dataset",
        put("latest", to=to_ref("network.atd.release", "flowers")),
        r"latest\.uri: expected a record key NAME:VERSION",
    ),
    (
        "dataset",
        put("latest", "uri", to=f"at://alice.test/{REF}"),
        r"latest\.cid: expected at://DID|latest",
    ),
    ("dataset", put("latest", "uri", to=f"at://{ALICE}"), r"latest"),
    (
        "dataset",
        put("latest", "cid", to=str(Cid.of(b"x", 0x55))),
        r"latest\.cid: expected the CID of a record",
    ),
    ("dataset", put("latest", "cid", to="bafyxyzxyz"), r"latest\.cid: "),
    (
        "release",
        put("schema", to=to_ref(SHARD, "x")),
        r"schema\.uri: expected a network\.atd\.schema",
    ),
    (
        "release",
        put("splits", 0, "parts", 0, to=to_ref(SHARD, "x", MALLORY)),
        r"splits\[0\]\.parts\[0\]\.uri: expected a record of",
    ),
    (
        "release",
        put("splits", 1, "parts", 0, to=to_ref("app.bsky.feed.post", "x")),
        r"splits\[1\]\.parts\[0\]\.uri: expected a network",
    ),
    (
        "release",
        put("previous", to=to_ref("network.atd.release", "flowers:1.0.0", MALLORY)),
        r"previous\.uri: expected a record of",
    ),
    (
        "release",
        put("previous", to=to_ref("network.atd.release", "flowers:1.1.0")),
        r"previous\.uri: expected another version",
    ),
    (
        "release",
        put("previous", to=to_ref("network.atd.release", "tulips:1.0.0")),
        r"previous\.uri: expected another version of flowers",
    ),
    (
        "parts",
        put("parts", 0, to=to_ref(SHARD, "x", MALLORY)),
        r"parts\[0\]\.uri: expected a record of",
    ),
    (
        "parts",
        put("parts", 0, to=to_ref("network.atd.release", "x")),
        r"parts\[0\]\.uri: expected a network\.atd\.shards",
    ),
    # --- what it counts
    ("release", put("samples", to=9), r"expected samples to be the splits' 8, found 9"),
    ("release", put("size", to=4095), r"expected size to be the splits' 4096, found 4095"),
    ("release", put("splits", 0, "samples", to=0), r"splits\[0\]\.samples: expected at least 1"),
    ("release", put("splits", 0, "samples", to=2**53), r"splits\[0\]\.samples: expected at most"),
    (
        "release",
        put("splits", 0, "shards", to=8),
        r"splits\[0\]: expected no more parts than shards",
    ),
    ("release", put("splits", 1, "name", to="train"), r"splits with distinct names"),
    ("release", put("splits", 1, "name", to="../x"), r"splits\[1\]: expected the name of a split"),
    ("release", put("splits", to=[]), r"splits: expected at least 1"),
    ("release", put("cuts", "maxBytes", to=0), r"cuts\.maxBytes: expected at least 1"),
    ("release", put("cuts", "order", to="random"), r"cuts: expected the order hash or keep"),
    ("release", put("cuts", "minBytes", to=2**50), r"cuts: expected the smallest size"),
    ("shards", put("shards", 0, "size", to=-1), r"shards\[0\]\.size: expected at least 1"),
    ("shards", put("shards", 0, "size", to=1.0), r"shards\[0\]\.size: expected an integer"),
    ("shards", put("shards", 0, "samples", to=True), r"shards\[0\]\.samples: expected an integer"),
    ("shards", put("shards", 0, "size", to=1025), r"shards\[0\]: the blob is another file"),
    (
        "shards",
        put("shards", 0, "digest", to=Cid.of(b"other", 0x55)),
        r"shards\[0\]: the blob is another",
    ),
    (
        "shards",
        put("shards", 0, "digest", to=Cid.of(b"shard")),
        r"shards\[0\]: expected the CID of a file",
    ),
    ("shards", put("shards", 0, "digest", to="bafy"), r"shards\[0\]\.digest: expected a CID link"),
    (
        "shards",
        put("shards", 0, "blob", "ref", to=Cid.of(b"shard")),
        r"shards\[0\]\.blob: expected the CID of a file",
    ),
    (
        "shards",
        put("shards", 1, "index", "digest", to=Cid.of(b"i")),
        r"shards\[1\]\.index: expected the CID of a file",
    ),
    (
        "shards",
        put("shards", 1, "name", to="train-00000.tar"),
        r"two shards of a part have the same name",
    ),
    ("shards", put("parts", to=[to_ref(SHARD, "x")]), r"shards or further parts, and not both"),
    ("shards", drop("shards"), r"shards or further parts, and not both"),
    # --- how it is laid out
    (
        "release",
        put("layout", to={"$type": "network.atd.release#pickled"}),
        r"layout: expected a layout that this version knows",
    ),
    (
        "release",
        put("layout", to={"$type": "network.atd.release#members"}),
        r"layout\.fields: required",
    ),
    (
        "release",
        put("layout", "fields", 0, "suffix", to="../../x"),
        r"layout: expected the suffix of a tar member",
    ),
    (
        "release",
        put("layout", "fields", 0, "field", to="import"),
        r"layout: import cannot name a field",
    ),
    (
        "release",
        put("layout", "fields", 1, "field", to="image"),
        r"layout\.fields: a field occurs twice",
    ),
]


@pytest.mark.parametrize(("name", "change", "message"), CASES, ids=[case[2] for case in CASES])
def test_a_record_that_does_not_hold_is_refused(name: str, change: Change, message: str) -> None:
    with pytest.raises(LexiconError, match=message):
        records.parse_value(uri(name), changed(name, change))


URLS = [
    *(
        "file:///etc/passwd",
        "pipe:cat /etc/passwd",
        "ftp://x.example/a",
        "javascript://x/%0aalert(1)",
    ),
    *(
        "https://user@x.example/a",
        "https://user:pass@x.example/a",
        "https://x.example@evil.example/",
    ),
    *("https://x.example/{000..999}.tar", "https://x.example/a b", "https://x.example/\na"),
    *("https://x.example/\x00", "https://x.example\\@evil.example/a", "https:///a", "https://"),
    *("https://x.example:99999/a", "https://x.example:0/a", "https://x.example:80:80/a"),
    *("https://x.exämple/a", "https://-x/a", "https://[::1/a", "https://x.example/a#b"),
    *("HTTPS://x.example/a", " https://x.example/a", "https://x.example/" + "a" * 3000),
    *("s3://bucket/a", "https://x.example/a\n", "https://[vx.1]x/", "https://../x"),
]
NAMES = [
    *("../a.tar", "a/../b.tar", "/a.tar", "//x.example/a.tar", "a//b.tar", "a.tar/", ".hidden"),
    *(
        "./a.tar",
        "a/.",
        "a\\b.tar",
        "a%2e%2e/b",
        "a?b",
        "a#b",
        "a:b",
        "http:a",
        "a b",
        "a\n",
        "\x1b[",
    ),
    *("-rf", "a/-rf", "{a,b}.tar", "a*.tar", "~root/a", "a" * 513),
]


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_urls_that_are_not_plain_http_are_refused(url: str) -> None:
    for path in (("bases", 0, "url"), ("shards", 1, "urls", 0, "url")):
        with pytest.raises(LexiconError):
            records.parse_value(uri("shards"), changed("shards", put(*path, to=url)))
    with pytest.raises(LexiconError):
        records.parse_value(uri("dataset"), changed("dataset", put("homepage", to=url)))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_that_could_leave_their_folder_are_refused(name: str) -> None:
    for path in (("shards", 0, "name"), ("shards", 1, "urls", 0, "url")):
        with pytest.raises(LexiconError, match=r"shards\["):
            records.parse_value(uri("shards"), changed("shards", put(*path, to=name)))


@pytest.mark.parametrize("base", ["https://x.example/a", "https://x.example/?a/", "a/"])
def test_a_base_ends_in_a_slash_and_has_no_query(base: str) -> None:
    with pytest.raises(LexiconError):
        records.parse_value(uri("shards"), changed("shards", put("bases", 0, "url", to=base)))


@pytest.mark.parametrize(
    "url",
    [
        *("https://x.example/a.tar", "http://127.0.0.1:9000/b/", "https://[2001:db8::1]:8443/a"),
        "https://x.example/a%20b.tar?versionId=1&x=%7B",
    ],
)
def test_plain_urls_are_taken(url: str) -> None:
    change = put("shards", 1, "urls", 0, "url", to=url)
    found = records.parse_value(uri("shards"), changed("shards", change))
    assert found.shards[1].urls[0] == url  # type: ignore[union-attr]


def test_a_schema_may_be_shared_and_data_derived_from_other_publishers() -> None:
    content = changed("release", put("schema", to=to_ref("network.atd.schema", "x:1.0.0", MALLORY)))
    content["derivedFrom"] = [to_ref("science.alt.dataset.entry", "x", MALLORY)]
    records.parse_value(uri("release"), content)


def test_a_record_under_another_key_is_refused() -> None:
    for name, rkey in [
        ("dataset", "tulips"),
        ("release", "flowers:9.0.0"),
        ("schema", "flowers"),
        ("shards", "self"),
    ]:
        where = at(str(uri(name).collection), rkey)
        with pytest.raises(LexiconError, match="rkey: "):
            records.parse(proved(where, value(name)))


def test_a_record_of_another_collection_is_refused() -> None:
    with pytest.raises(LexiconError, match=r"expected a record of network\.atd\.schema"):
        records.parse_value(at("app.bsky.feed.post", "x"), {"$type": "app.bsky.feed.post"})


def test_the_message_names_the_record() -> None:
    content = changed("release", put("samples", to=9))
    with pytest.raises(LexiconError, match=r"^network\.atd\.release flowers:1\.1\.0: record: "):
        records.parse_value(uri("release"), content)
