"""Preparing a data set: from a name to paths, and to an object to read it with.

What belongs here: `prepare_dataset` and what the command shares with it: what must be agreed to,
under which rules each data set is made, and how the result is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atd.errors import Absent, RateLimited, RecipeError, TooLarge, Unreachable
from atd.protocol.syntax import quote
from atd.recipes import agreements, published
from atd.recipes.access import Access, Allowance
from atd.recipes.engine import Engine, Event, Finding, Options
from atd.recipes.fetching import RefusedError, asked
from atd.recipes.parts import Part, Samples
from atd.recipes.planning import Plan, plan
from atd.recipes.rules import parse_link
from atd.settings import Settings

Progress = Callable[[Event], None]
Encoder = Callable[[Path], Any]


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
        splits: the samples of each split, where the recipe says how data make them.
    """

    id: str = ""
    folder: Path = Path()
    files: Mapping[str, Path] = field(default_factory=dict, repr=False)
    splits: Mapping[str, Samples] = field(default_factory=dict, repr=False)

    def samples(self, split: str = "train") -> Samples:
        """The samples of a split, as dicts; can be iterated again and again, and published.

        Raises:
            RecipeError: the recipe does not say how its data make samples of this split.
        """
        if split not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise RecipeError(
                f"{self.id} has no samples of {quote(split)}; it has: {known}",
                next_step='declare them in the recipe: samples = { train = "train.rows" }',
            )
        return self.splits[split]

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


def prepare_dataset(
    what: str | os.PathLike[str] | type[Any],
    *,
    agree: bool = False,
    downloads: bool = True,
    keep_downloads: bool = False,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    settings: Settings | None = None,
) -> Prepared:
    """Prepare a data set by its recipe: what is missing is fetched, checked and unpacked.

    Args:
        what: the name of a recipe, ``name[k=v]`` for a variant, ``@handle/name`` for a published
            one, a recipe file, or a class that `atd.recipe` decorates.
        agree: you agree to what the recipe asks for, and to running it where a stranger published
            it; both are recorded.
        downloads: False: what is not there is an error.
        keep_downloads: what was downloaded stays beside what was made of it.
        max_bytes: of disk, at most; None: no limit for recipes of this machine, the setting
            ``recipe_max_bytes`` for published ones.
        progress: told how far each resource is.
        settings: those of the environment if None.

    Raises:
        RecipeError: no such recipe, or one that cannot be run.
        NeedsConsent: the recipe asks for an agreement, or is a stranger's; nothing was downloaded.
        TooLarge: it takes more disk than it may.
        DigestMismatch: a file is not what it should be; nothing of it was kept.
        Absent, Unreachable: no address gave a file.
    """
    used = Settings.load() if settings is None else settings
    wanted = plan(what, used)
    for one in wanted.everything() if agree else ():
        if one.origin is not None and not agreements.trusted(one.origin, used):
            agreements.trust(one.origin, used)
        if not agreements.agreed(one.recipe, used):
            agreements.agree(one.recipe, used)
    options = Options(downloads, keep_downloads, max_bytes=max_bytes)
    return run(wanted, used, options, progress or _silent)


def run(wanted: Plan, settings: Settings, options: Options, progress: Progress) -> Prepared:
    """Prepare what was planned; raises as `prepare_dataset`."""
    for one in wanted.everything():
        if one.origin is not None and not agreements.trusted(one.origin, settings):
            raise agreements.must_trust(one.origin)
        if not agreements.agreed(one.recipe, settings):
            raise agreements.must_agree(one.recipe)
    allowance = _allowance(wanted, settings, options)
    for one in wanted.everything():
        engine(one, settings, options, progress, allowance).run()
    return prepared(wanted, settings)


def _allowance(wanted: Plan, settings: Settings, options: Options) -> Allowance:
    """The disk that the whole run may take, less what is there already.

    Raises:
        TooLarge: what is to be downloaded alone is more.
    """
    every = list(wanted.everything())
    strangers = any(one.origin is not None for one in every)
    limit = options.max_bytes
    if limit is None and strangers:
        limit = settings.recipe_max_bytes
    if limit is None:
        return Allowance()
    announced = sum(one.download_bytes or 0 for one in every)
    if announced > limit:
        raise TooLarge(
            f"{wanted.choice} downloads {announced:,} bytes, and may take {limit:,}",
            next_step="if it is meant to: --max-bytes, or the setting recipe_max_bytes",
        )
    allowance = Allowance(limit)
    for one in every:
        allowance.take(min(one.places.used(), limit))
    return allowance


def engine(
    one: Plan,
    settings: Settings,
    options: Options | None = None,
    progress: Progress | None = None,
    allowance: Allowance | None = None,
) -> Engine:
    """What makes and checks the resources of one data set."""
    return Engine(
        *(one.recipe, one.places, _access(one, settings, allowance), _elsewhere(one, settings)),
        options=options or Options(),
        progress=progress or _silent,
    )


def _access(one: Plan, settings: Settings, allowance: Allowance | None = None) -> Access:
    """Under which rules a data set is made: a stranger's have more of them."""

    def locate(did: str) -> str:
        return published.locate(did, settings)

    return Access(settings, one.origin is not None, locate, allowance or Allowance())


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
        access = _access(one, settings)
        for name, resource in one.recipe.resources.items():
            for url in access.addresses(resource):
                size, problem = _ask(url, access.of(resource))
                if not problem and None not in (size, resource.size) and size != resource.size:
                    problem = f"has {size} bytes, declared are {resource.size}"
                yield Answer(name, url, size, problem)


def _ask(url: str, access: Access) -> tuple[int | None, str]:
    try:
        with asked(url, access, method="HEAD") as reply:
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
    known: dict[str, Part] = {}
    for dotted, reader in wanted.recipe.data.items():
        *groups, last = dotted.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        assert isinstance(reader.of, str)  # a rule of the model
        path = files[reader.of]
        path = path if reader.path is None else path / reader.path
        place[last] = known[dotted] = Part(dotted, path, reader)
    name = str(wanted.choice)
    splits = {
        split: Samples(f"{name} {split}", {key: known[data] for key, data in fields.items()})
        for split, fields in wanted.recipe.joined.items()
    }
    return Prepared(name, _grouped(tree, name), name, wanted.places.folder, files, splits)


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
            other, inner = one.links[name], parse_link(resource.target or "").resource
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
