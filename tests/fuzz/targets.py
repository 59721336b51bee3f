"""Every reader of foreign bytes, as a function that a fuzzer can call.

A target takes any bytes and comes back, or raises what it found: an exception that its reader never
promised, or a broken law (read and written again it is the same; the quick way and the strict one
agree). What a reader refuses with its own typed error is no finding.

`TARGETS` is used by ``make fuzz`` (`fuzz.run`), and by `fuzz.test_targets`, which plays all inputs
that were ever found to be wrong (``vectors/TARGET/*.hex``), the seeds, and mutations of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fuzz import cards, events, protocol, shards

VECTORS = Path(__file__).parent / "vectors"


class Target(NamedTuple):
    """A reader to attack: what is called, and right inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def found(name: str) -> dict[str, bytes]:
    """The inputs of a target that were found to be wrong once, by what they are; kept in hex."""
    return {
        path.stem: bytes.fromhex(path.read_text("ascii"))
        for path in sorted((VECTORS / name).glob("*.hex"))
    }


TARGETS: dict[str, Target] = {
    "cbor": Target(protocol.cbor, protocol.cbor_seeds),
    "car": Target(protocol.car, protocol.car_seeds),
    "mst": Target(protocol.mst, protocol.mst_seeds),
    "commit": Target(protocol.commit, protocol.commit_seeds),
    "proof": Target(protocol.proof, protocol.proof_seeds),
    "message": Target(events.message, events.message_seeds),
    "undo": Target(events.undo, events.undo_seeds),
    "stream": Target(events.stream, events.stream_seeds),
    "identity": Target(protocol.identity, protocol.identity_seeds),
    "lexicon": Target(protocol.lexicon, protocol.lexicon_seeds),
    "record": Target(protocol.record, protocol.record_seeds),
    "syntax": Target(protocol.syntax, protocol.syntax_seeds),
    "array": Target(shards.array, shards.array_seeds),
    "json": Target(shards.json_text, shards.json_seeds),
    "sample": Target(shards.sample, shards.sample_seeds),
    "members": Target(shards.members, shards.members_seeds),
    "tar": Target(shards.archive, shards.archive_seeds),
    "sidecar": Target(shards.sidecar, shards.sidecar_seeds),
    "infer": Target(shards.infer, shards.infer_seeds),
    "picture": Target(shards.picture, shards.picture_seeds),
    "whole picture": Target(shards.whole_picture, shards.whole_picture_seeds),
    "sound": Target(shards.sound, shards.sound_seeds),
    "card files": Target(cards.files, cards.files_seeds),
    "card draft": Target(cards.draft, cards.draft_seeds),
}
