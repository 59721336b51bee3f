"""From a folder of finished shards to its preview.

Belongs here: `preview_of`, which reads every shard of a manifest once for the statistics, and the
first samples of every split for the examples; and what a publisher may choose of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from atd.errors import InvalidSyntax
from atd.manifest import Manifest, ManifestShard
from atd.shards.reader import ShardFile
from atd.statistics.document import Preview, data_digest, fitted
from atd.statistics.samples import EXAMPLES, example
from atd.statistics.shard import Partial, merge, shard_statistics
from atd.statistics.summary import split_statistics

FULL: Final = "full"
STATISTICS: Final = "statistics"
NONE: Final = "none"
CHOICES: Final = (FULL, STATISTICS, NONE)
"""What to publish beside the shards: statistics with examples, statistics alone, or nothing."""

Progress = Callable[[str, int, int | None], None]

_WHAT: Final = "computing statistics"


def check_choice(word: str) -> str:
    """``word``, if it is one of `CHOICES`.

    Raises:
        InvalidSyntax: it is none.
    """
    if word not in CHOICES:
        raise InvalidSyntax(
            f"expected a preview {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, got {word!a}"
        )
    return word


def preview_of(
    manifest: Manifest,
    folder: Path,
    *,
    examples: bool = True,
    progress: Progress | None = None,
    computed: Iterable[tuple[str, Partial]] | None = None,
) -> Preview:
    """The preview of the shards in ``folder``, which are what ``manifest`` says.

    Args:
        examples: with a few samples of each split.
        progress: told how many samples are done.
        computed: what is known of each shard, if others read them: with the name of its split, in
            any order.

    Raises:
        ShardError: a sample does not fit the schema.
        StorageFault: a shard cannot be read.
    """
    given = partials(manifest, folder, progress) if computed is None else computed
    parts: dict[str, list[Partial]] = {name: [] for name in manifest.splits}
    for split, part in given:
        parts[split].append(part)
    splits = tuple(
        split_statistics(
            name,
            merge(parts[name]),
            shards=len(shards),
            size=sum(shard.size for shard in shards),
            examples=tuple(_examples(manifest, folder, shards) if examples else ()),
        )
        for name, shards in manifest.splits.items()
    )
    return fitted(Preview(data_digest(manifest), splits))


def partials(
    manifest: Manifest, folder: Path, progress: Progress | None = None
) -> Iterable[tuple[str, Partial]]:
    """What is known of each shard, with the name of its split, one after the other."""
    done = 0
    for split, shards in manifest.splits.items():
        for shard in shards:
            yield split, shard_statistics(folder / shard.name, manifest.schema, manifest.layout)
            done += shard.samples
            if progress is not None:
                progress(_WHAT, done, manifest.samples)


def _examples(
    manifest: Manifest, folder: Path, shards: tuple[ManifestShard, ...]
) -> list[dict[str, object]]:
    """The first samples of a split."""
    found: list[dict[str, object]] = []
    for shard in shards:
        if len(found) >= EXAMPLES:
            break
        opened = ShardFile(folder / shard.name, manifest.schema, manifest.layout)
        most = min(len(opened), EXAMPLES - len(found))
        found += [example(opened.sample(at), manifest.schema) for at in range(most)]
    return found
