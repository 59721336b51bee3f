"""Recipes at a publisher's desk: by themselves, and carried by releases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from atd.errors import Conflict, LocalError, NeedsConsent, ProofError, RecipeError, RecordAbsent
from atd.recipes.recorded import body_of
from atd.recipes.values import from_value
from atd_daemon.publishing.recipes import PutRecipe
from atd_daemon.sync.recipes import RecipeFinder
from publishing.desk import Checkpoints, Desk, Killed, calls, keys, numbers, opened, record
from world import Account, World, lies
from world.daemons import Reader
from world.wire import Answer, Call

Truth = Callable[[], Awaitable[Answer]]
APPLY = "com.atproto.repo.applyWrites"


def body(title: str = "Letters", **resource: Any) -> dict[str, Any]:
    raw = {"urls": ["https://data.example.org/x.csv"], "size": 10, "sha256": "0" * 64, **resource}
    value = {
        "name": "letters",
        "title": title,
        "resources": {"raw": {key: one for key, one in raw.items() if one is not None}},
        "data": {"rows": {"kind": "csv", "of": "raw"}},
        "samples": {"train": "rows"},
    }
    return body_of(from_value(value))


async def put(desk: Desk, said: dict[str, Any], **asked: Any) -> dict[str, Any]:
    asked = {"consent": True, **asked}
    return await desk.publishing.recipes.put(PutRecipe("letters", said, **asked), desk.heard)


async def test_a_recipe_is_written_once_changed_in_place_and_taken_back(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    with pytest.raises(NeedsConsent):
        await put(desk, body(), consent=False)
    assert keys(alice, "recipe") == []
    dry = await put(desk, body(), dry_run=True, consent=False)
    assert (dry["first"], "cid" in dry) == (True, False)
    first = await put(desk, body())
    again = await put(desk, body(), consent=False)
    assert (again["cid"], again["unchanged"], len(calls(world, APPLY))) == (first["cid"], True, 1)
    world.pass_time(5)
    await put(desk, body("Others"), consent=False)
    written = record(alice, "recipe", "letters")
    assert written["title"] == "Others"
    assert written["createdAt"] < written["updatedAt"]
    bob = Reader.of(world, tmp_path / "bob")
    found = await RecipeFinder(bob.resolver).find("@alice.test/letters")
    assert found.recipe.record.recipe().title == "Others"
    await desk.publishing.recipes.remove("letters", None, True, desk.heard)
    with pytest.raises(RecordAbsent, match="neither a recipe nor a data set"):
        await RecipeFinder(bob.resolver).find("@alice.test/letters")
    with pytest.raises(RecordAbsent):
        await desk.publishing.recipes.remove("letters", None, True, desk.heard)


@pytest.mark.parametrize("lacks", ["size", "sha256"])
async def test_a_download_that_does_not_say_what_it_is_is_refused(
    world: World, alice: Account, desk: Desk, lacks: str
) -> None:
    with pytest.raises(RecipeError, match=f"does not say its {lacks}") as refused:
        await put(desk, body(**{lacks: None}))
    assert "atd recipe seal" in refused.value.next_step
    assert calls(world, APPLY) == []


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"resources": []},
        {"resources": [{"name": "raw", "how": {"$type": "network.atd.recipe#file"}}]},
        {"resources": [{"name": "raw", "how": {"$type": "network.atd.recipe#torrent"}}]},
        {
            "resources": [
                {"name": "../x", "how": {"$type": "network.atd.recipe#folder", "key": "k"}}
            ]
        },
        {"resources": "x"},
    ],
)
async def test_what_is_no_recipe_is_refused_before_anybody_is_asked(
    world: World, desk: Desk, said: dict[str, Any]
) -> None:
    before = len(world.calls)
    with pytest.raises(LocalError):
        await put(desk, said)
    assert len(world.calls) == before


async def test_an_answer_that_got_lost_is_not_guessed_about(
    world: World, alice: Account, desk: Desk
) -> None:
    async def lost(call: Call, truth: Truth) -> Answer:
        await truth()
        return await lies.drop()(call, truth)

    world.lie(lost, path=APPLY, times=1)
    said = await put(desk, body())
    assert str(alice.head.records["network.atd.recipe/letters"]) == said["cid"]
    assert len(alice.history) == 2


async def test_a_recipe_that_another_program_changes_meanwhile_is_a_conflict_or_there(
    world: World, alice: Account, desk: Desk
) -> None:
    await put(desk, body())
    theirs = record(alice, "recipe", "letters") | {"title": "Theirs"}

    async def meddle(call: Call, truth: Truth) -> Answer:
        alice.put("network.atd.recipe", "letters", theirs)
        return await truth()

    world.lie(meddle, path=APPLY, times=1)
    with pytest.raises(Conflict):
        await put(desk, body("Mine"))
    assert record(alice, "recipe", "letters")["title"] == "Theirs"


async def test_a_release_carries_its_recipe_and_the_next_one_refers_to_it_again(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(60), request={"recipe": body()})
    assert keys(alice, "recipe") == ["numbers:1.0.0"]
    first = record(alice, "release", "numbers:1.0.0")["recipe"]
    unchanged = await desk.publish(numbers(60), request={"recipe": body()})
    assert unchanged.unchanged
    await desk.publish(numbers(70), request={"recipe": body()})
    assert record(alice, "release", "numbers:1.1.0")["recipe"] == first
    changed = await desk.publish(numbers(70), request={"recipe": body("Others")})
    assert (changed.version, changed.new_shards) == ("1.1.1", 0)
    assert keys(alice, "recipe") == ["numbers:1.0.0", "numbers:1.1.1"]
    with pytest.raises(Conflict, match="another recipe"):
        await desk.publish(numbers(70), request={"recipe": body("Third")}, version="1.1.1")

    bob = RecipeFinder(Reader.of(world, tmp_path / "bob").resolver)
    newest, old = await bob.find("@alice.test/numbers"), await bob.find("@alice.test/numbers@1.0.0")
    assert [one.recipe.record.recipe().title for one in (newest, old)] == ["Others", "Letters"]
    assert old.release is not None
    await desk.publish(numbers(80))
    with pytest.raises(RecordAbsent, match="has no recipe") as refused:
        await bob.find("@alice.test/numbers")
    assert "atd pull" in refused.value.next_step
    await desk.unpublish()
    assert [*alice.head.records] == []


async def test_a_release_that_was_killed_on_the_way_carries_one_recipe(
    world: World, alice: Account, tmp_path: Path
) -> None:
    for kill_at in (4, 6, 8):
        with opened(world, tmp_path / "home", checkpoint=Checkpoints(kill_at)) as desk:
            await desk.login(alice)
            with pytest.raises(Killed):
                await desk.publish(numbers(60), request={"recipe": body()})
    with opened(world, tmp_path / "home") as desk:
        await desk.publish(numbers(60), request={"recipe": body()})
    assert keys(alice, "recipe") == ["numbers:1.0.0"]


async def test_an_older_recipe_is_not_believed_and_another_content_is_not_the_one_carried(
    world: World, alice: Account, desk: Desk, tmp_path: Path
) -> None:
    await desk.publish(numbers(60), request={"recipe": body()})
    bob = Reader.of(world, tmp_path / "bob")
    await bob.resolver.publisher("alice.test")
    carol = RecipeFinder(Reader.of(world, tmp_path / "carol").resolver)
    other = {**record(alice, "recipe", "numbers:1.0.0"), "title": "Exchanged"}
    alice.put("network.atd.recipe", "numbers:1.0.0", other)
    with pytest.raises(ProofError, match="expected bafy"):
        await carol.find("@alice.test/numbers")
    kept = await RecipeFinder(bob.resolver).find("@alice.test/numbers")
    assert kept.recipe.record.recipe().title == "Letters"
