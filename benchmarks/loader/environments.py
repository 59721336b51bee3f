"""The environments that the loaders run in, since no single one can hold them all.

Belongs here: what is installed where, and making it so, under one folder that can be thrown away.
torch is pinned and named in every step, because its default build brings gigabytes of CUDA.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PROJECT: Final = HERE.parents[1]
PYTHON_312: Final = "BENCH_PYTHON312"
"""The environment variable that names a Python 3.12, where ``python3.12`` on the path is none."""

_TORCH: Final = "torch==2.13.0"


class Missing(Exception):
    """An environment cannot be made here, and why."""


@dataclass(frozen=True)
class Environment:
    """One virtual environment.

    Args:
        steps: what pip installs, one command after the other.
        python: the version it needs; None for the one that runs the benchmark.
        ours: whether this project is installed too, as it stands in the checkout.
        stubs: whether stand-ins of this folder come before what is installed.
    """

    steps: tuple[tuple[str, ...], ...]
    python: str | None = None
    ours: bool = False
    stubs: bool = False


ENVIRONMENTS: Final[dict[str, Environment]] = {
    "peers": Environment(
        (
            (_TORCH,),
            (_TORCH, "webdataset", "litdata", "datasets", "grain", "array-record", "pylance"),
            (_TORCH, "pyarrow", "msgpack", "pillow", "numpy"),
        ),
        ours=True,
    ),
    "atdata": Environment((("atdata==0.7.0b1", "numpy", "pillow"),), python="3.12"),
    "mosaic": Environment(
        (
            (_TORCH, "numpy<2.2", "filelock<3.17"),
            (_TORCH, "numpy<2.2", "filelock<3.17", "mosaicml-streaming"),
        ),
        stubs=True,
    ),
}


def prepare(name: str, home: Path) -> Path:
    """The interpreter of the environment ``name`` below ``home``, made and filled if need be.

    Raises:
        Missing: it needs a Python that is not here, or pip failed.
    """
    wanted = ENVIRONMENTS[name]
    folder = home / "envs" / name
    python = folder / "bin" / "python"
    # Only what is asked of pip decides; a newer release of a peer comes with a fresh folder.
    stamp = folder / ("ready-" + hashlib.sha256(repr(wanted).encode()).hexdigest()[:12])
    if stamp.exists():
        return python
    base = sys.executable if wanted.python is None else _python(wanted.python)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing the environment {name} into {folder} ...", file=sys.stderr, flush=True)
    _run([base, "-m", "venv", str(folder)], name)
    steps = [*wanted.steps, *([("-e", str(PROJECT))] if wanted.ours else [])]
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for step in steps:
        _run([*pip, *step], name)
    stamp.touch()
    return python


def surroundings(name: str, folder: Path) -> dict[str, str]:
    """The environment variables of a process in the environment ``name``; what it caches goes
    below ``folder``."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    known |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "JAX_PLATFORMS": "cpu"}
    known |= {"ATD_HOME": str(folder / "home"), "HF_HOME": str(folder / "home-hf")}
    known |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "2"}
    if ENVIRONMENTS[name].stubs:
        known["PYTHONPATH"] = str(HERE / "stubs")
    return known


def _python(version: str) -> str:
    for candidate in (os.environ.get(PYTHON_312), shutil.which(f"python{version}")):
        if candidate is None:
            continue
        question = "import sys; print('%d.%d' % sys.version_info[:2])"
        # A shim on the path may be there without the interpreter that it stands for.
        asked = subprocess.run([candidate, "-c", question], capture_output=True, text=True)
        if asked.stdout.strip() == version:
            return candidate
    raise Missing(f"needs Python {version} (python{version} on the path, or {PYTHON_312})")


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise Missing(f"the environment {name} cannot be installed: {last}")
