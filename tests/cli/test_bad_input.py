"""Bad data at the command line: what fails late leaves nothing, and the next one succeeds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from atd.errors import BadSource, RecordAbsent, SchemaMismatch
from cli.conftest import Town
from cli.stage import Person, write
from cli.test_publishing import published


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (seed % 256, 30, 30)).save(out, "PNG")
    return out.getvalue()


def staged(person: Person) -> list[Path]:
    """Shards and spools that wait for a publication to go on."""
    return [path for path in person.home.rglob("staging/*/*") if path.is_file()]


GENERATOR = """
def samples():
    for n in range(3000):
        yield {"n": n}
    FAIL
"""
LATE = {
    "a sample of another type": ("yield {'n': 'x'}", "sample 000003000: field n", "'x'"),
    "a key that came before": ("yield '000000007', {'n': 1}", "sample 000000007", "twice"),
    "an error of its own": ("raise KeyError('lost')", "sample 3000", "KeyError", "rows.py, line 5"),
}


@pytest.mark.parametrize("how", LATE)
def test_what_fails_in_the_middle_of_packing_publishes_nothing(
    town: Town, tmp_path: Path, how: str
) -> None:
    line, *words = LATE[how]
    write(tmp_path / "rows.py", GENERATOR.replace("FAIL", line).encode())
    before = published(town)
    command = ("publish", "rows:samples", "--name", "late", "--yes")
    result = town.alice.run(*command, cwd=tmp_path)
    result.refused(SchemaMismatch if "type" in how else BadSource, *words)
    assert published(town) == before
    assert not staged(town.alice)


def test_after_bad_data_the_good_are_published(town: Town, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for number in range(4):
        write(folder / "red" / f"{number}.png", picture(number))
    write(folder / "red" / "bad.png", picture(9)[:60])
    command = ("publish", str(folder), "--name", "mended", "--yes")
    town.alice.run(*command).refused(BadSource, "red/bad.png", advice="--skip-bad")
    town.alice.run("show", "@alice.test/mended").refused(RecordAbsent, "mended")
    assert not staged(town.alice)
    skipped = town.alice.run(*command, "--skip-bad").done()
    assert "left out: red/bad.png" in skipped.err
    assert "published @alice.test/mended 1.0.0: 1 shard, 4 samples" in skipped.out
    write(folder / "red" / "bad.png", picture(9))
    whole = town.alice.run(*command).done()
    assert "published @alice.test/mended 1.1.0: 1 shard, 5 samples" in whole.out
