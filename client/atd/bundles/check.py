"""Checking a bundle: ten rules, in this order. Pure; nothing is asked of anybody.

1. The file is a CAR of one root within the limits. Every block hashes to its CID.
2. The root is the first block, and a manifest of version 1 in canonical encoding.
3. Of a did:plc, the operations are a chain from the one that the DID is the hash of, each signed by
   a rotation key of the one before. The last one says which key, handles and server. Of a did:web,
   the document is this DID's and names a key; nothing proves that it is what the host served.
4. The handle that is said to lead to the DID is claimed by the DID.
5. Every commit is signed: by the key of (3), or by an earlier one where the caller allows that.
6. The signed tree leads to every record (or the bundle proves nothing of it), whose CID is the one
   that the manifest names.
7. Every record satisfies our lexicons.
8. Every record but the subject is referred to, by CID, by one that is before it; and all that
   a head, a release and a shard list refer to is there: nothing is missing and nothing stands by.
9. No revision lies more than `SKEW_S` in the future of the caller's clock.
10. No block is there that none of this needed, and none twice: one content, one file.

What holds after that is proved by signatures, except what a did:web stands for and all times, which
whoever made the bundle only says; `Checked` keeps the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from atd.bundles.manifest import MAX_BUNDLE_BYTES, Claim, Evidence, Manifest
from atd.errors import IdentityMismatch, LexiconError, PreviousKey, ProofError, StaleRevision
from atd.protocol.blocks import Blocks
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, decode
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import PublicKey
from atd.protocol.plc import verify_operations
from atd.protocol.proof import VerifiedRecord, verify_records
from atd.protocol.syntax import Did, quote
from atd.records import Dataset, Record, Release, SchemaRecord, ShardPart, StrongRef, parse

SKEW_S: Final = 300.0
_MAX_BLOCKS: Final = 500_000
_MAX_PART_DEPTH: Final = 4
_CALL: Final = "ask whoever made the bundle for a new one, or make your own with: atd prove REF"


@dataclass(frozen=True)
class Keys:
    """Who an account is, and how that is known.

    Args:
        evidence: what the bundle says, with its times.
        identity: as the newest operation or the document has it; handles are claims.
        history: of a did:plc, every signing key that its operations set, newest first; proved.
        operation: of a did:plc, the newest operation that is in the bundle.
    """

    evidence: Evidence
    identity: Identity
    history: tuple[PublicKey, ...]
    operation: Cid | None

    @property
    def proved(self) -> bool:
        """Whether signatures tie the key to the DID; else whoever made the bundle says so."""
        return self.operation is not None


@dataclass(frozen=True)
class CheckedRecord:
    """A proved record with its typed value; ``by`` is the key that signed its commit."""

    claim: Claim
    verified: VerifiedRecord
    record: Record
    by: PublicKey

    @property
    def ref(self) -> StrongRef:
        """Exactly this content at this place."""
        return StrongRef(self.verified.uri, self.verified.cid)


@dataclass(frozen=True)
class Checked:
    """A bundle whose every rule holds. Made by `check_bundle`."""

    manifest: Manifest
    identities: tuple[Keys, ...]
    records: tuple[CheckedRecord, ...]

    @property
    def subject(self) -> CheckedRecord:
        """What the bundle is about."""
        return self.records[0]

    @property
    def release(self) -> Release | None:
        """The release that it is about, or that the head it is about points to."""
        found = (one.record for one in self.records[:2])
        return next((one for one in found if isinstance(one, Release)), None)

    @property
    def previous_keys(self) -> bool:
        """Whether a commit is signed by an earlier key of its DID, as the caller allowed."""
        current = {one.identity.did: one.identity.key for one in self.identities}
        return any(one.by != current[one.verified.commit.did] for one in self.records)


def check_bundle(data: bytes, *, now_s: float, allow_previous_key: bool = False) -> Checked:
    """Check a bundle, whoever it came from.

    Args:
        data: the file.
        now_s: the caller's clock, seconds since 1970.
        allow_previous_key: accept commits that only an earlier key of their DID signed.

    Raises:
        ProofError: a rule does not hold; says which, and what was found.
        PreviousKey, IdentityMismatch, LexiconError, StaleRevision, RecordAbsent: as they say.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise ProofError(f"a bundle has at most {MAX_BUNDLE_BYTES} bytes, this has {len(data)}")
    car = read_car(data, max_blocks=_MAX_BLOCKS)  # (1)
    if len(car.roots) != 1 or next(iter(car.blocks), None) != car.roots[0]:
        raise ProofError("expected a bundle to begin with its only root, the manifest")
    manifest = Manifest.decode(car.blocks[car.roots[0]])  # (2)
    identities = tuple(_keys(one, car.blocks) for one in manifest.identities)
    records = _records(data, car.blocks, manifest, identities, allow_previous_key)
    _check_whole(records)
    for one in records:
        _check_rev(one.verified, now_s)
    _check_form(data, car.roots[0], car.blocks, manifest, records)
    return Checked(manifest, identities, records)


# ---- who (3, 4)


def _keys(evidence: Evidence, blocks: Blocks) -> Keys:
    """The identity behind some evidence."""
    if evidence.document is not None:
        identity = Identity.from_document(_document(evidence))
        keys = Keys(evidence, identity, (identity.key,), None)
    else:
        bodies = [_operation(one.what, blocks) for one in evidence.operations]
        proved = verify_operations(evidence.did, bodies)
        keys = Keys(evidence, proved.identity, proved.keys, proved.operations[-1].cid)
    handle = evidence.handle
    if handle is not None and handle.name not in keys.identity.claimed:  # (4)
        raise IdentityMismatch(
            f"the bundle says that {handle.name} leads to {evidence.did}, which does not claim it"
        )
    return keys


def _document(evidence: Evidence) -> dict[str, Any]:
    try:
        document = json.loads(evidence.document or "")
    except (ValueError, RecursionError):
        raise ProofError(f"the document of {evidence.did} in the bundle is not JSON") from None
    if not isinstance(document, dict) or document.get("id") != evidence.did:
        raise IdentityMismatch(f"the document in the bundle is not the one of {evidence.did}")
    return document


def _operation(cid: Cid, blocks: Blocks) -> dict[str, Any]:
    block = blocks.get(cid)
    if block is None:
        raise ProofError(f"incomplete: operation {cid} is missing")
    body = decode(block)
    if not isinstance(body, dict):
        raise ProofError(f"expected an operation at {cid}, got {quote(body)}")
    return body


# ---- what (5, 6, 7)


def _records(
    data: bytes, blocks: Blocks, manifest: Manifest, identities: tuple[Keys, ...], allow: bool
) -> tuple[CheckedRecord, ...]:
    known = {one.identity.did: one for one in identities}
    signers: dict[Cid, tuple[Keys, PublicKey]] = {}
    for claim in manifest.records:
        if claim.commit not in signers:
            signers[claim.commit] = _signer(claim, blocks, known, allow)
    found: dict[Claim, CheckedRecord] = {}
    for keys, key in dict.fromkeys(signers.values()):
        claims = [one for one in manifest.records if signers[one.commit] == (keys, key)]
        verified = verify_records(
            data, keys.identity.with_key(key), [(one.commit, one.uri) for one in claims]
        )
        for claim, record in zip(claims, verified, strict=True):
            if record.cid != claim.cid:
                raise ProofError(
                    f"the bundle says that {claim.uri} is {claim.cid}, its tree has {record.cid}"
                )
            found[claim] = CheckedRecord(claim, record, parse(record), key)
    return tuple(found[claim] for claim in manifest.records)


def _signer(
    claim: Claim, blocks: Blocks, known: dict[Did, Keys], allow: bool
) -> tuple[Keys, PublicKey]:
    """Whose commit it is, and which of their keys signed it."""
    keys = known.get(claim.uri.did)
    if keys is None:
        raise ProofError(f"the bundle has no key evidence for {claim.uri.did}")
    block = blocks.get(claim.commit)
    if block is None:
        raise ProofError(f"incomplete: commit {claim.commit} is missing")
    commit = Commit.decode(block)
    message = commit.unsigned()
    signer = next((key for key in keys.history if key.verify(commit.sig, message)), None)
    if signer is None or commit.did != claim.uri.did:
        raise ProofError(
            f"commit {claim.commit} (rev {commit.rev}) is not signed by a key of {claim.uri.did}"
            " that the bundle proves"
        )
    if signer != keys.identity.key and not allow:
        raise PreviousKey(
            f"commit {claim.commit} (rev {commit.rev}) is signed by a previous key of"
            f" {claim.uri.did}, not by {keys.identity.key.to_did_key()}"
        )
    return keys, signer


# ---- all of it, and nothing else (8, 9, 10)


def _check_whole(records: tuple[CheckedRecord, ...]) -> None:
    """What the subject means is there, and is all there is; totals are what is listed."""
    placed = {one.ref: number for number, one in enumerate(records)}
    reached = {records[0].ref}
    for number, one in enumerate(records):
        if one.ref not in reached:
            raise ProofError(f"nothing in the bundle refers to {one.verified.uri} before it")
        for ref in references(one.record):
            at = placed.get(ref)
            if at is None:
                raise ProofError(f"incomplete: {ref.uri} ({ref.cid}) is missing from the bundle")
            if at <= number:
                continue  # it was reached before; of a shard list, that it is deep enough is below
            reached.add(ref)
    by_ref = {one.ref: one.record for one in records}
    for one in records:
        if isinstance(one.record, Release):
            _check_release(one.record, by_ref)


def references(record: Record) -> Iterator[StrongRef]:
    """What must be there for ``record`` to mean something, in the order of a bundle."""
    if isinstance(record, Dataset):
        yield record.latest
    elif isinstance(record, Release):
        yield record.schema
        for split in record.splits:
            yield from split.parts
    elif isinstance(record, ShardPart):
        yield from record.parts


def _check_release(release: Release, records: dict[StrongRef, Record]) -> None:
    schema = records[release.schema]
    if not isinstance(schema, SchemaRecord):
        raise LexiconError(f"expected a schema at {release.schema.uri}")
    release.layout.check_fits(schema.schema)
    known: dict[StrongRef, _Totals] = {}
    for split in release.splits:
        below = [_totals(ref, records, known, _MAX_PART_DEPTH) for ref in split.parts]
        counted = tuple(
            sum(getattr(one, what) for one in below) for what in ("shards", "samples", "size")
        )
        if counted != (split.shards, split.samples, split.size):
            raise LexiconError(
                f"split {split.name}: expected {split.shards} shards, {split.samples} samples and"
                f" {split.size} bytes as the release says, its shard lists have {counted}"
            )


@dataclass(frozen=True)
class _Totals:
    """What is below a shard list, and how many levels of lists that are."""

    shards: int
    samples: int
    size: int
    levels: int


def _totals(
    ref: StrongRef,
    records: dict[StrongRef, Record],
    known: dict[StrongRef, _Totals],
    depth: int,
) -> _Totals:
    """What a shard list counts, each list looked at once however often it is referred to."""
    part = records[ref]
    if not isinstance(part, ShardPart):
        raise LexiconError(f"expected a shard list at {ref.uri}")
    if depth > 0 and ref not in known:
        below = [_totals(each, records, known, depth - 1) for each in part.parts]
        known[ref] = _Totals(
            len(part.shards) + sum(one.shards for one in below),
            part.samples + sum(one.samples for one in below),
            part.size + sum(one.size for one in below),
            1 + max((one.levels for one in below), default=0),
        )
    if depth <= 0 or known[ref].levels > depth:
        raise LexiconError(f"shard lists nest deeper than {_MAX_PART_DEPTH} levels")
    return known[ref]


def _check_rev(verified: VerifiedRecord, now_s: float) -> None:
    rev = verified.commit.rev
    ahead_s = rev.micros / 1e6 - now_s
    if ahead_s > SKEW_S:
        raise StaleRevision(
            f"rev {rev} of {verified.commit.did} lies {ahead_s:.0f} s in the future",
            next_step="check the clock of this machine",
        )


def _check_form(
    data: bytes, root: Cid, blocks: Blocks, manifest: Manifest, records: tuple[CheckedRecord, ...]
) -> None:
    """The file is these blocks in the order in which they are needed, and nothing else."""
    order = block_order(root, manifest, [one.verified for one in records])
    if data != write_car(root, ((cid, blocks[cid]) for cid in order)):
        raise ProofError(
            f"the bundle should hold the {len(order)} blocks that it needs in their order, once",
            next_step=_CALL,
        )


def block_order(root: Cid, manifest: Manifest, verified: list[VerifiedRecord]) -> list[Cid]:
    """The blocks of a bundle, in their order: manifest, operations, proofs record by record."""
    operations = (one.what for who in manifest.identities for one in who.operations)
    proofs = (cid for record in verified for cid in record.path)
    return list(dict.fromkeys((root, *operations, *proofs)))
