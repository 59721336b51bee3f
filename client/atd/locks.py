"""The lockfile, ``atd.lock``: which exact content a program loads, to be kept beside it.

What belongs here: `Pin` and `Lock`, the file (TOML: readable, diffable, the same bytes for the same
pins), and comparing a pin with what a daemon answers. A pin names the publisher by DID and content
by CID, so neither a handle that changes hands nor a version that is written anew goes unnoticed,
and loading what is in the store needs no network.

The head record is not pinned: it is the card, which may be corrected without touching the data. The
release is, and with it everything it refers to by CID; the rest is pinned as well so that a change
is seen in a diff, and an error can name the part that differs.

::

    version = 1

    [dataset."@alice.example.com/flowers"]
    did = "did:plc:…"
    version = "1.0.0"
    release = "bafyrei…"
    schema = "bafyrei…"

    [dataset."@alice.example.com/flowers".split.train]
    samples = 1000
    shards = 12
    size = 734003200
    digest = "sha256:…"         # over one line "DIGEST SIZE SAMPLES" for each shard, in order
    parts = ["bafyrei…"]
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atd import api
from atd.connection import Connection, Param
from atd.disk import write_whole
from atd.errors import AtdError, BadSource, LocalError, PinMismatch
from atd.names import check_split, check_version
from atd.protocol.cid import Cid
from atd.protocol.syntax import Did, quote
from atd.refs import DatasetRef, parse_dataset_ref

FILE_NAME: Final = "atd.lock"
MAX_LOCK_BYTES: Final = 64 * 2**20
_VERSION: Final = 1
_HEAD: Final = """\
# Which exact content is loaded. Written by: atd lock REF
# Changed by: atd lock --update; compared with what is published by: atd lock --check
version = 1
"""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PIN_KEYS: Final = {"did", "version", "release", "schema", "split"}
_SPLIT_KEYS: Final = {"samples", "shards", "size", "digest", "parts"}

Json = Mapping[str, Any]


@dataclass(frozen=True)
class SplitPin:
    """One split: its totals, a digest over its shards, the CIDs of its shard lists."""

    samples: int
    shards: int
    size: int
    digest: str
    parts: tuple[Cid, ...]


@dataclass(frozen=True)
class Pin:
    """The content that ``ref`` stands for; ``ref`` is what a program says, with no split."""

    ref: DatasetRef
    did: Did
    version: str
    release: Cid
    schema: Cid
    splits: Mapping[str, SplitPin]

    @property
    def place(self) -> DatasetRef:
        """Where it is, by DID and version: the same whoever has the handle now."""
        return DatasetRef(self.did, self.ref.name, self.version)

    @classmethod
    def of(cls, ref: DatasetRef, answer: Json) -> Pin:
        """What ``network.atd.catalog.getRelease`` answered for ``ref``, as a pin."""
        return cls(
            ref=replace(ref, split=None),
            did=Did(answer["did"]),
            version=answer["version"],
            release=Cid.parse(answer["cid"]),
            schema=Cid.parse(answer["schema"]["cid"]),
            splits={one["name"]: _split_pin(one) for one in answer["splits"]},
        )

    def check(self, answer: Json, where: str) -> None:
        """Refuse an answer of ``getRelease`` that is not this very content.

        Args:
            answer: for all splits, or for some of them.
            where: names the lockfile in the error.

        Raises:
            PinMismatch: says what was pinned and what came.
        """
        came = Pin.of(self.ref, answer)
        for what in ("did", "version", "release", "schema"):
            self._same(where, what, getattr(self, what), getattr(came, what))
        for name, split in came.splits.items():
            self._same(where, f"split {name}", self.splits.get(name), split)

    def differences(self, other: Pin) -> list[str]:
        """What ``other`` has otherwise, in words; empty where they are the same content."""
        found = [
            f"{what} {getattr(self, what)} -> {getattr(other, what)}"
            for what in ("did", "version", "release", "schema")
            if getattr(self, what) != getattr(other, what)
        ]
        for name in sorted({*self.splits, *other.splits}):
            before, after = self.splits.get(name), other.splits.get(name)
            if before != after:
                found.append(f"split {name}: {_totals(before)} -> {_totals(after)}")
        return found

    def _same(self, where: str, what: str, pinned: object, came: object) -> None:
        if pinned != came:
            pinned, came = (
                one.digest if isinstance(one, SplitPin) else one for one in (pinned, came)
            )
            raise PinMismatch(
                f"{self.ref}: {where} pins {what} {pinned}, but {came} came",
                next_step="see all that changed with: atd lock --check; take it with: --update",
            )


@dataclass(frozen=True)
class Lock:
    """The pins of a lockfile at ``path``, by what a program says."""

    path: Path
    pins: Mapping[DatasetRef, Pin]

    @classmethod
    def load(cls, path: str | Path) -> Lock:
        """Read a lockfile.

        Raises:
            BadSource: it is not there, cannot be read, or is not a lockfile.
        """
        file = Path(path)
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_LOCK_BYTES + 1)
        except OSError as error:
            raise BadSource(
                f"cannot read the lockfile {file}: {error.strerror}",
                next_step="make one with: atd lock REF",
            ) from None
        if len(data) > MAX_LOCK_BYTES:
            raise BadSource(f"a lockfile has at most {MAX_LOCK_BYTES} bytes, {file} has more")
        try:
            return cls(file, _read(tomllib.loads(data.decode())))
        except (AtdError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadSource(
                f"{file} is not a lockfile that can be read: {error}",
                next_step="restore it, or make another with: atd lock REF -o FILE",
            ) from None

    def write(self) -> None:
        """Replace the file in one go; the same pins give the same bytes.

        Raises:
            StorageFault: it cannot be written.
        """
        write_whole(self.path, self.text().encode())

    def text(self) -> str:
        """The file, entries in the order of their names."""
        entries = (_entry(self.pins[ref]) for ref in sorted(self.pins, key=str))
        return _HEAD + "".join(entries)

    def with_pins(self, pins: Iterable[Pin]) -> Lock:
        """The same with these pins added, or in place of those of the same name."""
        return Lock(self.path, {**self.pins, **{pin.ref: pin for pin in pins}})

    def find(self, ref: DatasetRef) -> Pin:
        """The pin for ``ref``, which may name it by the handle or by the DID that is pinned.

        Raises:
            LocalError: it is not in the lockfile.
            PinMismatch: another version of it is.
        """
        exact = self.pins.get(replace(ref, split=None))
        if exact is not None:
            return exact
        known = [
            pin
            for pin in self.pins.values()
            if pin.ref.name == ref.name and ref.authority in (pin.ref.authority, pin.did)
        ]
        for pin in known:
            if ref.version in (None, pin.version) and ref.alias in (None, pin.ref.alias):
                return pin
        if known:
            raise PinMismatch(
                f"{ref}: {self.path} pins version {known[0].version}, not "
                f"{ref.version or ref.alias}",
                next_step=f"ask for that one, or pin this one with: atd lock {ref}",
            )
        raise LocalError(f"{ref} is not in {self.path}", next_step=f"pin it with: atd lock {ref}")


def lock(
    refs: Iterable[str], file: str | Path = FILE_NAME, *, connection: Connection | None = None
) -> Lock:
    """Pin what ``refs`` stand for now, in a lockfile that is made or added to.

    Args:
        refs: ``@handle/name`` (its latest version now), ``@handle/name@version``.
        file: the lockfile; what else it pins stays as it is.
        connection: the daemon to ask; the one that the environment names where it is None.

    Raises:
        AtdError: what stood in the way of a proof; then nothing is written.
        StorageFault: the file cannot be written.
    """
    path = Path(file)
    known = Lock.load(path) if path.exists() else Lock(path, {})
    made = known.with_pins([pin_now(parse_dataset_ref(ref), connection) for ref in refs])
    made.write()
    return made


def pin_now(ref: DatasetRef, connection: Connection | None = None) -> Pin:
    """What ``ref`` stands for now, proved; raises what the daemon raised."""
    whole = replace(ref, split=None)
    question: dict[str, Param] = {"ref": str(whole)}
    return Pin.of(whole, (connection or Connection()).call(api.GET_RELEASE, question))


def pinned_answer(
    lockfile: str | Path | Lock, ref: DatasetRef, params: Mapping[str, Param], daemon: Connection
) -> dict[str, Any]:
    """The answer of ``getRelease`` for what a lockfile pins ``ref`` to, and for nothing else.

    Raises:
        PinMismatch, LocalError, BadSource: as `Lock.load`, `Lock.find` and `Pin.check`.
    """
    known = lockfile if isinstance(lockfile, Lock) else Lock.load(lockfile)
    pin = known.find(ref)
    place = replace(pin.place, split=ref.split)
    answer = daemon.call(api.GET_RELEASE, {**params, "ref": str(place)})
    pin.check(answer, str(known.path))
    return answer


def _split_pin(split: Json) -> SplitPin:
    shards = split["shards"]
    lines = "".join(f"{one['digest']} {one['size']} {one['samples']}\n" for one in shards)
    return SplitPin(
        samples=split["samples"],
        shards=len(shards),
        size=split["size"],
        digest="sha256:" + hashlib.sha256(lines.encode("ascii")).hexdigest(),
        parts=tuple(Cid.parse(part) for part in split["parts"]),
    )


def _totals(split: SplitPin | None) -> str:
    if split is None:
        return "none"
    return f"{split.samples} samples in {split.shards} shards ({split.digest[7:19]})"


# ---- the file


def _entry(pin: Pin) -> str:
    """One data set as TOML. Nothing in it needs escaping: every string was checked for its form."""
    name = f'dataset."{pin.ref}"'
    lines = [
        "",
        f"[{name}]",
        f'did = "{pin.did}"',
        f'version = "{pin.version}"',
        f'release = "{pin.release}"',
        f'schema = "{pin.schema}"',
    ]
    for split, one in sorted(pin.splits.items()):
        parts = [f'    "{part}",' for part in one.parts]
        lines += [
            "",
            f'[{name}.split."{split}"]',
            f"samples = {one.samples}",
            f"shards = {one.shards}",
            f"size = {one.size}",
            f'digest = "{one.digest}"',
            "parts = [",
            *parts,
            "]",
        ]
    return "\n".join(lines) + "\n"


def _read(table: Json) -> dict[DatasetRef, Pin]:
    if table.get("version") != _VERSION:
        raise ValueError(f"expected version {_VERSION}, got {quote(table.get('version'))}")
    _only(table, {"version", "dataset"}, "the file")
    entries = table.get("dataset", {})
    if not isinstance(entries, dict):
        raise ValueError(f"expected data sets, got {quote(entries)}")
    pins = (_read_pin(name, one) for name, one in entries.items())
    return {pin.ref: pin for pin in pins}


def _read_pin(name: str, value: Json) -> Pin:
    ref = parse_dataset_ref(name)
    if str(ref) != name or ref.split is not None:
        raise ValueError(f"expected {replace(ref, split=None)}, got {quote(name)}")
    _only(value, _PIN_KEYS, name)
    version = check_version(value["version"])
    if ref.version not in (None, version):
        raise ValueError(f"{name} is pinned to version {version}")
    return Pin(
        ref=ref,
        did=Did.parse(value["did"]),
        version=version,
        release=Cid.parse(value["release"]),
        schema=Cid.parse(value["schema"]),
        splits={
            check_split(key): _read_split(key, one) for key, one in dict(value["split"]).items()
        },
    )


def _read_split(name: str, value: Json) -> SplitPin:
    _only(value, _SPLIT_KEYS, f"split {name}")
    counts = [value[what] for what in ("samples", "shards", "size")]
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"split {name}: expected whole numbers, got {quote(counts)}")
    digest = value["digest"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"split {name}: expected sha256:…, got {quote(digest)}")
    samples, shards, size = counts
    return SplitPin(
        samples, shards, size, digest, tuple(Cid.parse(part) for part in value["parts"])
    )


def _only(value: Json, keys: set[str], what: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"expected {what} to be a table, got {quote(value)}")
    unknown = sorted(value.keys() - keys)
    if unknown:
        raise ValueError(f"{what} has {quote(unknown[0])}, expected {', '.join(sorted(keys))}")
