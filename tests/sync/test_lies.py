"""Every way in which the network may lie: the error that is raised, and what the index then holds.

Each lie is told twice: to a reader who knows nothing, and to one who has read the truth before. In
neither case may anything enter that the publisher did not sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from atd.errors import (
    AtdError,
    IdentityMismatch,
    LexiconError,
    ProofError,
    RateLimited,
    RecordAbsent,
    StaleRevision,
    Unreachable,
)
from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, encode
from atd.protocol.commit import Commit
from atd.protocol.syntax import Tid
from world import (
    Account,
    Answer,
    World,
    body,
    car,
    drop,
    endless,
    hang,
    html,
    json_field,
    redirect,
    redirect_loop,
    same_as,
    status,
    trickle,
    truncated,
)
from world.account import key_for
from world.daemons import Reader
from world.datasets import Published, publish
from world.lies import Tell
from world.pds import CAR

PROOF = "sync.getRecord"
REPO = "sync.getRepo?"
HEAD = "network.atd.dataset/flowers"


@dataclass
class Scene:
    """Who is lied about."""

    world: World
    alice: Account
    mallory: Account
    flowers: Published

    def served(self, proof: bytes) -> Tell:
        """Serve these bytes in place of the answer."""
        return same_as(Answer(200, CAR, proof))

    def resigned(self, **fields: object) -> Tell:
        """Serve a head that somebody else signed, or that says something else."""
        old = self.alice.head
        values = {"did": old.commit.did, "rev": old.commit.rev, "data": old.commit.data, **fields}
        key = values.pop("key", key_for("thief"))
        commit = Commit.sign(**values, key=key)  # type: ignore[arg-type]
        blocks = [(commit.cid, commit.encode()), *old.tree.items(), *old.blocks.items()]
        return self.served(write_car(commit.cid, blocks))


def flipped(data: bytes) -> bytes:
    """The bytes with one bit changed, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


def swapped_record(root: Cid, blocks: dict[Cid, bytes]) -> bytes:
    """The record's block under its own name, with other content."""
    forged = encode({"$type": "network.atd.dataset", "name": "flowers"})
    raw = write_car(root, blocks.items())
    largest = max(blocks.values(), key=len)
    return raw.replace(largest, forged + bytes(len(largest) - len(forged)))


def without_root(root: Cid, blocks: dict[Cid, bytes]) -> dict[Cid, bytes]:
    return {cid: block for cid, block in blocks.items() if cid != root}


def without_tree(root: Cid, blocks: dict[Cid, bytes]) -> dict[Cid, bytes]:
    data = Commit.decode(blocks[root]).data
    return {cid: block for cid, block in blocks.items() if cid != data}


def without_record(root: Cid, blocks: dict[Cid, bytes]) -> dict[Cid, bytes]:
    return {cid: block for cid, block in blocks.items() if b"createdAt" not in block}


Lie = Callable[[Scene], Tell]

PROOFS: dict[str, tuple[Lie, type[AtdError], str]] = {
    "a bit flipped": (lambda s: body(flipped), ProofError, "does not hash to its CID"),
    "a record swapped under its name": (lambda s: car(swapped_record), ProofError, "does not hash"),
    "another key's signature": (lambda s: s.resigned(), ProofError, "not by the current key"),
    "a signature of zeros": (
        lambda s: body(lambda data: data.replace(s.alice.head.commit.sig, bytes(64))),
        ProofError,
        "does not hash",
    ),
    "the proof of another repository": (
        lambda s: s.served(s.mallory.head.record_car(HEAD)),
        ProofError,
        "expected a commit of",
    ),
    "another repository that calls itself ours": (
        lambda s: s.resigned(did=s.alice.did, data=s.mallory.head.commit.data, key=s.mallory.key),
        ProofError,
        "not by the current key",
    ),
    "the proof of another path": (
        lambda s: s.served(s.alice.head.record_car("network.atd.dataset/zebras")),
        ProofError,
        "incomplete: record",
    ),
    "the commit withheld": (lambda s: car(without_root), ProofError, "incomplete"),
    "the tree withheld": (lambda s: car(without_tree), ProofError, "incomplete: tree node"),
    "the record withheld": (lambda s: car(without_record), ProofError, "incomplete"),
    "cut at half": (lambda s: truncated(400), ProofError, "cut short"),
    "nothing": (lambda s: truncated(0), ProofError, "cut short at byte 0"),
    "no CAR at all": (lambda s: s.served(b"hello"), ProofError, "cut short: header"),
    "a revision of the future": (
        lambda s: s.resigned(
            rev=Tid.from_micros(int((s.world.now() + 86_400) * 1e6), 1), key=s.alice.key
        ),
        StaleRevision,
        "in the future",
    ),
    "a web page": (lambda s: html(), Unreachable, "expected a CAR file"),
    "JSON": (
        lambda s: same_as(Answer(200, {"content-type": "application/json"}, b"{}")),
        Unreachable,
        "expected a CAR file",
    ),
    "a server error": (lambda s: status(500), Unreachable, "answered 500"),
    "an error page": (lambda s: html(503), Unreachable, "answered 503"),
    "a request to wait": (lambda s: status(429, retry_after="9"), RateLimited, "wait for 9 s"),
    "a refusal": (lambda s: status(403, "Forbidden"), Unreachable, "answered 403"),
    "silence": (lambda s: hang(), Unreachable, "did not answer"),
    "a drip": (lambda s: trickle(0.05), Unreachable, "did not answer"),
    "a broken connection": (lambda s: drop(), Unreachable, "reset"),
    "a connection that breaks in the middle": (lambda s: drop(200), Unreachable, "reset"),
    "a body without an end": (lambda s: endless(), Unreachable, "sent more than"),
    "a redirect to itself": (lambda s: redirect_loop(), Unreachable, "redirects more than"),
    "a redirect inside": (
        lambda s: redirect("https://10.0.0.1/"),
        Unreachable,
        r"10\.0\.0\.1",
    ),
    "a redirect to plain http": (
        lambda s: redirect("http://example.com/"),
        Unreachable,
        "expected an https URL",
    ),
}


@pytest.fixture
def scene(world: World, alice: Account, flowers: Published) -> Scene:
    mallory = world.account("mallory.test")
    publish(mallory, title="Not Alice's")
    return Scene(world, alice, mallory, flowers)


@pytest.fixture
def hasty(world: World, tmp_path: Path) -> Reader:
    """A reader that does not wait long."""
    return Reader.of(world, tmp_path, fetch_timeout_s=0.3, max_car_bytes=500_000)


@pytest.mark.parametrize("name", PROOFS)
async def test_a_lie_about_a_record_never_enters_the_index(
    scene: Scene, hasty: Reader, name: str
) -> None:
    lie, error, said = PROOFS[name]
    scene.world.lie(lie(scene), path=PROOF)
    with pytest.raises(error, match=said) as caught:
        await hasty.resolver.dataset("@alice.test/flowers")
    assert type(caught.value) is error
    assert hasty.listed() == []
    assert hasty.catalog.counts().records == 0
    assert hasty.problems() == ({"flowers": "ProofError"} if error is ProofError else {})


@pytest.mark.parametrize("name", PROOFS)
async def test_a_lie_about_a_record_never_replaces_what_was_proved(
    scene: Scene, hasty: Reader, name: str
) -> None:
    lie, error, _ = PROOFS[name]
    await hasty.resolver.dataset("@alice.test/flowers")
    scene.world.lie(lie(scene), path=PROOF)
    with pytest.raises(error):
        await hasty.resolver.dataset("@alice.test/flowers")
    kept = hasty.catalog.record(scene.flowers.head.uri)
    assert kept is not None
    assert kept.cid == scene.flowers.head.cid
    scene.world.honest()
    await hasty.resolver.dataset("@alice.test/flowers")
    assert (hasty.listed(), hasty.problems()) == (["flowers"], {})


REPOS: dict[str, tuple[Lie, type[AtdError], str]] = {
    "a bit flipped": (lambda s: body(flipped), ProofError, "does not hash to its CID"),
    "another key's signature": (lambda s: s.resigned(), ProofError, "not by the current key"),
    "another repository": (lambda s: s.served(s.mallory.head.repo_car()), ProofError, "expected"),
    "a record withheld": (lambda s: car(without_record), ProofError, "incomplete"),
    "the tree withheld": (lambda s: car(without_tree), ProofError, "incomplete"),
    "cut short": (lambda s: truncated(-10), ProofError, "cut short"),
}


@pytest.mark.parametrize("name", REPOS)
async def test_a_lie_about_a_repository_changes_nothing(
    scene: Scene, hasty: Reader, name: str
) -> None:
    lie, error, said = REPOS[name]
    await hasty.resolver.publisher("alice.test")
    before = hasty.catalog.counts()
    scene.world.lie(lie(scene), path=REPO)
    with pytest.raises(error, match=said):
        await hasty.resolver.publisher("alice.test")
    assert hasty.catalog.counts() == before
    assert hasty.listed() == ["flowers"]


async def test_a_server_that_goes_back_in_time_is_caught(scene: Scene, hasty: Reader) -> None:
    old = scene.alice.head
    publish(scene.alice, version="1.1.0", splits={"train": [b"new"]})
    await hasty.resolver.dataset("@alice.test/flowers")
    scene.world.lie(scene.served(old.record_car(HEAD)), path=PROOF)
    with pytest.raises(StaleRevision, match=f"at rev {scene.alice.head.commit.rev} or later"):
        await hasty.resolver.dataset("@alice.test/flowers")
    scene.world.lie(scene.served(old.repo_car()), path=REPO)
    with pytest.raises(StaleRevision):
        await hasty.resolver.publisher("alice.test")
    entry = hasty.catalog.dataset(scene.alice.did, "flowers")
    assert entry is not None
    assert entry.version == "1.1.0"


async def test_a_server_that_hides_a_new_record_behind_an_old_proof_is_caught(
    scene: Scene, hasty: Reader
) -> None:
    before = scene.alice.head
    publish(scene.alice, "trees")
    await hasty.resolver.dataset("@alice.test/flowers")
    key = "network.atd.dataset/trees"
    scene.world.lie(scene.served(before.record_car(key)), path=PROOF)
    with pytest.raises(StaleRevision):
        await hasty.resolver.dataset("@alice.test/trees")
    assert hasty.catalog.absent_since(scene.alice.uri("network.atd.dataset", "trees")) is None


async def test_two_histories_of_one_revision_are_caught(scene: Scene, hasty: Reader) -> None:
    await hasty.resolver.dataset("@alice.test/flowers")
    real = scene.alice.head
    scene.alice.store({})
    records = {key: cid for key, cid in real.records.items() if key != HEAD}
    scene.alice.replace(records, rev=real.commit.rev)
    with pytest.raises(StaleRevision, match="two histories"):
        await hasty.resolver.dataset("@alice.test/flowers")
    assert hasty.catalog.record(scene.flowers.head.uri) is not None


async def test_parts_of_two_versions_are_never_mixed(scene: Scene, hasty: Reader) -> None:
    """The publisher itself overwrites a shard list that a release points to."""
    part = scene.flowers.parts[0]
    value = scene.alice.value(part.cid)
    assert isinstance(value, dict)
    shards = [{**value["shards"][0], "name": "other.tar"}, *value["shards"][1:]]  # type: ignore[index]
    scene.alice.put("network.atd.shards", str(part.uri.rkey), {**value, "shards": shards})
    with pytest.raises(ProofError, match=f"expected {part.cid} at .*shards"):
        await hasty.resolver.dataset("@alice.test/flowers")
    assert hasty.listed() == []
    assert hasty.problems() == {"flowers": "ProofError"}


async def test_a_release_whose_shard_lists_are_gone_is_not_listed(
    scene: Scene, hasty: Reader
) -> None:
    scene.alice.delete("network.atd.shards", str(scene.flowers.parts[0].uri.rkey))
    with pytest.raises(RecordAbsent, match=r"network\.atd\.shards"):
        await hasty.resolver.dataset("@alice.test/flowers")
    assert hasty.listed() == []
    assert hasty.problems() == {"flowers": "RecordAbsent"}


@pytest.mark.parametrize(("field", "by"), [("samples", 3), ("size", 1), ("shards", -1)])
async def test_totals_that_are_not_those_of_the_shards_are_refused(
    scene: Scene, hasty: Reader, field: str, by: int
) -> None:
    release = scene.alice.value(scene.flowers.release.cid)
    head = scene.alice.value(scene.flowers.head.cid)
    assert isinstance(release, dict)
    assert isinstance(head, dict)
    first, *others = release["splits"]  # type: ignore[misc]
    release["splits"] = [{**first, field: first[field] + by}, *others]
    if field in release:
        release[field] += by  # type: ignore[operator]
    changed = scene.alice.put("network.atd.release", "flowers:1.0.0", release)
    scene.alice.put("network.atd.dataset", "flowers", {**head, "latest": changed.to_value()})
    with pytest.raises(LexiconError, match=f"split train: expected {field}"):
        await hasty.resolver.dataset("@alice.test/flowers")
    assert hasty.listed() == []


async def test_hostile_text_in_an_error_is_escaped(scene: Scene, hasty: Reader) -> None:
    scene.alice.put("network.atd.dataset", "flowers", {"name": "\x1b[2J\u202eevil"})
    with pytest.raises(LexiconError) as caught:
        await hasty.resolver.dataset("@alice.test/flowers")
    assert "\x1b" not in caught.value.message
    assert "\u202e" not in caught.value.message


async def test_a_pds_at_a_private_address_is_not_asked(scene: Scene, hasty: Reader) -> None:
    scene.world.addresses["pds1.example.com"] = ["127.0.0.1"]
    with pytest.raises(Unreachable, match=r"leads to 127\.0\.0\.1"):
        await hasty.resolver.dataset("@alice.test/flowers")
    assert not [call for call in scene.world.calls if call.host == "pds1.example.com"]


async def test_a_document_that_names_no_server_is_refused(scene: Scene, hasty: Reader) -> None:
    scene.world.lie(json_field("service", []), host="plc.world.example.com")
    with pytest.raises(IdentityMismatch, match="names no PDS"):
        await hasty.resolver.dataset("@alice.test/flowers")


async def test_a_server_that_will_not_prove_an_absence_is_asked_for_everything(
    scene: Scene, hasty: Reader
) -> None:
    """arroba answers 400 for a record that is not there; its word alone is no proof."""
    scene.world.lie(status(400, "RecordNotFound"), path=PROOF)
    with pytest.raises(RecordAbsent) as caught:
        await hasty.resolver.dataset("@alice.test/tulips")
    assert caught.value.proof is not None
    found = await hasty.resolver.record(scene.flowers.head.uri)
    assert found.cid == scene.flowers.head.cid, "and its lie does not hide what is there"


async def test_listed_records_are_only_hints(scene: Scene, world: World, tmp_path: Path) -> None:
    reader = Reader.of(world, tmp_path, max_repo_bytes=100)
    ghost = scene.alice.uri("network.atd.dataset", "ghost")
    row = {"uri": str(ghost), "cid": str(scene.flowers.head.cid), "value": {"name": "ghost"}}
    world.lie(json_field("records", [row]), path="listRecords?repo", times=None, after=4)
    await reader.resolver.publisher("alice.test")
    assert reader.listed() == []
    assert reader.catalog.absent_since(ghost) is not None
    reader.catalog.close()


@pytest.mark.parametrize(
    "row",
    [
        {"uri": "at://did:plc:mmmmmmmmmmmmmmmmmmmmmmmm/network.atd.dataset/x", "cid": "x"},
        {"uri": "nonsense"},
        {},
        None,
        5,
    ],
)
async def test_a_list_of_something_else_is_no_answer(
    scene: Scene, world: World, tmp_path: Path, row: object
) -> None:
    reader = Reader.of(world, tmp_path, max_repo_bytes=100)
    world.lie(json_field("records", [row]), path="listRecords?")
    with pytest.raises(Unreachable):
        await reader.resolver.publisher("alice.test")
    reader.catalog.close()


async def test_a_list_without_an_end_is_given_up(
    scene: Scene, world: World, tmp_path: Path
) -> None:
    reader = Reader.of(world, tmp_path, max_repo_bytes=100)
    world.lie(json_field("cursor", "again"), path="listRecords?")
    with pytest.raises(Unreachable):
        await reader.resolver.publisher("alice.test")
    reader.catalog.close()
