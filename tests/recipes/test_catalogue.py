"""The catalogue of recipes: found without being imported, read again when they change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atd.errors import InvalidSyntax, RecipeError
from atd.recipes import catalogue
from atd.recipes.scaffold import write_recipe
from atd.settings import Settings
from recipes.making import write


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.load({"ATD_HOME": str(tmp_path / "home")})


def code(name: str, title: str = "", before: str = "") -> str:
    return (
        f'import atd\nfrom atd import recipes\n{before}\n\n@atd.recipe("{name}", title="{title}")\n'
        'class Data:\n    a = recipes.file("https://example.org/a")\n'
    )


def names(settings: Settings, *words: str) -> list[str]:
    return [entry.name for entry in catalogue.search(words, settings)]


def test_what_ships_is_found_by_words_of_name_and_title(settings: Settings) -> None:
    assert names(settings, "MNIST") == ["com.lecun.mnist"]
    assert names(settings, "handwritten", "lecun") == ["com.lecun.mnist"]
    assert names(settings, "nothing like it") == []
    assert catalogue.find("com.lecun.mnist", settings).resources["train_images"].size == 9912422


def test_listing_runs_no_code_and_finding_runs_that_of_one_file(
    settings: Settings, tmp_path: Path
) -> None:
    folder = catalogue.user_folder(settings)
    for name in ("one", "two"):
        ran = f"open({str(tmp_path / f'ran-{name}')!r}, 'w')"
        write(folder / f"{name}.py", code(f"org.example.{name}", "Words", ran))
    write(folder / "broken.py", "this is no Python (")
    write(folder / "broken.toml", "nor is this TOML [")
    assert names(settings, "example", "words") == ["org.example.one", "org.example.two"]
    assert not list(tmp_path.glob("ran-*"))
    assert catalogue.find("org.example.one", settings).name == "org.example.one"
    assert [path.name for path in tmp_path.glob("ran-*")] == ["ran-one"]


def test_a_changed_file_is_read_again_and_a_removed_one_is_gone(settings: Settings) -> None:
    path = write(catalogue.user_folder(settings) / "a.py", code("org.example.before"))
    assert names(settings, "example") == ["org.example.before"]
    write(path, code("org.example.afterwards"))
    assert names(settings, "example") == ["org.example.afterwards"]
    path.unlink()
    assert names(settings, "example") == []
    with pytest.raises(RecipeError, match="no recipe on this machine is called"):
        catalogue.find("org.example.afterwards", settings)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"form": 1, "files": []}', b"\xff"])
def test_a_damaged_index_is_made_anew(settings: Settings, damage: bytes) -> None:
    assert names(settings) == ["com.lecun.mnist"]
    (settings.cache_dir / "recipes.json").write_bytes(damage)
    assert names(settings) == ["com.lecun.mnist"]


def test_a_file_with_the_name_of_one_that_ships_comes_first(settings: Settings) -> None:
    text = 'name = "com.lecun.mnist"\n[resources.mine]\nurls = ["https://example.org/a"]\n'
    write(catalogue.user_folder(settings) / "mine.toml", text)
    assert list(catalogue.find("com.lecun.mnist", settings).resources) == ["mine"]


def test_two_thousand_recipes_are_searched_without_reading_them_again(settings: Settings) -> None:
    folder = catalogue.user_folder(settings)
    for number in range(2000):
        write(folder / f"r{number}.py", code(f"org.example.n{number}", f"Number {number}"))
    assert len(names(settings, "number")) == 2000
    for path in folder.glob("r1*.py"):
        found = path.stat()
        # Other words of the same length and time: whoever reads them again shows them.
        path.write_text(path.read_text().replace("Number", "Zahlen"))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert len(names(settings, "number")) == 2000
    assert names(settings, "number", "1234") == ["org.example.n1234"]


PLUGIN = """
import sys
from atd.recipes import catalogue
from atd.settings import Settings
settings = Settings.load()
print([one.name for one in catalogue.search(["plugged"], settings)])
print("letters_plugin" in sys.modules)
print(catalogue.find("org.plugged.code", settings).title)
print(catalogue.find("org.plugged.data", settings).title)
print("letters_plugin.inner" in sys.modules)
"""


def test_recipes_of_an_entry_point_are_listed_without_importing_them(tmp_path: Path) -> None:
    site = tmp_path / "site"
    write(site / "letters_plugin" / "__init__.py", "")
    write(site / "letters_plugin" / "inner.py", code("org.plugged.code", "In code"))
    text = 'name = "org.plugged.data"\ntitle = "In data"\n[resources.a]\nurls = ["https://e.org/a"]'
    write(site / "letters_plugin" / "more.toml", text)
    info = site / "letters_plugin-1.0.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: letters-plugin\nVersion: 1.0\n")
    write(info / "entry_points.txt", "[atd.recipes]\nletters = letters_plugin\n")
    environ = {**os.environ, "ATD_HOME": str(tmp_path / "home"), "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", PLUGIN], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "['org.plugged.code', 'org.plugged.data']",
        "False",
        "In code",
        "In data",
        "True",
    ], done.stderr


def test_a_new_recipe_can_be_read_and_is_never_overwritten(tmp_path: Path) -> None:
    for name in ("org.example.my-data", "2d", "x"):
        path = write_recipe(name, tmp_path / "new")
        (recipe,) = catalogue.load_file(path)
        assert recipe.name == name
        before = path.read_bytes()
        with pytest.raises(RecipeError, match="exists already"):
            write_recipe(name, tmp_path / "new")
        assert path.read_bytes() == before
    with pytest.raises(InvalidSyntax):
        write_recipe("../evil", tmp_path)
