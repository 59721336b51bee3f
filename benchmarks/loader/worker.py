"""One loader on one workload, in a process of its own: packs if need be, measures, tells in JSON.

Run by ``__main__``. The loader's library is imported before the first clock starts; every measure
prints as soon as it is known, so that a loader that hangs or dies keeps what it had.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from pathlib import Path

from contract import NotOffered
from measures import Measures, WrongSamples
from registry import LOADERS
from workloads import Base, workload


def _warm(folder: Path) -> None:
    """Read every byte once, so that all loaders find a warm page cache."""
    chunk = bytearray(1 << 20)
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(chunk):
                    pass


def _measure(measures: Measures, name: str) -> dict[str, object]:
    try:
        return {"measure": name, "value": getattr(measures, name)()}
    except NotOffered:
        return {"measure": name, "value": None}
    except WrongSamples as error:
        return {"measure": name, "wrong": str(error)}
    except Exception as error:  # a peer may fail in any way; the table says how
        return {"measure": name, "error": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loader")
    parser.add_argument("workload")
    parser.add_argument("measures", nargs="*")
    parser.add_argument("--scale", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cap", type=float, required=True)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    chosen = workload(given.workload, given.scale)
    base = Base(chosen, given.folder / "base" / chosen.name)
    home = given.folder / given.loader / chosen.name
    peer = LOADERS[given.loader].load()(chosen, home)
    # What a peer prints by itself must not get among the lines of JSON.
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if not home.exists():
        home.mkdir(parents=True)
        peer.pack(base)
    _warm(home)
    measures = Measures(peer, base, given.cap)
    for name in given.measures:
        if name == given.measures[0] and name not in ("open", "first"):
            peer.open()
        print(json.dumps(_measure(measures, name)), file=said, flush=True)


if __name__ == "__main__":
    main()
