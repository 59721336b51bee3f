"""``atd schema pull``: what a sample of a data set is, as a file that programs import.

Belongs here: asking for the schema and writing the file. The source itself is made by
`atd.schema.typed`.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from atd import errors, service
from atd.cli import advice, finding, output
from atd.cli.bar import asking
from atd.cli.options import CachedOption, JsonOption, YesOption
from atd.cli.words import examples
from atd.disk import storing
from atd.errors import NeedsConsent
from atd.manifest import Manifest
from atd.protocol.syntax import Did
from atd.refs import DatasetRef, FolderRef, parse_dataset_ref, parse_ref
from atd.schema.fields import Schema
from atd.schema.typed import HEAD, TypedModule, to_typed_module

_PULL = examples(
    "atd schema pull @alice.example.com/flowers --python flowers.py",
    "atd schema pull @alice.example.com/flowers@1.0.0 --python flowers.py   # one version",
    after="Then: import atd, flowers; ds = atd.load(flowers.FLOWERS)",
)


def register(schema_app: typer.Typer) -> None:
    """Add the command of this module to ``atd schema``."""
    schema_app.command("pull", epilog=_PULL)(schema_pull)


def schema_pull(
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="@HANDLE/NAME, also with @VERSION; or a folder.")
    ],
    python: Annotated[Path, typer.Option("--python", metavar="FILE", help="The file to write.")],
    cached: CachedOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Write the types of a data set to a Python file.

    A class for a sample, one for a batch, and a constant for what to load. The file names the
    publisher by DID, so it keeps meaning the same one. A file that this command did not write is
    only replaced with --yes.
    """
    if not yes:
        _check_replaceable(python)
    with advice.about_folder(ref), asking(ref, quiet=json):
        made = _module(ref, cached)
    _write(python, made.source)
    if json:
        names = {"sample": made.sample, "batch": made.batch, "constant": made.constant}
        output.emit({"ref": made.ref, "file": str(python), **names})
        return
    output.say(f"{output.clean(python)}: {made.sample}, {made.batch} and {made.constant}")
    output.note(f"load it with: atd.load({made.constant})")


def _module(ref: str, cached: bool) -> TypedModule:
    place = parse_ref(ref)
    if isinstance(place, FolderRef):
        ref = finding.settled_unless_folder(ref)
        place = parse_ref(ref)
    if isinstance(place, FolderRef):
        folder = Path(place.path).expanduser()
        manifest = Manifest.load(folder)
        return to_typed_module(manifest.schema, manifest.name or folder.name, ref)
    return _published(parse_dataset_ref(ref), cached)


def _published(place: DatasetRef, cached: bool) -> TypedModule:
    detail = service.show(str(place), refresh=not cached)
    info, found, release = detail.info, detail.raw.get("schema"), detail.raw.get("release")
    if found is None or release is None:
        problem = next(iter(detail.raw["problems"]), {"error": "RecordAbsent", "reason": ""})
        reason = problem["reason"] or f"the schema of {place} is not known"
        raise errors.rebuild(problem["error"], reason)
    durable = replace(place, authority=Did.parse(info.did), name=info.name)
    origin = [
        f"{info.ref}, version {release['version']}",
        f"release {release['uri']} {release['cid']}",
        f"schema {found['uri']} {found['cid']}",
    ]
    schema = Schema.from_value(found["fields"])
    return to_typed_module(schema, info.name, str(durable), origin)


def _check_replaceable(file: Path) -> None:
    """Refuse to replace what somebody wrote by hand."""
    with storing(file):
        if not file.exists():
            return
        with file.open("rb") as there:
            if there.read(len(HEAD)) == HEAD.encode():
                return
    raise NeedsConsent(
        f"{file} is there, and was not written by atd schema pull",
        next_step="name another file, or pass --yes to replace it",
    )


def _write(file: Path, source: str) -> None:
    """The whole file or none; nobody imports half of it."""
    with storing(file):
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        part = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
                out.write(source)
            part.chmod(0o644)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
