"""``atd recipe`` and ``atd prepare @…`` at a terminal: alice publishes, a stranger prepares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atd.errors import DigestMismatch, NeedsConsent, RecipeError, RecordAbsent, TooLarge
from cli.conftest import MakePerson, Town
from cli.stage import Person, write
from cli.terminal import Terminal
from recipes.making import idx, packed, sha256
from recipes.servers import FileServer

IMAGES = np.random.default_rng(1).integers(0, 255, (50, 4, 4), np.uint8)
LABELS = (np.arange(50) % 10).astype(np.uint8)
FILES = {"images": packed(idx(IMAGES)), "labels": packed(idx(LABELS))}
READ = """
import atd, sys
ds = atd.prepare_dataset(sys.argv[1])
print(ds.images.data().shape, int(ds.labels.data().sum()))
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer().running() as running:
        yield running


@pytest.fixture
def reader(somebody: MakePerson, town: Town, server: FileServer) -> Person:
    """A stranger whose settings allow the server of files."""
    allowed = f"{town.variables['ATD_ALLOW_HOSTS']},{server.place}"
    return somebody(**{**town.variables, "ATD_ALLOW_HOSTS": allowed})


def letters(server: FileServer, name: str, *, sealed: bool = True, **more: object) -> str:
    """A recipe of two IDX files, as JSON."""
    resources = {}
    for key, data in FILES.items():
        resources[key] = {"urls": [server.serve(f"/{key}.gz", data)], "transforms": ["gunzip"]}
        if sealed:
            resources[key] |= {"size": len(data), "sha256": sha256(data)}
    data = {key: {"kind": "idx", "of": key} for key in FILES}
    return json.dumps({"name": name, "resources": resources, "data": data, **more})


def publish(town: Town, folder: Path, text: str, *options: str) -> None:
    file = write(folder / "letters.json", text)
    town.alice.run("recipe", "publish", str(file), "--yes", *options).done()


def test_a_recipe_is_published_and_a_stranger_prepares_it(
    town: Town, reader: Person, server: FileServer, tmp_path: Path
) -> None:
    ref = "@alice.test/org.example.letters"
    file = write(tmp_path / "letters.json", letters(server, "org.example.letters", title="Letters"))
    planned = town.alice.run("recipe", "publish", str(file), "--dry-run").done().out
    assert server.place in planned
    assert f"would publish {ref}" in planned
    asked = town.alice.run("recipe", "publish", str(file))
    assert asked.code == NeedsConsent.exit_code
    assert server.place in asked.err
    said = town.alice.run("recipe", "publish", str(file), "--yes", "--json").done().json
    assert said["uri"] == f"at://{town.front.did}/network.atd.recipe/org.example.letters"
    assert (said["first"], said["unchanged"]) == (True, False)
    again = town.alice.run("recipe", "publish", str(file), "--json").done().json
    assert (again["cid"], again["unchanged"]) == (said["cid"], True)

    refused = reader.run("prepare", ref)
    assert refused.code == NeedsConsent.exit_code
    for shown in ("@alice.test", town.front.did, server.place, said["cid"], "2 files"):
        assert shown in refused.err, shown
    assert server.requests == []
    with Terminal(reader, "prepare", ref) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    done = reader.run("prepare", ref).done().json
    assert done["id"] == f"{town.front.did}/org.example.letters"
    assert len(server.requests) == 2
    shape = reader.run_python("-c", READ, ref).done().out
    assert shape == f"(50, 4, 4) {int(LABELS.sum())}\n"
    shown = reader.run("recipe", "show", ref, "--json").done().json
    assert shown["hosts"] == [server.place]

    found = reader.run("search", "letters", "--json").done().json["recipes"]
    assert [one["uri"] for one in found] == [said["uri"]]
    assert "@alice.test/org.example.letters" in reader.run("search", "letters").done().out
    listed = reader.run("recipes", "example", "letters", "--json").done().json
    assert [one["name"] for one in listed["published"]] == ["org.example.letters"]

    changed = letters(server, "org.example.letters", title="Letters, again")
    file.write_text(changed, "utf-8")
    town.alice.run("recipe", "publish", str(file)).done()
    assert reader.run("prepare", ref).code == NeedsConsent.exit_code  # another content
    town.alice.run("recipe", "unpublish", "org.example.letters", "--yes").done()
    reader.run("prepare", ref, "--yes").refused(RecordAbsent, "neither a recipe nor a data set")


def test_a_recipe_that_is_not_sealed_is_sealed_and_published(
    town: Town, reader: Person, server: FileServer, tmp_path: Path
) -> None:
    text = f"""# by hand
name = "org.example.sealed"

[resources.images]  # the pictures
urls = ["{server.serve("/images.gz", FILES["images"])}"]
transforms = ["gunzip"]
"""
    file = write(tmp_path / "sealed.toml", text)
    town.alice.run("recipe", "publish", str(file), "--yes").refused(
        RecipeError, "size and sha256", advice="atd recipe seal"
    )
    reader.run("recipe", "seal", str(file)).done()
    sealed = file.read_text("utf-8")
    assert "# by hand" in sealed
    assert f'sha256 = "{sha256(FILES["images"])}"' in sealed
    town.alice.run("recipe", "publish", str(file), "--yes").done()
    reader.run("prepare", "@alice.test/org.example.sealed", "--yes").done()


def test_what_a_recipe_prepares_is_packed_and_read_as_samples(
    reader: Person, server: FileServer, tmp_path: Path
) -> None:
    joined = {"train": {"image": "images", "label": "labels"}}
    text = letters(server, "org.example.joined", samples=joined)
    write(reader.home / "recipes" / "joined.json", text)
    made = tmp_path / "shards"
    reader.run("pack", "recipe:org.example.joined", "-o", str(made)).done()
    read = "import atd, sys; s = list(atd.load(sys.argv[1])); print(len(s), s[0].image.shape)"
    assert reader.run_python("-c", read, str(made)).done().out == "50 (4, 4)\n"
    nothing = reader.run("pack", "recipe:org.example.none", "-o", str(tmp_path / "none"))
    nothing.refused(RecipeError, "no recipe on this machine", advice="@HANDLE/org.example.none")


def test_code_is_never_published(town: Town, tmp_path: Path) -> None:
    code = """
import atd
from atd import recipes

def make(paths, out):
    out.write_text("made")

@atd.recipe("org.example.code")
class Code:
    made = recipes.compute(make, "raw")
    raw = recipes.file("https://example.org/x", size=1, sha256="0" * 64)
"""
    file = write(tmp_path / "code.py", code)
    town.alice.run("recipe", "publish", str(file), "--yes").refused(RecipeError, "code")


def test_what_is_served_is_what_was_signed_and_fits_the_budget(
    town: Town, reader: Person, server: FileServer, tmp_path: Path
) -> None:
    publish(town, tmp_path, letters(server, "org.example.budget"))
    ref = "@alice.test/org.example.budget"
    small = reader.run("prepare", ref, "--yes", "--max-bytes", "500")
    assert small.code == TooLarge.exit_code
    assert server.requests == []
    server.serve("/images.gz", FILES["images"][:-1] + b"x")
    assert reader.run("prepare", ref).code == DigestMismatch.exit_code
    assert "org.example.budget/images" not in reader.files("cache", "prepared", town.front.did)
    server.serve("/images.gz", FILES["images"])
    tight = str(sum(map(len, FILES.values())) + 10)
    assert reader.run("prepare", ref, "--max-bytes", tight).code == TooLarge.exit_code
    reader.run("prepare", ref).done()


def test_a_data_set_without_a_recipe_says_so(town: Town, reader: Person) -> None:
    reader.run("prepare", "@alice.test/plants", "--yes").refused(
        RecordAbsent, "has no recipe", advice="atd pull @alice.test/plants"
    )
