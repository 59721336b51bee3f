"""``atd demo``: publish, discover by handle, prove, load, and be refused what was altered.

What belongs here: the acts of the story and what is printed about them. Every act is a real command
or a real program, run as one of two people; the story ends with an error if any of them does not do
what it is said to do.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from atd.errors import AtdError, DaemonError, tree
from atd_daemon.demo import digits
from atd_daemon.demo.stage import Person, Stage, prepared

NAME = "digits"

LOADING = """\
import numpy as np
from numpy.typing import NDArray
import atd

@atd.sample
class Digit:
    image: NDArray[np.uint8]
    label: str

ds = atd.load("@alice.test/digits", split="train", schema=Digit)
print(ds)
first = ds[0]
print("a sample:", first.image.shape, first.image.dtype, "labelled", first.label)
counts = dict.fromkeys("0123456789", 0)
for batch in ds.shuffled(seed=0).batched(256):
    for label in batch.label:
        counts[label] += 1
print("the last batch:", batch.image.shape)
print("labels seen:", counts, "=", sum(counts.values()))
"""


def tell(*, keep: bool = False) -> int:
    """Tell the story; returns the exit code: 0 if every act went as told.

    Args:
        keep: leave the folder in place afterwards.
    """
    began = time.monotonic()
    with prepared(keep=keep) as stage:
        _publish(stage)
        _discover(stage.bob)
        _load(stage.bob)
        _alter_a_shard(stage)
        _alter_a_record(stage)
        _say(f"\nDone in {time.monotonic() - began:.0f} s.")
        _say(f"Kept in {stage.folder}" if keep else "Daemons stopped, everything removed.")
    return 0


def _publish(stage: Stage) -> None:
    _act("Alice has a folder of images, and no account anywhere: her daemon is her PDS.")
    folder = stage.folder / NAME
    count = digits.write_folder(folder)
    _say(f"  {count:,} images in {NAME}/{{train,test}}/{{0..9}}: {digits.TITLE} ({digits.LICENSE})")
    for person in (stage.alice, stage.bob):
        made = _json(person, "host", "init", person.domain, "--handle", person.handle, "--json")
        _login(person, made["password"])
    _command(
        stage.alice,
        *("publish", f"./{NAME}", "--name", NAME, "--license", digits.LICENSE),
        *("--title", digits.TITLE, "--description", digits.DESCRIPTION),
        *("--citation", digits.CITATION, "--tag", "handwriting", "--yes"),
    )


def _discover(bob: Person) -> None:
    _act("Bob has another daemon and another host. He knows nothing but her handle.")
    _command(bob, "ls", "@alice.test")
    _command(bob, "search", "handwritten")
    _command(bob, "preview", f"@alice.test/{NAME}:train", "-n", "2")
    _act("He proves it, from the handle to the last byte.")
    _command(bob, "verify", f"@alice.test/{NAME}", "--fetch")


def _load(bob: Person) -> None:
    _act("He loads it, typed.")
    _say("".join(f"      {line}".rstrip() + "\n" for line in LOADING.splitlines()))
    _show(_must(bob.python("-c", LOADING)))


def _alter_a_shard(stage: Stage) -> None:
    _act("One byte of a stored shard is altered.")
    shard = sorted((stage.bob.home / "cache" / "shards").rglob("*.tar"))[0]
    _flip(shard, shard.stat().st_size // 2)
    _say(f"  flipped a bit in the middle of {shard.name}")
    _refused(stage.bob, "DigestMismatch", "verify", f"@alice.test/{NAME}")
    _act("The store threw it away. It fetches the true one again.")
    _command(stage.bob, "pull", f"@alice.test/{NAME}")


def _alter_a_record(stage: Stage) -> None:
    _act("One byte of the record is altered, on Alice's own PDS.")
    _must(stage.alice.run("daemon", "stop"))
    database = _database(stage.alice.home)
    with closing(sqlite3.connect(database)) as connection, connection:
        title = digits.TITLE.encode()
        cid, block = connection.execute(
            "SELECT cid, bytes FROM block WHERE instr(bytes, ?)", (title,)
        ).fetchone()
        altered = bytes(block).replace(title, title.swapcase()[:1] + title[1:])
        connection.execute("UPDATE block SET bytes = ? WHERE cid = ?", (altered, cid))
    _must(stage.alice.run("daemon", "start"))
    _say("  changed one letter of the title in the repository's database")
    _refused(stage.bob, "ProofError", "show", f"@alice.test/{NAME}")


def _database(home: Path) -> Path:
    """The SQLite file of the one repository below ``home``."""
    hosts = home / "state" / "host"
    return next(path for path in hosts.rglob("*") if path.suffix in (".sqlite", ".db"))


def _login(person: Person, password: str) -> None:
    result = person.run("login", person.handle, "--password-stdin", stdin=password + "\n")
    _must(result)
    _echo("login", person.handle)
    _show(result)


def _command(person: Person, *arguments: str) -> None:
    """Run a command of the story, show it and what it printed."""
    _echo(*arguments)
    _show(_must(person.run(*arguments)))


def _refused(person: Person, name: str, *arguments: str) -> None:
    """Run a command that must fail with the error ``name``, and show what it says."""
    _echo(*arguments)
    result = person.run(*arguments)
    expected = next(cls for cls in tree(AtdError) if cls.__name__ == name).exit_code
    if result.returncode != expected:
        raise DaemonError(
            f"atd {arguments[0]} should have been refused with {name} (exit code {expected}), "
            f"but ended with {result.returncode}: {result.stderr.strip() or result.stdout.strip()}"
        )
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    _say("".join(f"  {line}\n" for line in [*failed, *result.stderr.splitlines()]).rstrip())
    _say(f"  refused: {name}, exit code {result.returncode}")


def _json(person: Person, *arguments: str) -> Any:
    _echo(*(word for word in arguments if word != "--json"))
    return json.loads(_must(person.run(*arguments)).stdout)


def _must(result: CompletedProcess[str]) -> CompletedProcess[str]:
    """``result``, if it ended well; what went wrong is the demo's own error otherwise."""
    if result.returncode:
        raise DaemonError(
            f"a step of the demo failed: {result.stderr.strip() or result.stdout.strip()}",
            next_step="run it again with --keep and look at the logs in its folder",
        )
    return result


def _flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def _act(text: str) -> None:
    _say(f"\n== {text}")


def _echo(*arguments: str) -> None:
    text = f"$ atd {shlex.join(arguments)}"
    lines = textwrap.wrap(text, 88, break_long_words=False, subsequent_indent="      ")
    _say("\n" + " \\\n".join(f"  {line}" for line in lines))


def _show(result: CompletedProcess[str]) -> None:
    _say("".join(f"  {line}\n" for line in result.stdout.splitlines()).rstrip())


def _say(text: str) -> None:
    if text:
        print(text)
        sys.stdout.flush()
