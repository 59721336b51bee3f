"""Data sets of the Hugging Face Hub, fetched by huggingface_hub itself from a hub on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from publish import pictures
from publishing.sources.fakehub import serving

pytest.importorskip("huggingface_hub", reason="the extra 'hf' is not installed")

PROGRAM = """
import sys
from atd.errors import AtdError
from atd.publishing.sources.opening import open_source
try:
    source = open_source(sys.argv[1])
except AtdError as error:
    print(type(error).__name__, error.message)
else:
    counts = {name: split.count for name, split in source.splits.items()}
    print(source.origin, counts, *source.schema.names)
"""


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("hub")
    lines = root / "alice" / "lines" / "data"
    lines.mkdir(parents=True)
    (lines / "train-00000-of-00001.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    (lines / "test-00000-of-00001.jsonl").write_text('{"n": 3}\n')
    (root / "alice" / "lines" / "README.md").write_text(
        "---\nlicense: mit\n---\n# Lines\n\nThree.\n"
    )
    (root / "alice" / "lines" / "lines.py").write_text("raise SystemExit('code was run')\n")
    pictures.put(root / "alice" / "flowers" / "train" / "rose" / "1.png")
    (root / "alice" / "empty").mkdir()
    (root / "alice" / "liar").mkdir()
    (root / "alice" / "liar" / "evil.jsonl").write_text('{"n": 1}\n')
    with serving(root) as address:
        yield address


def opened(
    address: str, endpoint: str, home: Path, *, program: str = PROGRAM, **environ: str
) -> str:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "ATD_HOME": str(home),
        **environ,
    }
    command = [sys.executable, "-c", program, address]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_data_set_is_fetched_once_and_read_as_the_folder_that_it_is(
    endpoint: str, tmp_path: Path
) -> None:
    address = "hf://datasets/alice/lines"
    said = f"{address} {{'train': 2, 'test': 1}} n"
    assert opened(address, endpoint, tmp_path) == said
    assert opened(address, "http://127.0.0.1:9", tmp_path, ATD_OFFLINE="1") == said


CARD = """
import sys
from atd.publishing.cards import Words
words = dict(title=None, description=None, license=None, tags=(), card=None, card_files=True)
print(Words.of(sys.argv[1], **words).proposal.values)
"""


@pytest.mark.parametrize("below", ["", "/data"])
def test_its_readme_says_what_it_is_also_where_only_a_folder_of_it_is_taken(
    endpoint: str, tmp_path: Path, below: str
) -> None:
    said = opened(f"hf://datasets/alice/lines{below}", endpoint, tmp_path, program=CARD)
    assert said == "{'title': 'Lines', 'description': 'Three.', 'license': 'MIT'}"


def test_images_and_a_path_below(endpoint: str, tmp_path: Path) -> None:
    said = opened("hf://datasets/alice/flowers", endpoint, tmp_path)
    assert said.endswith("{'train': 1} image label")
    below = opened("hf://datasets/alice/lines@main/data", endpoint, tmp_path)
    assert below.endswith("{'train': 2, 'test': 1} n")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("hf://datasets/alice/nothing", "Absent the Hub knows no"),
        ("hf://datasets/alice/lines/lost", "Absent 'alice/lines' on the Hub has no 'lost'"),
        ("hf://datasets/alice", "BadSource expected hf://datasets/OWNER/NAME"),
        ("hf://datasets/alice/lines/../../x", "BadSource expected hf://datasets/OWNER/NAME"),
        ("hf://models/alice/lines", "BadSource expected hf://datasets/OWNER/NAME"),
    ],
)
def test_what_is_not_there(endpoint: str, tmp_path: Path, address: str, error: str) -> None:
    assert opened(address, endpoint, tmp_path).startswith(error)


def test_a_hub_that_does_not_answer(tmp_path: Path) -> None:
    address = "hf://datasets/alice/lines"
    assert opened(address, "http://127.0.0.1:9", tmp_path).startswith("Unreachable the Hub")
    offline = opened(address, "http://127.0.0.1:9", tmp_path, ATD_OFFLINE="1")
    assert offline.startswith("Offline")


def test_a_data_set_without_files(endpoint: str, tmp_path: Path) -> None:
    said = opened("hf://datasets/alice/empty", endpoint, tmp_path)
    assert said == "Absent 'alice/empty' on the Hub has no files"


def test_a_data_set_that_lists_files_outside_of_itself(endpoint: str, tmp_path: Path) -> None:
    said = opened("hf://datasets/alice/liar", endpoint, tmp_path / "home")
    assert said.startswith(("BadSource", "Unreachable")), said
    outside = [path for path in tmp_path.rglob("evil*") if "datasets--alice--liar" not in str(path)]
    assert not outside
