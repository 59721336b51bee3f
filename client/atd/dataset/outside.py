"""Shards outside any catalogue: at ``http(s)://`` or ``s3://`` addresses that the user typed.

What belongs here: from an address to files on this machine, and from shards without a schema to
one. Nobody signed these. Where the address is a folder with an ``atd.json``, every file is checked
against it, and is fetched when its shard is needed; bare tar files are trusted as far as TLS goes,
and `UrlSource.version` says so. Those are fetched when the data set is opened, because its order
depends on how many samples each shard has. Only an address that a user typed comes here, never one
from a record.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from atd import s3
from atd.dataset.source import (
    FolderSource,
    OpenShard,
    Shard,
    ShardSource,
    choose_splits,
    folder_source,
    open_known,
    seal_book,
)
from atd.errors import Absent, DigestMismatch, InvalidSyntax, Offline, StorageFault, Unreachable
from atd.files import FileIdentity, SealBook, hash_file, look, open_shared
from atd.manifest import FILE_NAME
from atd.protocol.cbor import Cid
from atd.protocol.syntax import quote
from atd.settings import Settings
from atd.shards.infer import infer_shards

TIMEOUT_S: Final = 60.0
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
MAX_SHARD_BYTES: Final = 64 * 1024**3
MAX_PATTERN: Final = 100_000
_RANGE: Final = re.compile(r"\{([0-9]{1,9})\.\.([0-9]{1,9})\}")
_CHUNK: Final = 1 << 20


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows what the user's address leads to, but never out of TLS: that is all there is here."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See `urllib.request.HTTPRedirectHandler`."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError(f"it redirects from https to {quote(newurl)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# Only http and https, redirects included: an opener made by default also knows ftp: and file:.
_OPENER: Final = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    _Redirects,
    urllib.request.HTTPErrorProcessor,
):
    _OPENER.add_handler(_handler())


@dataclass(frozen=True)
class UrlSource(ShardSource):
    """Shards that were fetched from bare addresses; their digests are what came, not a claim."""

    files: tuple[Path, ...]
    cache: Path = field(compare=False, repr=False)

    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The fetched file, if it is still what was fetched."""
        return open_known(
            self.files[number], self.shards[number], self.cache, self._seals, suspect=suspect
        )

    @cached_property
    def _seals(self) -> SealBook:
        return seal_book(self.cache, str(self.files[0].parent))


@dataclass(frozen=True)
class UrlFolderSource(FolderSource):
    """A folder with an ``atd.json`` at an address: each shard is copied when it is needed.

    A copy that is not what the manifest says, or is not any more, is fetched once more.
    """

    base: str = ""
    settings: Settings = field(default_factory=Settings.load, compare=False, repr=False)

    def open(self, number: int, *, suspect: bool = False) -> OpenShard:
        """The copy of the file, hashed against the manifest unless it is known again."""
        shard = self.shards[number]
        try:
            return super().open(number, suspect=suspect)
        except DigestMismatch:
            pass
        except StorageFault as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
        fetch(self.base + shard.name, self.folder / shard.name, shard.size, self.settings)
        return super().open(number)


def url_source(pattern: str, split: str | None) -> ShardSource:
    """The shards at ``pattern``: tar files (``{000..009}`` counts), or a folder with ``atd.json``.

    Raises:
        Absent: there is nothing at an address.
        Unreachable: an address does not answer.
        LocalError: no such split, or a pattern that cannot be read.
    """
    settings = Settings.load()
    if not pattern.partition("?")[0].endswith(".tar"):
        return _with_manifest(pattern.rstrip("/") + "/", split, settings)
    choose_splits(("all",), split, pattern)
    addresses = list(expand(pattern))
    folder = _cache(settings, pattern)
    files = [_fetched(address, folder, MAX_SHARD_BYTES, settings) for address in addresses]
    found = infer_shards(files)
    seals = seal_book(settings.cache_dir, str(folder))
    known = [_digest(path, seals) for path in files]
    shards = tuple(
        Shard(address.rpartition("/")[2], digest, size, count)
        for address, (digest, size), count in zip(addresses, known, found.counts, strict=True)
    )
    told = "\n".join(str(shard.digest) for shard in shards)
    return UrlSource(
        what=pattern,
        version=f"unsigned:{hashlib.sha256(told.encode()).hexdigest()}",
        schema=found.schema,
        layout=found.layout,
        shards=shards,
        splits=("all",),
        files=tuple(files),
        cache=settings.cache_dir,
    )


def expand(pattern: str) -> Iterator[str]:
    """The addresses that ``pattern`` stands for: one ``{first..last}`` counts, zeros kept.

    Raises:
        InvalidSyntax: other braces, a range that runs backwards, or one of over 100,000.
    """
    match = _RANGE.search(pattern)
    if match is None:
        if "{" in pattern or "}" in pattern:
            raise InvalidSyntax(f"expected braces as {{000..009}}, got {quote(pattern)}")
        yield pattern
        return
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MAX_PATTERN:
        raise InvalidSyntax(f"expected a range that counts up, got {quote(match[0])}")
    for number in range(first, last + 1):
        rest = pattern[match.end() :]
        yield from expand(f"{pattern[: match.start()]}{number:0{len(match[1])}d}{rest}")


def _with_manifest(base: str, split: str | None, settings: Settings) -> UrlFolderSource:
    """The folder at ``base``; each shard is checked against its ``atd.json``."""
    folder = _cache(settings, base)
    if not settings.offline or not (folder / FILE_NAME).is_file():
        fetch(base + FILE_NAME, folder / FILE_NAME, MAX_MANIFEST_BYTES, settings)
    source = folder_source(folder, split)
    values = {one.name: getattr(source, one.name) for one in fields(source)}
    return UrlFolderSource(**values, base=base, settings=settings)


def _fetched(address: str, folder: Path, limit: int, settings: Settings) -> Path:
    path = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.tar"
    if not path.is_file():
        fetch(address, path, limit, settings)
    return path


def fetch(address: str, target: Path, limit: int, settings: Settings) -> None:
    """Copy ``address`` to ``target``, at most ``limit`` bytes; there whole or not at all.

    Raises:
        Offline: the network is switched off.
        Absent: 404 or 410. Unreachable: no answer, another status, more bytes than ``limit``, or
            fewer than were announced.
        StorageFault: it cannot be written.
    """
    if settings.offline:
        raise Offline(f"{quote(address)} has to be fetched, and the network is switched off")
    url = s3.signed_get(address, settings.s3_endpoint) if address.startswith("s3://") else address
    host = urlsplit(url).hostname
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as out:
            try:
                _copy(url, out, limit)
                os.replace(out.name, target)
            finally:
                Path(out.name).unlink(missing_ok=True)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise Absent(f"{quote(address)} is not there: {host} answered {error.code}") from None
        raise Unreachable(f"{host} answered {error.code} for {quote(address)}") from None
    except urllib.error.URLError as error:
        raise Unreachable(f"{host} cannot be reached: {error.reason}") from None
    except (http.client.HTTPException, ValueError) as error:
        raise Unreachable(f"{host} sent no usable answer: {quote(str(error))}") from None
    except TimeoutError:
        raise Unreachable(f"{host} gave no answer for {TIMEOUT_S:.0f} s") from None
    except OSError as error:
        raise StorageFault(f"cannot write {target}: {error.strerror or error}") from None


def _copy(url: str, out: tempfile._TemporaryFileWrapper[bytes], limit: int) -> None:
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})  # noqa: S310
    with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
        # Read by pieces, http.client takes a body that was cut short for a whole one.
        missing = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK):
            missing -= len(chunk)
            limit -= len(chunk)
            if limit < 0:
                raise Unreachable(f"{urlsplit(url).hostname} sent more than was expected")
            out.write(chunk)
        if missing > 0:
            raise Unreachable(f"{urlsplit(url).hostname} broke off, {missing} bytes are missing")
    out.flush()
    os.fsync(out.fileno())


def _digest(path: Path, seals: SealBook) -> tuple[Cid, int]:
    """The digest and size of a fetched file; hashed once, and known again by one stat."""
    descriptor = open_shared(path)
    try:
        before = FileIdentity.of(look(descriptor))
        known = seals.digest(path.name, before)
        if known is not None:
            return Cid.parse(known), before.size
        digest, size = hash_file(descriptor)
        if FileIdentity.of(look(descriptor)) == before:
            seals.set(path.name, digest, before)
        return digest, size
    finally:
        os.close(descriptor)


def _cache(settings: Settings, what: str) -> Path:
    """The folder for what was fetched from ``what``."""
    folder = settings.cache_dir / "outside" / hashlib.sha256(what.encode()).hexdigest()[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFault(f"cannot create the folder {folder}: {error.strerror}") from None
    return folder
