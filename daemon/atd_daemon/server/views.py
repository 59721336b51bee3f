"""What is proved, in the words of the lexicons: pure functions from values to JSON objects.

Nothing is hidden: what is not proved is there with its reason, a handle only where it was proved in
both directions, and every record with its durable address (URI and CID). Absent means unknown;
there are no nulls.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from atd.names import split_release_key
from atd.protocol.cbor import decode, to_json
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did, Handle, spell_datetime
from atd.records import Dataset, Record, Release, SchemaRecord, ShardEntry
from atd.schema.export import to_python
from atd_daemon.catalog import DatasetEntry, Problem, Publisher, RecipeEntry, ReleaseEntry
from atd_daemon.network.account import Account
from atd_daemon.store import Source
from atd_daemon.sync.found import Found, FoundSplit, ResolvedDataset

Json = dict[str, Any]

_MANY_SHARDS: Final = 10_000


def moment(value: datetime | float) -> str:
    """A moment (aware, or seconds since 1970) as a lexicon's datetime, in UTC."""
    at = datetime.fromtimestamp(value, UTC) if isinstance(value, float | int) else value
    return spell_datetime(at)


def present(**values: Any) -> Json:
    """An object of the values that are there: neither None nor empty text."""
    return {name: value for name, value in values.items() if value is not None and value != ""}


def account(known: Account) -> Json:
    """``network.atd.account.defs#account``."""
    return present(did=str(known.did), handle=known.handle and str(known.handle), pds=known.pds)


# ---- how something is proved


def proof_of(
    found: Found[Record] | DatasetEntry | ReleaseEntry | RecipeEntry, handle: Handle | None
) -> Json:
    """``network.atd.catalog.defs#proof`` of a record that was proved."""
    previous = isinstance(found, Found) and found.previous_key
    reason = "signed by a previous key of the publisher, as allowed" if previous else None
    return present(
        state="previousKey" if previous else "proved",
        rev=str(found.rev),
        commit=str(found.commit),
        verifiedAt=moment(found.verified_at),
        handleProved=handle is not None,
        reason=reason,
    )


def problem(known: Problem) -> Json:
    """``network.atd.catalog.defs#problem`` of a record."""
    return present(
        uri=str(known.uri),
        error=known.reason,
        reason=known.message or known.reason,
        seenAt=moment(known.last_seen),
    )


def publisher_problem(known: Publisher) -> Json | None:
    """What was wrong when a publisher was last asked, if anything was."""
    if known.error is None:
        return None
    return present(
        uri=f"at://{known.did}",
        error=known.error,
        reason=known.error_message or known.error,
        seenAt=None if known.error_at is None else moment(known.error_at),
    )


# ---- data sets and releases


def dataset_entry(entry: DatasetEntry) -> Json:
    """``network.atd.catalog.defs#dataset`` of what the index lists."""
    release = entry.release
    latest = (
        {
            "version": entry.version,
            "uri": str(entry.latest_uri),
            "cid": str(entry.latest_cid),
        }
        if release is None
        else release_entry(release, entry.handle)
    )
    return present(
        uri=str(entry.uri),
        cid=str(entry.cid),
        did=str(entry.did),
        handle=entry.handle and str(entry.handle),
        name=entry.name,
        title=entry.title,
        description=entry.description,
        license=entry.license,
        tags=list(entry.tags),
        tasks=list(entry.tasks),
        modalities=list(entry.modalities),
        latest=latest,
        deprecated=entry.deprecated,
        updatedAt=entry.updated_at or entry.created_at,
        proof=proof_of(entry, entry.handle),
    )


def release_entry(entry: ReleaseEntry, handle: Handle | None) -> Json:
    """``network.atd.catalog.defs#version`` of what the index knows."""
    return present(
        version=entry.version,
        uri=str(entry.uri),
        cid=str(entry.cid),
        samples=entry.samples,
        shards=entry.shards,
        size=entry.size,
        createdAt=entry.created_at,
        notes=entry.notes,
        proof=proof_of(entry, handle),
    )


def head(found: Found[Dataset], identity: Identity, latest: Found[Release] | None) -> Json:
    """``network.atd.catalog.defs#dataset`` of a head that was just proved.

    ``latest`` is the release that it points to, where that was proved too.
    """
    card = found.record
    known = latest is not None and latest.ref == card.latest
    short = {
        "version": split_release_key(str(card.latest.uri.rkey))[1],
        "uri": str(card.latest.uri),
        "cid": str(card.latest.cid),
    }
    return present(
        uri=str(found.uri),
        cid=str(found.cid),
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        name=card.name,
        title=card.title,
        description=card.description,
        license=card.license,
        tags=list(card.tags),
        tasks=list(card.tasks),
        latest=version(latest, identity) if known and latest is not None else short,
        deprecated=card.deprecated,
        updatedAt=moment(card.updated_at or card.created_at),
        proof=proof_of(found, identity.handle),
    )


def version(found: Found[Release], identity: Identity) -> Json:
    """``network.atd.catalog.defs#version`` of a release that was just proved."""
    release = found.record
    return present(
        version=release.version,
        uri=str(found.uri),
        cid=str(found.cid),
        samples=release.samples,
        shards=release.shards,
        size=release.size,
        createdAt=moment(release.created_at),
        notes=release.notes,
        previewSize=release.preview and release.preview.size,
        proof=proof_of(found, identity.handle),
    )


def schema(found: Found[SchemaRecord], name: str) -> Json:
    """``network.atd.catalog.defs#schema``; ``name`` is what its class is to be called."""
    fields = found.record.schema
    return {
        "uri": str(found.uri),
        "cid": str(found.cid),
        "fields": fields.to_value(),
        "shape": fields.shape_digest(),
        "python": to_python(fields, name),
    }


def split(found: FoundSplit, stored: Iterable[bool]) -> Json:
    """``network.atd.catalog.defs#split`` with where each shard is; ``stored`` in their order.

    Of very many shards the addresses are left out: they would be most of the answer.
    """
    few = len(found.shards) <= _MANY_SHARDS
    return _split(found) | {
        "shards": [
            _shard(shard.entry)
            | {"stored": here}
            | ({"sources": [label(source) for source in shard.sources]} if few else {})
            for shard, here in zip(found.shards, stored, strict=True)
        ]
    }


def loader_split(found: FoundSplit) -> Json:
    """``network.atd.catalog.defs#split`` with what a loader needs, which may be a million times."""
    return _split(found) | {"shards": [_shard(shard.entry) for shard in found.shards]}


def label(source: Source) -> str:
    """Where a shard can be had, in one line."""
    return source.label


def recipe_entry(entry: RecipeEntry) -> Json:
    """``network.atd.catalog.searchRecipes#recipe``."""
    return present(
        uri=str(entry.uri),
        cid=str(entry.cid),
        did=str(entry.did),
        handle=entry.handle and str(entry.handle),
        name=entry.name,
        title=entry.title,
        description=entry.description,
        license=entry.license,
        size=entry.size,
        updatedAt=entry.updated_at,
        proof=proof_of(entry, entry.handle),
    )


def record_json(found: Found[Record]) -> Json:
    """A record as its publisher wrote it, in the JSON of ATProto."""
    value = to_json(decode(found.block))
    assert isinstance(value, dict), "only records are found"
    return value


def loader_manifest(resolved: ResolvedDataset) -> Json:
    """The answer of ``network.atd.catalog.getRelease``."""
    identity, release = resolved.identity, resolved.release.record
    cuts = None if release.cuts is None else release.cuts.to_value()
    return present(
        uri=str(resolved.release.uri),
        cid=str(resolved.release.cid),
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        name=release.name,
        version=release.version,
        schema=schema(resolved.schema, release.name),
        layout=release.layout.to_value(),
        cuts=cuts,
        splits=[loader_split(one) for one in resolved.splits],
        deprecated=deprecated(resolved),
        proof=proof_of(resolved.release, identity.handle),
    )


def deprecated(resolved: ResolvedDataset) -> str | None:
    """Why the data set should no longer be used, where its head is known and says so."""
    return None if resolved.head is None else resolved.head.record.deprecated


def release_summary(resolved: ResolvedDataset) -> Json:
    """The fields that name a release in the results of ``pull`` and ``verify``."""
    identity, release = resolved.identity, resolved.release
    return present(
        uri=str(release.uri),
        cid=str(release.cid),
        did=str(identity.did),
        handle=identity.handle and str(identity.handle),
        name=release.record.name,
        version=release.record.version,
    )


def concerns(uri: AtUri, did: Did, name: str) -> bool:
    """Whether the record at ``uri`` is the data set ``name`` of ``did``, or a version of it."""
    rkey = str(uri.rkey or "")
    return uri.authority == did and (rkey == name or rkey.startswith(f"{name}:"))


def _split(found: FoundSplit) -> Json:
    one = found.split
    parts = [str(part.cid) for part in found.parts]
    return {"name": one.name, "samples": one.samples, "size": one.size, "parts": parts}


def _shard(entry: ShardEntry) -> Json:
    return {
        "name": entry.name,
        "digest": str(entry.digest),
        "size": entry.size,
        "samples": entry.samples,
    }
