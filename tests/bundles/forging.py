"""Taking a bundle apart and putting it together otherwise, hashes right, as a forger would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atd.protocol.car import read_car, write_car
from atd.protocol.cbor import Cid, decode, encode

Blocks = dict[Cid, bytes]


def blocks_of(data: bytes) -> Blocks:
    """The blocks of a bundle without its manifest."""
    car = read_car(data)
    return {cid: block for cid, block in car.blocks.items() if cid != car.roots[0]}


def manifest_of(data: bytes) -> Any:
    """What a bundle says, to be changed at will."""
    car = read_car(data)
    return decode(car.blocks[car.roots[0]])


def bundle(manifest: object, blocks: Mapping[Cid, bytes]) -> bytes:
    """A bundle with this manifest before these blocks."""
    root = encode(manifest)  # type: ignore[arg-type]
    return write_car(Cid.of(root), [(Cid.of(root), root), *blocks.items()])


def saying(data: bytes, change: Callable[[Any], None]) -> bytes:
    """The bundle with another manifest."""
    manifest = manifest_of(data)
    change(manifest)
    return bundle(manifest, blocks_of(data))


def swapping(data: bytes, old: Cid, new: bytes) -> bytes:
    """The bundle with another block in the place of one, named so wherever the manifest did."""
    cid = Cid.of(new)

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [renamed(item) for item in value]
        return cid if value == old else value

    blocks = {cid if k == old else k: new if k == old else v for k, v in blocks_of(data).items()}
    return bundle(renamed(manifest_of(data)), blocks)
