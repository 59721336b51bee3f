"""``atd.publish`` and its dry run, ``atd.plan``: a source on one side, the daemon on the other.

Belongs here: what the two functions take, and the order of the steps. The steps themselves are
those of `atd.publishing.publication.Publication`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from atd import api
from atd.connection import Connection
from atd.engines.choosing import check_engine
from atd.errors import LoginRefused, Unreachable
from atd.publishing.asked import Asked
from atd.publishing.cards import Words
from atd.publishing.consent import Confirm, Consent
from atd.publishing.planning import Plan
from atd.publishing.previous import Previous
from atd.publishing.publication import Publication
from atd.publishing.released import PublishedRelease
from atd.publishing.sources.opening import open_source
from atd.publishing.telling import telling
from atd.recipes.model import Recipe
from atd.recipes.publishing import publishable_body
from atd.schema.fields import Schema
from atd.service import OnProgress


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
    decode_images: bool = False,
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
        decode_images: decode every image of a folder or an archive to see whether it is whole,
            where else the structure of its file is checked.
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
    asked = Asked(
        name,
        to=to,
        store=store,
        base_url=base_url,
        version=version,
        force_version=force_version,
        append=append,
        shard_size=shard_size,
        order=order,
        preview=preview,
    )
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
    opened = open_source(
        source,
        schema=schema,
        strip_metadata=strip_metadata,
        decode_images=decode_images,
        skip_bad=skip_bad,
        split=split,
        progress=telling(on_progress),
    )
    daemon = connection or Connection()
    publication = Publication.begin(asked, words, opened, daemon, on_progress)
    with publication.given_up_on_failure():
        publication.follow(skip_bad=skip_bad)
        there = publication.make(Consent(yes, confirm), engine=engine, workers=workers)
    if there is not None:
        return there
    return publication.commit(notes=notes, recipe=body)


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
    decode_images: bool = False,
    skip_bad: bool = False,
    card_files: bool = True,
    preview: str | None = None,
    engine: str | None = None,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Plan:
    """What `publish` with these arguments would do. Writes nothing, here or elsewhere.

    Works without an account and without a network too: then what is published already is not
    known, and the plan says so. A generator is used up.

    Raises:
        BadSource, SchemaMismatch: the data cannot be published as it is.
        EngineFault: there is no such engine. It is not started.
    """
    check_engine(engine)
    asked = Asked(
        name,
        to=to,
        store=store,
        base_url=base_url,
        version=version,
        force_version=force_version,
        append=append,
        shard_size=shard_size,
        order=order,
        preview=preview,
    )
    words = Words.of(
        source,
        title=title,
        description=description,
        license=license,
        tags=tags,
        card=card,
        card_files=card_files,
    )
    opened = open_source(
        source,
        schema=schema,
        strip_metadata=strip_metadata,
        decode_images=decode_images,
        skip_bad=skip_bad,
        split=split,
        progress=telling(on_progress),
    )
    daemon = connection or Connection()
    begun: Mapping[str, Any] = {}
    previous: Previous | None = None
    unknown: tuple[str, ...] = ()
    try:
        begun = daemon.call(api.BEGIN, input={**asked.begin, **words.begin, "dryRun": True})
        previous = Previous.ask(begun, name, daemon)
    except (LoginRefused, Unreachable) as error:
        begun, unknown = {}, (f"what is published already is not known: {error}",)
    return Publication(asked, words, opened, daemon, begun).foreseen(previous, *unknown)
