"""What a publication writes, and under which version: the part of deciding that asks a repository.

Belongs here: `Chooser`. The rules themselves are pure and in `atd_daemon.publishing.decide`; here
is what they need to know of the destination, and the search for a version that is free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from atd.errors import Conflict
from atd.manifest import Manifest
from atd.protocol.syntax import Did
from atd.records import SchemaRecord, release_uri, schema_uri
from atd.versions import Step, following
from atd_daemon.publishing.asked import Card
from atd_daemon.publishing.decide import Decision, decide
from atd_daemon.publishing.goal import Goal
from atd_daemon.publishing.journal import Entry
from atd_daemon.publishing.sending import Sender


@dataclass(frozen=True)
class Chooser:
    """Decides for the publication ``entry``."""

    sender: Sender
    entry: Entry

    @property
    def _did(self) -> Did:
        return self.entry.did

    async def choose(self, goal: Goal, card: Card, *, recipe: bool = False) -> Decision:
        """What to write, under a version that nothing was ever published under.

        Args:
            recipe: the release has to carry another recipe than the last one.

        Raises:
            Conflict: as `decide`; or the version that was asked for is taken.
        """
        request = self.entry.request
        asked = request.get("version")
        manifest, here = goal.manifest, goal.here
        elsewhere = bool(request["storeAsked"]) and any(
            shard.digest not in here for shard in manifest.shards
        )
        decision = decide(
            goal.current,
            manifest,
            card,
            asked=asked,
            elsewhere=elsewhere,
            forced=bool(request.get("forceVersion")),
            recipe=recipe,
        )
        while decision.version is not None and not await self._is_free(decision.version, manifest):
            if asked is not None:
                raise Conflict(
                    f"version {asked} of {self.entry.name} exists already, with other content",
                    next_step="releases never change: choose a newer version, or leave it out",
                )
            later = following(decision.version, decision.step or Step.MINOR)
            decision = replace(decision, version=later)
        return decision

    async def _is_free(self, version: str, manifest: Manifest) -> bool:
        """Whether no release or other schema is left under this version (of an earlier life)."""
        name = self.entry.name
        release = await self.sender.at(release_uri(self._did, name, version))
        schema = await self.sender.at(schema_uri(self._did, name, version))
        same = isinstance(schema.record, SchemaRecord) and schema.record.schema == manifest.schema
        return release.cid is None and (schema.cid is None or same)
