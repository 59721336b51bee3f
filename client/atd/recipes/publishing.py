"""Publishing a recipe: what is checked here, and the talk with the daemon."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, cast

from atd import api
from atd.connection import Connection
from atd.errors import RecipeError, RecordAbsent
from atd.recipes.classes import recipe_of
from atd.recipes.model import Recipe
from atd.recipes.planning import local_recipe
from atd.recipes.recorded import body_of
from atd.recipes.strangers import links, must_be_publishable
from atd.refs import parse_authority
from atd.service import OnProgress, finish
from atd.settings import Settings

SCHEME: Final = "recipe:"
"""Before the name of a recipe whose samples are published."""


def publishable(what: str | os.PathLike[str] | Recipe | type[Any], settings: Settings) -> Recipe:
    """The recipe of this machine that ``what`` means, fit to be published.

    Raises:
        RecipeError: it has code in it, or a download that does not say its size and sha-256.
    """
    recipe = recipe_of(what)
    if recipe is None:
        recipe = local_recipe(cast("str | os.PathLike[str]", what), settings)
    must_be_publishable(recipe)
    return recipe


def publishable_body(what: str | os.PathLike[str] | Recipe | type[Any]) -> dict[str, Any]:
    """As `publishable`, as a record says it; for a release that carries it."""
    return body_of(publishable(what, Settings.load()))


def put(
    recipe: Recipe,
    account: str | None = None,
    *,
    consent: bool = False,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Publish ``recipe`` under its name, or what changed in it, and read it back with proof.

    Returns:
        ``uri, cid, did, handle, name, rev, first, unchanged``.

    Raises:
        RecipeError: it cannot be published; or it links to one of its publisher's that is not.
        NeedsConsent: ``consent`` was not given for its first publication.
        LoginRefused, Conflict, AtdError: as they say.
    """
    daemon = connection or Connection()
    question: dict[str, Any] = {
        "name": recipe.name,
        "body": body_of(recipe),
        "consent": consent,
        "dryRun": dry_run,
    }
    if account is not None:
        question["account"] = str(parse_authority(account))
    answer = finish(daemon.stream(api.PUT_RECIPE, question), on_progress)
    if dry_run:
        _check_links(recipe, answer["did"], daemon)
    return answer


def remove(
    name: str,
    account: str | None = None,
    *,
    consent: bool = False,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Delete the published recipe ``name``; gives ``uri, did, name``.

    Raises:
        NeedsConsent: ``consent`` was not given. RecordAbsent: there is none, proved.
    """
    question: dict[str, Any] = {"name": name, "consent": consent}
    if account is not None:
        question["account"] = str(parse_authority(account))
    events = (connection or Connection()).stream(api.REMOVE_RECIPE, question)
    return finish(events, on_progress)


def _check_links(recipe: Recipe, did: str, daemon: Connection) -> None:
    """A name in a published recipe is one of its publisher's: it has to be there first."""
    for name in links(recipe):
        try:
            daemon.call(api.GET_RECIPE, {"ref": f"{did}/{name}"})
        except RecordAbsent:
            raise RecipeError(
                f"{recipe.name} links to {name}, and {did} publishes no recipe of that name",
                next_step=f"publish that first, or say whose is meant: @HANDLE/{name}",
            ) from None
