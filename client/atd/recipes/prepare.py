"""Preparing a data set: from a name to paths, and to an object to read it with.

What belongs here: `prepare_dataset` and what the command shares with it: which recipe is meant,
what must be agreed to, which other data sets it links to, and how the result is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atd.errors import Absent, RateLimited, RecipeError, Unreachable
from atd.recipes import agreements, catalogue
from atd.recipes.classes import recipe_of
from atd.recipes.engine import Engine, Event, Finding, Options
from atd.recipes.fetching import RefusedError, asked
from atd.recipes.model import Recipe
from atd.recipes.parts import Part
from atd.recipes.places import Places
from atd.recipes.variants import Choice, choose, parse_choice
from atd.settings import Settings

Progress = Callable[[Event], None]
Encoder = Callable[[Path], Any]

MAX_LINKS: Final = 16


def _plain(path: Path) -> Any:
    return str(path)


def _typed(path: Path) -> Any:
    return {"$type": "path", "$value": str(path)}


ENCODERS: Final[Mapping[str, Encoder]] = {"normal": _plain, "xpm": _typed}
"""How a path is written in JSON: as a text, or as experimaestro's typed value."""


@dataclass(frozen=True)
class Group:
    """Parts and groups of parts of a prepared data set, as attributes."""

    name: str
    parts: Mapping[str, Part | Group] = field(repr=False)

    def __getattr__(self, name: str) -> Any:
        # Looked up in the instance: while it is being copied or unpickled there are no parts yet.
        parts: Mapping[str, Any] = self.__dict__.get("parts", {})
        if name in parts:
            return parts[name]
        raise AttributeError(f"{self.__dict__.get('name', '')} has {', '.join(parts)}, no {name}")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.parts})


@dataclass(frozen=True)
class Prepared(Group):
    """A data set on this machine: ``.train.images`` and whatever else its recipe declares.

    Args:
        id: its name, with its variant: ``name[k=v]``.
        folder: where it lies; an absolute path.
        files: the path of each resource.
    """

    id: str = ""
    folder: Path = Path()
    files: Mapping[str, Path] = field(default_factory=dict, repr=False)

    def to_value(self, encoder: Encoder = _plain) -> dict[str, Any]:
        """The same as JSON values; paths as ``encoder`` writes them."""
        return {
            "id": self.id,
            "folder": encoder(self.folder),
            "files": {name: encoder(path) for name, path in self.files.items()},
            **_values(self, encoder),
        }


def _values(group: Group, encoder: Encoder) -> dict[str, Any]:
    return {
        name: _values(one, encoder)
        if isinstance(one, Group)
        else {"path": encoder(one.path), "reader": one.reader.kind}
        for name, one in group.parts.items()
    }


@dataclass(frozen=True)
class Plan:
    """One data set that is to be prepared, after those it links to."""

    recipe: Recipe
    choice: Choice
    places: Places
    links: Mapping[str, Plan]

    def everything(self) -> Iterator[Plan]:
        """This, after all that it needs, each data set once."""
        known: dict[str, Plan] = {}
        self._collect(known)
        yield from known.values()

    def _collect(self, known: dict[str, Plan]) -> None:
        if str(self.choice) not in known:
            for other in self.links.values():
                other._collect(known)
            known[str(self.choice)] = self


def plan(what: str | os.PathLike[str] | Recipe | type[Any], settings: Settings) -> Plan:
    """What ``what`` means: ``name``, ``name[k=v]``, a recipe file, a recipe, or a class of one.

    Raises:
        RecipeError: no such recipe or variant, or data sets that link to each other in a circle.
    """
    return _plan(*_meant(what, settings), settings, ())


def _meant(what: Any, settings: Settings) -> tuple[Recipe, Mapping[str, str]]:
    recipe = recipe_of(what)
    if recipe is not None:
        return recipe, {}
    text = os.fspath(what)
    bare, bracket, rest = text.partition("[")
    if bare.endswith(catalogue.SUFFIXES) and ("/" in bare or Path(bare).is_file()):
        found = catalogue.load_file(Path(bare))
        if len(found) != 1:
            raise RecipeError(f"expected one recipe in {bare}, found {len(found)}")
        return found[0], parse_choice(f"x{bracket}{rest}").values
    choice = parse_choice(text)
    return catalogue.find(choice.name, settings), choice.values


def _plan(
    recipe: Recipe, values: Mapping[str, str], settings: Settings, above: tuple[str, ...]
) -> Plan:
    one, choice = choose(recipe, values)
    if str(choice) in above or len(above) >= MAX_LINKS:
        raise RecipeError(f"data sets that link to each other: {' → '.join([*above, str(choice)])}")
    links = {
        name: _plan(
            *_meant((resource.target or "").partition(":")[0], settings),
            settings,
            (*above, str(choice)),
        )
        for name, resource in one.resources.items()
        if resource.kind == "link"
    }
    return Plan(one, choice, Places(settings, one, choice), links)


def prepare_dataset(
    what: str | os.PathLike[str] | type[Any],
    *,
    agree: bool = False,
    downloads: bool = True,
    keep_downloads: bool = False,
    progress: Progress | None = None,
    settings: Settings | None = None,
) -> Prepared:
    """Prepare a data set by its recipe: what is missing is fetched, checked and unpacked.

    Args:
        what: the name of a recipe, ``name[k=v]`` for a variant, a recipe file, or a class that
            `atd.recipe` decorates.
        agree: you agree to what the recipe asks for; it is recorded.
        downloads: False: what is not there is an error.
        keep_downloads: what was downloaded stays beside what was made of it.
        progress: told how far each resource is.
        settings: those of the environment if None.

    Raises:
        RecipeError: no such recipe, or one that cannot be run.
        NeedsConsent: the recipe asks for an agreement; nothing was downloaded.
        DigestMismatch: a file is not what it should be; nothing of it was kept.
        Absent, Unreachable: no address gave a file.
    """
    used = Settings.load() if settings is None else settings
    wanted = plan(what, used)
    for one in wanted.everything():
        if agree and not agreements.agreed(one.recipe, used):
            agreements.agree(one.recipe, used)
    return run(wanted, used, Options(downloads, keep_downloads), progress or _silent)


def run(wanted: Plan, settings: Settings, options: Options, progress: Progress) -> Prepared:
    """Prepare what was planned; raises as `prepare_dataset`."""
    for one in wanted.everything():
        if not agreements.agreed(one.recipe, settings):
            raise agreements.must_agree(one.recipe)
    for one in wanted.everything():
        engine(one, settings, options, progress).run()
    return prepared(wanted, settings)


def engine(
    one: Plan, settings: Settings, options: Options | None = None, progress: Progress | None = None
) -> Engine:
    """What makes and checks the resources of one data set."""
    return Engine(
        *(one.recipe, one.places, settings, _elsewhere(one, settings)),
        options=options or Options(),
        progress=progress or _silent,
    )


def check(wanted: Plan, settings: Settings, *, repair: bool) -> list[Finding]:
    """Hash what was prepared; with ``repair``, make again what is altered or missing."""
    found: list[Finding] = []
    for one in wanted.everything():
        worker = engine(one, settings)
        findings = worker.check()
        bad = [each.resource for each in findings if each.state != "right"]
        if repair and bad:
            worker.expect_again(bad)
        found += findings
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What one address says when it is asked without downloading: ``problem`` is empty if good."""

    resource: str
    url: str
    size: int | None
    problem: str


def ask_all(wanted: Plan, settings: Settings) -> Iterator[Answer]:
    """Ask every address of a recipe whether it is there, and as large as declared."""
    for one in wanted.everything():
        for name, resource in one.recipe.resources.items():
            for url in resource.addresses:
                size, problem = _ask(url, settings)
                if not problem and None not in (size, resource.size) and size != resource.size:
                    problem = f"has {size} bytes, declared are {resource.size}"
                yield Answer(name, url, size, problem)


def _ask(url: str, settings: Settings) -> tuple[int | None, str]:
    try:
        with asked(url, settings, method="HEAD") as reply:
            return reply.length, ""
    except (Absent, RateLimited, Unreachable) as error:
        return None, error.message
    except RefusedError as refused:
        return None, refused.error.message


def prepared(wanted: Plan, settings: Settings) -> Prepared:
    """What is there, described; nothing is made or checked."""
    elsewhere = _elsewhere(wanted, settings)
    resources = wanted.recipe.resources
    files = {
        name: elsewhere.get(name) or wanted.places.path(name)
        for name, one in resources.items()
        if not one.transient
    }
    tree: dict[str, Any] = {}
    for dotted, reader in wanted.recipe.data.items():
        *groups, last = dotted.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        assert isinstance(reader.of, str)  # a rule of the model
        path = files[reader.of]
        path = path if reader.path is None else path / reader.path
        place[last] = Part(dotted, path, reader)
    name = str(wanted.choice)
    return Prepared(name, _grouped(tree, name), name, wanted.places.folder, files)


def _grouped(tree: Mapping[str, Any], name: str) -> dict[str, Part | Group]:
    return {
        key: Group(f"{name}.{key}", _grouped(one, f"{name}.{key}"))
        if isinstance(one, dict)
        else one
        for key, one in tree.items()
    }


def _elsewhere(one: Plan, settings: Settings) -> dict[str, Path]:
    """The paths of links and of the user's folders."""
    found: dict[str, Path] = {}
    for name, resource in one.recipe.resources.items():
        if resource.kind == "link":
            other, inner = one.links[name], (resource.target or "").partition(":")[2]
            if inner and (
                inner not in other.recipe.resources or other.recipe.resources[inner].transient
            ):
                raise RecipeError(
                    f"{one.choice}: {other.choice} has no resource {inner} that stays"
                )
            found[name] = other.places.path(inner) if inner else other.places.folder
        elif resource.kind == "folder":
            place = agreements.folder_of(resource.key or "", settings)
            found[name] = place if resource.path is None else place / resource.path
            if not found[name].exists():
                raise RecipeError(
                    f"{one.choice}: {found[name]} is not there",
                    next_step=f"say where the data are with: atd folder set {resource.key} PATH",
                )
    return found


def _silent(event: Event) -> None:
    """For those who want no progress."""
