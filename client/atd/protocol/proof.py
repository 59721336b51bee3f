"""The one place where trust is made: from bytes of a server to a record of a publisher.

The caller has the publisher's `Identity` (steps 1 to 3 of docs/verification.md: handle, DID,
document). Here a CAR file is taken through the other steps, in this order, and nothing of it is
believed before:

4. every block hashes to its CID, and the file has one root;
5. the root is a version-3 commit, in canonical encoding, that names the DID asked for;
6. the commit is signed by the identity's key: 64 bytes, low s;
7. the tree that it signs leads to the record, or to the gap where the record would be;
8. the record decodes strictly, and its ``$type`` is its collection.

What is left to the caller: whether the revision is older than one it has seen or lies in the future
(step 9 needs memory and a clock), and what the record means (its lexicon).

Extra blocks are legal, so an altered file may still prove something; the law is that it proves the
genuine record, the genuine absence, or nothing. `VerifiedRecord` and its kin are made here and
nowhere else: to hold one is to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from atd.errors import IdentityMismatch, InvalidSyntax, ProofError, RecordAbsent
from atd.protocol import mst
from atd.protocol.blocks import Blocks
from atd.protocol.car import Car, join_car, read_car
from atd.protocol.cbor import Cid, Value, decode
from atd.protocol.cbor_reader import check_count
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid, quote

__all__ = [
    "VerifiedAbsence",
    "VerifiedCommit",
    "VerifiedRecord",
    "VerifiedRepo",
    "verify_commit",
    "verify_record",
    "verify_records",
    "verify_repo",
]

_SEAL: Final = object()

MAX_ENTRIES_BYTES: Final = 512 * 1024 * 1024
"""What the entries of one repository may take, at `ENTRY_BYTES` and its key for each: prefix
compression lets a small file name many long keys."""
ENTRY_BYTES: Final = 128
MAX_VALUES: Final = 200_000
"""Values and keys of one record. Each may take a byte in it and sixty in memory, and a second for
each million to refuse; a full shard list has some 40,000."""

Steps: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""The blocks from the commit to what it proves, each after the bytes of its CID."""


def _require_seal(seal: object) -> None:
    if seal is not _SEAL:
        raise TypeError("verified values are made by atd.protocol.proof only")


@dataclass(frozen=True, slots=True)
class VerifiedCommit:
    """``did`` signed: at revision ``rev`` my records are the tree ``data``.

    ``cid`` names the commit's block; ``commit`` is what it holds.
    """

    did: Did
    rev: Tid
    cid: Cid
    data: Cid
    commit: Commit
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _require_seal(seal)


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """The record at ``uri``, as its publisher signed it.

    ``block`` are its bytes, ``value`` what they hold, ``cid`` their name; `verify_record` accepts
    ``proof`` again.
    """

    uri: AtUri
    cid: Cid
    block: bytes
    value: dict[str, Value]
    commit: VerifiedCommit
    _steps: Steps = field(repr=False)
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _require_seal(seal)

    @property
    def proof(self) -> bytes:
        """The smallest CAR file that proves the record: commit, tree nodes, record."""
        return _proof(self.commit, self._steps)

    @property
    def path(self) -> tuple[Cid, ...]:
        """The blocks of `proof` by name: the commit first, the record last."""
        return tuple(Cid(cid) for cid, _ in self._steps)


@dataclass(frozen=True, slots=True)
class VerifiedAbsence:
    """There is no record at ``uri`` in ``commit``, as its publisher signed it."""

    uri: AtUri
    commit: VerifiedCommit
    _steps: Steps = field(repr=False)
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _require_seal(seal)

    @property
    def proof(self) -> bytes:
        """The smallest CAR file that proves the absence: commit and tree nodes."""
        return _proof(self.commit, self._steps)


@dataclass(frozen=True, slots=True)
class VerifiedRepo:
    """All records of one publisher at one revision: complete, but not yet decoded.

    ``entries`` maps ``collection/record-key`` to the record's CID, in order; ``blocks`` holds every
    node of the tree and every record.
    """

    commit: VerifiedCommit
    entries: Mapping[str, Cid]
    blocks: Blocks
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _require_seal(seal)

    def keys(self, collection: Nsid) -> Iterator[str]:
        """The record keys of ``collection``, in order."""
        prefix = f"{collection}/"
        for key in self.entries:
            if key.startswith(prefix):
                yield key[len(prefix) :]

    def records(
        self, collection: Nsid, refused: Callable[[AtUri, ProofError], None]
    ) -> Iterator[VerifiedRecord]:
        """The records of ``collection`` in order, each decoded when it is asked for.

        Reads each node once; `record` reads the way to one record. What does not decode strictly
        is given to ``refused`` instead, with the reason.
        """
        commit, raw = self.commit, self.blocks.raw
        root = (commit.cid.bytes, raw[commit.cid.bytes])
        for key, cid, path in mst.paths(raw.get, commit.data, f"{collection}/".encode()):
            rkey = RecordKey(key.decode("ascii").partition("/")[2])
            uri = AtUri(commit.did, collection, rkey)
            try:
                found = _decoded(uri, cid, raw.get(cid), commit, (root, *path))
            except ProofError as error:
                refused(uri, error)
            else:
                yield found

    def record(self, uri: AtUri) -> VerifiedRecord:
        """The record at ``uri``, decoded now; raises as `verify_record` does."""
        return _prove(self.blocks, self.commit, uri)


def verify_record(car: bytes, identity: Identity, uri: AtUri) -> VerifiedRecord:
    """Prove one record of any collection.

    Pure: no network, no clock. A record can be proved by the answer of
    ``com.atproto.sync.getRecord``, by a whole repository, or by the `VerifiedRecord.proof` of an
    earlier call.

    Args:
        car: the CAR file, as it came from wherever.
        identity: whose record it must be; its key must have signed.
        uri: the record asked for, named by DID, with collection and record key.

    Raises:
        RecordAbsent: the publisher signed a tree without it; ``error.proof`` is the
            `VerifiedAbsence`.
        ProofError: a step does not hold; says which, and what was found.
        IdentityMismatch: ``uri`` names another DID than ``identity``.
        InvalidSyntax: ``uri`` names its owner by handle, or no single record.
    """
    _require_record(uri, identity.did)
    parsed = read_car(car)  # (4)
    return _prove(parsed.blocks, _root(parsed, identity), uri)


def verify_records(
    car: bytes, identity: Identity, claims: Iterable[tuple[Cid, AtUri]]
) -> list[VerifiedRecord]:
    """Prove many records by one bag of blocks, which is hashed once.

    Args:
        car: a CAR file; what it names as its roots does not matter.
        identity: whose records they must be.
        claims: for each record the commit that it is to be proved by, and where it is.

    Raises:
        RecordAbsent, ProofError, IdentityMismatch, InvalidSyntax: as `verify_record`.
    """
    blocks = read_car(car).blocks  # (4)
    commits: dict[Cid, VerifiedCommit] = {}
    found = []
    for root, uri in claims:
        if root not in commits:
            commits[root] = prove_commit(root, commit_at(blocks, root), identity)  # (5)
        found.append(_prove(blocks, commits[root], uri))
    return found


def verify_commit(car: bytes, identity: Identity) -> VerifiedCommit:
    """Prove the commit at the root of ``car`` and look no further (steps 4 to 6).

    Raises:
        ProofError: a step does not hold.
    """
    return _root(read_car(car), identity)


def verify_repo(
    car: bytes, identity: Identity, *, max_entries_bytes: int = MAX_ENTRIES_BYTES
) -> VerifiedRepo:
    """Prove a whole repository: every node of the tree checked, every record present.

    Args:
        car: the answer of ``com.atproto.sync.getRepo``, whole (no ``since``).
        identity: whose repository it must be.
        max_entries_bytes: refuse more entries, each counted as its key and `ENTRY_BYTES`.

    Raises:
        ProofError: a step does not hold. If the message starts with "incomplete", blocks are
            missing, and nothing may be concluded from what is there.
    """
    return prove_repo(read_car(car), identity, max_entries_bytes=max_entries_bytes)


def prove_repo(car: Car, identity: Identity, *, max_entries_bytes: int) -> VerifiedRepo:
    """`verify_repo` of a file whose blocks were hashed already, as while it came in."""
    commit = _root(car, identity)
    entries: dict[str, Cid] = {}
    room = max_entries_bytes
    for key, cid in mst.walk(car.blocks, commit.data):
        room -= ENTRY_BYTES + len(key)
        if room < 0:
            raise ProofError(f"the repository of {commit.did} has more entries than can be held")
        if cid not in car.blocks:
            raise ProofError(f"incomplete: record {cid} of {commit.did}/{key} is missing")
        entries[key] = cid
    return VerifiedRepo(commit, MappingProxyType(entries), car.blocks, _SEAL)


def commit_at(blocks: Blocks, cid: Cid) -> Commit:
    """The commit named ``cid``, of which nothing is proved yet (step 5).

    Raises:
        ProofError: it is not there, or no commit.
    """
    block = blocks.get(cid)
    if block is None:
        raise ProofError(f"incomplete: the root {cid} is missing")
    return Commit.decode(block)


def prove_commit(cid: Cid, commit: Commit, identity: Identity) -> VerifiedCommit:
    """Step 6: that the identity signed ``commit``, which is what the block named ``cid`` holds.

    Raises:
        ProofError: it is another's, or not signed by the identity's key.
    """
    if commit.did != identity.did:
        raise ProofError(f"expected a commit of {identity.did}, got one of {quote(commit.did)}")
    if not identity.key.verify(commit.sig, commit.unsigned()):  # (6)
        raise ProofError(
            f"the signature of commit {cid} (rev {commit.rev}) is not by the current key of"
            f" {identity.did}, {identity.key.to_did_key()}"
        )
    return VerifiedCommit(commit.did, commit.rev, cid, commit.data, commit, _SEAL)


def prove_path(
    blocks: Blocks, commit: VerifiedCommit, uri: AtUri
) -> VerifiedRecord | VerifiedAbsence:
    """Steps 7 and 8 below a proved commit: the record at ``uri``, or that there is none.

    Raises:
        ProofError: a step does not hold.
        IdentityMismatch, InvalidSyntax: as `verify_record`.
    """
    _require_record(uri, commit.did)
    cid, path = mst.trace(blocks.raw.get, commit.data, f"{uri.collection}/{uri.rkey}")  # (7)
    return _found(blocks, commit, uri, cid, tuple(path))


def prove_paths(
    blocks: Blocks, commit: VerifiedCommit, uris: Sequence[AtUri]
) -> Iterator[VerifiedRecord | VerifiedAbsence]:
    """`prove_path` for many, in their order: a node on the way to several is looked at once."""
    for uri in uris:
        _require_record(uri, commit.did)
    keys = [f"{uri.collection}/{uri.rkey}" for uri in uris]
    traced = mst.traces(blocks.raw.get, commit.data, keys)  # (7)
    for uri, key in zip(uris, keys, strict=True):
        yield _found(blocks, commit, uri, *traced[key])


def _found(
    blocks: Blocks, commit: VerifiedCommit, uri: AtUri, cid: Cid | None, path: Steps
) -> VerifiedRecord | VerifiedAbsence:
    """What the tree led to: a record that is still to be read, or none."""
    steps = ((commit.cid.bytes, blocks[commit.cid]), *path)
    if cid is None:
        return VerifiedAbsence(uri, commit, steps, _SEAL)
    return _decoded(uri, cid.bytes, blocks.raw.get(cid.bytes), commit, steps)


def _decoded(
    uri: AtUri, cid: bytes, block: bytes | None, commit: VerifiedCommit, path: Steps
) -> VerifiedRecord:
    """Step 8: the record that ``path`` leads to."""
    name = Cid(cid)
    if block is None:
        raise ProofError(f"incomplete: record {name} of {uri} is missing")
    if len(block) > MAX_VALUES:  # or it cannot have so many
        check_count(block, 0, MAX_VALUES)
    value = decode(block)
    if not isinstance(value, dict) or value.get("$type") != uri.collection:
        found = value.get("$type") if isinstance(value, dict) else value
        raise ProofError(f"expected a record of $type {uri.collection}, got {quote(found)}")
    return VerifiedRecord(uri, name, block, value, commit, (*path, (cid, block)), _SEAL)


def _root(car: Car, identity: Identity) -> VerifiedCommit:
    if len(car.roots) != 1:
        raise ProofError(f"expected a CAR file with one root, got {len(car.roots)}")
    root = car.roots[0]
    return prove_commit(root, commit_at(car.blocks, root), identity)  # (5)


def _prove(blocks: Blocks, commit: VerifiedCommit, uri: AtUri) -> VerifiedRecord:
    found = prove_path(blocks, commit, uri)
    if isinstance(found, VerifiedAbsence):
        raise RecordAbsent(f"there is no {uri} (signed at rev {commit.rev})", proof=found)
    return found


def _require_record(uri: AtUri, did: Did) -> None:
    if uri.did != did:
        raise IdentityMismatch(f"{uri} cannot be proved with the identity of {did}")
    if uri.collection is None or uri.rkey is None:
        raise InvalidSyntax(f"{uri} names no single record: collection and record key are needed")


def _proof(commit: VerifiedCommit, steps: Steps) -> bytes:
    return join_car(commit.cid, steps)
