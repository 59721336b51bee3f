"""The door to the daemon: published recipes, proved, and where a blob is.

What belongs here: the questions that this room asks of the daemon, and nothing of what becomes of
the answers. A recipe of this machine asks nothing, and needs no daemon.
"""

from __future__ import annotations

from dataclasses import dataclass

from atd import api
from atd.connection import Connection
from atd.errors import LexiconError
from atd.protocol.syntax import AtUri
from atd.recipes.model import Recipe
from atd.recipes.strangers import Origin, of_stranger
from atd.records import RecipeRecord, parse_value
from atd.settings import Settings


@dataclass(frozen=True)
class PublishedRecipe:
    """A recipe that was proved, ready to be run, and where it is."""

    recipe: Recipe
    origin: Origin


def find(ref: str, settings: Settings) -> PublishedRecipe:
    """The recipe that ``ref`` names: of a release that carries one, else the one of that name.

    Args:
        ref: ``@handle/name``, ``did:…/name``, each with ``@version``, or the URI of a recipe.

    Raises:
        RecordAbsent: proved: there is none.
        RecipeError: it cannot be run: it lacks what a published recipe has.
        AtdError: it could not be had, or not proved.
    """
    answer = Connection(settings).call(api.GET_RECIPE, {"ref": ref})
    uri = AtUri.parse(answer["uri"])
    record = parse_value(uri, answer["value"])
    if not isinstance(record, RecipeRecord):
        raise LexiconError(f"expected a recipe at {uri}")
    origin = Origin(
        uri=answer["uri"],
        cid=answer["cid"],
        did=answer["did"],
        handle=answer.get("handle"),
        rev=answer["rev"],
        version=record.version or "",
    )
    return PublishedRecipe(of_stranger(record.recipe(), origin.did), origin)


def locate(did: str, settings: Settings) -> str:
    """The origin of the PDS of ``did``; raises as the directory does."""
    answer = Connection(settings).call(api.LOCATE_REPO, {"did": did})
    return str(answer["pds"])
