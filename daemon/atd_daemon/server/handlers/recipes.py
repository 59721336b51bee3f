"""Recipes: found with proof, published, deleted; and where a repository is, for blobs."""

from __future__ import annotations

import asyncio
from typing import Any

from atd.refs import parse_authority
from atd_daemon.publishing.recipes import PutRecipe
from atd_daemon.server import views
from atd_daemon.server.streams import Events
from atd_daemon.services import Services
from atd_daemon.sync.recipes import RecipeFinder

Json = dict[str, Any]


async def get_recipe(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.getRecipe``."""
    finder = RecipeFinder(services.resolver, given.get("allowPreviousKey", False))
    found = await finder.find(given["ref"])
    return views.present(
        uri=str(found.recipe.uri),
        cid=str(found.recipe.cid),
        did=str(found.identity.did),
        handle=found.identity.handle and str(found.identity.handle),
        rev=str(found.recipe.rev),
        release=found.release and str(found.release),
        value=views.record_json(found.recipe),
    )


async def search_recipes(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.searchRecipes``."""
    found, more = await asyncio.to_thread(
        services.catalog.recipes, given["q"], limit=given["limit"]
    )
    return {"recipes": [views.recipe_entry(entry) for entry in found], "more": more}


async def locate_repo(services: Services, given: Json) -> Json:
    """Answer ``network.atd.catalog.locateRepo``."""
    identity = await services.resolver.identity(parse_authority(given["did"]))
    return views.present(
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        pds=identity.pds,
    )


async def put_recipe(services: Services, given: Json, events: Events) -> Json:
    """Answer ``network.atd.publishing.putRecipe``."""
    return await services.publishing.recipes.put(PutRecipe.from_json(given), events)


async def remove_recipe(services: Services, given: Json, events: Events) -> Json:
    """Answer ``network.atd.publishing.removeRecipe``."""
    return await services.publishing.recipes.remove(
        given["name"], given.get("account"), given.get("consent", False), events
    )
