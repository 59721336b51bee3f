"""What recipes are written with: a function for each kind of resource and each transform.

What belongs here: short spellings of the values of `atd.recipes.model`, which checks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atd.recipes.model import Function, Reader, Resource, Transform

Of = str | Resource


def file(
    *urls: str,
    of: Of | None = None,
    size: int | None = None,
    sha256: str | None = None,
    transforms: Iterable[Transform] = (),
    transient: bool = False,
    path: str | None = None,
    when: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
) -> Resource:
    """One file: from the first of ``urls`` that gives it, or made of another resource."""
    made = () if of is None else (of,)
    return Resource(
        *("file", urls, made, size, sha256, tuple(transforms), transient, path),
        when=when or {},
        max_bytes=max_bytes,
    )


def archive(
    *urls: str,
    of: Of | None = None,
    size: int | None = None,
    sha256: str | None = None,
    transforms: Iterable[Transform] = (),
    transient: bool = False,
    path: str | None = None,
    when: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
) -> Resource:
    """A folder, unpacked from an archive: the last of ``transforms`` is `unzip` or `untar`."""
    made = () if of is None else (of,)
    return Resource(
        *("archive", urls, made, size, sha256, tuple(transforms), transient, path),
        when=when or {},
        max_bytes=max_bytes,
    )


def concat(
    *of: Of,
    transforms: Iterable[Transform] = (),
    transient: bool = False,
    path: str | None = None,
    max_bytes: int | None = None,
) -> Resource:
    """One file: the bytes of the files ``of``, in this order."""
    return Resource(
        "concat",
        of=of,
        transforms=tuple(transforms),
        transient=transient,
        path=path,
        max_bytes=max_bytes,
    )


def link(target: str) -> Resource:
    """Another data set, ``NAME`` or one resource of it, ``NAME:RESOURCE``: prepared first."""
    return Resource("link", target=target)


def folder(key: str, path: str | None = None) -> Resource:
    """What the user must provide: a folder that ``atd folder set KEY PATH`` says, or part of it."""
    return Resource("folder", key=key, path=path)


def hf_file(
    repository: str,
    path: str,
    *,
    revision: str | None = None,
    size: int | None = None,
    sha256: str | None = None,
) -> Resource:
    """One file of a data set repository on the Hugging Face hub."""
    return Resource("hf", target=repository, key=revision, path=path, size=size, sha256=sha256)


def blob(did: str, cid: str, *, size: int | None = None, path: str | None = None) -> Resource:
    """One blob of somebody's repository, by its CID; their PDS gives it."""
    return Resource("blob", target=did, key=cid, size=size, path=path)


def compute(
    function: Function, *of: Of, transient: bool = False, path: str | None = None
) -> Resource:
    """A file that code writes: ``function(paths of what it needs, path to write)``. Python only."""
    return Resource("compute", of=of, function=function, transient=transient, path=path)


def gunzip() -> Transform:
    """Unpack gzip."""
    return Transform("gunzip")


def bunzip2() -> Transform:
    """Unpack bzip2."""
    return Transform("bunzip2")


def unxz() -> Transform:
    """Unpack xz."""
    return Transform("unxz")


def unzstd() -> Transform:
    """Unpack zstd, where this Python can (3.14 and later)."""
    return Transform("unzstd")


def unzip(path: str | None = None) -> Transform:
    """Take the member ``path`` of a zip file, or what lies below the folder ``path`` in it."""
    return Transform("unzip", path)


def untar(path: str | None = None) -> Transform:
    """Take the member ``path`` of a tar file, or what lies below the folder ``path`` in it."""
    return Transform("untar", path)


def lines(
    *,
    skip: int = 0,
    take: int | None = None,
    starts: str | None = None,
    contains: str | None = None,
) -> Transform:
    """Keep some lines of a text."""
    return Transform("lines", None, skip, take, starts, contains)


def reader(
    kind: str,
    of: Of,
    *,
    path: str | None = None,
    delimiter: str | None = None,
    columns: Iterable[str] = (),
) -> Reader:
    """How a resource is read; see `Reader`."""
    return Reader(kind, of, path, delimiter, tuple(columns))
