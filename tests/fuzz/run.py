"""Fuzz one reader after the other with atheris: ``python -m fuzz.run [SECONDS [TARGET …]]``.

Run by ``make fuzz``. Each target runs in a process of its own, guided by the coverage of our code,
from its seeds, its vectors and what earlier runs thought worth keeping (``.fuzz/corpus``). An input
that makes one fail is left in ``.fuzz/found`` and its traceback is shown; once what it found is
mended it belongs into ``vectors/TARGET``, in hex, where every run of the tests plays it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["atd"], enable_loader_override=False):
    import atd.shards.pillow
    import atd.shards.soundfile_door  # noqa: F401  # doors that would be opened too late to be seen
    from fuzz.targets import TARGETS, found

PLACE = Path(__file__).parents[2] / ".fuzz"
SECONDS = 60
MAX_BYTES = 16384


def main(words: list[str]) -> int:
    """Fuzz the targets named, or all; the exit code is 1 if one was found wrong."""
    seconds = int(words[0]) if words else SECONDS
    names = words[1:] or list(TARGETS)
    failed = [name for name in names if not succeeds(name, seconds)]
    print(f"{len(names) - len(failed)} of {len(names)} targets held; found: {failed or 'nothing'}")
    return 1 if failed else 0


def succeeds(name: str, seconds: int) -> bool:
    """Whether a target withstands ``seconds`` of attack, in a process of its own."""
    corpus, faults = PLACE / "corpus" / name, PLACE / "found" / name
    corpus.mkdir(parents=True, exist_ok=True)
    faults.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate((*TARGETS[name].seeds(), *found(name).values())):
        (corpus / f"seed-{number}").write_bytes(seed)
    print(f"== {name}", flush=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fuzz.run", "--one", name),
            *(f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=20"),
            *("-rss_limit_mb=3000", f"-artifact_prefix={faults}/", "-print_final_stats=1"),
            str(corpus),
        ],
        check=False,
    )
    if not any(faults.iterdir()):
        faults.rmdir()
    return done.returncode == 0


def attack(name: str, options: list[str]) -> None:
    """Hand one target to libFuzzer, which ends the process."""
    atheris.Setup([sys.argv[0], *options], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        attack(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
