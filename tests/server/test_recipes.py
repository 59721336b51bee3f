"""Published recipes through the daemon: found, planned with all that they link to, searched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from atd import api, records
from atd.errors import RecipeError, RecordAbsent
from atd.recipes import planning, published
from atd.recipes.strangers import MAX_DATASETS
from serving import Client, serving
from world import Account, World

CREATED = "2025-06-01T12:00:00.000Z"


def put(account: Account, name: str, *links: str) -> None:
    """A recipe of one file and these links."""
    how = {"urls": [{"url": "https://data.example.org/x"}], "size": 1, "sha256": "0" * 64}
    resources: list[dict[str, Any]] = [
        {"name": "own", "how": {"$type": "network.atd.recipe#file", **how}},
        *(
            {"name": f"l{at}", "how": {"$type": "network.atd.recipe#link", "target": target}}
            for at, target in enumerate(links)
        ),
    ]
    value = {"name": name, "resources": resources, "createdAt": CREATED}
    account.put(records.RECIPE, name, value)


async def plan(client: Client, ref: str) -> planning.Plan:
    return await asyncio.to_thread(planning.plan, ref, client.connection.settings)


async def test_a_recipe_is_planned_with_those_of_others_that_it_links_to(tmp_path: Path) -> None:
    world = World()
    alice, bob = world.account("alice.test"), world.account("bob.test")
    put(alice, "a", "b", "@bob.test/c:own")
    put(alice, "b")
    put(bob, "c", f"{alice.did}/b")
    async with serving(world, tmp_path) as client:
        found = await plan(client, "@alice.test/a")
        assert found.origin is not None
        assert (found.origin.handle, found.origin.did) == ("alice.test", str(alice.did))
        order = [str(one.choice) for one in found.everything()]
        assert order == [f"{alice.did}/b", f"{bob.did}/c", f"{alice.did}/a"]
        assert {one.origin and one.origin.did for one in found.everything()} == {
            str(alice.did),
            str(bob.did),
        }
        where = await asyncio.to_thread(published.locate, str(bob.did), client.connection.settings)
        assert where == bob.identity.pds


async def test_a_variant_is_chosen_by_name(tmp_path: Path) -> None:
    world = World()
    alice = world.account("alice.test")
    how = {"$type": "network.atd.recipe#file", "size": 1, "sha256": "0" * 64}
    resources = [
        {
            "name": size,
            "how": {**how, "urls": [{"url": f"https://data.example.org/{size}"}]},
            "when": [{"name": "size", "value": size}],
        }
        for size in ("large", "small")
    ]
    value = {
        "name": "letters",
        "resources": resources,
        "data": [{"name": "rows", "kind": "csv", "of": "{size}"}],
        "variants": [{"name": "size", "values": ["large", "small"]}],
        "createdAt": CREATED,
    }
    alice.put(records.RECIPE, "letters", value)
    async with serving(world, tmp_path) as client:
        for asked, size in (("", "large"), ("[size=small]", "small")):
            found = await plan(client, f"@alice.test/letters{asked}")
            assert list(found.recipe.resources) == [size]
            assert found.recipe.data["rows"].of == size
            assert str(found.choice) == f"{alice.did}/letters[size={size}]"
        with pytest.raises(RecipeError, match="size can be large, small"):
            await plan(client, "@alice.test/letters[size=huge]")


async def test_strangers_that_link_to_each_other_are_refused_with_the_circle(
    tmp_path: Path,
) -> None:
    world = World()
    alice, bob = world.account("alice.test"), world.account("bob.test")
    put(alice, "a", "@bob.test/b")
    put(bob, "b", f"{alice.did}/a")
    async with serving(world, tmp_path) as client:
        with pytest.raises(RecipeError, match=r"link to each other: .*/a → .*/b → .*/a"):
            await plan(client, "@alice.test/a")


async def test_a_tree_of_links_ends_before_it_is_a_forest(tmp_path: Path) -> None:
    world = World()
    alice = world.account("alice.test")
    names = [f"n{number}" for number in range(MAX_DATASETS + 20)]
    for at, name in enumerate(names):
        put(alice, name, *names[10 * at + 1 : 10 * at + 11])
    async with serving(world, tmp_path) as client:
        with pytest.raises(RecipeError, match=f"more than {MAX_DATASETS} recipes in all"):
            await plan(client, "@alice.test/n0")


async def test_a_chain_of_links_ends(tmp_path: Path) -> None:
    world = World()
    alice = world.account("alice.test")
    for number in range(40):
        put(alice, f"n{number}", f"n{number + 1}")
    async with serving(world, tmp_path) as client:
        with pytest.raises(RecipeError, match="over more than 16 others"):
            await plan(client, "@alice.test/n0")


async def test_it_is_found_listed_searched_and_gone(tmp_path: Path) -> None:
    world = World()
    alice = world.account("alice.test")
    put(alice, "com.lecun.mnist")
    async with serving(world, tmp_path) as client:
        uri = f"at://{alice.did}/network.atd.recipe/com.lecun.mnist"
        found = await client.call(api.GET_RECIPE, ref=uri)
        assert (found["uri"], found["handle"]) == (uri, "alice.test")
        assert found["value"]["name"] == "com.lecun.mnist"
        await client.call(api.LIST_DATASETS, actor="alice.test", refresh=True)
        listed = await client.call(api.SEARCH_RECIPES, q="mnist", limit=10)
        assert [(one["name"], one["proof"]["state"]) for one in listed["recipes"]] == [
            ("com.lecun.mnist", "proved")
        ]
        without = await client.offline().call(api.GET_RECIPE, ref="@alice.test/com.lecun.mnist")
        assert without["cid"] == found["cid"]
        alice.delete(records.RECIPE, "com.lecun.mnist")
        with pytest.raises(RecordAbsent, match="neither a recipe nor a data set"):
            await client.call(api.GET_RECIPE, ref=uri)
        assert (await client.call(api.SEARCH_RECIPES, q="mnist", limit=10))["recipes"] == []
