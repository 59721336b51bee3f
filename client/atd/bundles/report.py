"""What a checked bundle proves, what its maker only says, and what neither does: as JSON.

The lines for people are made by the command line out of this very object.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from atd.bundles.check import Checked, CheckedRecord, Keys
from atd.bundles.manifest import FORMAT, VERSION
from atd.protocol.identity import Identity
from atd.protocol.syntax import Tid, spell_datetime
from atd.records import Dataset, Release, ShardPart

NOT_PROVED: Final = (
    "that nothing newer exists: a later operation or commit may have been left out",
    "when anything happened: a revision is the publisher's clock, other times the maker's",
    "that the handle is the publisher's: the DNS signs nothing here",
    "that shards can be had, and that the data are good",
)
_WEB: Final = "that the key is the DID's: a did:web is what its host serves, which nobody signs"

Json = dict[str, Any]


def report(checked: Checked) -> Json:
    """The answer of ``atd prove --check FILE --json``."""
    subject = checked.subject
    web = not all(one.proved for one in checked.identities)
    return {
        "holds": True,
        "format": FORMAT,
        "version": VERSION,
        "subject": {"uri": str(subject.verified.uri), "cid": str(subject.verified.cid)},
        "proved": {
            "identities": [_identity(one) for one in checked.identities if one.proved],
            "commits": list(_commits(checked)),
            "records": [_record(one) for one in checked.records],
            **_meaning(checked),
        },
        "testified": {
            "made": {"at": checked.manifest.made_at, "by": checked.manifest.made_by},
            "identities": [_said(one) for one in checked.identities],
            "records": [
                {"uri": str(one.uri), "checkedAt": one.at} for one in checked.manifest.records
            ],
        },
        "notProved": [*([_WEB] if web else []), *NOT_PROVED],
    }


def _identity(keys: Keys) -> Json:
    identity = keys.identity
    return {
        **_who(identity),
        "operation": str(keys.operation),
        "operations": len(keys.evidence.operations),
    }


def _who(identity: Identity) -> Json:
    return {
        "did": str(identity.did),
        "key": identity.key.to_did_key(),
        "claims": [str(handle) for handle in identity.claimed],
    }


def _said(keys: Keys) -> Json:
    """What the maker says of an identity: all of a did:web, of a did:plc that this was the end."""
    evidence = keys.evidence
    said: Json = {"did": str(evidence.did), "from": evidence.source, "fetchedAt": evidence.at}
    if keys.proved:
        said["newest"] = str(keys.operation)
        said["operations"] = [
            {"operation": str(one.what), "createdAt": one.at} for one in evidence.operations
        ]
    else:
        said |= _who(keys.identity)
    if evidence.handle is not None:
        said["handle"] = {"name": str(evidence.handle.name), "resolvedAt": evidence.handle.at}
    return said


def _commits(checked: Checked) -> Iterator[Json]:
    current = {one.identity.did: one.identity.key for one in checked.identities}
    seen = set()
    for one in checked.records:
        commit = one.verified.commit
        if commit.cid in seen:
            continue
        seen.add(commit.cid)
        yield {
            "did": str(commit.did),
            "cid": str(commit.cid),
            "rev": str(commit.rev),
            "revTime": _moment(commit.rev),
            "key": one.by.to_did_key(),
            "previousKey": one.by != current[commit.did],
        }


def _record(one: CheckedRecord) -> Json:
    verified = one.verified
    return {
        "uri": str(verified.uri),
        "cid": str(verified.cid),
        "commit": str(verified.commit.cid),
        "path": [str(cid) for cid in verified.path],
    }


def _meaning(checked: Checked) -> Json:
    """What the records say, as far as they are a data set."""
    said: Json = {}
    card = checked.subject.record
    if isinstance(card, Dataset):
        said["dataset"] = {"name": card.name, "title": card.title, "license": card.license}
    release = checked.release
    if isinstance(release, Release):
        said["release"] = {
            "name": release.name,
            "version": release.version,
            "samples": release.samples,
            "size": release.size,
            "splits": [
                {"name": s.name, "samples": s.samples, "shards": s.shards, "size": s.size}
                for s in release.splits
            ],
        }
    parts = (one.record for one in checked.records if isinstance(one.record, ShardPart))
    shards = [
        {"name": entry.name, "digest": str(entry.digest), "size": entry.size}
        for part in parts
        for entry in part.shards
    ]
    return {**said, "shards": shards} if shards else said


def _moment(rev: Tid) -> str:
    """The time that a revision claims."""
    return spell_datetime(datetime.fromtimestamp(rev.micros / 1e6, UTC), exact=True)
