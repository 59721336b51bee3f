"""What a recipe is: typed values that say where data come from and what is done to them. Pure.

What belongs here: `Recipe` and what it is made of, and the rules that they satisfy. Nothing here
touches disk or network. `atd.recipes.writing` has the functions that people write them with, and
`atd.recipes.rules` the checks.

Rules. A value that exists is valid: names are plain, paths stay below their folder, every resource
that is named exists, and no resource needs itself (`RecipeError` names the cycle). What is declared
is data, never code; the one exception, `compute`, exists in Python alone and cannot be written down
(`atd.recipes.values` refuses it), so a recipe out of a file or of a stranger has no code in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from atd.errors import RecipeError
from atd.names import check_name
from atd.protocol.cid import Cid
from atd.protocol.syntax import quote
from atd.recipes import rules
from atd.recipes.rules import UNPACKING, filled, relative

Function = Callable[[Sequence[Path], Path], None]
"""Code of a local recipe: told the paths of what it needs and the path of the file to write."""

MAX_RESOURCES: Final = 1000
MAX_URLS: Final = 16
MAX_TRANSFORMS: Final = 8
MAX_TEXT: Final = 100_000
MAX_BYTES: Final = 1 << 50

STREAMING: Final = frozenset({"gunzip", "bunzip2", "unxz", "unzstd", "lines"})
KINDS: Final = ("file", "archive", "concat", "link", "folder", "hf", "blob", "compute")
_OF_ROWS: Final = frozenset({"csv", "jsonl", "parquet", "images"})
ROWS: Final = ""
"""In ``samples``, the name for data whose samples are rows: their own keys are fields."""
READERS: Final = ("idx", "csv", "jsonl", "parquet", "images", "lines", "path")


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
        target: of ``link``: ``NAME`` or ``NAME:RESOURCE``; of ``hf``: the repository; of ``blob``:
            whose it is (a DID).
        key: of ``folder``: under what word the user says where it is; of ``hf``: the revision; of
            ``blob``: its CID.
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
        if self.sha256 is not None:
            rules.digest(self.sha256)
        for count in (self.size, self.max_bytes):
            if count is not None and not 0 <= count <= MAX_BYTES:
                raise RecipeError(f"expected a number of bytes, found {count}")
        rules.check_kind(self)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the resources it is made of."""
        return tuple(one for one in self.of if isinstance(one, str))

    @property
    def is_download(self) -> bool:
        """Whether it comes over the network."""
        return bool(self.urls) or self.kind in ("hf", "blob")

    @property
    def digest(self) -> str | None:
        """The sha-256 that a download must have, where the recipe says one; a blob's CID does."""
        return Cid.parse(self.key or "").digest.hex() if self.kind == "blob" else self.sha256

    @property
    def is_folder(self) -> bool:
        """Whether it becomes a folder of files rather than one file."""
        return self.kind == "archive"

    @property
    def is_elsewhere(self) -> bool:
        """Whether nothing is made for it: it is somebody else's file or folder."""
        return self.kind in ("link", "folder")

    def place(self, name: str) -> str:
        """Where it lies below the folder of the data set, if ``name`` is its name."""
        return name if self.kind == "hf" or self.path is None else self.path


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
        samples: how data make samples, by split: which data gives each field, position by
            position. Data under the empty name give rows, whose own keys are fields.
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
    samples: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 < len(self.resources) <= MAX_RESOURCES or len(self.data) > MAX_RESOURCES:
            raise RecipeError(f"{self.name}: expected 1 to {MAX_RESOURCES} resources")
        for text in (self.title, self.description, self.homepage, self.license, self.agreement):
            if len(text) > MAX_TEXT:
                raise RecipeError(f"{self.name}: a text is longer than {MAX_TEXT:,} characters")
        rules.check_variants(self)
        if not self.variants:  # with variants, each of them is checked when it is chosen
            rules.check_whole(self)

    @property
    def order(self) -> tuple[str, ...]:
        """The names of the resources, each after all that it is made of."""
        return tuple(rules.in_order(self.name, self.resources))

    @property
    def joined(self) -> Mapping[str, Mapping[str, str]]:
        """`samples`; where they are not declared, data that are rows are those of their name."""
        if self.samples:
            return self.samples
        rows = {name: one for name, one in self.data.items() if one.kind in _OF_ROWS}
        return {name: {ROWS: name} for name in rows if "." not in name}

    def dependents(self, name: str) -> tuple[str, ...]:
        """The names of what is made of the resource ``name``."""
        return tuple(other for other, one in self.resources.items() if name in one.needs)


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
