"""One publication, from staged shards to success: the steps, in order.

Every step can be the last one that a process does: the next run of the same publication starts at
the top again, and finds in the journal and at the publisher's PDS what is done already::

    check     every staged shard is what the manifest says           (again, each time)
    read      what is published, proved; what is appended, after it  (again, each time)
    decide    nothing? a card? a release, of which version?     ┐
    place     shards to their destination, each journaled,      │    (once: then the plan is fixed)
              and the preview to the PDS                        │
    compose   records, keys and times chosen                    ┘ ─▶ journal
    send      batches, each looked for before it is sent again
    read back head, release, schema, shard lists with proof; shards by asking for them
    adopt     the staged files become the store's: nothing is downloaded again
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from atd.comparing import Changes
from atd.errors import BadSource, Busy, Conflict, NeedsConsent, ProofError, TooLarge
from atd.manifest import Manifest, hash_shard
from atd.protocol.cbor import Cid
from atd.protocol.identity import Identity
from atd.protocol.syntax import Did
from atd.records import BlobRef, StrongRef, schema_uri
from atd.refs import DatasetRef
from atd_daemon.publishing import current as state
from atd_daemon.publishing.answering import published_of
from atd_daemon.publishing.appending import appended, check_reachable, kept_entries
from atd_daemon.publishing.asked import Commit, Published
from atd_daemon.publishing.beside import Beside
from atd_daemon.publishing.carrying import Carried, carried
from atd_daemon.publishing.changes import changes_of, check_unmoved, refuse_unasked
from atd_daemon.publishing.choosing import Chooser
from atd_daemon.publishing.compose import Composer, content_of
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.decide import Decision
from atd_daemon.publishing.destinations.base import Destination
from atd_daemon.publishing.destinations.kinds import Spec
from atd_daemon.publishing.goal import Goal
from atd_daemon.publishing.journal import Entry, Plan
from atd_daemon.publishing.patience import MAX_WAIT_S, Listener, Patience
from atd_daemon.publishing.placing import Placing
from atd_daemon.publishing.sending import Guard, Sender
from atd_daemon.publishing.tools import Tools
from atd_daemon.publishing.words import counted
from atd_daemon.sync.found import ResolvedDataset
from atd_daemon.sync.prover import Prover

CONSENT: Final = (
    "this is the first publication of {name}: its records and shards become public, anyone may "
    "copy them, and a copy that was made cannot be taken back"
)
_BLOB_ROUNDS: Final = 3


@dataclass(frozen=True)
class Chosen:
    """What was decided: what to write, under which version, with which recipe."""

    decision: Decision
    changes: Changes | None
    recipe: Carried


class Run:
    """One run of one publication; made anew for each attempt."""

    def __init__(
        self,
        tools: Tools,
        prover: Prover,
        identity: Identity,
        entry: Entry,
        request: Commit,
        folder: Path,
        listener: Listener,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._tools = tools
        self._prover = prover
        self._identity = identity
        self._entry = entry
        self._request = request
        self._folder = folder
        self._listener = listener
        self._patience = Patience(tools.clock, listener, max_wait_s)
        self._sender = Sender(tools.accounts, prover, identity, self._patience, tools.checkpoint)
        self._beside = Beside(tools, identity, entry.id, folder, self._patience, listener)

    @property
    def _did(self) -> Did:
        return self._entry.did

    async def run(self) -> Published:
        """Publish; raises what cannot be waited out, and a later run goes on from there."""
        staged = await self._checked()
        await self._look_beside(staged)
        current = await self._patience.harmless("reading what is published", self._current)
        plan = self._planned(current, staged)
        if plan is None:
            self._tools.journal.drop_plan(self._entry.id)
            if current.dataset is None and not self._request.consent:
                raise NeedsConsent(CONSENT.format(name=self._entry.name))
        goal = await self._goal(current, staged, plan)
        if plan is None:
            chosen = await self._choose(goal)
            if chosen.decision.nothing:
                return await self._unchanged(goal)
            if chosen.changes is not None and not self._request.consent:
                refuse_unasked(chosen.changes, self._entry.name)
            plan = await self._plan(goal, chosen)
        else:
            self._listener.step(name="resumed", detail=f"release {plan.release.uri.rkey}")
        await self._send(plan, goal)
        resolved = await self._read_back(plan, goal)
        await self._adopt(staged)
        return self._result(plan, resolved, goal.destination)

    async def compare(self) -> Changes | None:
        """What `run` would change; None where it would follow no release, or write none."""
        staged = await asyncio.to_thread(Manifest.load, self._folder)
        await self._look_beside(staged)
        current = await self._patience.harmless("reading what is published", self._current)
        plan = self._planned(current, staged)
        if plan is not None:
            known = plan.about.get("changes")
            return None if known is None else Changes.from_json(known)
        return (await self._choose(await self._goal(current, staged, None))).changes

    # --- check, decide ---------------------------------------------------------------------------

    async def _checked(self) -> Manifest:
        """The manifest, after every staged shard was hashed."""
        manifest = await asyncio.to_thread(Manifest.load, self._folder)
        if not manifest.splits or not all(manifest.splits.values()):
            raise BadSource(
                f"expected shards in every split of {self._folder}, found a split without",
                next_step="pack the data again",
            )
        done = 0
        for shard in manifest.shards:
            path = self._folder / shard.name
            await asyncio.to_thread(hash_shard, path, shard.digest, shard.size)
            done += shard.size
            self._listener.progress(name="checking shards", done=done, total=manifest.size)
        amount = counted(len(manifest.shards), "shard")
        self._listener.step(name="checked", detail=f"{amount}, {manifest.size} bytes")
        self._tools.checkpoint("checked")
        return manifest

    async def _look_beside(self, staged: Manifest) -> None:
        """Take the preview, if what is staged is all that the release will hold."""
        if not self._entry.request.get("append"):
            await self._beside.look(staged)

    async def _current(self) -> Current:
        return await state.read(
            self._tools.resolver, self._prover, self._identity, self._entry.name
        )

    async def _destination(self, manifest: Manifest, staged: Manifest) -> Destination:
        asked = self._entry.request
        spec = Spec.parse(asked["store"], asked["baseUrl"])
        destination = await self._patience.harmless(
            "asking the destination",
            lambda: self._tools.makers.make(spec, self._identity, self._entry.name, manifest),
        )
        limit = destination.max_shard_bytes
        largest = max(staged.shards, key=lambda shard: shard.size)
        if limit is not None and largest.size > limit:
            raise TooLarge(
                f"the shard {largest.name} has {largest.size} bytes; {destination.place_key} "
                f"takes {limit}",
                next_step=f"publish with --shard-size {limit}, or elsewhere with --store",
            )
        if destination.warning is not None:
            self._listener.step(name="warning", detail=destination.warning)
        return destination

    def _planned(self, current: Current, manifest: Manifest) -> Plan | None:
        """The plan of an earlier run, if it is for the same and can still be carried out.

        Args:
            manifest: of what is staged.
        """
        plan = self._tools.journal.plan(self._entry.id)
        if plan is None:
            return None
        possible = current.head.cid in (plan.base, plan.head.cid)
        return plan if plan.key == self._plan_key(manifest) and possible else None

    def _plan_key(self, manifest: Manifest) -> str:
        """What a plan is made from: the same data and the same words give the same plan."""
        # But for what was published when the caller came back: by then it may be the plan itself.
        request = {key: one for key, one in self._entry.request.items() if key != "previous"}
        said = [manifest.digest(), request, dict(self._request.raw)]
        if self._beside.digest is not None:
            said.append(str(self._beside.digest))
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    async def _goal(self, current: Current, staged: Manifest, plan: Plan | None) -> Goal:
        """What the release is to hold, and where: what is staged, after what it is appended to.

        What landed already is not put together again: what is published by now has it all.
        """
        name = self._entry.name
        landed = plan is not None and current.head.cid == plan.head.cid
        if landed or not self._entry.request.get("append"):
            destination = await self._destination(staged, staged)
            return Goal(current, staged, staged, destination)
        manifest = appended(current, staged, name)
        destination = await self._destination(manifest, staged)
        check_reachable(current, destination, name)
        return Goal(current, staged, manifest, destination)

    async def _carried(self, current: Current) -> Carried:
        tools, recipe = self._tools, self._request.recipe
        now = datetime.fromtimestamp(int(tools.clock.now()), UTC)
        return await self._patience.harmless(
            "reading the recipe",
            lambda: carried(tools.resolver, current, self._entry.name, recipe, now),
        )

    async def _choose(self, goal: Goal) -> Chosen:
        current, request = goal.current, self._entry.request
        recipe = await self._carried(current)
        if "previous" in request:
            check_unmoved(current, request["previous"], self._entry.name)
        if current.trouble is not None:
            detail = f"what is published is not usable, and is replaced: {current.trouble[:2000]}"
            self._listener.step(name="warning", detail=detail)
        chooser = Chooser(self._sender, self._entry)
        decision = await chooser.choose(goal, self._request.card, recipe=recipe.changed)
        return Chosen(decision, changes_of(current, goal.manifest, decision), recipe)

    async def _unchanged(self, goal: Goal) -> Published:
        """Nothing to write: say so, and keep the shards that were packed."""
        found, version = goal.current.resolved, goal.current.version
        assert found is not None
        self._listener.step(name="unchanged", detail=f"release {version} has this data")
        await self._adopt(goal.manifest)
        return published_of(found, self._identity, unchanged=True, new_shards=0, uploaded=0)

    def _placing(self, goal: Goal) -> Placing:
        return Placing(
            self._tools, goal, self._entry.id, self._folder, self._patience, self._listener
        )

    # --- place, compose --------------------------------------------------------------------------

    async def _plan(self, goal: Goal, chosen: Chosen) -> Plan:
        card_only = chosen.decision.version is None
        blobs: Mapping[Cid, BlobRef] = {}
        preview: BlobRef | None = None
        if not card_only:
            blobs = await self._placing(goal).place()
            preview = await self._beside.place()
        composer = await self._composer(goal, chosen, blobs, preview)
        resolved, changes = goal.current.resolved, chosen.changes
        about = {
            "newShards": 0 if card_only else len(goal.new),
            "cardOnly": card_only,
            "changes": None if changes is None else changes.to_json(),
            "previous": None if resolved is None else resolved.release.ref.to_value(),
        }
        # A hundred thousand shards are encoded for seconds: nobody else is to wait for that.
        key = self._plan_key(goal.staged)
        made = await asyncio.to_thread(composer.compose, chosen.decision, key)
        plan = replace(made, about=about)
        self._tools.journal.save_plan(self._entry.id, plan)
        self._listener.step(
            name="planned",
            detail=f"{plan.release.uri.rkey}: {counted(sum(1 for _ in plan.writes), 'record')} in "
            f"{counted(len(plan.batches), 'commit')}",
        )
        self._tools.checkpoint("planned")
        return plan

    async def _composer(
        self, goal: Goal, chosen: Chosen, blobs: Mapping[Cid, BlobRef], preview: BlobRef | None
    ) -> Composer:
        current, manifest = goal.current, goal.manifest
        tids = iter(self._tools.journal.tids(2 * len(manifest.shards) + 2))
        return Composer(
            did=self._did,
            name=self._entry.name,
            current=current,
            manifest=manifest,
            request=self._request,
            base=goal.destination.base,
            blobs=blobs,
            kept=kept_entries(current) if self._entry.request.get("append") else {},
            known={content_of(part.record): part.ref for part in current.parts()},
            schema=await self._schema(chosen.decision, goal),
            tid=lambda: next(tids),
            now=self._tools.clock.now(),
            preview=preview,
            carried=chosen.recipe,
        )

    async def _schema(self, decision: Decision, goal: Goal) -> StrongRef | None:
        """The schema record to use again; None: a new one is needed."""
        if decision.version is None:
            return None
        if decision.same_schema and goal.current.resolved is not None:
            return goal.current.resolved.release.record.schema
        uri = schema_uri(self._did, self._entry.name, decision.version)
        found = await self._sender.at(uri)
        return None if found.cid is None else StrongRef(uri, found.cid)

    # --- send, read back, adopt ------------------------------------------------------------------

    async def _send(self, plan: Plan, goal: Goal) -> None:
        guard = Guard(plan.head.uri, plan.base)
        for attempt in range(_BLOB_ROUNDS):
            try:
                await self._sender.send(plan.batches, guard)
                break
            except Conflict as error:
                if error.reason != "BlobNotFound":
                    # What the plan rests on is gone: the next run decides anew.
                    self._tools.journal.drop_plan(self._entry.id)
                    raise
                if attempt == _BLOB_ROUNDS - 1:
                    raise
                detail = "the PDS lost blobs that no record referred to yet: uploading them again"
                self._listener.step(name="uploading again", detail=detail)
                await self._placing(goal).place(anew=True)
                await self._beside.place(anew=True)
        self._listener.step(name="written", detail=f"{plan.head.uri} -> {plan.release.uri}")

    async def _read_back(self, plan: Plan, goal: Goal) -> ResolvedDataset:
        """Everything that was published, proved from the PDS; every new shard, asked for."""
        ref = DatasetRef(self._did, self._entry.name)
        resolved = await self._patience.harmless(
            "reading back", lambda: self._tools.resolver.dataset(ref, refresh=True)
        )
        assert resolved.head is not None
        for what, wanted, found in (
            ("head", plan.head, resolved.head.ref),
            ("release", plan.release, resolved.release.ref),
        ):
            if found != wanted:
                raise ProofError(
                    f"wrote the {what} {wanted.uri} as {wanted.cid}, "
                    f"but read back {found.uri} as {found.cid}",
                    next_step="another program may have published meanwhile: run it again",
                )
        if not goal.destination.early and not plan.about["cardOnly"]:
            # What landed by an earlier run was not checked by it.
            landed = goal.current.head.cid == plan.head.cid
            await self._placing(goal).check(frozenset() if landed else goal.old)
        if not plan.about["cardOnly"]:
            await self._beside.check(resolved.release.record.preview)
        self._listener.step(name="proved", detail=f"rev {resolved.head.rev}")
        self._tools.checkpoint("read back")
        return resolved

    async def _adopt(self, manifest: Manifest) -> None:
        """Let the store have the staged files; one that is just being fetched stays as it is."""
        for shard in manifest.shards:
            with contextlib.suppress(Busy):
                path = self._folder / shard.name
                await asyncio.to_thread(self._tools.store.adopt, path, shard.digest, shard.size)
        self._tools.checkpoint("adopted")

    def _result(
        self,
        plan: Plan,
        resolved: ResolvedDataset,
        destination: Destination,
    ) -> Published:
        _, uploaded = self._tools.journal.uploads_of(self._entry.id)
        return published_of(
            resolved,
            self._identity,
            unchanged=bool(plan.about["cardOnly"]),
            new_shards=int(plan.about["newShards"]),
            uploaded=uploaded,
            warnings=(
                *(() if destination.warning is None else (destination.warning,)),
                *self._beside.warnings,
            ),
            card_changed=bool(plan.about["cardOnly"]),
            changes=plan.about.get("changes"),
        )
