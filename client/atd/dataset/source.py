"""Where the shards of a data set are, and how one becomes a file that may be read.

What belongs here: `ShardSource` and its kinds. A source knows the shards of one or more splits and
opens each as a file whose bytes were proved: by the daemon's store for a published release, against
``atd.json`` for a folder. What was proved once is known again by one stat. It decodes nothing, and
it pickles.

A shard that was proved and yet cannot be read, or a sample in it, is asked for once more as
*suspect*: then its bytes are hashed whatever is remembered of them, and the store fetches it anew
if they changed.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from atd import api
from atd.connection import Connection
from atd.errors import AtdError, Busy, DaemonError, LocalError, StorageFault
from atd.files import FileIdentity, SealBook, look, open_shared
from atd.keeping import kept_digests
from atd.manifest import Manifest, hash_open_shard
from atd.protocol.cbor import Cid
from atd.records import Layout
from atd.schema.fields import Schema
from atd.settings import Settings

OnProgress = Callable[[Mapping[str, Any]], None]

_TRIES: Final = 20
_PAUSE_S: Final = 0.05


@dataclass(frozen=True)
class Shard:
    """One shard: ``size`` in bytes, ``samples`` in it; ``digest`` is its CID (raw, SHA-256)."""

    name: str
    digest: Cid
    size: int
    samples: int


@dataclass(frozen=True, slots=True)
class OpenShard:
    """The proved file of a shard, open and locked for reading.

    Args:
        path: where it was when it was opened.
        descriptor: of `atd.files.open_shared`; whoever has this closes it.
        cache: the folder of the cache that has the shard's sidecar.
    """

    path: Path
    descriptor: int
    cache: Path


@dataclass(frozen=True)
class ShardSource(ABC):
    """The shards of one or more splits of one version.

    Args:
        what: names the data in messages.
        version: identifies the very content, for saved states: a release's CID, a folder's hash.
        schema: what was written.
        layout: how a sample lies in a shard.
        shards: in the order of the release.
        splits: which splits they are of.
    """

    what: str
    version: str
    schema: Schema
    layout: Layout
    shards: tuple[Shard, ...]
    splits: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples in each shard."""
        return tuple(shard.samples for shard in self.shards)

    @property
    def hold_bytes(self) -> int | None:
        """How much a reader may keep open that it will not need soon: what is open stays on disk,
        whatever the quota of the cache. None: as much as it likes."""
        return None

    @abstractmethod
    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The file of shard ``number``, complete and proved; blocks until it is there.

        Args:
            suspect: hash it, whatever is remembered of it.

        Raises:
            AtdError: it cannot be had, or is not what was signed; names the shard.
        """

    def path(self, number: int) -> Path:
        """As `open`, the path alone."""
        found = self.open(number)
        os.close(found.descriptor)
        return found.path


class Progress:
    """Tells ``on_progress`` how far the shards of a source are, in the thread that waits for one.

    Each time it is given ``name`` of a shard, ``done`` of its ``total`` bytes, and ``shards`` of
    ``shardsTotal`` that are there already.
    """

    def __init__(self, on_progress: OnProgress, shards: int) -> None:
        self._tell = on_progress
        self._total = shards
        self._there: set[int] = set()
        self._process = os.getpid()

    def tell(self, shard: Shard, done: int) -> None:
        """``done`` bytes of ``shard`` are fetched."""
        if self._process != os.getpid():  # a forked worker: it was given to another process
            return
        self._tell(
            {
                "name": shard.name,
                "done": done,
                "total": shard.size,
                "shards": len(self._there),
                "shardsTotal": self._total,
            }
        )

    def there(self, number: int, shard: Shard) -> None:
        """Shard ``number`` is there, whole and verified."""
        self._there.add(number)
        self.tell(shard, shard.size)


@dataclass(frozen=True)
class ReleaseSource(ShardSource):
    """A published release: the daemon proved its records, and hands out verified files.

    ``progress`` is told how far each shard is; it stays in the process that gave it.
    """

    uri: str
    proof: Mapping[str, Any] = field(compare=False, repr=False)
    connection: Connection = field(compare=False, repr=False)
    progress: Progress | None = field(default=None, compare=False, repr=False)

    @property
    def hold_bytes(self) -> int | None:
        """Half of the cache's quota, so that there is room for what comes."""
        quota = self.connection.settings.cache_quota
        return None if quota is None else quota // 2

    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The file in the daemon's store; it fetches and verifies a shard it does not have."""
        for _ in range(_TRIES):
            path = self._located(number, suspect)
            try:
                descriptor = open_shared(path)
            except (FileNotFoundError, Busy):
                # Dropped from the store, or just being so, since the daemon named it.
                time.sleep(_PAUSE_S)
                continue
            return OpenShard(path, descriptor, self.connection.settings.cache_dir)
        raise StorageFault(
            f"{self.shards[number].name}: dropped from the store again and again before it could"
            " be opened",
            next_step="allow the cache more with the setting cache_quota; see: atd cache ls",
        )

    def _located(self, number: int, suspect: bool) -> Path:
        shard = self.shards[number]
        question: dict[str, Any] = {"digest": str(shard.digest), "release": self.uri}
        if suspect:
            question["suspect"] = True
        try:
            if self.progress is None:
                return Path(self.connection.call(api.LOCATE_SHARD, input=question)["path"])
            for event in self.connection.stream(api.FETCH_SHARD, question):
                if "result" in event:
                    self.progress.there(number, shard)
                    return Path(event["result"]["path"])
                self.progress.tell(shard, event["progress"]["done"])
        except AtdError as error:
            _name(shard, error)
            raise
        raise AssertionError("a stream ends with its result or an error")

    def __reduce__(self) -> tuple[Any, ...]:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return _release_again, ({**values, "progress": None},)


def _release_again(values: Mapping[str, Any]) -> ReleaseSource:
    return ReleaseSource(**values)


def _name(shard: Shard, error: AtdError) -> None:
    """Have ``error`` name the shard as its release does."""
    if shard.name not in error.message and not isinstance(error, DaemonError):
        error.message = f"{shard.name}: {error.message}"
        error.args = (error.message,)


@dataclass(frozen=True)
class FolderSource(ShardSource):
    """A folder made by ``atd pack``: its ``atd.json`` says what each file must hash to."""

    folder: Path
    cache: Path = field(compare=False, repr=False)

    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The file in the folder, hashed against the manifest unless it is known again.

        Raises:
            DigestMismatch: the file is not the one that was packed.
            StorageFault: it cannot be read.
        """
        shard = self.shards[number]
        return open_known(self.folder / shard.name, shard, self.cache, self._seals, suspect=suspect)

    @cached_property
    def _seals(self) -> SealBook:
        return seal_book(self.cache, str(self.folder))


def open_known(
    path: Path, shard: Shard, cache: Path, seals: SealBook, *, suspect: bool
) -> OpenShard:
    """The file at ``path``, if it is ``shard``: known by one stat where it was hashed before.

    Raises:
        DigestMismatch: it is another. StorageFault: it cannot be read. Busy: it is being removed.
    """
    try:
        descriptor = open_shared(path)
    except FileNotFoundError as error:
        raise StorageFault(f"cannot read the shard {path}: {error.strerror}") from error
    try:
        # Of the open file, so that what is looked at is what will be read.
        before = FileIdentity.of(look(descriptor))
        if suspect or not seals.holds(path.name, shard.digest, before):
            hash_open_shard(descriptor, path, shard.digest, shard.size)
            if FileIdentity.of(look(descriptor)) == before:
                seals.set(path.name, shard.digest, before)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenShard(path, descriptor, cache)


def seal_book(cache: Path, what: str) -> SealBook:
    """What is remembered of the files of ``what``, a folder or an address."""
    return SealBook(cache / "seals" / f"{sha256(os.fsencode(what)).hexdigest()[:32]}.jsonl")


def release_source(
    answer: Mapping[str, Any],
    split: str | None,
    connection: Connection,
    on_progress: OnProgress | None = None,
    *,
    kept: bool = False,
) -> ReleaseSource:
    """The source that ``network.atd.catalog.getRelease`` describes; all splits where it is None.

    Args:
        kept: only the shards that are in the store now.

    Raises:
        LocalError: there is no such split, or nothing of it is in the store.
    """
    lists = {
        one["name"]: tuple(
            Shard(s["name"], Cid.parse(s["digest"]), s["size"], s["samples"]) for s in one["shards"]
        )
        for one in answer["splits"]
    }
    name = answer["name"]
    what = f"@{answer['handle']}/{name}" if "handle" in answer else f"{answer['did']}/{name}"
    chosen = choose_splits(lists, split, what)
    shards = tuple(shard for one in chosen for shard in lists[one])
    version = answer["cid"]
    if kept:
        here = kept_digests(answer, chosen, connection=connection)
        shards = tuple(shard for shard in shards if str(shard.digest) in here)
        # A state of these must not be taken for one of all: positions mean other samples.
        which = sha256("\n".join(str(shard.digest) for shard in shards).encode())
        version = f"{version}:{which.hexdigest()[:16]}"
    return ReleaseSource(
        what=f"{what}@{answer['version']}",
        version=version,
        schema=Schema.from_value(answer["schema"]["fields"]),
        layout=Layout.from_value(answer["layout"]),
        shards=shards,
        splits=chosen,
        uri=answer["uri"],
        proof=answer["proof"],
        connection=connection,
        progress=None if on_progress is None else Progress(on_progress, len(shards)),
    )


def folder_source(folder: Path, split: str | None) -> FolderSource:
    """The source in a folder that ``atd pack`` made.

    Raises:
        LocalError: there is no ``atd.json``, or no such split in it.
    """
    manifest = Manifest.load(folder)
    lists = {
        name: tuple(Shard(s.name, s.digest, s.size, s.samples) for s in shards)
        for name, shards in manifest.splits.items()
    }
    chosen = choose_splits(lists, split, str(folder))
    return FolderSource(
        what=str(folder),
        version=manifest.digest(),
        schema=manifest.schema,
        layout=manifest.layout,
        shards=tuple(shard for one in chosen for shard in lists[one]),
        splits=chosen,
        folder=folder.absolute(),
        cache=Settings.load().cache_dir,
    )


def choose_splits(known: Iterable[str], split: str | None, what: str) -> tuple[str, ...]:
    """The splits to read: all of them, in the release's order, or the one that was named."""
    names = tuple(known)
    if split is None:
        return names
    if split not in names:
        raise LocalError(
            f"{what} has no split {split!r}; it has {', '.join(names)}",
            next_step="name one of them, or none for all",
        )
    return (split,)
