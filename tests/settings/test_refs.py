"""What people type to name a data set."""

from __future__ import annotations

import pytest

from atd.errors import InvalidSyntax
from atd.names import domain_of_name
from atd.protocol.syntax import Did, Handle
from atd.refs import (
    DatasetRef,
    FolderRef,
    NameRef,
    UrlRef,
    parse_authority,
    parse_dataset_ref,
    parse_name,
    parse_ref,
)

ALICE = Handle("alice.example.com")
DID = Did("did:plc:7iza6de2dwap2sbkpav7c6c6")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@alice.example.com/flowers", DatasetRef(ALICE, "flowers")),
        ("alice.example.com/flowers", DatasetRef(ALICE, "flowers")),
        ("@Alice.Example.com/flowers", DatasetRef(ALICE, "flowers")),
        ("@alice.example.com/com.lecun.mnist", DatasetRef(ALICE, "com.lecun.mnist")),
        ("@alice.example.com/flowers@1.2.0", DatasetRef(ALICE, "flowers", "1.2.0")),
        ("@alice.example.com/flowers:train", DatasetRef(ALICE, "flowers", None, "train")),
        ("@alice.example.com/flowers@stable", DatasetRef(ALICE, "flowers", alias="stable")),
        (
            f"{DID}/flowers@best-of.2024_x:train",
            DatasetRef(DID, "flowers", None, "train", "best-of.2024_x"),
        ),
        ("@alice.example.com/flowers@latest", DatasetRef(ALICE, "flowers")),
        (
            "alice.example.com/flowers@2.0.0-rc.1:test",
            DatasetRef(ALICE, "flowers", "2.0.0-rc.1", "test"),
        ),
        (f"{DID}/flowers@1.0.0:train", DatasetRef(DID, "flowers", "1.0.0", "train")),
        ("did:web:localhost%3A2583/digits", DatasetRef(Did("did:web:localhost%3A2583"), "digits")),
        (f"at://{DID}/network.atd.dataset/flowers", DatasetRef(DID, "flowers")),
        (f"at://{DID}/network.atd.release/flowers:1.0.0", DatasetRef(DID, "flowers", "1.0.0")),
        ("at://alice.example.com/network.atd.dataset/a", DatasetRef(ALICE, "a")),
        ("./shards", FolderRef("./shards")),
        ("./alice.example.com/flowers", FolderRef("./alice.example.com/flowers")),
        ("/data/x.y/z", FolderRef("/data/x.y/z")),
        ("~/shards", FolderRef("~/shards")),
        ("..", FolderRef("..")),
        ("shards", FolderRef("shards")),
        ("data/flowers", FolderRef("data/flowers")),
        ("shards.v2", FolderRef("shards.v2")),
        ("https://example.com/{000..009}.tar", UrlRef("https://example.com/{000..009}.tar")),
        ("s3://bucket/a/*.tar", UrlRef("s3://bucket/a/*.tar")),
    ],
)
def test_every_way_to_name_a_data_set(text: str, expected: object) -> None:
    assert parse_ref(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@alice.example.com",
        str(DID),
        "@alice/flowers",
        "@alice.example.com/",
        "@alice.example.com/Flowers",
        "@alice.example.com/flowers/extra",
        "@alice.example.com/flowers@",
        "@alice.example.com/flowers@One",
        "@alice.example.com/flowers@v1",
        "@alice.example.com/flowers@1.0",
        "@alice.example.com/flowers@one two",
        f"at://{DID}/network.atd.release/flowers:stable",
        "@alice.example.com/flowers@1.0.0+build",
        "@alice.example.com/flowers:",
        "@alice.example.com/flowers:../x",
        "@alice.example.com/flowers:train@1.0.0",
        "@alice.example.com/flowers\n",
        "@alice.example.com/fl\u202eowers",
        "at://@alice.example.com/network.atd.dataset/flowers",
        f"at://{DID}/app.bsky.feed.post/flowers",
        f"at://{DID}/network.atd.release/flowers",
        f"at://{DID}/network.atd.dataset",
        "file:///etc/passwd",
        "pipe:cat /etc/passwd://x",
        "x" * 5000,
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidSyntax):
        parse_ref(text)


@pytest.mark.parametrize("text", ["./folder", "flowers", "https://example.com/a.tar"])
def test_a_published_data_set_is_not_a_folder_or_a_url(text: str) -> None:
    with pytest.raises(InvalidSyntax, match="expected a published data set") as caught:
        parse_dataset_ref(text)
    assert "@HANDLE/NAME" in caught.value.next_step


def test_what_is_written_reads_back() -> None:
    for ref in (
        DatasetRef(ALICE, "flowers"),
        DatasetRef(ALICE, "flowers", "1.0.0", "train"),
        DatasetRef(DID, "flowers", None, "train"),
        DatasetRef(DID, "flowers", None, "train", "stable"),
    ):
        assert parse_ref(str(ref)) == ref


def test_a_publisher_is_a_handle_with_or_without_at_or_a_did() -> None:
    assert parse_authority("@alice.example.com") == ALICE
    assert parse_authority("alice.example.com") == ALICE
    assert parse_authority(DID) == DID
    with pytest.raises(InvalidSyntax):
        parse_authority("alice")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", NameRef("mnist")),
        ("com.lecun.mnist", NameRef("com.lecun.mnist")),
        ("mnist@1.0.0", NameRef("mnist", "1.0.0")),
        ("mnist@1.0.0:train", NameRef("mnist", "1.0.0", "train")),
        ("mnist:test", NameRef("mnist", None, "test")),
        ("", None),
        ("MNIST", None),
        ("./mnist", None),
        ("data/mnist", None),
        ("@alice.example.com/mnist", None),
        (str(DID), None),
        (f"at://{DID}/network.atd.dataset/mnist", None),
        ("mnist@One", None),
        ("mnist@v1.0", None),
        ("mnist@stable:train", NameRef("mnist", None, "train", "stable")),
        ("mnist@latest", NameRef("mnist")),
        ("mnist:", None),
        ("..", None),
        ("~", None),
        ("mnist\n", None),
    ],
)
def test_a_name_alone(text: str, expected: NameRef | None) -> None:
    assert parse_name(text) == expected


@pytest.mark.parametrize(
    ("name", "domains"),
    [
        ("mnist", ()),
        ("lecun.mnist", ()),
        ("com.lecun.mnist", ("lecun.com",)),
        ("com.lecun.yann.mnist", ("lecun.com", "yann.lecun.com")),
    ],
)
def test_the_domains_in_a_name(name: str, domains: tuple[str, ...]) -> None:
    assert domain_of_name(name) == domains
