"""Verifying a folder of shards: each shard is a task, whichever engine has it done.

Belongs here: what is checked of a shard, and the report. That the bytes are those that ``atd.json``
lists (size and digest), that there are as many samples as it says, each once, that every sample can
be decoded by the schema, and every image to its pixels.

Rules. A shard that is wrong is what verifying is for: it goes into the report, and is no error. A
shard that cannot be read just now is tried again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atd.errors import AtdError, DigestMismatch, ShardError
from atd.manifest import Manifest, ManifestShard, hash_shard
from atd.publishing.tasks.crew import Crew
from atd.publishing.telling import noting, telling
from atd.records import Layout
from atd.schema.fields import Schema
from atd.service import OnProgress
from atd.shards.media import Image
from atd.shards.reader import ShardFile, media_in

MOST_BYTES_A_TASK: Final = 256_000_000
"""Shards that are smaller than this together are one task: to send each costs, too."""

BYTES_A_SECOND: Final = 200_000_000
"""About how fast one processor hashes and decodes."""


@dataclass(frozen=True, slots=True)
class BadShard:
    """A shard that is not what its folder says.

    Args:
        name: of its file; ``split``: in which it is.
        error: the name of the class of error (`atd.errors`); ``message``: what it says.
    """

    name: str
    split: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying a folder found.

    Args:
        shards, samples, size: how many there should be, and bytes of all shards.
        bad: the shards that are not what they should be, in order.
    """

    shards: int
    samples: int
    size: int
    bad: tuple[BadShard, ...]

    @property
    def holds(self) -> bool:
        """Whether every shard is what it should be."""
        return not self.bad


@dataclass(frozen=True)
class VerifyTask:
    """Verify some shards of one split."""

    folder: Path
    split: str
    shards: tuple[ManifestShard, ...]
    schema: Schema
    layout: Layout

    @property
    def what(self) -> str:
        """The task in words."""
        more = f" and {len(self.shards) - 1} more" if len(self.shards) > 1 else ""
        return f"the shard {self.shards[0].name}{more}"


def verify_folder(
    folder: str | os.PathLike[str],
    *,
    engine: str | None = None,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Verified:
    """Verify every shard that the ``atd.json`` of ``folder`` lists.

    Args:
        engine, workers: who verifies, as for `atd.pack`.
        on_progress: called with events ``{"progress": …}`` and ``{"step": …}``.

    Raises:
        BadSource: there is no ``atd.json``, or it cannot be read as one.
        StorageFault: a shard is there and cannot be read.
        EngineFault: the engine is not there, or its workers failed each time.
    """
    top = Path(folder).absolute()
    manifest = Manifest.load(top)
    progress = telling(on_progress)
    places = {shard.name: at for at, shard in enumerate(manifest.shards)}
    found: list[BadShard] = []
    done = 0
    with Crew(engine, workers, noting(on_progress)) as crew:
        foreman = crew.foreman(manifest.size / BYTES_A_SECOND)
        tasks = _tasks(top, manifest)
        for _, task, bad in foreman.carry_out(verify_shards, tasks):
            found += bad
            done += sum(shard.samples for shard in task.shards)
            if progress is not None:
                progress("verifying samples", done, manifest.samples)
    bad = tuple(sorted(found, key=lambda one: places[one.name]))
    return Verified(len(places), manifest.samples, manifest.size, bad)


def _tasks(folder: Path, manifest: Manifest) -> Iterator[VerifyTask]:
    for split, shards in manifest.splits.items():
        some: list[ManifestShard] = []
        for shard in shards:
            if some and sum(one.size for one in some) + shard.size > MOST_BYTES_A_TASK:
                yield VerifyTask(folder, split, tuple(some), manifest.schema, manifest.layout)
                some = []
            some.append(shard)
        if some:
            yield VerifyTask(folder, split, tuple(some), manifest.schema, manifest.layout)


def verify_shards(task: VerifyTask) -> list[BadShard]:
    """The shards of a task that are not what they should be: what a worker does.

    Raises:
        StorageFault: one cannot be read.
    """
    return [bad for shard in task.shards if (bad := _verify(task, shard)) is not None]


def _verify(task: VerifyTask, shard: ManifestShard) -> BadShard | None:
    path = task.folder / shard.name
    try:
        if not path.is_file():
            raise DigestMismatch(f"{path}: there is no such file")
        hash_shard(path, shard.digest, shard.size)
        opened = ShardFile(path, task.schema, task.layout)
        opened.expect(shard.samples)
        for place in range(len(opened)):
            for where, value in media_in(opened.sample(place)):
                if isinstance(value, Image):
                    _decode(opened, place, where, value)
    except (DigestMismatch, ShardError) as error:
        return BadShard(shard.name, task.split, type(error).__name__, error.message)
    return None


def _decode(opened: ShardFile, place: int, where: tuple[object, ...], image: Image) -> None:
    try:
        image.decode()
    except AtdError as error:
        field = ".".join(map(str, where))
        raise ShardError(
            f"{opened.name}: sample {opened.key(place)}: {field}: {error.message}"
        ) from error
