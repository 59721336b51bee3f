"""``atd schema pull`` writes whole files, and replaces only what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kinds import pack_everything


def pull(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atd", "schema", "pull", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_everything(tmp_path_factory.mktemp("pull") / "packed", 2)


def test_a_folder_of_shards_becomes_a_module_that_loads_it(packed: Path, tmp_path: Path) -> None:
    said = pull(str(packed), "--python", "every.py", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "every.py: Everything, EverythingBatch and EVERYTHING\n"
    program = "import atd, every; print(type(atd.load(every.EVERYTHING)[0]).__name__)"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.stdout == "Everything\n", ran.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".py"] == ["every.py"]


def test_its_own_file_is_replaced_and_another_s_is_not(packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "every.py"
    for _ in range(2):
        assert pull(str(packed), "--python", str(file), folder=tmp_path).returncode == 0
    file.write_text("mine = 1\n", "utf-8")
    refused = pull(str(packed), "--python", str(file), folder=tmp_path)
    assert refused.returncode == 17
    assert "--yes" in refused.stderr
    assert file.read_text("utf-8") == "mine = 1\n"
    agreed = pull(str(packed), "--python", str(file), "--yes", "--json", folder=tmp_path)
    assert json.loads(agreed.stdout)["constant"] == "EVERYTHING"
    assert "atd.Ref[" in file.read_text("utf-8")


def test_a_place_that_cannot_be_written_is_named(packed: Path, tmp_path: Path) -> None:
    said = pull(str(packed), "--python", "no/such/folder/x.py", folder=tmp_path)
    assert said.returncode == 15
    assert "no/such/folder/x.py" in said.stderr
    assert not list(tmp_path.iterdir())
