"""Somebody takes the types of what another one published, and loads by them."""

from __future__ import annotations

from pathlib import Path

from story.people import Person

PROGRAM = """
import atd
from table import TABLE

ds = atd.load(TABLE)
print(TABLE, type(ds[0]).__name__, sum(sum(batch.n) for batch in ds.batched(2)))
"""


def test_the_types_of_a_published_data_set_load_it_by_did(
    alice: Person, bob: Person, desk: Path
) -> None:
    source = desk / "table.csv"
    source.write_text("n,word\n1,a\n2,b\n3,c\n", "utf-8")
    alice.run("publish", str(source), "--name", "table", "--yes")
    place = bob.home.parent / "types"
    place.mkdir()
    assert alice.account is not None
    said = bob.json(
        "schema", "pull", f"@{alice.handle}/table@1.0.0", "--python", str(place / "table.py")
    )
    assert said["ref"] == f"{alice.account.did}/table@1.0.0"
    assert said["constant"] == "TABLE"
    (place / "program.py").write_text(PROGRAM, "utf-8")
    assert bob.python(place / "program.py").out == f"{said['ref']} Table 6\n"
    absent = bob.run("schema", "pull", f"@{alice.handle}/none", "--python", "none.py", code=43)
    assert "does not exist" in absent.err
