"""The preview beside staged shards: ``preview.json``, made after packing.

Belongs here: which preview a publisher gets, and writing it. It never stands in the way: shards
that can be published without one are.

What is chosen where nothing is said: statistics and samples, where others can fetch the shards
anyway; nothing where they cannot, for the preview would be all that they see of data that was put
where nobody reaches it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atd.engines.foreman import Note
from atd.errors import EngineFault, InvalidSyntax, ShardError, TooLarge
from atd.manifest import Manifest
from atd.publishing.sources.source import Progress, Source
from atd.publishing.tasks.crew import Crew
from atd.publishing.tasks.statistics import summarised
from atd.statistics.document import FILE_NAME
from atd.statistics.making import FULL, NONE, check_choice, preview_of
from atd.statistics.samples import EXAMPLES


def chosen(preview: str | None, *, reachable: bool = True, append: bool = False) -> str:
    """What to write: what was asked for, or what goes with where the shards are.

    Args:
        reachable: others can fetch the shards.
        append: they follow on shards that are elsewhere, which nobody reads for this.

    Raises:
        InvalidSyntax: ``preview`` is no choice, or cannot be made.
    """
    if append and preview not in (None, NONE):
        raise InvalidSyntax(
            "a release that is appended to gets no preview: most of its samples are not here",
            next_step="leave --preview out; or publish all of the data, without --append",
        )
    if preview is None:
        return FULL if reachable and not append else NONE
    return check_choice(preview)


def showing(source: Source, choice: str) -> Source:
    """``source``, saying of the preview too that it travels."""
    return replace(source, travels=(*source.travels, *travelling(choice)))


def travelling(choice: str) -> tuple[str, ...]:
    """What goes public by it, in words; see `atd.publishing.planning.Plan`."""
    if choice == NONE:
        return ()
    samples = f" and the first {EXAMPLES} samples of each split" if choice == FULL else ""
    return (f"a preview: statistics of every field{samples} (--preview none leaves it out)",)


def write_preview(
    manifest: Manifest,
    folder: Path,
    choice: str,
    progress: Progress | None = None,
    *,
    engine: str | None = None,
    workers: int | None = None,
    note: Note | None = None,
) -> tuple[str, ...]:
    """Write ``preview.json`` into ``folder``, or see that there is none.

    Args:
        choice: of `atd.statistics.making.CHOICES`.
        engine, workers, note: who reads the shards, as `atd.publishing.packing.pack` takes them.

    Returns:
        Why there is none, where one was to be.

    Raises:
        StorageFault: the folder cannot be read or written.
    """
    (folder / FILE_NAME).unlink(missing_ok=True)
    if choice == NONE:
        return ()
    try:
        with Crew(engine, workers, note) as crew:
            foreman = crew.foreman(manifest.size)
            computed = summarised(manifest, folder, foreman, progress)
            made = preview_of(manifest, folder, examples=choice == FULL, computed=computed)
        made.save(folder)
    except (ShardError, TooLarge, EngineFault) as error:
        return (f"no preview was made: {error.message}",)
    return ()
