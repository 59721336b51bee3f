"""``atd verify FOLDER``: a folder of shards, verified shard by shard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atd import errors, publishing
from atd.cli import output
from atd.cli.progress import progress_line
from atd.manifest import FILE_NAME


def is_folder(ref: str) -> bool:
    """Whether what was given is a folder of shards rather than the name of a data set."""
    return (Path(ref) / FILE_NAME).is_file()


def folder(path: Path, engine: str | None, workers: int | None, json: bool) -> None:
    """Verify the shards in a folder, and say which are not what they should be.

    Raises:
        AtdError: the error of the first shard that is wrong, so that the exit code says which kind
            it was.
    """
    with progress_line(quiet=json) as show:
        found = publishing.verify_folder(path, engine=engine, workers=workers, on_progress=show)
    if json:
        output.emit(_json(path, found))
    elif found.holds:
        amount = (
            f"{output.plural(found.shards, 'shard')}, {output.plural(found.samples, 'sample')}, "
            f"{output.human_bytes(found.size)}"
        )
        output.say(f"{output.clean(path)}: {amount}: all hold")
    else:
        for one in found.bad:
            output.say(f"FAIL  {output.clean(one.name)} ({output.clean(one.split)})")
            output.say(f"        {output.clean(one.message)}")
    if found.holds:
        return
    raise errors.rebuild(
        found.bad[0].error,
        f"{len(found.bad)} of {found.shards} shards of {path} do not verify",
        "get them again from where the folder came from, or pack it again",
    )


def _json(path: Path, found: publishing.Verified) -> dict[str, Any]:
    bad = [
        {"shard": one.name, "split": one.split, "error": one.error, "found": one.message}
        for one in found.bad
    ]
    return {
        "holds": found.holds,
        "folder": str(path),
        "shards": found.shards,
        "samples": found.samples,
        "size": found.size,
        "bad": bad,
    }
