"""One publication as its caller goes through it, from `begin` to `commit`.

Belongs here: the dialogue with the daemon, a step a method. The daemon is asked who publishes and
how to cut (`begin`); this process packs into the folder that it names; then the daemon uploads,
writes and reads back with proof (`commit`). A publication that fails before `commit` is given up;
one that fails in `commit` stays open, and the same call again goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from atd import api
from atd.connection import Connection
from atd.errors import AtdError
from atd.manifest import Manifest
from atd.publishing.appending import Addition
from atd.publishing.asked import Asked
from atd.publishing.cards import Words
from atd.publishing.changing import Comparison, compare, expected, tell
from atd.publishing.consent import Consent
from atd.publishing.packing import pack
from atd.publishing.planning import Plan, estimate, step_between
from atd.publishing.previewing import showing, write_preview
from atd.publishing.previous import Previous
from atd.publishing.released import PublishedRelease
from atd.publishing.sources.source import Source
from atd.publishing.telling import noting, telling
from atd.records import CutParameters
from atd.schema.fields import Schema
from atd.service import OnProgress, finish


class Publication:
    """What is known of a publication, which grows with each step.

    Args:
        asked: which release is to be made.
        words: what the caller and the files beside the data say of it.
        source: the samples.
        daemon: who is asked.
        begun: what ``network.atd.publishing.begin`` answered; empty where it could not be asked.
    """

    def __init__(
        self,
        asked: Asked,
        words: Words,
        source: Source,
        daemon: Connection,
        begun: Mapping[str, Any],
        on_progress: OnProgress | None = None,
    ) -> None:
        self._asked = asked
        self._source = source
        self._daemon = daemon
        self._begun = begun
        self._on_progress = on_progress
        self._progress = telling(on_progress)
        self._card = words.settle(begun)
        self._choice = asked.choice(reachable=begun.get("reachable", True))
        self._previous: Previous | None = None
        self._addition: Addition | None = None
        self._found: Comparison | None = None
        self._notes: tuple[str, ...] = ()

    @classmethod
    def begin(
        cls,
        asked: Asked,
        words: Words,
        source: Source,
        daemon: Connection,
        on_progress: OnProgress | None = None,
    ) -> Self:
        """Ask the daemon to begin; the same again goes on with what was begun.

        Raises:
            LoginRefused: the account is not logged in.
            Busy: the name is being published right now.
        """
        caller = {"pid": os.getpid(), "call": secrets.token_hex(8)}
        begun = daemon.call(api.BEGIN, input={**asked.begin, **words.begin, **caller})
        return cls(asked, words, source, daemon, begun, on_progress)

    @contextmanager
    def given_up_on_failure(self) -> Iterator[None]:
        """A publication that does not get to `commit` is abandoned, whatever happened."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(AtdError):  # the first error is the one to show
                self._abandon()
            raise

    def follow(self, *, skip_bad: bool) -> None:
        """Let the samples follow on what is published already, or be added to it.

        Raises:
            SchemaMismatch: old and new samples do not fit one schema, and it is to be appended.
            BadSource: archives that are to be appended hold samples that are there already.
        """
        self._previous = Previous.ask(self._begun, self._asked.name, self._daemon)
        if self._asked.append:
            self._addition = Addition.of(self._source, self._previous, self._progress, skip_bad)
            followed = self._addition.source
        else:
            followed = self._source.following(_previous_schema(self._begun))
        self._source = showing(followed, self._choice)

    def make(
        self, consent: Consent, *, engine: str | None, workers: int | None
    ) -> PublishedRelease | None:
        """Pack into the staging folder what `commit` is to publish, agreed to by the caller.

        Returns:
            What is published already, where nothing is to be committed.

        Raises:
            NeedsConsent: nobody agreed.
            BadSource, SchemaMismatch, EngineFault, …: as `atd.publishing.packing.pack`.
        """
        if self._begun["first"]:
            consent.to_first(self.plan, self._asked.name)
        staging = Path(self._begun["staging"])
        crew: dict[str, Any] = {
            "engine": engine,
            "workers": workers,
            "note": noting(self._on_progress),
        }
        manifest = pack(
            self._asked.served(self._source),
            staging,
            self._cuts,
            self._progress,
            name=self._asked.name,
            resumable=True,
            **crew,
        )
        # A source knows what it left out only once it was read to its end.
        left_out = self._source.left_out if self._addition is None else self._addition.left_out()
        if self._addition is not None and self._addition.is_repeated(manifest, self._begun):
            self._abandon()
            return PublishedRelease.repeated(self._begun, self._asked.name)
        self._compare(manifest, consent)
        lacking = write_preview(manifest, staging, self._choice, self._progress, **crew)
        self._notes = (*left_out, *lacking, *self._card.notes)
        return None

    def _compare(self, manifest: Manifest, consent: Consent) -> None:
        """Tell and ask about what `commit` would change of the release before."""
        if self._previous is None:
            return
        append = self._asked.append
        self._found = compare(self._begun, manifest, self._previous, append=append)
        if self._found is not None:
            tell(self._found.changes, self._on_progress)
            consent.to_changes(self._found.changes, self.plan, self._asked.name)

    def commit(self, *, notes: str | None, recipe: Mapping[str, Any] | None) -> PublishedRelease:
        """Have the daemon publish what is staged, and read it back.

        Args:
            notes: what is new in the version.
            recipe: what prepares the data, as a record holds it.
        """
        commit = {
            "id": self._begun["id"],
            "consent": True,
            "card": dict(self._card.changes),
            "notes": notes,
            "recipe": recipe,
        }
        given = {key: value for key, value in commit.items() if value is not None}
        said = finish(self._daemon.stream(api.COMMIT, given), self._on_progress)
        found = self._found
        release = PublishedRelease.from_json(said if found is None else found.completed(said))
        return replace(release, warnings=(*self._notes, *release.warnings))

    # ------------------------------------------------------------------ what would be

    def plan(self, *warnings: str) -> Plan:
        """What would be published, as far as it is known; a generator is not touched."""
        source, begun = self._source, self._begun
        guess = estimate(source, self._cuts)
        return Plan(
            name=self._asked.name,
            source=source.what,
            origin=source.origin,
            schema=source.schema,
            splits={split: one.count for split, one in source.splits.items()},
            size=guess.size,
            shards=guess.shards,
            store=self._asked.place,
            card=self._card,
            travels=source.travels,
            warnings=(*source.warnings, *source.left_out, *self._card.notes, *warnings),
            account={key: begun[key] for key in ("did", "handle", "pds") if key in begun},
            first=begun.get("first"),
            previous=begun.get("previous"),
            step=step_between(_previous_schema(begun), source.schema),
        )

    def foreseen(self, previous: Previous | None, *warnings: str) -> Plan:
        """The plan of a dry run: with what would change, before anything is packed.

        Args:
            previous: the release that it would follow.
        """
        source, append = self._source, self._asked.append
        if previous is not None:
            schema = previous.schema
            source = Addition.expected(source, previous) if append else source.following(schema)
        self._source = showing(source, self._choice)
        if previous is None:
            return self.plan(*warnings)
        claim = self._asked.claim
        changes, doubts = expected(self._source, previous, append=append, version=claim)
        return replace(self.plan(*doubts, *warnings), changes=changes)

    # ------------------------------------------------------------------ what begin answered

    @property
    def _cuts(self) -> CutParameters:
        cuts = self._begun.get("cuts")
        return CutParameters() if cuts is None else CutParameters.from_value(cuts)

    def _abandon(self) -> None:
        self._daemon.call(api.ABANDON, input={"id": self._begun["id"]})


def _previous_schema(begun: Mapping[str, Any]) -> Schema | None:
    fields = begun.get("fields")
    return None if fields is None else Schema.from_value(fields)
