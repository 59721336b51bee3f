"""``atd prove``: a file that proves a data set to others, and what such a file proves."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

import atd
from atd.cli import advice, finding, output
from atd.cli.bar import asking
from atd.cli.options import JsonOption, PreviousKeyOption
from atd.cli.words import examples
from atd.errors import InvalidSyntax

_PROVE = examples(
    "atd prove @alice.example.com/flowers -o flowers.proof",
    "atd prove --check flowers.proof     # anywhere: no daemon, no network",
    after="docs/proof-bundles.md describes the file. --check exits 0 only if everything in it "
    "holds.",
)
_MANY = 12


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("prove", epilog=_PROVE)(prove)


def prove(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF", help="A data set: @HANDLE/NAME, also with @VERSION; or any at:// URI."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where the bundle goes.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="FILE", help="Check a bundle, offline.")
    ] = None,
    allow_previous_key: PreviousKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Write a proof bundle of a data set, or check one.

    A bundle holds all that a third party needs to check who published what, offline.
    """
    if (ref is None) == (check is None) or (file is None) != (check is not None):
        raise InvalidSyntax(
            "expected a data set and a file to write, or a file to check",
            next_step="write: atd prove REF -o FILE; or: atd prove --check FILE",
        )
    if ref is not None and file is not None:
        ref = finding.settled(ref)
        known = nullcontext() if ref.startswith("at://") else advice.about(ref)
        with known, asking(ref, quiet=json):
            data = atd.prove(ref, file)
        said = _report(atd.check_proof(data))
    else:
        assert check is not None
        said = _report(atd.check_proof(check, allow_previous_key=allow_previous_key))
    if json:
        output.emit({**said, "file": str(file or check)})
    elif file is not None:
        output.say(f"{output.clean(file)}  {output.human_bytes(file.stat().st_size)}")
        output.note(f"check it anywhere with: atd prove --check {output.clean(file)}")
    else:
        for line in _lines(said):
            output.say(output.clean(line).rstrip())


def _report(checked: Any) -> dict[str, Any]:
    """The report of a bundle. Its room has cryptography, which no other command needs to load."""
    said: dict[str, Any] = importlib.import_module("atd.bundles.report").report(checked)
    return said


def _lines(said: dict[str, Any]) -> Iterator[str]:
    """The report for people: three parts that are never mixed."""
    proved, testified = said["proved"], said["testified"]
    yield f"{said['subject']['uri']}"
    yield f"{said['subject']['cid']}"
    yield "proved by signatures:"
    for who in proved["identities"]:
        yield f"  did      {who['did']}, the hash of the first of {who['operations']} operations"
        yield f"  key      {who['key']}, set by operation {who['operation']}"
        yield f"  claims   {', '.join(who['claims']) or 'no handle'}"
    for commit in proved["commits"]:
        by = "a previous key, as allowed" if commit["previousKey"] else "its key"
        yield f"  commit   {commit['cid']} at rev {commit['rev']}, signed by {by}"
        if commit["previousKey"] or not proved["identities"]:
            yield f"           {commit['key']}"
    yield from _data(proved)
    for one in proved["records"][:_MANY]:
        yield f"  record   {one['uri']}"
        yield f"           {one['cid']}, by {len(one['path'])} blocks from {one['commit']}"
    if len(proved["records"]) > _MANY:
        yield f"  …        and {len(proved['records']) - _MANY} more records (--json has them)"
    yield "only said by whoever made this file:"
    made = testified["made"]
    yield f"  made     {made['at']} by {made['by']}"
    for who in testified["identities"]:
        yield from _testimony(who)
    times = sorted(one["checkedAt"] for one in testified["records"])
    yield f"  records  were the publisher's newest when asked, from {times[0]} to {times[-1]}"
    yield "not proved by anything here:"
    for sentence in said["notProved"]:
        yield f"  {sentence}"


def _data(proved: dict[str, Any]) -> Iterator[str]:
    release = proved.get("release")
    if release is not None:
        yield (
            f"  release  {release['name']} {release['version']}: {release['samples']:,} samples,"
            f" {output.human_bytes(release['size'])}"
        )
    if "shards" in proved:
        yield f"  shards   the digests of {output.plural(len(proved['shards']), 'shard')}"


def _testimony(who: dict[str, Any]) -> Iterator[str]:
    at = f"at {who['from']}, {who['fetchedAt']}"
    if "newest" in who:
        yield f"  log      {who['newest']} was the newest operation of {who['did']} {at}"
    else:
        yield f"  key      {who['key']} was the key of {who['did']} {at}"
        yield f"  claims   {', '.join(who['claims']) or 'no handle'}"
    handle = who.get("handle")
    if handle is not None:
        yield f"  handle   {handle['name']} led to {who['did']}, {handle['resolvedAt']}"
    else:
        yield f"  handle   none was found to lead to {who['did']}"
