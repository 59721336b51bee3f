"""The same user's file as for mypy, read by pyright at its strictest.

pyright comes as basedpyright, which is the same program in a wheel of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import atd
from atd.schema.typed import to_typed_module
from kinds import Everything
from schema.test_typed import hostile

USER = Path(__file__).parent.parent / "typing_user.py"
WRONG = """
import atd
from every import EVERY

ds = atd.load(EVERY)
ds[0].nothing
for batch in ds.batched(2):
    batch.no_column
for batch in ds.shuffled(seed=1).loader(2):
    batch.neither
for batch in atd.mix([ds, ds]).batched(2):
    batch.nor_this
"""


def errors(folder: Path, *files: str) -> list[dict[str, Any]]:
    """What pyright finds wrong in ``files`` of ``folder``."""
    config = {
        "typeCheckingMode": "strict",
        "include": files,
        "extraPaths": [str(Path(atd.__file__).parent.parent)],
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [one for one in found if one["severity"] == "error"]


def test_pyright_knows_samples_batches_and_all_that_follows(tmp_path: Path) -> None:
    made = to_typed_module(atd.schema_of(Everything), "every", "./packed")
    (tmp_path / "every.py").write_text(made.source, "utf-8")
    (tmp_path / "user.py").write_text(USER.read_text("utf-8"), "utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, "utf-8")
    evil = to_typed_module(hostile(), "evil", "./evil")
    (tmp_path / "evil.py").write_text(evil.source, "utf-8")
    found = errors(tmp_path, "user.py", "wrong.py", "evil.py")
    assert {Path(one["file"]).name for one in found} == {"wrong.py"}, found
    said = [one["message"] for one in found if one["rule"] == "reportAttributeAccessIssue"]
    for name in ("nothing", "no_column", "neither", "nor_this"):
        assert any(f'"{name}"' in message for message in said), said
