"""``atd.publish`` and its dry run: a source on one side, the daemon on the other.

Belongs here: the dialogue. The daemon is asked who publishes and how to cut (`begin`); this process
packs into the folder that it names; then the daemon uploads, writes and reads back with proof
(`commit`). A publication that fails before `commit` is given up; one that fails in `commit` stays
open, and the same call again goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from atd import api
from atd.connection import Connection
from atd.engines.choosing import check_engine
from atd.errors import AtdError, LoginRefused, NeedsConsent, Unreachable
from atd.names import check_name
from atd.publishing.appending import Addition
from atd.publishing.cards import Settled, Words
from atd.publishing.changing import agree, compare, expected, tell
from atd.publishing.packing import pack
from atd.publishing.planning import Plan, estimate, step_between
from atd.publishing.previewing import chosen, showing, write_preview
from atd.publishing.previous import Previous
from atd.publishing.released import PublishedRelease
from atd.publishing.sources.opening import open_source
from atd.publishing.sources.source import Progress, Source
from atd.publishing.telling import noting, telling
from atd.recipes.model import Recipe
from atd.recipes.publishing import publishable_body
from atd.records import CutParameters
from atd.refs import parse_authority
from atd.schema.fields import Schema
from atd.service import OnProgress, finish

PDS: Final = "pds"
PUBLIC: Final = (
    "publishing makes the data public: anyone may copy it, and a copy that was made cannot be "
    "taken back"
)

Confirm = Callable[[Plan], bool]
"""Asked before the first publication of a name, and before a release that takes much away
(`Plan.changes` is set then, with its consequences); False stops it."""


def publish(
    source: object,
    *,
    name: str,
    schema: type[Any] | Schema | None = None,
    to: str | None = None,
    title: str | None = None,
    description: str | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
    notes: str | None = None,
    split: str = "train",
    store: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    version: str | None = None,
    force_version: bool = False,
    append: bool = False,
    shard_size: int | None = None,
    order: str | None = None,
    strip_metadata: bool = False,
    skip_bad: bool = False,
    card_files: bool = True,
    engine: str | None = None,
    workers: int | None = None,
    preview: str | None = None,
    recipe: str | os.PathLike[str] | Recipe | type[Any] | None = None,
    yes: bool = True,
    confirm: Confirm | None = None,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> PublishedRelease:
    """Publish samples as the next release of the data set ``name``.

    What is published is public, and can be copied for ever. Unchanged data writes nothing; changed
    data makes a new version and sends only the shards that are new. Run again after whatever
    interrupted it, the same call goes on where it was.

    Example:
        >>> atd.publish(samples(), name="flowers", schema=Flower, license="CC-BY-4.0")

    Args:
        source: see `atd.publishing.sources.opening.open_source`: a path, an iterable of samples …
        name: ``[a-z0-9][a-z0-9._-]{0,127}``.
        schema: what the samples fit, as a class; inferred where it is None.
        to: the account, by handle or DID; the only one where it is None.
        title, description, license, tags: of the card; what is left out stays as it is, or is
            what files beside the data say. ``license`` is an SPDX expression.
        card: further fields of the card, as ``network.atd.publishing.commit#card`` has them:
            ``creators``, ``tasks``, ``citation``, ``homepage``, ``agreement``.
        notes: what is new in this version.
        split: the split of samples that do not say theirs.
        store: ``"pds"``, a folder, ``"s3://bucket/prefix"``, or ``"https://…"`` where the packed
            shards lie already; None: where the last release went, or the PDS.
        base_url: where a folder or a bucket is served.
        version: semver; the next one where it is None. One that says less than what changed is
            refused, unless ``force_version``.
        append: ``source`` holds only what is new: all of the latest release stays, and is neither
            packed nor sent again. Rows without names are numbered on after the last; those that
            the latest release added already are not added twice.
        shard_size: bytes of a shard to aim at.
        order: ``"hash"`` (an edit changes one shard) or ``"keep"`` (the order of the source).
        strip_metadata: take EXIF and its like out of images.
        skip_bad: leave out what cannot be published; ``warnings`` of the answer name each.
            When appending, also samples that are there already.
        card_files: take what is left out of README.md, CITATION.cff and LICENSE beside the data.
        engine: who packs: ``local`` (processes of this machine), ``dask`` or ``ray``, also with an
            address: ``"dask=tcp://host:8786"``.
        workers: how many parts are packed at a time; as many as there are processors if None.
        preview: what is stored with the release beside its shards: ``"full"`` (statistics of every
            field and a few samples), ``"statistics"``, or ``"none"``; None: full where others can
            fetch the shards, else none. None is made when appending.
        recipe: what prepares the data from where they come from, carried by the release: the name
            of a recipe, a file, or a class; it goes public too. Changed, it makes a new version.
        yes: agree to a first publication of this name, and to a release that takes much away: old
            code cannot read it, a split is gone, or more than half of the samples.
        confirm: asked about it instead, with the plan.
        on_progress: called with the daemon's events: ``{"progress": …}`` and ``{"step": …}``.
        connection: the daemon to use; that of the environment where it is None.

    Raises:
        InvalidSyntax: the licence is no SPDX expression.
        RecipeError: ``recipe`` cannot be published.
        BadSource, SchemaMismatch: the data cannot be published as it is.
        LoginRefused: the account is not logged in.
        NeedsConsent: it is the first publication of the name, or takes much away, and nobody
            agreed.
        Busy: the name is being published right now.
        RecordAbsent: there is nothing to append to.
        Conflict, TooLarge, RateLimited, Unreachable, …: as they say.
    """
    chosen(preview, append=append)
    words = Words.of(
        source,
        title=title,
        description=description,
        license=license,
        tags=tags,
        card=card,
        card_files=card_files,
    )
    check_engine(engine)
    body = None if recipe is None else publishable_body(recipe)
    progress = telling(on_progress)
    opened = _open(source, name, schema, split, strip_metadata, skip_bad, progress)
    daemon = connection or Connection()
    asked = _asked(name, to, store, base_url, version, shard_size, order, append, force_version)
    begun = daemon.call(
        api.BEGIN,
        input={**asked, **words.begin, "pid": os.getpid(), "call": secrets.token_hex(8)},
    )
    settled = words.settle(begun)
    with _given_up_on_failure(daemon, begun["id"]):
        previous = Previous.ask(begun, name, daemon)
        addition = Addition.of(opened, previous, progress, skip_bad) if append else None
        opened = opened.following(_previous_schema(begun)) if addition is None else addition.source
        choice = chosen(preview, reachable=begun["reachable"], append=append)
        opened = showing(opened, choice)
        planned = partial(_plan, name, opened, asked, settled, begun)
        if begun["first"]:
            _agree(name, yes, confirm, planned)
        staging = Path(begun["staging"])
        crew: dict[str, Any] = {"engine": engine, "workers": workers, "note": noting(on_progress)}
        served = _served(opened, store)
        made = pack(served, staging, _cuts(begun), progress, name=name, resumable=True, **crew)
        left_out = opened.left_out if addition is None else addition.left_out()
        if addition is not None and addition.is_repeated(made, begun):
            return _repeated(daemon, begun, name)
        found = None if previous is None else compare(begun, made, previous, append=append)
        if found is not None:
            tell(found.changes, on_progress)
            agree(found.changes, name, yes, confirm, planned)
        left_out = (*left_out, *write_preview(made, staging, choice, progress, **crew))
    commit = {
        "id": begun["id"],
        "consent": True,
        "card": dict(settled.changes),
        "notes": notes,
        "recipe": body,
    }
    given = {key: value for key, value in commit.items() if value is not None}
    said = finish(daemon.stream(api.COMMIT, given), on_progress)
    release = PublishedRelease.from_json(said if found is None else found.completed(said))
    return replace(release, warnings=(*left_out, *settled.notes, *release.warnings))


def plan(
    source: object,
    *,
    name: str,
    schema: type[Any] | Schema | None = None,
    to: str | None = None,
    title: str | None = None,
    description: str | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    card: Mapping[str, Any] | None = None,
    split: str = "train",
    store: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    version: str | None = None,
    force_version: bool = False,
    append: bool = False,
    shard_size: int | None = None,
    order: str | None = None,
    strip_metadata: bool = False,
    skip_bad: bool = False,
    card_files: bool = True,
    preview: str | None = None,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Plan:
    """What `publish` with these arguments would do. Writes nothing, here or elsewhere.

    Works without an account and without a network too: then what is published already is not
    known, and the plan says so. A generator is used up.

    Raises:
        BadSource, SchemaMismatch: the data cannot be published as it is.
    """
    words = Words.of(
        source,
        title=title,
        description=description,
        license=license,
        tags=tags,
        card=card,
        card_files=card_files,
    )
    opened = _open(source, name, schema, split, strip_metadata, skip_bad, telling(on_progress))
    asked = _asked(name, to, store, base_url, version, shard_size, order, append, force_version)
    daemon = connection or Connection()
    choice = chosen(preview, append=append)
    try:
        begun = daemon.call(api.BEGIN, input={**asked, **words.begin, "dryRun": True})
        previous = Previous.ask(begun, name, daemon)
    except (LoginRefused, Unreachable) as error:
        unknown = f"what is published already is not known: {error}"
        return _plan(name, showing(opened, choice), asked, words.settle({}), {}, unknown)
    settled = words.settle(begun)
    opened = showing(opened, chosen(preview, reachable=begun["reachable"], append=append))
    if previous is None:
        return _plan(name, opened, asked, settled, begun)
    opened = Addition.expected(opened, previous) if append else opened.following(previous.schema)
    claim = None if force_version else version
    changes, warnings = expected(opened, previous, append=append, version=claim)
    return replace(_plan(name, opened, asked, settled, begun, *warnings), changes=changes)


# ------------------------------------------------------------------ the steps


def _open(
    source: object,
    name: str,
    schema: type[Any] | Schema | None,
    split: str,
    strip_metadata: bool,
    skip_bad: bool,
    progress: Progress | None,
) -> Source:
    check_name(name)
    return open_source(
        source,
        schema=schema,
        strip_metadata=strip_metadata,
        skip_bad=skip_bad,
        split=split,
        progress=progress,
    )


def _asked(
    name: str,
    to: str | None,
    store: str | os.PathLike[str] | None,
    base_url: str | None,
    version: str | None,
    shard_size: int | None,
    order: str | None,
    append: bool,
    force_version: bool,
) -> dict[str, Any]:
    """The input of ``network.atd.publishing.begin``."""
    given = {
        "name": name,
        "account": None if to is None else str(parse_authority(to)),
        "store": None if store is None else _place(os.fspath(store)),
        "baseUrl": base_url,
        "version": version,
        "shardSize": shard_size,
        "order": order,
        "append": append or None,
        "forceVersion": force_version or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _place(store: str) -> str:
    """A destination as the daemon takes it: its own folder is not the caller's."""
    if store == PDS or "://" in store:
        return store
    return str(Path(store).expanduser().absolute())


def _served(source: Source, store: str | os.PathLike[str] | None) -> Source:
    """``source`` for ``store``: shards that are served already go by the names that they have."""
    if source.packed is None or not str(store).startswith(("http://", "https://")):
        return source
    return replace(source, packed=source.packed.served())


def _cuts(begun: Mapping[str, Any]) -> CutParameters:
    return CutParameters.from_value(begun["cuts"])


def _previous_schema(begun: Mapping[str, Any]) -> Schema | None:
    fields = begun.get("fields")
    return None if fields is None else Schema.from_value(fields)


def _agree(name: str, yes: bool, confirm: Confirm | None, made: Callable[[], Plan]) -> None:
    """Go on only if somebody agreed to a first publication."""
    agreed = confirm(made()) if confirm is not None else yes
    if not agreed:
        raise NeedsConsent(f"nothing is published under {name} yet; {PUBLIC}")


def _repeated(daemon: Connection, begun: Mapping[str, Any], name: str) -> PublishedRelease:
    """What is published already, because the latest release added just these samples."""
    daemon.call(api.ABANDON, input={"id": begun["id"]})
    last = begun["previous"]
    said = {
        **{key: begun[key] for key in ("did", "handle") if key in begun},
        **{key: last[key] for key in ("uri", "cid", "version", "samples", "shards")},
        "name": name,
        "bytes": last["size"],
        "unchanged": True,
        "newShards": 0,
        "uploaded": 0,
        "warnings": [f"{last['version']} added these samples already: they were not added again"],
    }
    return PublishedRelease.from_json(said)


def _plan(
    name: str,
    source: Source,
    asked: Mapping[str, Any],
    card: Settled,
    begun: Mapping[str, Any],
    *warnings: str,
) -> Plan:
    # A generator is not touched: packing is to have all of it.
    guess = estimate(source, _cuts(begun) if begun else CutParameters())
    return Plan(
        name=name,
        source=source.what,
        origin=source.origin,
        schema=source.schema,
        splits={split: one.count for split, one in source.splits.items()},
        size=guess.size,
        shards=guess.shards,
        store=asked.get("store", PDS),
        card=card,
        travels=source.travels,
        warnings=(*source.warnings, *source.left_out, *card.notes, *warnings),
        account={key: begun[key] for key in ("did", "handle", "pds") if key in begun},
        first=begun.get("first"),
        previous=begun.get("previous"),
        step=step_between(_previous_schema(begun), source.schema),
    )


@contextmanager
def _given_up_on_failure(daemon: Connection, id: str) -> Iterator[None]:
    """A publication that does not get to `commit` is abandoned, whatever happened."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(AtdError):  # the first error is the one to show
            daemon.call(api.ABANDON, input={"id": id})
        raise
