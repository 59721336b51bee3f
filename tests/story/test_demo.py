"""``make demo``: the command that shows the whole story to somebody who has nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

LIMIT_S = 60


def test_the_demo_tells_the_whole_story_and_leaves_nothing(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ATD_")}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "atd", "demo"],
        env=environ | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < LIMIT_S
    for line in (
        "1,797 images in digits/{train,test}/{0..9}",
        "$ atd host init localhost:",
        "published @alice.test/digits 1.0.0: 2 shards, 1,797 samples",
        "read back with proof, from the handle to the last byte",
        "@alice.test/digits  1.0.0    1,797",
        "ok    6. the commit is signed by the key of the document",
        "steps hold",
        "Dataset(@alice.test/digits@1.0.0: 1,437 samples of image, label)",
        "a sample: (8, 8, 3) uint8 labelled ",
        "= 1437",
        "refused: DigestMismatch, exit code 36",
        "in the store, verified (",
        "refused: ProofError, exit code 31",
        "Daemons stopped, everything removed.",
    ):
        assert line in done.stdout, f"{line!r} is not in:\n{done.stdout}"
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["home"])
    assert not [pid for pid, environ in environs() if str(tmp_path).encode() in environ]


def environs() -> Iterator[tuple[str, bytes]]:
    """The environment of every process that may be looked at, where the system shows them."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            yield path.parent.name, path.read_bytes()
