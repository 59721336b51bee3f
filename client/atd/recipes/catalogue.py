"""Which recipes there are, and finding one by its name without importing any.

Recipes come from three places, in this order: the user's folder ``recipes`` (configuration), what
is declared under the entry point group ``atd.recipes`` (a module, or a package with recipe files in
it), and those that ship with atd. Files are ``.toml``, ``.json`` and ``.py``.

Rules. Listing reads, and runs nothing: of a Python file, its syntax tree. What was read is kept in
an index, in which each file stands with its time of change and size; a file that has others is read
again. Only the one recipe that is asked for is loaded, and with it the code of its file.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from atd.errors import AtdError, RecipeError
from atd.names import check_name
from atd.protocol.syntax import quote
from atd.recipes.classes import recipe_of
from atd.recipes.model import Recipe
from atd.recipes.places import write_json
from atd.recipes.values import from_value
from atd.settings import Settings

GROUP: Final = "atd.recipes"
LIBRARY: Final = Path(__file__).parent / "library"
SUFFIXES: Final = (".toml", ".json", ".py")
MAX_FILE_BYTES: Final = 4 << 20
_FORM: Final = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipe in the index: its name and title, the file it is in, and that file's module."""

    name: str
    title: str
    path: str
    module: str = ""

    @property
    def runs_code(self) -> bool:
        """Whether loading it runs a Python file."""
        return self.path.endswith(".py")


def user_folder(settings: Settings) -> Path:
    """Where the user's own recipes lie; it need not exist."""
    return settings.config_dir / "recipes"


def entries(settings: Settings) -> dict[str, Entry]:
    """Every recipe by its name; of two with one name, that of the place that comes first."""
    files = dict(_files(settings))
    index_file = settings.cache_dir / "recipes.json"
    known = _read_index(index_file)
    fresh: dict[str, Any] = {}
    for path, (module, changed, size) in files.items():
        row = known.get(path)
        if not isinstance(row, list) or row[:3] != [module, changed, size]:
            row = [module, changed, size, _titles(Path(path))]
        fresh[path] = row
    if fresh != known:
        index_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(index_file, {"form": _FORM, "files": fresh})
    found: dict[str, Entry] = {}
    for path, (module, _, _, titles) in fresh.items():
        for name, title in titles:
            found.setdefault(name, Entry(name, title, path, module))
    return found


def search(words: Sequence[str], settings: Settings) -> list[Entry]:
    """The recipes that have each of ``words`` in their name or title, in the order of names."""
    wanted = [word.casefold() for word in words]
    found = (
        entry
        for entry in entries(settings).values()
        if all(word in f"{entry.name} {entry.title}".casefold() for word in wanted)
    )
    return sorted(found, key=lambda entry: entry.name)


def find(name: str, settings: Settings) -> Recipe:
    """The recipe called ``name``.

    Raises:
        RecipeError: there is none, or its file does not hold it any more.
    """
    entry = entries(settings).get(check_name(name))
    if entry is None:
        raise RecipeError(
            f"no recipe on this machine is called {quote(name)}",
            next_step=f"see: atd recipes; one that somebody publishes: @HANDLE/{name}",
        )
    if entry.module and entry.runs_code:
        return _named(_in_module(importlib.import_module(entry.module)), name, entry.path)
    return _named(load_file(Path(entry.path)), name, entry.path)


def load_file(path: Path) -> list[Recipe]:
    """The recipes in a file that the user named; a ``.py`` is run.

    Raises:
        RecipeError: it has none, or cannot be read.
    """
    if path.suffix == ".py":
        return _in_module(_run(path))
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RecipeError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes")
        text = path.read_text("utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is no {path.suffix[1:]}: {quote(str(error), 200)}") from None
    try:
        return [from_value(value)]
    except AtdError as error:
        raise RecipeError(f"{path}: {error.message}", next_step=error.next_step) from None


def _named(recipes: Sequence[Recipe], name: str, path: str) -> Recipe:
    for one in recipes:
        if one.name == name:
            return one
    raise RecipeError(f"{path} holds no recipe called {name}")


def _run(path: Path) -> Any:
    """The module in a file of the user's own."""
    spec = importlib.util.spec_from_file_location(f"atd_recipe_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RecipeError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _in_module(module: Any) -> list[Recipe]:
    found = [recipe_of(thing) for thing in vars(module).values()]
    return [one for one in found if one is not None]


# ------------------------------------------------------------------ the index


def _files(settings: Settings) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Each recipe file with its module, its time of change (ns) and its size."""
    seen: set[str] = set()
    for place, module in [(user_folder(settings), ""), *_plugins(), (LIBRARY, "")]:
        for path, inner, found in _below(str(place), module):
            if path not in seen:
                seen.add(path)
                yield path, (inner, found.st_mtime_ns, found.st_size)


def _below(place: str, module: str) -> Iterator[tuple[str, str, os.stat_result]]:
    """The recipe files at ``place``, a file or a folder; links to folders are not followed."""
    if os.path.isfile(place):
        yield place, module, os.stat(place)
        return
    if not os.path.isdir(place):
        return
    with os.scandir(place) as listed:
        inside = sorted(listed, key=lambda one: one.name)
    for one in inside:
        stem = one.name.rpartition(".")[0] if one.name.endswith(SUFFIXES) else one.name
        dotted = f"{module}.{stem}" if module and one.name != "__init__.py" else module
        if one.is_dir(follow_symlinks=False):
            yield from _below(one.path, dotted)
        elif one.name.endswith(SUFFIXES) and one.is_file():
            yield one.path, dotted, one.stat()


def _plugins() -> list[tuple[Path, str]]:
    """Where the modules of the entry points lie; found without importing them."""
    found = []
    for point in metadata.entry_points(group=GROUP):
        top, *rest = point.module.split(".")
        spec = importlib.util.find_spec(top)  # of a name without dots: imports nothing
        if spec is None:
            continue
        folders = [Path(one).joinpath(*rest) for one in spec.submodule_search_locations or ()]
        if not folders and spec.origin and not rest:
            folders = [Path(spec.origin)]
        for folder in folders:
            place = folder if folder.exists() else folder.with_suffix(".py")
            if place.exists():
                found.append((place, point.module))
    return found


def _read_index(path: Path) -> Mapping[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict) or said.get("form") != _FORM:
        return {}
    files = said.get("files")
    return files if isinstance(files, dict) else {}


def _titles(path: Path) -> list[list[str]]:
    """The names and titles of the recipes in a file; none where it cannot be understood."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return []
    try:
        if path.suffix == ".py":
            return list(_in_tree(ast.parse(path.read_bytes())))
        return [[one.name, one.title] for one in load_file(path)]
    except (RecipeError, SyntaxError, ValueError, RecursionError):
        return []


def _in_tree(tree: ast.Module) -> Iterator[list[str]]:
    """The classes with a decorator ``recipe("name", …)``."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and _called(call.func) == "recipe" and call.args:
                name, title = _literal(call.args[0]), ""
                for keyword in call.keywords:
                    if keyword.arg == "title":
                        title = _literal(keyword.value)
                doc = ast.get_docstring(node) or ""
                if name:
                    yield [name, title or doc.partition("\n")[0]]


def _called(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
