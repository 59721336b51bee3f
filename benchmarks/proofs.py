"""How much of a proof is the signature: record proofs, and a whole repository.

    python benchmarks/proofs.py

Prints ratios. A record proof should run at 85 % or more of the rate of the bare secp256k1
verification by `cryptography` in the same run; a repository of 10,000 records should be verified,
its records not decoded, in 0.3 s or less.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from atd.protocol import keys, mst_node
from atd.protocol.car import write_car
from atd.protocol.cbor import Cid, Value, encode
from atd.protocol.commit import Commit
from atd.protocol.identity import Identity
from atd.protocol.keys import PrivateKey
from atd.protocol.mst import build
from atd.protocol.proof import verify_record, verify_repo
from atd.protocol.syntax import AtUri, Did, Nsid, RecordKey, Tid

RECORDS = 10_000
PROOFS = 1_000
ROUNDS = 9
COLLECTION = Nsid("com.example.catalog.dataset")
OWNER = Did("did:plc:7iza6de2dwap2sbkpav7c6c6")
START_US = 1_700_000_000_000_000


def record(number: int) -> dict[str, Value]:
    """A record of about 1 KB, shaped like the card of a data set."""
    return {
        "$type": COLLECTION,
        "name": f"flowers-{number}",
        "title": f"Photographs of flowers, part {number}",
        "description": "Five species, photographed in daylight from above. " * 8,
        "license": "CC-BY-4.0",
        "tags": ["images", "plants", "classification"],
        "creators": [{"name": "Alice Example", "did": OWNER}, {"name": "Bob Example"}],
        "homepage": "https://example.com/flowers",
        "latest": {"cid": str(Cid.of(b"latest")), "uri": f"at://{OWNER}/com.example.release/1"},
        "preview": {
            "$type": "blob",
            "ref": Cid.of(str(number).encode(), 0x55),
            "mimeType": "image/png",
            "size": 20_000 + number,
        },
        "createdAt": "2025-01-31T12:00:00.000Z",
    }


def repository(key: PrivateKey, count: int) -> tuple[bytes, list[AtUri]]:
    """The CAR file of a repository of ``count`` records, and their URIs."""
    blocks, entries, uris = {}, {}, []
    for number in range(count):
        block = encode(record(number))
        rkey = RecordKey(Tid.from_micros(START_US + number * 1_234_567, 1))
        cid = Cid.of(block)
        blocks[cid], entries[f"{COLLECTION}/{rkey}"] = block, cid
        uris.append(AtUri(OWNER, COLLECTION, rkey))
    root, nodes = build(entries)
    commit = Commit.sign(OWNER, Tid.from_micros(START_US, 1), root, key)
    car = write_car(commit.cid, [(commit.cid, commit.encode()), *nodes.items(), *blocks.items()])
    return car, uris


def raw_verification(key: PrivateKey, commit: Commit) -> Callable[[], None]:
    """The bare signature of ``commit``, verified by `cryptography` and nothing else."""
    message, r, s = commit.unsigned(), commit.sig[:32], commit.sig[32:]
    der = encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
    curve: ec.EllipticCurve = ec.SECP256K1() if key.curve == "k256" else ec.SECP256R1()
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.public.point)
    algorithm = ec.ECDSA(SHA256())
    return lambda: public.verify(der, message, algorithm)


def seconds(function: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(key: PrivateKey, size: int) -> None:
    """Record proofs against bare signatures, in turns, so that both see the same machine."""
    identity = Identity(OWNER, key.public, "https://pds.example.com")
    car, uris = repository(key, size)
    repo = verify_repo(car, identity)
    raw = raw_verification(key, repo.commit.commit)
    chosen = [repo.record(uri) for uri in uris[:: max(1, size // PROOFS)]][:PROOFS]
    proofs = [(found.proof, found.uri) for found in chosen]

    def bare() -> None:
        for _ in proofs:
            raw()

    def in_a_row() -> None:
        for proof, uri in proofs:
            verify_record(proof, identity, uri)

    def each_alone() -> None:
        for proof, uri in proofs:
            mst_node.forget()
            verify_record(proof, identity, uri)

    rates: dict[str, list[float]] = {"in a row": [], "each alone": []}
    for _ in range(ROUNDS):
        mst_node.forget()
        took = seconds(bare)
        rates["in a row"].append(took / seconds(in_a_row))
        rates["each alone"].append(took / seconds(each_alone))
    for how, found in rates.items():
        print(
            f"{key.curve}, {size:>6} records, proofs {how:<10}:"
            f" {statistics.median(found):.0%} of the raw rate ({len(proofs) / took:,.0f}/s)"
        )


def main() -> None:
    print("libsecp256k1 (coincurve):", "yes" if keys.ACCELERATED else "no")
    k256 = PrivateKey.from_bytes("k256", hashlib.sha256(b"benchmark").digest())
    p256 = PrivateKey.from_bytes("p256", hashlib.sha256(b"benchmark").digest())
    for size in (100, 1_000, RECORDS):
        compare(k256, size)
    compare(p256, 1_000)
    car, _ = repository(k256, RECORDS)
    identity = Identity(OWNER, k256.public, "https://pds.example.com")
    took = statistics.median(seconds(lambda: verify_repo(car, identity)) for _ in range(5))
    megabytes = len(car) / 1e6
    print(f"repository of {RECORDS:,} records, {megabytes:.1f} MB: {took:.3f} s (at most 0.3)")
    print(f"a record has {len(encode(record(1)))} bytes")


if __name__ == "__main__":
    main()
