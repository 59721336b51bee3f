"""``atd pull`` and ``atd verify``: getting the bytes, and proving them again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from atd import errors, service
from atd.cli import advice, finding, keep, output, prepare, removing, verifying
from atd.cli.options import (
    EngineOption,
    JsonOption,
    LockOption,
    PreviousKeyOption,
    ShardOption,
    SplitOption,
    WorkersOption,
    shard_numbers,
)
from atd.cli.progress import progress_line
from atd.cli.words import examples
from atd.connection import Connection
from atd.locks import Lock, Pin, pinned_answer
from atd.recipes.publishing import SCHEME
from atd.refs import parse_dataset_ref


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("pull", epilog=_PULL)(pull)
    app.command("verify", epilog=_VERIFY)(verify)


_PULL = examples(
    "atd pull @alice.example.com/flowers",
    "atd pull @alice.example.com/flowers@1.0.0 --split test",
    "atd pull @alice.example.com/flowers --split train --shard 0-9",
    "atd pull --outdated              # what changed of all that you pulled before",
)
_NOT_HERE = "not in the store"
"""What the daemon found of a shard that it could not check, because it is not here."""

_VERIFY = examples(
    "atd verify @alice.example.com/flowers            # records, and what is in the store",
    "atd verify @alice.example.com/flowers --fetch    # every byte",
    "atd verify ./flowers-shards --workers 4          # a folder that atd pack made",
    after="Exits 0 only if every step holds; else with the code of the step that does not.",
)


def pull(
    ref: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="A data set: @HANDLE/NAME, did:…/NAME or at://…; also with @VERSION.",
        ),
    ] = None,
    split: SplitOption = None,
    shard: ShardOption = None,
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Of what you pulled before, what has changed since.")
    ] = False,
    lock: LockOption = None,
    allow_previous_key: PreviousKeyOption = False,
    json: JsonOption = False,
) -> None:
    """Fetch the shards of a release, verified, and keep the data set.

    Goes on where it was interrupted, and fetches nothing that is there.
    """
    if outdated:
        if split or shard or lock is not None or allow_previous_key:
            raise typer.BadParameter("--outdated takes no other option but --json")
        keep.pull_outdated(None if ref is None else finding.settled(ref), json)
        return
    if ref is None:
        raise typer.BadParameter("expected a data set, or --outdated")
    if lock is None:
        ref = finding.settled(ref)
    else:
        pin = Lock.load(lock).find(parse_dataset_ref(ref))
        # First whether it is that: nothing else is to be fetched.
        options = {"allowPreviousKey": allow_previous_key}
        pinned_answer(lock, pin.ref, options, Connection())
        ref = str(pin.place)
    numbers = shard_numbers(shard)
    with advice.about(ref), progress_line("fetching", quiet=json) as show:
        result = service.pull(
            ref,
            splits=split or (),
            shards=numbers,
            allow_previous_key=allow_previous_key,
            on_progress=show,
        )
    if "deprecated" in result:
        said = " ".join(result["deprecated"].split())
        output.note(output.clean(f"note: {result['name']} is deprecated: {said}"))
    if json:
        output.emit(result)
    else:
        _say_pulled(result)
    removing.refuse_gone(result)


def _say_pulled(result: Mapping[str, Any]) -> None:
    what = (
        f"{output.plural(result['shards'], 'shard')}, {output.plural(result['samples'], 'sample')},"
        f" {output.human_bytes(result['bytes'])}"
    )
    if result["stored"] < result["shards"]:
        what = f"{result['stored']:,} of {output.plural(result['shards'], 'shard')}"
    fetched = output.human_bytes(result["fetched"]) if result["fetched"] else "nothing"
    name = f"{output.clean(result['name'])} {output.clean(result['version'])}"
    output.say(f"{name}: {what} in the store, verified ({fetched} fetched)")


def verify(
    ref: Annotated[
        str,
        typer.Argument(metavar="REF", help="A data set, or a folder of shards that atd pack made."),
    ],
    fetch: bool = typer.Option(False, "--fetch", help="Also fetch shards the store does not have."),
    lock: LockOption = None,
    allow_previous_key: PreviousKeyOption = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Of recipe:NAME: make again what is altered.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Prove everything again, from the handle to the bytes.

    Says at each step what was expected and what was found. Of a folder it is the shards that are
    verified: bytes, number of samples, and every sample by the schema. recipe:NAME: what a recipe
    prepared is hashed, and compared.
    """
    if ref.startswith(SCHEME):
        prepare.verify(ref.removeprefix(SCHEME), repair=repair, json=json)
        return
    if repair:
        raise errors.InvalidSyntax(
            "--repair is for what a recipe prepared: atd verify recipe:NAME --repair",
            next_step="of shards, damaged files are let go of by: atd cache verify",
        )
    if verifying.is_folder(ref):
        if fetch or lock is not None or allow_previous_key:
            raise typer.BadParameter("a folder takes --engine, --workers and --json only")
        verifying.folder(Path(ref), engine, workers, json)
        return
    if engine is not None or workers is not None:
        raise typer.BadParameter("--engine and --workers are for a folder of shards")
    steps: list[Any] = []
    verdict: Any = {"holds": False}
    pin = None if lock is None else Lock.load(lock).find(parse_dataset_ref(ref))
    ref = finding.settled(ref) if pin is None else str(pin.place)
    with progress_line("fetching", quiet=json) as show:
        for item in service.verify(
            ref, fetch=fetch, allow_previous_key=allow_previous_key, on_progress=show
        ):
            if isinstance(item, service.Step):
                steps.append(item.raw)
                if not json:
                    show.clear()
                    _print_step(item)
            else:
                verdict = item
    if pin is not None and verdict["holds"]:
        last = _pinned_step(pin, lock, verdict)
        verdict = {**verdict, "holds": last.holds, "steps": verdict["steps"] + 1}
        steps.append(last.raw)
        if not json:
            _print_step(last)
    if json:
        output.emit({**verdict, "steps": steps})
    elif verdict["holds"]:
        output.say(f"all {output.plural(len(steps), 'step')} hold{_unchecked(verdict)}")
    if not verdict["holds"]:
        failed: Mapping[str, Any] = next((step for step in steps if not step["holds"]), {})
        with advice.about(ref):
            raise _as_error(failed, ref)


def _pinned_step(pin: Pin, lock: Path | None, verdict: Mapping[str, Any]) -> service.Step:
    """Whether what was proved is what was pinned; its CID pins all that is below it."""
    holds = verdict["cid"] == str(pin.release) and verdict["did"] == pin.did
    raw = {
        "name": f"10. the release is the one that {lock} pins",
        "holds": holds,
        "expected": str(pin.release),
        "found": verdict["cid"],
    }
    if not holds:
        raw["error"] = "PinMismatch"
    return service.Step(raw["name"], holds, raw["expected"], raw["found"], raw)


def _print_step(step: service.Step) -> None:
    mark = "FAIL" if not step.holds else "--  " if step.found == _NOT_HERE else "ok  "
    output.say(f"{mark}  {output.clean(step.name)}")
    if step.holds:
        output.say(f"        {output.clean(step.found)}")
    else:
        output.say(f"        expected {output.clean(step.expected)}")
        output.say(f"        found    {output.clean(step.found)}")


def _unchecked(verdict: Any) -> str:
    absent = verdict.get("absent", 0)
    if not absent:
        return ""
    return f"; {output.plural(absent, 'shard')} not in the store, not checked (add --fetch)"


def _as_error(step: Mapping[str, Any], ref: str) -> errors.AtdError:
    """The error of the step that failed, so that the exit code says which kind it was."""
    name = step.get("error", "ProofError")
    found = step.get("found", "the daemon gave no verdict")
    if name in ("RecordAbsent", "HandleAbsent"):
        return errors.rebuild(name, found)
    # A file of the local store is not the publisher's fault.
    advice = f"fetch it again with: atd pull {ref}" if name == "DigestMismatch" else None
    return errors.rebuild(name, f"{ref} does not verify: {found}", advice)
