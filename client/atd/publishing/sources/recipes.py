"""Data sets that recipes prepare, as sources: ``recipe:NAME``, or what was prepared already.

Belongs here: from the samples that a recipe declares to a `Source`. Nothing is agreed to on the
way: who has not agreed to what a recipe asks for, or to running a stranger's, is told to prepare it
first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atd.errors import BadSource, NeedsConsent
from atd.publishing.infer import infer
from atd.publishing.sources import files
from atd.publishing.sources.keys import row_key
from atd.publishing.sources.source import Pair, Progress, Source, SplitSource, shown
from atd.recipes.engine import Event
from atd.recipes.parts import Samples
from atd.recipes.places import PREPARED
from atd.recipes.prepare import Prepared, prepare_dataset
from atd.recipes.publishing import SCHEME
from atd.schema.fields import Schema
from atd.settings import Settings
from atd.shards.keys import safe_key

LOOKED_AT: Final = 1_000
"""Samples of each split that are looked at to infer a schema, at most."""
_KEY: Final = "key"


def is_recipe(what: object) -> bool:
    """Whether ``what`` names a recipe, or came out of one."""
    return isinstance(what, Prepared | Samples) or (
        isinstance(what, str) and what.startswith(SCHEME)
    )


def open_recipe(what: Any, split: str, progress: Progress) -> Source:
    """The samples of a data set that a recipe prepares; prepared here where it was not yet.

    Args:
        split: what samples of one split are called.

    Raises:
        NeedsConsent: there is something to agree to first.
        BadSource: the recipe does not say how its data make samples.
        AtdError: it could not be prepared.
    """
    if isinstance(what, Samples):
        return _source({split: what}, what.name, Settings.load().cache_dir / PREPARED)
    prepared = _prepared(what, progress) if isinstance(what, str) else what
    if not prepared.splits:
        raise BadSource(
            f"the recipe {prepared.id} does not say how its data make samples",
            next_step='say it in the recipe: [samples.train], then image = "train.images" …',
        )
    splits = {files.split_name(name): one for name, one in prepared.splits.items()}
    every = next(one for one in prepared.folder.parents if one.name == PREPARED)
    return _source(splits, prepared.id, every)


def _prepared(what: str, progress: Progress) -> Prepared:
    name = what.removeprefix(SCHEME)

    def told(event: Event) -> None:
        progress(event.what, event.done, event.total)

    try:
        return prepare_dataset(name, progress=told)
    except NeedsConsent as error:
        raise NeedsConsent(error.message, next_step=f"first: atd prepare '{name}'") from error


def _source(splits: Mapping[str, Samples], origin: str, every: Path) -> Source:
    """The samples of these splits; ``every``: the folder of all prepared data."""
    heads = {name: list(itertools.islice(one, LOOKED_AT)) for name, one in splits.items()}
    empty = [name for name, head in heads.items() if not head]
    if empty:
        raise BadSource(f"{origin}: expected samples, found none in {', '.join(empty)}")
    parts = {name: _Split(splits[name], _keyed(head)) for name, head in heads.items()}
    schema = infer([sample for name, head in heads.items() for sample in parts[name].plain(head)])
    return Source(
        what="data set that a recipe prepares",
        origin=origin,
        schema=schema,
        splits={name: SplitSource(parts[name].pairs) for name in files.in_order(iter(parts))},
        travels=(
            f"the fields {', '.join(schema.names)} of every sample",
            *_of_yours(splits, every),
        ),
    )


def _of_yours(splits: Mapping[str, Samples], every: Path) -> Iterator[str]:
    """What a recipe, which may be a stranger's, takes from folders that its user named."""
    parts = (part for one in splits.values() for part in one.fields.values())
    for path in dict.fromkeys(part.path for part in parts):
        if not path.is_relative_to(every):
            yield f"what the recipe reads from {shown(path)}, which is no file that it fetched"


def _keyed(head: list[dict[str, Any]]) -> bool:
    """Whether samples bring keys of their own, as those of folders of images do."""
    keys = [sample.get(_KEY) for sample in head]
    return all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys)


@dataclass(frozen=True)
class _Split:
    """The samples of one split with their keys."""

    samples: Samples
    keyed: bool

    def pairs(self, schema: Schema) -> Iterator[Pair]:
        """Every sample and its key."""
        for number, sample in enumerate(self.samples):
            key = safe_key(str(sample[_KEY])) if self.keyed else row_key(number)
            yield key, next(self.plain([sample]))

    def plain(self, samples: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Samples without what is their key."""
        for one in samples:
            yield {name: value for name, value in one.items() if not self.keyed or name != _KEY}
