"""Making a bundle out of proofs and key evidence. Whoever makes one checks it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from atd.bundles.manifest import Manifest
from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, Value, encode


def make_bundle(
    manifest: Manifest, operations: Iterable[Mapping[str, Value]], proofs: Sequence[bytes]
) -> bytes:
    """The bytes of a bundle.

    Args:
        manifest: what it is to say.
        operations: every operation that the manifest names, as it was signed.
        proofs: for each record of the manifest, in its order, the smallest CAR that proves it
            (`atd.protocol.proof.VerifiedRecord.proof`).

    Raises:
        ProofError: a proof is no CAR.
    """
    root = manifest.encode()
    blocks: dict[Cid, bytes] = {Cid.of(root): root}
    for operation in operations:
        block = encode(dict(operation))
        blocks[Cid.of(block)] = block
    for proof in proofs:
        for cid, block in read_car(proof).blocks.items():
            blocks.setdefault(cid, block)
    return write_car(Cid.of(root), blocks.items())
