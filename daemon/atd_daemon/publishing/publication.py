"""The room's face: begin, commit, abandon, unpublish, edit.

Belongs here: what an endpoint asks for, in terms of the journal and the steps. `begin` gives the
caller a folder to pack into and says how; `commit` carries it out; a publication that failed on the
way stays open, and the same command run again takes it over. `abandon` is for what never got to
`commit`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path
from typing import Any, Final

from atd.comparing import Changes
from atd.errors import Busy, LocalError, StorageFault
from atd.names import check_name, split_release_key
from atd.protocol.identity import Identity
from atd.protocol.syntax import Did
from atd.records import CutParameters, StrongRef
from atd.refs import DatasetRef
from atd_daemon.network.directory import Directory
from atd_daemon.network.pds import PdsReader
from atd_daemon.publishing import current as state
from atd_daemon.publishing.appending import nothing_to_append_to
from atd_daemon.publishing.asked import Begin, Begun, Commit, Published, card_of
from atd_daemon.publishing.current import Current
from atd_daemon.publishing.destinations.kinds import PDS, Spec
from atd_daemon.publishing.edit import Edit, Edited, Editing
from atd_daemon.publishing.holders import Holder
from atd_daemon.publishing.journal import Entry
from atd_daemon.publishing.patience import MAX_SILENT_WAIT_S, Listener, Nobody, Patience
from atd_daemon.publishing.recipes import RecipeDesk
from atd_daemon.publishing.run import Run
from atd_daemon.publishing.sending import Sender
from atd_daemon.publishing.tools import Tools
from atd_daemon.publishing.unpublish import Undo, Unpublished, needs_consent
from atd_daemon.sync.prover import Prover

_OF_PACKING: Final = (".tar", ".tmp")
"""Ends of the names of shards, and of what tells which of them are done."""

LET_GO_S: Final = 10.0
"""How long a publication whose caller is gone may take to end."""


class Publishing:
    """Publications of all accounts of this daemon.

    Args:
        staging: the folder in which each publication gets one of its own.

    ``recipes`` publishes recipes that stand by themselves.
    """

    def __init__(
        self, tools: Tools, directory: Directory, reader: PdsReader, staging: Path
    ) -> None:
        self.tools = tools
        self._prover = Prover(directory, reader)
        self._staging = staging
        self.recipes = RecipeDesk(tools, self._prover)

    async def begin(self, asked: Begin) -> Begun:
        """Prepare a publication: who, where to pack, how to cut, what is there already.

        Raises:
            LoginRefused: the account is not logged in.
            Busy: another process is publishing this name right now.
            AtdError: what is published could not be read with proof.
        """
        Spec.parse(asked.store, asked.base_url)
        account = self.tools.accounts.get(asked.account)
        patience = Patience(self.tools.clock, Nobody(), MAX_SILENT_WAIT_S)
        resolver = self.tools.resolver
        identity = await patience.told_to_wait(
            "resolving the account", lambda: resolver.identity(account.did)
        )
        current = await patience.told_to_wait(
            "reading what is published",
            lambda: state.read(resolver, self._prover, identity, asked.name),
        )
        if asked.append:
            current = await self._before_appending(identity.did, asked.name, current)
        store, base_url = self._where(asked, current)
        spec = Spec.parse(store, base_url)
        limit = await self.tools.makers.limit(spec, identity)
        last = self.tools.journal.last_request(account.did, asked.name) or {}
        begun = Begun(
            did=account.did,
            handle=identity.handle,
            pds=identity.pds,
            first=current.dataset is None,
            cuts=_cuts(asked, current, limit),
            reachable=spec.reachable,
            previous=_previous(current),
            fields=_fields(current),
            card=card_of(current.dataset),
            proposed=last.get("proposed"),
        )
        if asked.dry_run:
            return begun
        resolved = current.resolved
        previous = None if resolved is None else resolved.release.cid
        request = asked.to_journal(store, base_url, previous)
        entry = await self._opened(account.did, asked.name, request, asked.holder)
        folder = await asyncio.to_thread(self._prepare, entry)
        return dataclasses.replace(begun, id=entry.id, staging=str(folder), resumed=entry.resumed)

    async def _before_appending(self, did: Did, name: str, current: Current) -> Current:
        """What to append to: the latest release, or what that was appended to by the very
        publication that goes on now, so that it packs the same again.

        Raises:
            RecordAbsent: there is no release that could be used.
        """
        plan = self.tools.journal.open_plan(did, name)
        previous = None if plan is None else plan.about.get("previous")
        if plan is not None and previous is not None and current.head.cid == plan.head.cid:
            release = StrongRef.from_value(previous, "previous")
            _, version = split_release_key(str(release.uri.rkey))
            ref = DatasetRef(did, name, version)
            before = await self.tools.resolver.dataset(ref, allow_previous_key=True)
            return dataclasses.replace(current, resolved=before)
        if current.resolved is None:
            raise nothing_to_append_to(current, name)
        return current

    async def compare(self, id: str) -> Changes | None:
        """What committing the packed shards would change; writes nothing.

        Returns:
            None where it would follow no release, or write none.

        Raises:
            Conflict: as `commit`.
        """
        entry = self.tools.journal.entry(id)
        identity = await self.tools.resolver.identity(entry.did)
        request = Commit(consent=True)
        folder = self._staging / id
        wait = MAX_SILENT_WAIT_S
        run = Run(self.tools, self._prover, identity, entry, request, folder, Nobody(), wait)
        return await run.compare()

    async def _opened(self, did: Did, name: str, request: dict[str, Any], holder: Holder) -> Entry:
        """The publication in the journal; waits while one of a caller that is gone ends.

        Whoever interrupts a publication and starts it again at once is not told that it is busy.
        """
        journal, clock = self.tools.journal, self.tools.clock
        until = clock.now() + LET_GO_S
        while True:
            try:
                return journal.begin(did, name, request, holder)
            except Busy:
                if clock.now() > until or not journal.is_orphaned(did, name):
                    raise
            await clock.sleep(LET_GO_S / 100)

    async def commit(self, id: str, request: Commit, listener: Listener) -> Published:
        """Publish what is staged, and read it back with proof.

        Interrupted by whatever, it is taken up again by `begin` and `commit` for the same name.

        Raises:
            NeedsConsent: it is the first publication of the name, and nobody agreed to it.
            Conflict: what is published changed under us, or the version exists.
            AtdError: as each step says.
        """
        entry = self.tools.journal.entry(id)
        with self.tools.journal.sending(id):
            identity = await self.tools.resolver.identity(entry.did)
            folder = self._staging / id
            run = Run(self.tools, self._prover, identity, entry, request, folder, listener)
            published = await run.run()
            self.tools.journal.end(id, done=True)
        await asyncio.to_thread(self._discard, id)
        return published

    async def abandon(self, id: str) -> None:
        """Give up a publication that is not being sent; its staging folder goes."""
        entry = self.tools.journal.entry(id)
        with self.tools.journal.sending(entry.id):
            self.tools.journal.end(entry.id, done=False)
        await asyncio.to_thread(self._discard, entry.id)

    async def unpublish(
        self,
        name: str,
        listener: Listener,
        *,
        account: str | None = None,
        consent: bool = False,
        holder: Holder | None = None,
    ) -> Unpublished:
        """Delete a data set's records, and prove that they are gone.

        Raises:
            NeedsConsent: nobody agreed to it.
            RecordAbsent: there is no such data set, proved.
            Busy: it is being published right now.
        """
        did = self.tools.accounts.get(account).did
        if not consent:
            raise needs_consent(check_name(name))
        journal = self.tools.journal
        entry = await self._opened(did, check_name(name), {"unpublish": True}, holder or Holder())
        with journal.sending(entry.id):
            try:
                undone = await self._undo(await self.tools.resolver.identity(did), name, listener)
            finally:
                journal.end(entry.id, done=False)
        return undone

    async def edit(self, asked: Edit, listener: Listener) -> Edited:
        """Change the card of a data set, and read it back with proof.

        Raises:
            LoginRefused: the account is not logged in.
            Busy: the data set is being published right now.
            AtdError: as `Editing.run`.
        """
        did = self.tools.accounts.get(asked.account).did
        if self.tools.journal.is_being_sent(did, asked.name):
            raise Busy(f"{asked.name} of {did} is being published right now")
        identity = await self.tools.resolver.identity(did)
        patience, sender = self._sending(identity, listener)
        editing = Editing(identity, asked, self.tools.resolver, sender, patience, listener)
        return await editing.run(self.tools.clock.now())

    def _sending(self, identity: Identity, listener: Listener) -> tuple[Patience, Sender]:
        tools = self.tools
        patience = Patience(tools.clock, listener)
        sender = Sender(tools.accounts, self._prover, identity, patience, tools.checkpoint)
        return patience, sender

    def _where(self, asked: Begin, current: Current) -> tuple[str, str | None]:
        """The destination and its base URL: as asked, else as the last time, else the PDS.

        Raises:
            LocalError: the last release has its shards elsewhere, and this machine knows not how.
        """
        if asked.store is not None:
            return asked.store, asked.base_url
        did = current.head.uri.did
        last = self.tools.journal.last_request(did, asked.name)
        if last is not None and current.dataset is not None:
            return last["store"], asked.base_url or last["baseUrl"]
        bases = {base for part, entry in current.entries() if not entry.blob for base in part.bases}
        if bases:
            raise LocalError(
                f"the shards of {asked.name} {current.version} are at {min(bases)}",
                next_step="say where to put the new ones, with --store (pds for the PDS)",
            )
        return PDS, asked.base_url

    async def _undo(self, identity: Identity, name: str, listener: Listener) -> Unpublished:
        tools = self.tools
        patience, sender = self._sending(identity, listener)
        undo = Undo(
            identity,
            name,
            tools.resolver,
            self._prover,
            sender,
            patience,
            tools.journal,
            listener,
        )
        return await undo.run()

    def sweep(self) -> None:
        """Remove staging folders of publications that are over; for the daemon's start."""
        for folder in self.over():
            shutil.rmtree(folder, ignore_errors=True)

    def over(self) -> list[Path]:
        """The staging folders of publications that are over."""
        if not self._staging.is_dir():
            return []
        # Folders first: one that is made meanwhile is of a publication that is open by then.
        folders = sorted(self._staging.iterdir())
        known = self.tools.journal.open_ids()
        return [folder for folder in folders if folder.name not in known]

    def _prepare(self, entry: Entry) -> Path:
        """The folder to pack into, for its owner alone.

        Of a publication that was interrupted it keeps the shards, so that whoever packs need not
        make them again (`atd.publishing.tasks.done` believes none without hashing it). All else
        goes: without ``atd.json`` the folder is not complete, whatever it holds.
        """
        folder = self._staging / entry.id
        try:
            if entry.resumed and folder.is_dir() and not folder.is_symlink():
                for one in folder.iterdir():
                    if not one.name.endswith(_OF_PACKING):
                        one.unlink()
                return folder
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise StorageFault(f"cannot prepare {folder}: {error.strerror}") from error
        return folder

    def _discard(self, id: str) -> None:
        shutil.rmtree(self._staging / id, ignore_errors=True)


def _cuts(asked: Begin, current: Current, limit: int | None) -> CutParameters:
    """How to cut: as the last release did, as far as was not asked otherwise, and within limits."""
    resolved = current.resolved
    cuts = (None if resolved is None else resolved.release.record.cuts) or CutParameters()
    if asked.order is not None:
        cuts = dataclasses.replace(cuts, order=asked.order)
    if asked.shard_size is not None:
        size = asked.shard_size
        cuts = dataclasses.replace(
            cuts, target_bytes=size, max_bytes=max(size, cuts.max_bytes), min_bytes=0
        )
    if limit is not None and cuts.max_bytes > limit:
        cuts = dataclasses.replace(
            cuts,
            target_bytes=min(cuts.target_bytes, limit),
            max_bytes=limit,
            min_bytes=min(cuts.min_bytes, limit),
        )
    return cuts


def _previous(current: Current) -> dict[str, Any] | None:
    """The last release as ``network.atd.catalog.defs#version``."""
    if current.resolved is None:
        return None
    found = current.resolved.release
    return {
        "version": found.record.version,
        "uri": str(found.uri),
        "cid": str(found.cid),
        "samples": found.record.samples,
        "shards": found.record.shards,
        "size": found.record.size,
    }


def _fields(current: Current) -> list[dict[str, Any]] | None:
    if current.resolved is None:
        return None
    return current.resolved.schema.record.schema.to_value()
