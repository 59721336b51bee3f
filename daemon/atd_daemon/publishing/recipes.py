"""Recipes that stand by themselves: published, changed and deleted, each as one proved write.

Belongs here: the head of a recipe, the record ``network.atd.recipe`` under its name alone. Those
that releases carry are written with their releases (`compose`). Nothing is journaled: what is there
is read first, with proof, so the same command again finds what an interrupted one did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from atd.errors import NeedsConsent, ProofError, RecordAbsent, TooLarge
from atd.names import check_name
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri
from atd.recipes.strangers import must_be_publishable
from atd.records import RecipeRecord, recipe_uri
from atd_daemon.publishing.batches import Action, Write
from atd_daemon.publishing.current import Place
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.sending import Guard, Sender
from atd_daemon.publishing.tools import Tools
from atd_daemon.sync.prover import Prover

MAX_RECORD_BYTES: Final = 900_000


@dataclass(frozen=True)
class PutRecipe:
    """The input of ``network.atd.publishing.putRecipe``; see the lexicon."""

    name: str
    body: Mapping[str, Any]
    account: str | None = None
    consent: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """From the endpoint's input, whose shape its lexicon has checked."""
        return cls(
            given["name"],
            given["body"],
            given.get("account"),
            given.get("consent", False),
            given.get("dryRun", False),
        )


@dataclass(frozen=True)
class RecipeDesk:
    """Writes recipes into the repositories of the accounts that are logged in."""

    tools: Tools
    prover: Prover

    async def put(self, asked: PutRecipe, listener: Listener) -> dict[str, Any]:
        """Publish a recipe, or what changed in it; ``putRecipe#result``.

        Raises:
            RecipeError, LocalError: it is none that can be published.
            NeedsConsent: it is its first publication, and nobody agreed.
            Conflict: another program changed it meanwhile.
            AtdError: what cannot be waited out; the same again goes on.
        """
        now = datetime.fromtimestamp(int(self.tools.clock.now() * 1000) / 1000, UTC)
        made = RecipeRecord.of_body(asked.name, asked.body, now)
        must_be_publishable(made.recipe())
        identity, sender = await self._who(asked.account, listener)
        there = await sender.at(recipe_uri(identity.did, asked.name))
        old = there.record if isinstance(there.record, RecipeRecord) else None
        said = {"first": there.cid is None, "unchanged": old is not None and old.body == made.body}
        if said["unchanged"] or asked.dry_run:
            return _result(identity, asked.name, there.uri, cid=there.cid, **said)
        if there.cid is None and not asked.consent:
            raise NeedsConsent(
                f"this is the first publication of the recipe {asked.name}: it becomes public, "
                "anyone may copy it, and a copy that was made cannot be taken back"
            )
        record = made if old is None else _changed(made, old)
        cid, rev = await self._write(sender, there, record, listener)
        return _result(identity, asked.name, there.uri, cid=cid, rev=rev, **said)

    async def remove(
        self, name: str, account: str | None, consent: bool, listener: Listener
    ) -> dict[str, Any]:
        """Delete a recipe, and prove that it is gone; ``removeRecipe#result``.

        Raises:
            NeedsConsent: nobody agreed to it.
            RecordAbsent: there is no such recipe, proved.
        """
        check_name(name)
        identity, sender = await self._who(account, listener)
        there = await sender.at(recipe_uri(identity.did, name))
        if there.cid is None:
            raise RecordAbsent(
                f"{identity.did} has no recipe {name}",
                next_step=f"one that a release carries goes with it: atd unpublish {name}",
            )
        if not consent:
            raise NeedsConsent(
                f"unpublishing the recipe {name} deletes its record; copies that others made stay"
            )
        write = Write(Action.DELETE, there.uri)
        await sender.send([[write]], Guard(there.uri, there.cid))
        try:
            await self.tools.resolver.record(there.uri, refresh=True, allow_previous_key=True)
        except RecordAbsent:
            listener.step(name="proved", detail=f"{there.uri} is gone")
            return {"uri": str(there.uri), "did": str(identity.did), "name": name}
        raise ProofError(f"{there.uri} was deleted, but is proved to be there still")

    async def _who(self, account: str | None, listener: Listener) -> tuple[Identity, Sender]:
        tools = self.tools
        known = tools.accounts.get(account)
        identity = await tools.resolver.identity(known.did)
        patience = Patience(tools.clock, listener)
        return identity, Sender(tools.accounts, self.prover, identity, patience, tools.checkpoint)

    async def _write(
        self, sender: Sender, there: Place, record: RecipeRecord, listener: Listener
    ) -> tuple[Cid, str]:
        """Write ``record``, and read it back with proof."""
        action = Action.CREATE if there.cid is None else Action.UPDATE
        write = Write.of(action, there.uri, record.to_value())
        if len(write.block) > MAX_RECORD_BYTES:
            raise TooLarge(
                f"the recipe {record.name} has {len(write.block)} bytes; a PDS takes 1,000,000",
                next_step="shorten its texts, or unpack archives in place of listing their files",
            )
        await sender.send([[write]], Guard(there.uri, there.cid))
        listener.step(name="written", detail=str(there.uri))
        found = await self.tools.resolver.record(there.uri, refresh=True)
        if found.cid != write.cid:
            raise ProofError(
                f"wrote the recipe {there.uri} as {write.cid}, but read back {found.cid}",
                next_step="another program may have published meanwhile: run it again",
            )
        listener.step(name="proved", detail=f"rev {found.rev}")
        return found.cid, str(found.rev)


def _changed(made: RecipeRecord, old: RecipeRecord) -> RecipeRecord:
    """``made`` as the next state of ``old``."""
    return RecipeRecord(made.name, made.body, old.created_at, updated_at=made.created_at)


def _result(identity: Identity, name: str, uri: AtUri, **said: Any) -> dict[str, Any]:
    handle = identity.handle and str(identity.handle)
    answer = {"uri": str(uri), "did": str(identity.did), "handle": handle, "name": name, **said}
    return {
        key: str(value) if isinstance(value, Cid) else value
        for key, value in answer.items()
        if value is not None
    }
