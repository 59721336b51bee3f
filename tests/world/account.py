"""One account: its keys, its signed tree, its blobs, and every state that the tree ever had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from atd.errors import ProofError
from atd.protocol import mst
from atd.protocol.car import write_car
from atd.protocol.cbor import RAW, Cid, Value, decode, encode
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import Curve, PrivateKey
from atd.protocol.syntax import AtUri, Did, Handle, Nsid, RecordKey, Tid
from world.plc import document_of
from world.wire import Answer, Call, json_answer, text_answer

if TYPE_CHECKING:
    from world.network import World
    from world.pds import Pds


@dataclass(frozen=True)
class Strong:
    """What a write returns: enough for a strongRef."""

    uri: AtUri
    cid: Cid

    def to_value(self) -> dict[str, Value]:
        """As records spell it."""
        return {"uri": str(self.uri), "cid": str(self.cid)}


@dataclass(frozen=True)
class Snapshot:
    """The repository after one commit; ``records`` maps ``collection/rkey`` to a block's CID."""

    commit: Commit
    records: Mapping[str, Cid]
    tree: Mapping[Cid, bytes]
    blocks: Mapping[Cid, bytes]

    def record_car(self, key: str) -> bytes:
        """The proof of one record, or of its absence."""
        path = mst.proof_blocks(self.tree, self.commit.data, key)
        found = self.records.get(key)
        blocks = [(self.commit.cid, self.commit.encode())]
        blocks += [(cid, self.tree[cid]) for cid in path]
        if found is not None:
            blocks.append((found, self.blocks[found]))
        return write_car(self.commit.cid, blocks)

    def repo_car(self) -> bytes:
        """The whole repository."""
        blocks = [(self.commit.cid, self.commit.encode()), *self.tree.items()]
        blocks += [(cid, self.blocks[cid]) for cid in dict.fromkeys(self.records.values())]
        return write_car(self.commit.cid, blocks)


def key_for(*words: object, curve: Curve = "k256") -> PrivateKey:
    """A private key that is always the same for the same words."""
    return PrivateKey.from_bytes(curve, sha256(repr(words).encode()).digest())


class Account:
    """An account of the world. Made by `world.pds.Pds.account`."""

    def __init__(
        self, pds: Pds, handle: str, *, did: str | None = None, curve: Curve = "k256"
    ) -> None:
        self.world: World = pds.world
        self.pds = pds
        self.handle = Handle.parse(handle)
        self.curve: Curve = curve
        self.password = "hunter2"
        self.status = "active"
        self.key = key_for(handle, 0, curve=curve)
        self.keys = [self.key]
        self._rotation_key = key_for(handle, "rotation")
        self._web_claims = [f"at://{handle}"]
        if did is None:
            self.did = self.world.plc.create(self.key, self._rotation_key, handle, pds.url)
        else:
            self.did = Did.parse(did)
        self.blobs: dict[Cid, tuple[bytes, str]] = {}
        self.blocks: dict[Cid, bytes] = {}
        self.history: list[Snapshot] = []
        self._commit({})

    # --- its repository --------------------------------------------------------------------------

    @property
    def head(self) -> Snapshot:
        """The newest state of its repository."""
        return self.history[-1]

    def put(self, collection: str, rkey: str, value: Mapping[str, Any]) -> Strong:
        """Write one record in a commit of its own; ``$type`` is filled in where it is missing."""
        return self.put_many([(collection, rkey, value)])[0]

    def put_many(self, writes: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[Strong]:
        """Write several records in one commit."""
        records, done = dict(self.head.records), []
        for collection, rkey, value in writes:
            block = encode({"$type": collection, **value})
            done.append(self._place(records, collection, rkey, block))
        self._commit(records)
        return done

    def put_block(self, collection: str, rkey: str, block: bytes) -> Strong:
        """Sign whatever bytes as a record, valid or not."""
        records = dict(self.head.records)
        done = self._place(records, collection, rkey, block)
        self._commit(records)
        return done

    def delete(self, collection: str, rkey: str) -> None:
        """Delete one record."""
        records = dict(self.head.records)
        del records[f"{collection}/{rkey}"]
        self._commit(records)

    def commit(self) -> None:
        """Sign a new commit over the same records."""
        self._commit(dict(self.head.records))

    def uri(self, collection: str, rkey: str) -> AtUri:
        """The AT-URI of one of its records."""
        return AtUri(self.did, Nsid.parse(collection), RecordKey.parse(rkey))

    def blob(self, data: bytes, mime: str = "application/octet-stream") -> dict[str, Value]:
        """Upload a blob; returns the object that goes into a record."""
        cid = Cid.of(data, RAW)
        self.blobs[cid] = data, mime
        return {"$type": "blob", "ref": cid, "mimeType": mime, "size": len(data)}

    def store(self, value: Value) -> Cid:
        """Keep a record's block for a later `replace`; returns its CID."""
        block = encode(value)
        cid = Cid.of(block)
        self.blocks[cid] = block
        return cid

    def value(self, cid: Cid) -> Value:
        """The record behind a CID; None for bytes that do not decode."""
        try:
            return decode(self.blocks[cid])
        except ProofError:
            return None

    def tid(self) -> Tid:
        """A fresh TID of the world's clock."""
        return self.world.tid()

    def replace(self, records: Mapping[str, Cid], *, rev: Tid | None = None) -> None:
        """Sign a commit over these records, at any revision."""
        self._commit(records, rev=rev)

    def _place(self, records: dict[str, Cid], collection: str, rkey: str, block: bytes) -> Strong:
        cid = Cid.of(block)
        self.blocks[cid] = block
        records[f"{collection}/{rkey}"] = cid
        return Strong(self.uri(collection, rkey), cid)

    def _commit(self, records: Mapping[str, Cid], *, rev: Tid | None = None) -> None:
        root, tree = mst.build(records)
        commit = Commit.sign(self.did, rev or self.tid(), root, self.key)
        self.history.append(Snapshot(commit, dict(records), tree, self.blocks))
        if self.did in self.pds.accounts:
            self.pds.firehose.commit(self)

    # --- its identity ----------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """What an honest resolution gives."""
        return Identity(self.did, self.key.public, self.pds.url, (self.handle,), self.handle)

    @property
    def document(self) -> dict[str, Any]:
        """Its DID document."""
        if self.did.method == "plc":
            return document_of(self.did, self.world.plc.accounts[self.did].current)
        fields = {
            "alsoKnownAs": self._web_claims,
            "verificationMethods": {"atproto": self.key.public.to_did_key()},
            "services": {
                "atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": self.pds.url}
            },
        }
        return document_of(self.did, fields)

    def rotate_key(self, *, commit: bool = False) -> None:
        """Take a new signing key; the head stays signed by the old one until the next commit."""
        self.key = key_for(self.handle, len(self.keys), curve=self.curve)
        self.keys.append(self.key)
        if self.did.method == "plc":
            methods = {"atproto": self.key.public.to_did_key()}
            self.world.plc.update(self.did, verificationMethods=methods)
        self.pds.firehose.identity(self)
        if commit:
            self.commit()

    def claim(self, *handles: str) -> None:
        """Claim these handles in the DID document, and no others."""
        aliases = [f"at://{handle}" for handle in handles]
        if self.did.method == "plc":
            self.world.plc.update(self.did, alsoKnownAs=aliases)
        else:
            self._web_claims = aliases
        self.pds.firehose.identity(self)

    def become(self, status: str) -> None:
        """Be ``active`` again, or ``deactivated``, ``suspended``, ``takendown``."""
        self.status = status
        self.pds.firehose.account(self)

    def migrate(self, pds: Pds, *, rotate: bool = True) -> None:
        """Move to another PDS, as a migration does: same records, same head, new key."""
        old = self.pds
        del old.accounts[self.did]
        old.firehose.put("#account", {"did": self.did, "active": False, "status": "deactivated"})
        self.pds = pds
        pds.accounts[self.did] = self
        service = {"type": "AtprotoPersonalDataServer", "endpoint": pds.url}
        if self.did.method == "plc":
            self.world.plc.update(self.did, services={"atproto_pds": service})
        if rotate:
            self.rotate_key()
        pds.firehose.identity(self)
        pds.firehose.account(self)
        pds.firehose.sync(self)

    def serve_document(self) -> None:
        """Answer for the DID document at the place that its did:web names."""
        host = self.did.removeprefix("did:web:").replace("%3A", ":")

        async def answer(call: Call) -> Answer:
            return json_answer(self.document)

        self.world.route(host, "/.well-known/did.json", answer)

    def serve_handle(self, did: str | None = None) -> None:
        """Answer for the handle by HTTPS, with its DID or another."""

        async def answer(call: Call) -> Answer:
            return text_answer(did or self.did)

        self.world.route(self.handle, "/.well-known/atproto-did", answer)
