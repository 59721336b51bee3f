"""The same user's file as for mypy, read by pyright at its strictest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import atd
from atd.schema.typed import to_typed_module
from kinds import Everything

USER = Path(__file__).parent.parent / "typing_user.py"


def test_pyright_knows_samples_batches_and_all_that_follows(tmp_path: Path) -> None:
    pytest.importorskip("basedpyright")
    made = to_typed_module(atd.schema_of(Everything), "every", "./packed")
    (tmp_path / "every.py").write_text(made.source, "utf-8")
    (tmp_path / "user.py").write_text(USER.read_text("utf-8"), "utf-8")
    (tmp_path / "wrong.py").write_text("from every import EVERY\nEVERY.sample.nothing\n", "utf-8")
    config = {
        "typeCheckingMode": "strict",
        "include": ["user.py", "wrong.py"],
        "extraPaths": [str(Path(atd.__file__).parent.parent)],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = [one for one in found if one["severity"] == "error"]
    assert [Path(one["file"]).name for one in errors] == ["wrong.py"] * len(errors), errors
    assert "nothing" in errors[0]["message"]
