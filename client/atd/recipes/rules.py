"""What holds for recipes: names, paths, kinds, and what is made of what. Pure.

What belongs here: the checks of `atd.recipes.model`, which its values call as they are made. Each
returns what it was given or raises `RecipeError`. A text may have ``{holes}`` for parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from atd.errors import InvalidSyntax, RecipeError
from atd.names import check_name, check_split, check_url, check_version
from atd.protocol.cid import RAW, Cid
from atd.protocol.syntax import Did, Handle, parse_actor, quote

if TYPE_CHECKING:
    from atd.recipes.model import Recipe, Resource

UNPACKING: Final = frozenset({"unzip", "untar"})
RESERVED: Final = frozenset(
    {"id", "folder", "files", "name", "parts", "samples", "splits", "to_value"}
)
"""Words that what was prepared uses itself, as attributes and in JSON."""

MAX_VARIANTS: Final = 8
MAX_VALUES: Final = 64
MAX_SPLITS: Final = 100
MAX_FIELDS: Final = 1000

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DOTTED: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){0,3}")
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_LINK: Final = re.compile(
    r"(?:(@[^/\[]+|did:[^/\[]+)/)?([^/@:\[\]]+)(?:@([^/@:\[\]]+))?(\[[^\]/]*\])?(?::([^/:\[\]]+))?"
)


class Link(NamedTuple):
    """What a link says, taken apart.

    ``owner`` is who publishes the recipe, None for a recipe of this machine; ``version`` a release
    that carries it; ``variant`` the brackets; ``resource`` what is meant inside, if anything.
    """

    owner: Did | Handle | None
    name: str
    version: str | None
    variant: str
    resource: str

    @property
    def recipe(self) -> str:
        """Which recipe it is, as one would type it."""
        start = "" if self.owner is None else f"{_mark(self.owner)}/"
        return f"{start}{self.name}{f'@{self.version}' if self.version else ''}{self.variant}"


def _mark(owner: Did | Handle) -> str:
    return str(owner) if isinstance(owner, Did) else f"@{owner}"


def parse_link(text: str) -> Link:
    """``[@HANDLE/ or DID/]NAME[@VERSION][k=v,…][:RESOURCE]``, taken apart.

    Raises:
        RecipeError: it is not written so.
        InvalidSyntax: a name in it is none.
    """
    match = _LINK.fullmatch(text)
    if match is None or (match[3] and not match[1]):
        raise RecipeError(
            f"expected a data set such as NAME, NAME:RESOURCE or @HANDLE/NAME, found {quote(text)}"
        )
    owner, name, version, variant, resource = match.groups()
    return Link(
        None if owner is None else parse_actor(owner.removeprefix("@")),
        check_name(name),
        None if version is None else check_version(version),
        variant or "",
        "" if resource is None else word(resource),
    )


def relative(text: str) -> str:
    """``text`` as a path that stays below the folder it is appended to; it may have ``{holes}``.

    Raises:
        RecipeError: it is absolute, has ``..``, ``.``, an empty part, a backslash or a control.
    """
    parts = text.split("/")
    bad = any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts)
    if bad or len(text) > 1024 or re.search(r"[\\\x00-\x1f\x7f]", text) or parts[0] == ".atd":
        raise RecipeError(f"expected a relative path such as train/images, found {quote(text)}")
    return text


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with ``{k}`` replaced by the value of the parameter ``k``.

    Raises:
        RecipeError: there is no such parameter.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise RecipeError(f"{quote(text)} names the parameter {match[1]}, which is no variant")
        return values[match[1]]

    return _HOLE.sub(value, text)


def has_holes(text: str) -> bool:
    """Whether ``text`` is another one in each variant."""
    return _HOLE.search(text) is not None


def word(text: str) -> str:
    """The name of a resource or of a parameter."""
    if not _WORD.fullmatch(text):
        raise RecipeError(
            f"expected a name such as train_images, found {quote(text)}",
            next_step="use a-z 0-9 _ and start with a letter",
        )
    return text


def digest(text: str) -> str:
    """A SHA-256 as it is written."""
    if not _SHA256.fullmatch(text):
        raise RecipeError(f"expected a sha-256 in 64 hex digits, found {quote(text)}")
    return text


# ------------------------------------------------------------------ one resource


def check_kind(one: Resource) -> None:
    """What a resource of a kind must have, and what it may not."""
    where = f"a resource of kind {one.kind}"
    if one.kind in ("file", "archive"):
        if bool(one.urls) == (len(one.of) == 1) or len(one.of) > 1:
            raise RecipeError(f"{where}: expected URLs, or the one resource it is made of")
        if one.of and (one.size is not None or one.sha256 is not None):
            raise RecipeError(f"{where}: size and sha256 are of a download")
        for url in one.urls:
            _check_url(url)
    elif one.urls:
        raise RecipeError(f"{where} has no URLs")
    if one.kind in ("concat", "compute") and not one.of:
        raise RecipeError(f"{where}: expected what it is made of")
    if one.kind == "compute" and one.function is None:
        raise RecipeError(f"{where}: expected the function that makes it")
    if (one.target is not None) != (one.kind in ("link", "hf", "blob")):
        raise RecipeError(f"{where}: a target is what link, hf and blob have")
    if one.kind == "hf" and not (
        one.path and _REPO.fullmatch(one.target or "") and _REVISION.fullmatch(one.key or "main")
    ):
        raise RecipeError(f"{where}: expected OWNER/NAME, a path and a plain revision")
    if one.kind == "link":
        parse_link(_HOLE.sub("x", one.target or ""))
    if one.kind == "folder" and not _KEY.fullmatch(one.key or ""):
        raise RecipeError(f"{where}: expected a key such as imagenet, found {one.key!a}")
    if one.kind == "blob":
        _check_blob(one, where)
    _check_transforms(one, where)


def _check_blob(one: Resource, where: str) -> None:
    Did.parse(one.target or "")
    if Cid.parse(one.key or "").codec != RAW:
        raise RecipeError(f"{where}: expected the CID of a blob (raw codec), found {one.key!a}")
    if one.sha256 is not None:
        raise RecipeError(f"{where}: its CID says the sha256 already")


def _check_transforms(one: Resource, where: str) -> None:
    if one.transforms and one.kind not in ("file", "archive", "concat"):
        raise RecipeError(f"{where} has no transforms")
    unpacking = [at for at, step in enumerate(one.transforms) if step.do in UNPACKING]
    last = len(one.transforms) - 1
    if one.kind == "archive" and (not unpacking or unpacking[-1] != last):
        raise RecipeError(f"{where}: expected unzip or untar as its last transform")
    inner = unpacking[:-1] if one.kind == "archive" else unpacking
    if any(one.transforms[at].path is None for at in inner):
        raise RecipeError(f"{where}: unzip and untar need the path of the member that is the file")


def _check_url(url: str) -> None:
    try:
        check_url(_HOLE.sub("x", url))
    except InvalidSyntax as error:
        raise RecipeError(error.message, next_step=error.next_step) from None


# ------------------------------------------------------------------ a whole recipe


def check_variants(recipe: Recipe) -> None:
    """The parameters of a recipe, and their values."""
    if len(recipe.variants) > MAX_VARIANTS:
        raise RecipeError(f"{recipe.name}: at most {MAX_VARIANTS} parameters")
    for key, values in recipe.variants.items():
        word(key)
        if not 0 < len(values) <= MAX_VALUES or len(set(values)) != len(values):
            raise RecipeError(f"{recipe.name}: expected 1 to {MAX_VALUES} values of {key}")
        for value in values:
            if not _VALUE.fullmatch(value):
                raise RecipeError(f"{recipe.name}: {key} cannot have the value {quote(value)}")


def check_whole(recipe: Recipe) -> None:
    """What holds between the parts of a recipe whose variant is settled."""
    _check_resources(recipe)
    groups = {one[:at] for one in recipe.data for at, letter in enumerate(one) if letter == "."}
    for dotted, part in recipe.data.items():
        if not _DOTTED.fullmatch(dotted) or RESERVED.intersection(dotted.split(".")):
            raise RecipeError(f"{recipe.name}: {quote(dotted)} cannot be the name of data")
        if dotted in groups:
            raise RecipeError(f"{recipe.name}: {dotted} is both data and a group of data")
        found = recipe.resources.get(part.of) if isinstance(part.of, str) else None
        if found is None:
            raise RecipeError(f"{recipe.name}: {dotted} reads {part.of!a}, which is not there")
        if found.transient:
            raise RecipeError(f"{recipe.name}: {dotted} reads {part.of}, which does not stay")
    _check_samples(recipe)
    for _ in in_order(recipe.name, recipe.resources):
        pass


def _check_resources(recipe: Recipe) -> None:
    places: dict[str, str] = {}
    for name, one in recipe.resources.items():
        word(name)
        if any(not isinstance(need, str) for need in one.of):
            raise RecipeError(f"{recipe.name}: {name} is made of something that is not part of it")
        for need in one.needs:
            if need not in recipe.resources:
                raise RecipeError(
                    f"{recipe.name}: {name} is made of {quote(need)}, which is not there"
                )
        if not one.is_elsewhere:
            place = f"{one.place(name)}/"
            if place in places:
                raise _same_place(recipe.name, places[place], name, place)
            places[place] = name
    # Sorted, a folder stands right before what is below it: each is compared with one other.
    ordered = sorted(places)
    for above, below in pairwise(ordered):
        if below.startswith(above):
            raise _same_place(recipe.name, places[above], places[below], above)


def _same_place(recipe: str, one: str, other: str, place: str) -> RecipeError:
    return RecipeError(
        f"{recipe}: {one} and {other} would lie at the same place {place.rstrip('/')!a}"
    )


def _check_samples(recipe: Recipe) -> None:
    if len(recipe.samples) > MAX_SPLITS:
        raise RecipeError(f"{recipe.name}: samples of at most {MAX_SPLITS} splits")
    for split, fields in recipe.samples.items():
        check_split(split)
        if not 0 < len(fields) <= MAX_FIELDS:
            raise RecipeError(f"{recipe.name}: samples of {split}: expected 1 to {MAX_FIELDS}")
        for field, data in fields.items():
            if field and not _FIELD.fullmatch(field):
                raise RecipeError(
                    f"{recipe.name}: samples of {split}: {quote(field)} cannot be a field"
                )
            if data not in recipe.data or recipe.data[data].kind == "path":
                raise RecipeError(
                    f"{recipe.name}: samples of {split}: {quote(data)} is no data that is read"
                )


def in_order(recipe: str, resources: Mapping[str, Resource]) -> Iterator[str]:
    """The names, each after its needs; depth first, without recursion.

    Raises:
        RecipeError: some need each other; names them.
    """
    done: set[str] = set()
    for start in resources:
        trail: list[tuple[str, Iterator[str]]] = [(start, iter(resources[start].needs))]
        on_trail = {start: None}
        while trail and start not in done:
            name, needs = trail[-1]
            need = next((one for one in needs if one not in done), None)
            if need is None:
                trail.pop()
                del on_trail[name]
                done.add(name)
                yield name
                continue
            if need in on_trail:
                names = list(on_trail)
                cycle = " → ".join([*names[names.index(need) :], need])
                raise RecipeError(f"{recipe}: resources that need each other: {cycle}")
            on_trail[need] = None
            trail.append((need, iter(resources[need].needs)))
