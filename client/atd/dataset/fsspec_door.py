"""Verified shards as files, for everything that reads through fsspec: its only importer.

::

    atd://@alice.example.com/flowers/train/train-00000.tar
    atd://did:plc:…/flowers@1.2.0/train/train-00000.tar       one version
    atd://@alice.example.com/flowers/train-00000.tar          where no other split has that name

Read-only. Records are proved when a data set is first looked at, and a file is opened only after
the daemon has hashed it. An instance stays with the release that it saw first, so that what it
lists and what it opens belong together; ``invalidate_cache`` lets it look for a newer one.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, ClassVar

from fsspec.spec import AbstractFileSystem

from atd import api, service
from atd.connection import Connection, Param
from atd.dataset.source import ReleaseSource, Shard, release_source
from atd.errors import Absent
from atd.refs import parse_dataset_ref


@dataclass(frozen=True)
class _Place:
    """A shard: where it is and what it is."""

    source: ReleaseSource
    number: int

    @property
    def shard(self) -> Shard:
        return self.source.shards[self.number]


class AtdFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The file system ``atd://``, found by fsspec through its entry point.

    Args:
        allow_previous_key: accept records that an earlier key of the publisher signed.
    """

    protocol: ClassVar[str] = "atd"

    def __init__(self, allow_previous_key: bool = False, **options: Any) -> None:
        super().__init__(allow_previous_key=allow_previous_key, **options)
        self._allow_previous_key = allow_previous_key
        self._connection = Connection()
        self._known: dict[str, dict[str, _Place]] = {}

    # -- looking ----------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The files and folders in ``path``: of a data set, of one of its splits, of a publisher.

        Raises:
            FileNotFoundError: there is no such place; of a publisher or a data set, it is proved.
        """
        entries = list(self._entries(self._strip_protocol(path)))
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """``name``, ``type``, ``size`` in bytes; of a file also ``digest``, its CID.

        Raises:
            FileNotFoundError: there is no such place.
        """
        path = self._strip_protocol(path)
        dataset, inside = _split(path)
        if not dataset:
            return _folder(path)
        files = self._files(dataset, path)
        place = _find(files, inside)
        if place is not None:
            return _file(path, place)
        if inside and not any(name.startswith(f"{inside}/") for name in files):
            raise _absent(path)
        return _folder(path)

    def exists(self, path: str, **_: Any) -> bool:
        """Whether it is there. What cannot be found out is an error, not False."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def ukey(self, path: str) -> str:
        """The CID of a file: another content is another key."""
        return str(self.info(path)["digest"])

    def checksum(self, path: str) -> int:
        """A number for the content of a file."""
        return int.from_bytes(self._place(path).shard.digest.digest[:8], "big")

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look again for the newest release of the data set of ``path``, or of all."""
        if path is None:
            self._known.clear()
        else:
            self._known.pop(_split(self._strip_protocol(path))[0], None)

    # -- reading ----------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        """The daemon's own file, after it was verified; fetched first where it is not there."""
        if mode != "rb":
            raise OSError(errno.EROFS, "atd:// can only be read", path)
        place = self._place(path)
        try:
            return place.source.path(place.number).open("rb")
        except FileNotFoundError:  # dropped from the store since the daemon named it
            return place.source.path(place.number).open("rb")

    # -- inside -----------------------------------------------------------------------------

    def _place(self, path: str) -> _Place:
        path = self._strip_protocol(path)
        dataset, inside = _split(path)
        place = _find(self._files(dataset, path), inside) if inside else None
        if place is None:
            raise _absent(path)
        return place

    def _entries(self, path: str) -> Iterator[dict[str, Any]]:
        dataset, inside = _split(path)
        if not dataset:
            yield from self._datasets(path)
            return
        files = self._files(dataset, path)
        place = _find(files, inside)
        if place is not None:
            yield _file(path, place)
            return
        start = f"{inside}/" if inside else ""
        below = {name: place for name, place in files.items() if name.startswith(start)}
        if not below:
            raise _absent(path)
        folders: set[str] = set()
        for name, place in below.items():
            head, slash, _ = name[len(start) :].partition("/")
            if not slash:
                yield _file(f"{dataset}/{name}", place)
            elif head not in folders:
                folders.add(head)
                yield _folder(f"{dataset}/{start}{head}")

    def _datasets(self, actor: str) -> Iterator[dict[str, Any]]:
        """What a publisher has."""
        if not actor:
            raise _absent("atd:// without a publisher")
        try:
            found = service.ls(actor, connection=self._connection)
        except Absent as error:
            raise _absent(actor) from error
        for one in found:
            yield _folder(f"{actor}/{one.name}")

    def _files(self, dataset: str, path: str) -> Mapping[str, _Place]:
        """Every shard of a data set by its path in it: ``split/name``, or ``name`` of one split."""
        if dataset not in self._known:
            ref = parse_dataset_ref(dataset)
            question: dict[str, Param] = {
                "ref": str(replace(ref, split=None)),
                "allowPreviousKey": self._allow_previous_key,
            }
            try:
                answer = self._connection.call(api.GET_RELEASE, question)
            except Absent as error:
                raise _absent(path) from error
            splits = [split["name"] for split in answer["splits"]]
            wanted = splits if ref.split is None else [ref.split]
            if not set(wanted) <= set(splits):
                raise _absent(path)
            files: dict[str, _Place] = {}
            for split in wanted:
                source = release_source(answer, split, self._connection)
                for number, shard in enumerate(source.shards):
                    start = f"{split}/" if ref.split is None else ""
                    files[start + shard.name] = _Place(source, number)
            self._known[dataset] = files
        return self._known[dataset]


def _split(path: str) -> tuple[str, str]:
    """The data set that ``path`` begins with, and the rest; no data set for a publisher alone."""
    parts = path.split("/", 2)
    if len(parts) < 2:
        return "", ""
    return f"{parts[0]}/{parts[1]}", parts[2] if len(parts) > 2 else ""


def _find(files: Mapping[str, _Place], inside: str) -> _Place | None:
    """The file at ``inside``, whose split may be left out where only one has a file so called."""
    if inside in files:
        return files[inside]
    found = [place for name, place in files.items() if name.partition("/")[2] == inside]
    return found[0] if inside and len(found) == 1 else None


def _file(path: str, place: _Place) -> dict[str, Any]:
    shard = place.shard
    return {"name": path, "type": "file", "size": shard.size, "digest": str(shard.digest)}


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "type": "directory", "size": 0}


def _absent(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no such published data set, split or shard", path)
