"""How fast samples are read: atd beside the loaders one could pick instead, in one run.

Every loader reads the same samples in its own format, in fresh processes, with a warm page cache.
The loaders take turns in rounds, so that noise meets all alike. Every complete pass checks how many
samples came and what their labels add up to, and in the first round contents are compared as well:
a loader with wrong samples ends the run with an error. Rates are told as multiples of webdataset
decoding the same samples from msgpack.

The loaders are installed into environments of their own below --home (several GB), once. atdata
needs a python3.12 on the path. Samples and packed files take about 2 GB at the default scale, in a
temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import HERE, PROJECT, Missing, prepare, surroundings
from registry import LOADERS, YARDSTICK
from report import MEASURES, Results, against_yardstick, tables
from workloads import LETTERS, Base, workload

PROTOTYPE = "BENCH_PROTOTYPE"
TIMEOUT_S = 240.0
MARKS = "<!-- measured: loaders -->", "<!-- end of what was measured: loaders -->"


@dataclass(frozen=True)
class Run:
    """What was asked for, once environments are there."""

    options: argparse.Namespace
    folder: Path
    pythons: dict[str, Path]
    results: Results

    def chosen(self, loader: str, letter: str) -> bool:
        """Whether the loader takes part in the workload."""
        known = LOADERS[loader]
        return known.environment in self.pythons and letter in known.workloads

    def worker(self, loader: str, letter: str, measures: list[str]) -> list[dict[str, Any]]:
        """What the worker process told; its last words become a trouble where it fails."""
        environment = LOADERS[loader].environment
        python = self.pythons[environment]
        command = [str(python), str(HERE / "worker.py"), loader, letter, *measures]
        command += ["--scale", str(self.options.scale), "--folder", str(self.folder)]
        command += ["--cap", str(self.options.cap)]
        home_was_there = (self.folder / loader / letter).exists()
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=surroundings(environment, self.folder),
                text=True,
                start_new_session=True,
            )
            try:
                told, code = process.communicate(timeout=TIMEOUT_S)[0], process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with the workers it may have started
                told, code = process.communicate()[0], -1
            log.seek(0)
            lines = [json.loads(line) for line in told.splitlines()]
            if code:
                words = (log.read().strip().splitlines() or ["no word why"])[-1]
                missed = [*measures, "end"][len(lines)] if home_was_there else "pack"
                why = f"no answer in {TIMEOUT_S:.0f} s" if code == -1 else words
                lines.append({"measure": missed, "error": why[:300]})
        return lines


def pack_all(run: Run) -> None:
    """Every loader's files, and whether it reads back from them what was packed.

    Who cannot pack a workload, or fails to prove its contents, is left out of it.
    """
    for letter in run.options.workloads:
        chosen = workload(letter, run.options.scale)
        Base(chosen, run.folder / "base" / letter)
        for loader in run.options.loaders:
            if run.chosen(loader, letter) and not (run.folder / loader / letter).exists():
                say(f"packing {letter} {loader}")
                prove = ["verify"] if "verify" in run.options.measures else []
                for line in run.worker(loader, letter, prove):
                    take(run.results, (line["measure"], letter, loader), line)
                    if line["measure"] == "verify" and "value" in line:
                        continue
                    shutil.rmtree(run.folder / loader / letter, ignore_errors=True)


def measure_all(run: Run) -> None:
    """All rounds, the loaders in turn."""
    for number in range(run.options.rounds):
        for letter in run.options.workloads:
            for loader in run.options.loaders:
                if not run.chosen(loader, letter) or not (run.folder / loader / letter).exists():
                    continue
                for group in groups(run.options.measures, letter, loader, number):
                    say(f"round {number + 1} {letter} {loader} {group[0]}")
                    for line in run.worker(loader, letter, group):
                        take(run.results, (line["measure"], letter, loader), line)


def groups(measures: list[str], letter: str, loader: str, number: int) -> list[list[str]]:
    """The measures that share a process.

    Opening for the first time needs its own, and workers, which only count where decoding
    dominates. Memory is measured once: it takes a complete pass, which the rates do not.
    """
    left_out = {"verify", "first", "workers"} | (set() if number == 0 else {"memory"})
    shared = [m for m in MEASURES if m in measures and m not in left_out]
    first = ["first"] if "first" in measures and LOADERS[loader].keeps else []
    working = ["workers"] if "workers" in measures and letter == "F" else []
    return [group for group in (first, shared, working) if group]


def take(results: Results, key: tuple[str, str, str], line: dict[str, Any]) -> None:
    """One line of a worker into the results."""
    if "wrong" in line:
        results.wrong.append(f"{key[2]}, workload {key[1]}, {key[0]}: {line['wrong']}")
    elif "error" in line:
        results.troubles[key] = line["error"]
    elif line["value"] is not None:
        results.add(key, line["value"])


def show(run: Run) -> str:
    """Everything that is to be told, as Markdown."""
    options, results = run.options, run.results
    parts = [tables(results, options.measures, options.workloads)]
    if shares := against_yardstick(results, options.workloads):
        parts.append(f"atd as multiples of the prototype\n\n{shares}")
    sums = []
    for letter in options.workloads:
        count, total = Base(workload(letter, options.scale), run.folder / "base" / letter).total
        seen = sorted({k[2] for k in results.values if k[1] == letter})
        sums.append(f"{letter}: {count:,} samples, labels add up to {total:,}; {len(seen)} loaders")
    parts.append("Checked in every complete pass:\n\n" + "\n".join(sums))
    parts += [f"{name}: not run: {why}" for name, why in results.missing.items()]
    parts += [f"{k[2]}, {k[1]}, {k[0]}: failed: {why}" for k, why in results.troubles.items()]
    parts += [f"WRONG SAMPLES: {wrong}" for wrong in results.wrong]
    return "\n\n".join(part for part in parts if part)


def update(path: Path, text: str) -> None:
    """Put the tables into a document, between its marks."""
    before, mark, rest = path.read_text().partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise SystemExit(f"{path} has no lines {MARKS[0]} and {MARKS[1]}")
    path.write_text(f"{before}{mark}\n\n{text}\n\n{end}{after}")


def say(what: str) -> None:
    """Progress, beside the results."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def interpreters(options: argparse.Namespace, results: Results) -> dict[str, Path]:
    """The interpreter of each environment that is needed and can be made."""
    found: dict[str, Path] = {}
    for loader in options.loaders:
        name = LOADERS[loader].environment
        try:
            found[name] = Path(sys.executable) if options.here else prepare(name, options.home)
        except Missing as error:
            results.missing[loader] = str(error)
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/loader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--loaders", default=",".join(LOADERS), help="some of: %(default)s")
    add("--workloads", default=LETTERS, help="letters of %(default)s; see workloads.py")
    add("--measures", default=",".join(MEASURES), help="some of: %(default)s")
    add("--scale", type=float, default=0.1, help="1 is 200,000 samples of A (default %(default)s)")
    add("--rounds", type=int, default=2, help="default %(default)s; the best of them counts")
    add("--cap", type=float, default=0.4, help="seconds for each rate after its first pass")
    add("--home", type=Path, default=PROJECT / "build" / "bench", help="of the environments")
    add("--folder", type=Path, help="keep samples and packed files here, and use them again")
    add(
        "--prototype",
        type=Path,
        default=os.environ.get(PROTOTYPE),
        help=f"folder of a prototype to compare with (or {PROTOTYPE})",
    )
    add("--here", action="store_true", help="install nothing: this interpreter runs all loaders")
    add("--json", type=Path, metavar="FILE", help="also write the values here")
    add("--update", type=Path, metavar="FILE", help="also put the tables into this document")
    options = parser.parse_args()
    options.loaders = _some_of(options.loaders.split(","), LOADERS, parser)
    options.measures = _some_of(options.measures.split(","), MEASURES, parser)
    options.workloads = "".join(_some_of(list(options.workloads), LETTERS, parser))
    if options.prototype is None:
        options.loaders = [name for name in options.loaders if name != YARDSTICK]
    else:
        os.environ[PROTOTYPE] = str(Path(options.prototype).resolve())
    return options


def _some_of(given: list[str], known: Any, parser: argparse.ArgumentParser) -> list[str]:
    strange = [name for name in given if name not in known]
    if strange:
        parser.error(f"{', '.join(strange)}: expected some of {', '.join(known)}")
    return [name for name in known if name in given]


def main() -> int:
    """Pack, measure, tell; 1 where a loader gave wrong samples."""
    options = arguments()
    results = Results()
    pythons = interpreters(options, results)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        run = Run(options, folder, pythons, results)
        pack_all(run)
        measure_all(run)
        text = show(run)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    if options.update:
        update(options.update, text)
    return 1 if results.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
