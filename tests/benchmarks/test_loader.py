"""The comparison of loaders checks what it measures: right ones are told, liars are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HARNESS = Path(__file__).parents[2] / "benchmarks" / "loader"

LIARS = """
import sys
from pathlib import Path

import numpy as np
from contract import Peer, grouped
from measures import Measures, WrongSamples
from workloads import Base, workload


class Honest(Peer):
    def open(self):
        rows = base.rows()
        self.rows = [(label, x.copy(), text) for label, x, text in rows]

    def samples(self):
        return iter(self.rows)

    def fields(self, sample):
        return sample

    columns = fields

    def batches(self, n):
        return grouped(self.samples(), n)

    def shuffled(self, n):
        order = np.random.default_rng(0).permutation(len(self.rows))
        return grouped((self.rows[i] for i in order), n)

    def picker(self):
        return self.rows.__getitem__

    def resume(self, position):
        return iter(self.rows[position:])


class Loses(Honest):
    def samples(self):
        return iter(self.rows[:-1])


class Repeats(Honest):
    def samples(self):
        return iter([*self.rows[:-1], self.rows[0]])


class Swaps(Honest):
    def samples(self):
        return iter([self.rows[1], self.rows[0], *self.rows[2:]])


class Blurs(Honest):
    def samples(self):
        return ((label, x + 1, text) for label, x, text in self.rows)


class Misquotes(Honest):
    def samples(self):
        return ((label, x, text[:-1]) for label, x, text in self.rows)


class Orders(Honest):
    def shuffled(self, n):
        return self.batches(n)


class Picks(Honest):
    def picker(self):
        return lambda i: self.rows[i - 1]


class Restarts(Honest):
    def resume(self, position):
        return iter(self.rows)


def told(cls, measure):
    peer = cls(base.workload, Path(sys.argv[1]))
    measures = Measures(peer, base, 0.01)
    peer.open()
    try:
        return getattr(measures, measure)() > 0
    except WrongSamples:
        return False


base = Base(workload("A", 0.001), Path(sys.argv[1]))
for measure in ("verify", "ordered", "batches", "shuffled", "random", "resume"):
    assert told(Honest, measure), measure
for cls in (Loses, Repeats, Swaps, Blurs, Misquotes, Orders):
    assert not told(cls, "verify"), cls
for cls in (Loses, Repeats):
    assert not told(cls, "ordered") and not told(cls, "batches"), cls
assert not told(Picks, "random")
assert not told(Restarts, "resume")
"""


def test_a_loader_that_lies_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIARS, str(tmp_path / "base")]
    done = subprocess.run(command, cwd=HARNESS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_atd_and_webdataset_are_compared_on_the_same_samples(tmp_path: Path) -> None:
    out = tmp_path / "rates.json"
    document = tmp_path / "page.md"
    marks = "<!-- measured: loaders -->", "<!-- end of what was measured: loaders -->"
    document.write_text(f"before\n{marks[0]}\nold\n{marks[1]}\nafter\n")
    command = [sys.executable, str(HARNESS), "--here", "--workloads", "A", "--scale", "0.001"]
    command += ["--rounds", "1", "--cap", "0.01", "--loaders", "webdataset-msgpack,atd"]
    command += ["--json", str(out), "--update", str(document), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "A: 320 samples" in done.stdout
    assert "2 loaders" in done.stdout
    assert "failed" not in done.stdout
    found = {(one["measure"], one["loader"]): one for one in json.loads(out.read_text())}
    for measure in ("verify", "open", "memory", "ordered", "batches", "shuffled", "resume"):
        assert (measure, "webdataset-msgpack") in found
        assert (measure, "atd") in found
    assert found["batches", "webdataset-msgpack"]["ratio"] == 1
    page = document.read_text()
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "**atd**" in page
    assert "old" not in page


def test_a_loader_whose_python_is_not_here_is_said_to_be_missing(tmp_path: Path) -> None:
    command = [sys.executable, str(HARNESS), "--loaders", "atdata", "--workloads", "A"]
    command += ["--home", str(tmp_path), "--folder", str(tmp_path), "--scale", "0.001"]
    nowhere = {"PATH": str(tmp_path)}
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "atdata: not run: needs Python 3.12" in done.stdout
