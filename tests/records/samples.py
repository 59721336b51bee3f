"""One valid record of each kind, and records that are really proved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from atd import records
from atd.protocol import car, cbor, commit, keys, mst
from atd.protocol.cbor import RAW, Cid
from atd.protocol.identity import Identity
from atd.protocol.proof import VerifiedRecord, verify_record
from atd.protocol.syntax import AtUri, Did, Tid
from atd.records import (
    Alias,
    BlobRef,
    Creator,
    CutParameters,
    Dataset,
    IndexFile,
    Layout,
    Record,
    Release,
    SchemaRecord,
    ShardEntry,
    ShardPart,
    Split,
    StrongRef,
)
from atd.schema.fields import Array, Field, Image, Label, Schema

ALICE = Did.parse("did:plc:7iza6de2dwap2sbkpav7c6c6")
MALLORY = Did.parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
NOW = datetime(2025, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
PART = "3kznmn7xqxl22"
DIGEST = Cid.of(b"shard", RAW)
KEY = keys.PrivateKey.from_bytes("k256", b"\x01" * 32)


def at(collection: str, rkey: str, did: Did = ALICE) -> AtUri:
    return AtUri.parse(f"at://{did}/{collection}/{rkey}")


def ref(collection: str, rkey: str, did: Did = ALICE) -> StrongRef:
    return StrongRef(at(collection, rkey, did), Cid.of(b"record"))


SCHEMA = SchemaRecord(
    name="flowers",
    version="1.0.0",
    schema=Schema(
        (
            Field("image", Image(("image/jpeg",)), description="The photograph."),
            Field("label", Label("rose", "tulip")),
            Field("mask", Array("uint8", (None, None)), optional=True, unit="1", aliases=("seg",)),
        )
    ),
    created_at=NOW,
    description="Flowers, one to an image.",
)
SHARDS = ShardPart(
    shards=(
        ShardEntry("train-00000.tar", DIGEST, 1024, 3, BlobRef(DIGEST, "application/x-tar", 1024)),
        ShardEntry(
            name="train-00001.tar",
            digest=Cid.of(b"second", RAW),
            size=2048,
            samples=4,
            urls=("second.tar", "https://mirror.example/second.tar"),
            index=IndexFile(Cid.of(b"index", RAW), 99, urls=("second.idx",)),
        ),
    ),
    created_at=NOW,
    bases=("https://data.example/flowers/", "https://backup.example/"),
)
PARTS = ShardPart(shards=(), created_at=NOW, parts=(ref(records.SHARDS, PART),))
RELEASE = Release(
    name="flowers",
    version="1.1.0",
    schema=ref(records.SCHEMA, "flowers:1.0.0"),
    layout=Layout("members", {"image": "jpg", "label": "cls", "mask": "seg.png"}),
    splits=(
        Split("train", (ref(records.SHARDS, PART),), samples=7, shards=2, size=3072),
        Split("test", (ref(records.SHARDS, "3kznmn7xqxl23"),), samples=1, shards=1, size=1024),
    ),
    samples=8,
    size=4096,
    created_at=NOW,
    cuts=CutParameters(min_bytes=1000),
    previous=ref(records.RELEASE, "flowers:1.0.0"),
    notes="One more.",
    derived_from=(ref(records.RELEASE, "plants:2.0.0", MALLORY),),
)
DATASET = Dataset(
    name="flowers",
    latest=ref(records.RELEASE, "flowers:1.1.0"),
    created_at=NOW,
    updated_at=NOW,
    title="Flowers",
    description="Photographs of *flowers*.",
    license="CC-BY-4.0",
    tags=("flowers", "植物"),
    tasks=("image-classification",),
    creators=(Creator("Alice", ALICE, "https://orcid.org/0000-0002-1825-0097"),),
    citation="Alice (2025)",
    homepage="https://flowers.example/",
    agreement="Be kind.",
    deprecated="Use plants.",
    aliases=(
        Alias("stable", ref(records.RELEASE, "flowers:1.0.0")),
        Alias("next", ref(records.RELEASE, "flowers:1.1.0")),
    ),
)

VALID: dict[str, tuple[Record, str]] = {
    "schema": (SCHEMA, "flowers:1.0.0"),
    "shards": (SHARDS, PART),
    "parts": (PARTS, PART),
    "release": (RELEASE, "flowers:1.1.0"),
    "dataset": (DATASET, "flowers"),
}


def value(name: str) -> dict[str, Any]:
    """The record as a PDS would give it: encoded and decoded."""
    decoded = cbor.decode(cbor.encode(VALID[name][0].to_value()))
    assert isinstance(decoded, dict)
    return decoded


def uri(name: str) -> AtUri:
    record, rkey = VALID[name]
    return at(record.NSID, rkey)


def proved(where: AtUri, content: dict[str, Any]) -> VerifiedRecord:
    """``content`` signed and proved at ``where``, in a repository of its own."""
    block = cbor.encode(content)
    cid = Cid.of(block)
    root, nodes = mst.build({f"{where.collection}/{where.rkey}": cid})
    signed = commit.Commit.sign(where.did, Tid.from_micros(1_700_000_000_000_000, 0), root, KEY)
    blocks = [(signed.cid, signed.encode()), *nodes.items(), (cid, block)]
    identity = Identity(did=where.did, key=KEY.public, pds="https://pds.example", claimed=())
    return verify_record(car.write_car(signed.cid, blocks), identity, where)
