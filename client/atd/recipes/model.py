"""What a recipe is: typed values that say where data come from and what is done to them. Pure.

What belongs here: `Recipe` and what it is made of, and the rules that they satisfy. Nothing here
touches disk or network. `atd.recipes.writing` has the functions that people write them with.

Rules. A value that exists is valid: names are plain, paths stay below their folder, every resource
that is named exists, and no resource needs itself (`RecipeError` names the cycle). What is declared
is data, never code; the one exception, `compute`, exists in Python alone and cannot be written down
(`atd.recipes.values` refuses it), so a recipe out of a file or of a stranger has no code in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as percent

from atd.errors import InvalidSyntax, RecipeError
from atd.names import check_name, check_url
from atd.protocol.syntax import quote

Function = Callable[[Sequence[Path], Path], None]
"""Code of a local recipe: told the paths of what it needs and the path of the file to write."""

MAX_RESOURCES: Final = 1000
MAX_URLS: Final = 16
MAX_TRANSFORMS: Final = 8
MAX_VARIANTS: Final = 8
MAX_VALUES: Final = 64
MAX_TEXT: Final = 100_000
MAX_BYTES: Final = 1 << 50

UNPACKING: Final = frozenset({"unzip", "untar"})
STREAMING: Final = frozenset({"gunzip", "bunzip2", "unxz", "unzstd", "lines"})
KINDS: Final = ("file", "archive", "concat", "link", "folder", "hf", "compute")
READERS: Final = ("idx", "csv", "jsonl", "parquet", "images", "lines", "path")
RESERVED: Final = frozenset({"id", "folder", "files", "name", "parts", "to_value"})
"""Words that what was prepared uses itself, as attributes and in JSON."""

_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DOTTED: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63}){0,3}")
_KEY: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOLE: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Transform:
    """One thing that is done to bytes; the functions of this name make them.

    Args:
        do: ``gunzip``, ``bunzip2``, ``unxz``, ``unzstd``, ``unzip``, ``untar`` or ``lines``.
        path: of an archive: the member that is the file, or the folder inside that is taken.
        skip: of ``lines``: how many lines at the beginning are left out.
        take: of ``lines``: how many are kept after that, at most.
        starts: of ``lines``: keep only lines that begin so.
        contains: of ``lines``: keep only lines that hold this.
    """

    do: str
    path: str | None = None
    skip: int = 0
    take: int | None = None
    starts: str | None = None
    contains: str | None = None

    def __post_init__(self) -> None:
        if self.do not in UNPACKING | STREAMING:
            wanted = ", ".join(sorted(UNPACKING | STREAMING))
            raise RecipeError(f"expected a transform ({wanted}), found {quote(self.do)}")
        if self.path is not None:
            if self.do not in UNPACKING:
                raise RecipeError(f"{self.do} has no path inside: only unzip and untar do")
            relative(self.path)
        if self.do != "lines" and (self.skip, self.take, self.starts, self.contains) != (
            *(0, None, None, None),
        ):
            raise RecipeError(f"{self.do} does not filter lines: only lines does")
        for count in (self.skip, 0 if self.take is None else self.take):
            if not 0 <= count <= MAX_BYTES:
                raise RecipeError(f"expected a number of lines, found {count}")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One file or folder, and how it comes to be. Made by `atd.recipes.writing`.

    Args:
        kind: one of ``KINDS``.
        urls: where it can be had, in the order in which they are asked.
        of: what it is made of: names of other resources (or, until the recipe is made, themselves).
        size, sha256: of the bytes that are downloaded, before any transform.
        transforms: what is done to them, in order.
        transient: it is removed when everything that is made of it is complete.
        path: where it lies below the folder of the data set; its name if None. Of ``folder``, what
            is meant inside the user's folder; of ``hf``, the file in the repository.
        target: of ``link``: ``NAME`` or ``NAME:RESOURCE``; of ``hf``: the repository.
        key: of ``folder``: under what word the user says where it is; of ``hf``: the revision.
        when: it exists only in the variants that have these values.
        max_bytes: what it may become when it is unpacked; None: 1 GiB, or 200 times its size.
        function: of ``compute``: the code that makes it.
    """

    kind: str
    urls: tuple[str, ...] = ()
    of: tuple[str | Resource, ...] = ()
    size: int | None = None
    sha256: str | None = None
    transforms: tuple[Transform, ...] = ()
    transient: bool = False
    path: str | None = None
    target: str | None = None
    key: str | None = None
    when: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None
    function: Function | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RecipeError(f"expected a kind of resource, found {quote(self.kind)}")
        if len(self.urls) > MAX_URLS or len(self.transforms) > MAX_TRANSFORMS:
            raise RecipeError(f"at most {MAX_URLS} URLs and {MAX_TRANSFORMS} transforms")
        if self.path is not None:
            relative(self.path)
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise RecipeError(f"expected a sha-256 in 64 hex digits, found {quote(self.sha256)}")
        for count in (self.size, self.max_bytes):
            if count is not None and not 0 <= count <= MAX_BYTES:
                raise RecipeError(f"expected a number of bytes, found {count}")
        _check_kind(self)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the resources it is made of."""
        return tuple(one for one in self.of if isinstance(one, str))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it can be downloaded; nowhere for what is made of others."""
        if self.kind != "hf":
            return self.urls
        return (
            f"https://huggingface.co/datasets/{self.target}/resolve/{self.key or 'main'}/"
            f"{percent(self.path or '')}",
        )

    @property
    def is_folder(self) -> bool:
        """Whether it becomes a folder of files rather than one file."""
        return self.kind == "archive"

    @property
    def is_elsewhere(self) -> bool:
        """Whether nothing is made for it: it is somebody else's file or folder."""
        return self.kind in ("link", "folder")


@dataclass(frozen=True, slots=True)
class Reader:
    """How a resource is read.

    Args:
        kind: one of ``READERS``.
        of: the name of the resource.
        path: a file or folder inside it, where it is a folder.
        delimiter: of ``csv``.
        columns: of ``csv``: the names of the columns, where the first line does not say them.
    """

    kind: str
    of: str | Resource
    path: str | None = None
    delimiter: str | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in READERS:
            raise RecipeError(f"expected a reader ({', '.join(READERS)}), found {quote(self.kind)}")
        if self.path is not None:
            relative(self.path)
        if self.kind != "csv" and (self.delimiter is not None or self.columns):
            raise RecipeError(f"{self.kind} has no delimiter and no columns: only csv does")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise RecipeError(f"expected one character as delimiter, found {self.delimiter!a}")


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """How a data set is prepared on this machine.

    Args:
        name: as data sets are named, such as ``com.lecun.mnist``.
        resources: by name.
        data: what a user gets: readers by dotted names such as ``train.images``.
        title, description, homepage, license: for people.
        agreement: what must be agreed to before the first byte is fetched.
        variants: the values that each parameter may have, the default first.
    """

    name: str
    resources: Mapping[str, Resource]
    data: Mapping[str, Reader] = field(default_factory=dict)
    title: str = ""
    description: str = ""
    homepage: str = ""
    license: str = ""
    agreement: str = ""
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 < len(self.resources) <= MAX_RESOURCES or len(self.data) > MAX_RESOURCES:
            raise RecipeError(f"{self.name}: expected 1 to {MAX_RESOURCES} resources")
        for text in (self.title, self.description, self.homepage, self.license, self.agreement):
            if len(text) > MAX_TEXT:
                raise RecipeError(f"{self.name}: a text is longer than {MAX_TEXT:,} characters")
        _check_variants(self)
        if not self.variants:  # with variants, each of them is checked when it is chosen
            _check_whole(self)

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the resources, each after all that it is made of."""
        return tuple(_sorted(self.name, self.resources))

    def dependents(self, name: str) -> tuple[str, ...]:
        """The names of what is made of the resource ``name``."""
        return tuple(other for other, one in self.resources.items() if name in one.needs)


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


# ------------------------------------------------------------------ rules


def _check_kind(one: Resource) -> None:
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
    if (one.target is not None) != (one.kind in ("link", "hf")):
        raise RecipeError(f"{where}: a target is what link and hf have")
    if one.kind == "hf" and not (
        one.path and _REPO.fullmatch(one.target or "") and _REVISION.fullmatch(one.key or "main")
    ):
        raise RecipeError(f"{where}: expected OWNER/NAME, a path and a plain revision")
    if one.kind == "link":
        name, _, inner = (one.target or "").partition(":")
        check_name(name.partition("[")[0])
        if inner:
            _word(inner)
    if one.kind == "folder" and not _KEY.fullmatch(one.key or ""):
        raise RecipeError(f"{where}: expected a key such as imagenet, found {one.key!a}")
    _check_transforms(one, where)


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


def _check_variants(recipe: Recipe) -> None:
    if len(recipe.variants) > MAX_VARIANTS:
        raise RecipeError(f"{recipe.name}: at most {MAX_VARIANTS} parameters")
    for key, values in recipe.variants.items():
        _word(key)
        if not 0 < len(values) <= MAX_VALUES or len(set(values)) != len(values):
            raise RecipeError(f"{recipe.name}: expected 1 to {MAX_VALUES} values of {key}")
        for value in values:
            if not _VALUE.fullmatch(value):
                raise RecipeError(f"{recipe.name}: {key} cannot have the value {quote(value)}")


def _check_whole(recipe: Recipe) -> None:
    """What holds between the parts of a recipe whose variant is settled."""
    places: dict[str, str] = {}
    for name, one in recipe.resources.items():
        _word(name)
        if any(not isinstance(need, str) for need in one.of):
            raise RecipeError(f"{recipe.name}: {name} is made of something that is not part of it")
        for need in one.needs:
            if need not in recipe.resources:
                raise RecipeError(
                    f"{recipe.name}: {name} is made of {quote(need)}, which is not there"
                )
        place = name if one.kind == "hf" or one.path is None else one.path
        if not one.is_elsewhere:
            _check_place(recipe.name, name, place, places)
    for dotted, part in recipe.data.items():
        if not _DOTTED.fullmatch(dotted) or RESERVED.intersection(dotted.split(".")):
            raise RecipeError(f"{recipe.name}: {quote(dotted)} cannot be the name of data")
        if any(other.startswith(dotted + ".") for other in recipe.data):
            raise RecipeError(f"{recipe.name}: {dotted} is both data and a group of data")
        found = recipe.resources.get(part.of) if isinstance(part.of, str) else None
        if found is None:
            raise RecipeError(f"{recipe.name}: {dotted} reads {part.of!a}, which is not there")
        if found.transient:
            raise RecipeError(f"{recipe.name}: {dotted} reads {part.of}, which does not stay")
    for _ in _sorted(recipe.name, recipe.resources):
        pass


def _check_place(recipe: str, name: str, place: str, places: dict[str, str]) -> None:
    for other, owner in places.items():
        if f"{place}/".startswith(f"{other}/") or f"{other}/".startswith(f"{place}/"):
            raise RecipeError(f"{recipe}: {owner} and {name} would lie at the same place {place!a}")
    places[place] = name


def _word(text: str) -> None:
    if not _WORD.fullmatch(text):
        raise RecipeError(
            f"expected a name such as train_images, found {quote(text)}",
            next_step="use a-z 0-9 _ and start with a letter",
        )


def _sorted(recipe: str, resources: Mapping[str, Resource]) -> Iterator[str]:
    """The names, each after its needs; depth first, without recursion."""
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


def settled(one: Resource, values: Mapping[str, str]) -> Resource:
    """``one`` as it is where the parameters have these ``values``."""

    def fill(text: str | None) -> str | None:
        return None if text is None else filled(text, values)

    return replace(
        one,
        urls=tuple(filled(url, values) for url in one.urls),
        of=tuple(filled(need, values) if isinstance(need, str) else need for need in one.of),
        path=fill(one.path),
        target=fill(one.target),
        transforms=tuple(replace(step, path=fill(step.path)) for step in one.transforms),
        when={},
    )


def plain(one: Any) -> dict[str, Any]:
    """The fields of a value of this module that are not what they are by default, by name."""
    found = {}
    for name, slot in one.__dataclass_fields__.items():
        value = getattr(one, name)
        default = slot.default_factory() if callable(slot.default_factory) else slot.default
        if value != default:
            found[name] = value
    return found
