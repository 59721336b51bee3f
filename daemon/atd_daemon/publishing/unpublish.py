"""The undo: a data set's records go. What others copied stays; that is said, not hidden.

Belongs here: which records are its own, deleting them, proving that they are gone. The head goes
first, so that at no moment a data set is listed whose release is gone; then the shard lists, and
the releases last, for they are what leads a later run to what an interrupted one left. A shard list
or schema that another data set refers to stays.

References are read out of the records as they are: one that is damaged can be unpublished too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from atd.errors import NeedsConsent, ProofError, RecordAbsent
from atd.names import COLLECTIONS, DATASET, RECIPE, RELEASE, SCHEMA, SHARDS
from atd.protocol.cbor import Cid, Value, decode
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedRepo
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey
from atd.records import head_uri
from atd_daemon.publishing.batches import Action, Write, batched
from atd_daemon.publishing.journal import Journal
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.sending import Guard, Sender
from atd_daemon.publishing.words import counted
from atd_daemon.sync.prover import Prover
from atd_daemon.sync.resolve import Resolver

_ORDER: Final = (DATASET, SHARDS, RELEASE, RECIPE, SCHEMA)


@dataclass(frozen=True)
class Unpublished:
    """What was deleted, proved absent; ``kept``: where copies of the shards may stay."""

    did: Did
    name: str
    records: tuple[AtUri, ...]
    kept: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``network.atd.publishing.unpublish#result``."""
        return {
            "did": str(self.did),
            "name": self.name,
            "records": [str(uri) for uri in self.records],
            "kept": list(self.kept),
        }


def needs_consent(name: str) -> NeedsConsent:
    """The error for an undo that nobody agreed to."""
    return NeedsConsent(
        f"unpublishing {name} deletes its records, and its shards on the PDS with them; copies "
        "that others made stay where they are"
    )


@dataclass
class Undo:
    """Deletes one data set of ``identity``."""

    identity: Identity
    name: str
    resolver: Resolver
    prover: Prover
    sender: Sender
    patience: Patience
    journal: Journal
    listener: Listener

    async def run(self) -> Unpublished:
        """Delete everything of the data set that nothing else needs.

        Raises:
            RecordAbsent: there is no such data set, proved.
            AtdError: what cannot be waited out; running it again goes on.
        """
        did, head = self.identity.did, head_uri(self.identity.did, self.name)
        repo = await self._repo()
        records = _Records.of(repo)
        doomed = records.doomed(self.name)
        if not doomed:
            await self.resolver.record(head, refresh=True, allow_previous_key=True)
            raise RecordAbsent(f"{did} has no data set {self.name}")
        self.listener.step(name="found", detail=counted(len(doomed), "record"))
        writes = [Write(Action.DELETE, uri) for uri in doomed]
        await self.sender.send(batched(writes), Guard(head, repo.entries.get(head.path)))
        left = [uri for uri in doomed if uri.path in (await self._repo()).entries]
        if left:
            raise ProofError(f"{left[0]} was deleted, but is proved to be there still")
        self.listener.step(name="proved", detail=f"{counted(len(doomed), 'record')} gone")
        await self._forget(records, doomed)
        return Unpublished(did, self.name, tuple(doomed), records.kept(doomed))

    async def _repo(self) -> VerifiedRepo:
        proven = await self.patience.harmless(
            "reading the repository", lambda: self.prover.repo(self.identity)
        )
        return proven.what

    async def _forget(self, records: _Records, doomed: list[AtUri]) -> None:
        """Blobs go with the last reference to them; the index follows the repository."""
        place = f"{self.identity.pds} {self.identity.did}"
        self.journal.forget_uploads(place, set(records.digests(doomed)))
        await self.patience.harmless(
            "bringing the index up to date", lambda: self.resolver.publisher(self.identity.did)
        )


@dataclass(frozen=True)
class _Records:
    """Our records in a repository, raw, and what refers to what."""

    values: Mapping[AtUri, Value]

    @classmethod
    def of(cls, repo: VerifiedRepo) -> _Records:
        """Those of our collections; one that does not decode counts as empty."""
        values: dict[AtUri, Value] = {}
        for collection in COLLECTIONS:
            for key in repo.keys(Nsid(collection)):
                uri = AtUri(repo.commit.did, Nsid(collection), RecordKey(key))
                values[uri] = _decoded(repo, uri)
        return cls(values)

    def doomed(self, name: str) -> list[AtUri]:
        """What goes with the data set ``name``, in the order in which it goes."""
        roots = [
            uri
            for uri in self.values
            if (uri.collection == DATASET and uri.rkey == name)
            or (
                uri.collection in (RELEASE, SCHEMA, RECIPE) and str(uri.rkey).startswith(f"{name}:")
            )
        ]
        own = {uri for uri in roots if uri.collection != SCHEMA}
        reached = self._reached(roots) | set(roots)
        others = [
            uri for uri in self.values if uri.collection in (DATASET, RELEASE) and uri not in own
        ]
        needed = self._reached(others)
        going = [uri for uri in reached if uri in own or uri not in {*needed, *others}]
        return sorted(going, key=lambda uri: (_ORDER.index(str(uri.collection)), str(uri)))

    def _reached(self, roots: list[AtUri]) -> set[AtUri]:
        """Every record that these lead to: schemas and shard lists, not other releases."""
        found: set[AtUri] = set()
        waiting = list(roots)
        while waiting:
            for text in _strings(self.values[waiting.pop()]):
                uri = _uri(text)
                known = uri in self.values and uri not in found
                if uri is not None and known and uri.collection in (SCHEMA, SHARDS):
                    found.add(uri)
                    waiting.append(uri)
        return found

    def digests(self, uris: list[AtUri]) -> Iterator[Cid]:
        """The digests of the shards that these records list, and of the previews they name."""
        for uri in uris:
            value = self.values[uri]
            preview = value.get("preview") if isinstance(value, dict) else None
            if isinstance(preview, dict) and isinstance(cid := preview.get("ref"), Cid):
                yield cid
            shards = value.get("shards") if isinstance(value, dict) else None
            for shard in shards if isinstance(shards, list) else ():
                if isinstance(shard, dict) and isinstance(digest := shard.get("digest"), Cid):
                    yield digest

    def kept(self, uris: list[AtUri]) -> tuple[str, ...]:
        """The servers, other than the PDS, that these records name for shards."""
        found: set[str] = set()
        for uri in uris:
            if uri.collection == SHARDS:
                texts = [text for text in _strings(self.values[uri]) if "://" in text]
                parts = [urlsplit(text) for text in texts if text.startswith("http")]
                found |= {f"{part.scheme}://{part.netloc}" for part in parts}
        return tuple(sorted(found))


def _decoded(repo: VerifiedRepo, uri: AtUri) -> Value:
    try:
        return decode(repo.blocks[repo.entries[uri.path]])
    except ProofError:
        return None


def _uri(text: str) -> AtUri | None:
    try:
        return AtUri.parse(text) if text.startswith("at://") else None
    except ValueError:
        return None


def _strings(value: Value) -> Iterator[str]:
    """Every string in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
