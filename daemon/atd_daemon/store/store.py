"""The store's face: is it here, have it here, take it in, check it, let it go.

`Store` belongs to one event loop. Of its methods only `ensure` and `close` are coroutines; `path`
costs one stat for a file that was verified before and has not changed, and hashes a whole file
otherwise; `adopt`, `verify` and `usage` read files and belong in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from atd.errors import Absent, AtdError, Busy, DigestMismatch, Offline, TooLarge, Unreachable
from atd.files import FileIdentity, hash_file, look
from atd.protocol.cbor import Cid
from atd_daemon.config import Config
from atd_daemon.network.fetch import Fetcher
from atd_daemon.store.download import Report, RetryPolicy, download
from atd_daemon.store.flights import Flights
from atd_daemon.store.layout import Layout, check_space, publish, size_of, storing
from atd_daemon.store.leftovers import Leftover, drop_leftovers, find_idle, find_leftovers
from atd_daemon.store.locks import sole_reader, working, working_now
from atd_daemon.store.mirrors import Mirrors
from atd_daemon.store.partial import Partial
from atd_daemon.store.seals import Seals
from atd_daemon.store.sources import ShardWant, Source
from atd_daemon.store.threads import to_the_end

_ONE_TRY = RetryPolicy(tries=1)
_UNREADABLE = frozenset({errno.ELOOP, errno.EIO})
"""What the system says of a symbolic link in the place of a shard, and of sectors that are gone."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the store holds: whole shards and their bytes, unfinished downloads and theirs, and the
    files that were found damaged."""

    shards: int
    shard_bytes: int
    unfinished: int
    unfinished_bytes: int
    damaged: int
    damaged_bytes: int


Landed = Callable[[Cid, int], None]


def _nobody(digest: Cid, size: int) -> None:
    """Nobody watches."""


class Store:
    """The shard files below ``folder``, and the way to get more of them.

    Several processes may use one folder at a time.
    """

    def __init__(
        self,
        folder: Path,
        fetcher: Fetcher,
        config: Config,
        *,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Use ``folder``, creating it if need be; raises StorageFault if that cannot be."""
        self._layout = Layout(folder)
        self._fetcher = fetcher
        self._config = config
        self._policy = policy or RetryPolicy()
        self._seals = Seals()
        self._flights = Flights()
        self._mirrors = Mirrors(config.mirrors)
        self._landed: Landed = _nobody
        self._layout.prepare()
        self._tidy()

    def watch(self, landed: Landed) -> None:
        """Call ``landed`` with the digest and size of each file that becomes visible, in the thread
        that made it so."""
        self._landed = landed

    def path(self, digest: Cid) -> Path | None:
        """The verified file with ``digest``, if it is here.

        A file that changed since it was verified is hashed again; if it is not what its name says
        any more it is set aside, and None comes back.
        """
        if self._sealed(digest) is not None:
            return self._layout.shard(digest)
        try:
            return self.verify(digest)
        except DigestMismatch:
            return None

    def verify(self, digest: Cid) -> Path | None:
        """Hash the file with ``digest`` whatever is remembered of it; None if it is not here.

        Raises:
            DigestMismatch: it is damaged; it was set aside, so that it can be fetched again.
        """
        path, seal = self._layout.shard(digest), self._layout.seal(digest)
        with storing(path):
            try:
                inode = os.stat(path, follow_symlinks=False).st_ino
                found, before, after = _hashed(path)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in _UNREADABLE:
                    raise
                said = f"cannot be read: {error.strerror}"
            else:
                if found == digest and before == after:
                    self._seals.set(seal, after)
                    return path
                inode = after.inode
                said = f"has {after.size} bytes with the digest {found}, expected {digest}"
        self._set_aside(digest, inode)
        raise DigestMismatch(
            f"the stored shard {path} {said}",
            next_step="it was set aside; fetch it again with: atd pull",
        )

    async def ensure(self, want: ShardWant, progress: Report | None = None) -> Path:
        """The verified file that is wanted, fetched from its sources if it is not here.

        All who want the same shard at the same time share one download, whose progress each of
        them hears; it is given up when the last of them is cancelled, and what it got by then is
        where the next one begins.

        Raises:
            DigestMismatch: a source sent other bytes and none the right ones, or the file is here
                and its size is not the one that was signed.
            Absent: no source has it.
            Unreachable: it could not be found out (RateLimited, Offline).
            StorageFault: the disk is full or cannot be written.
            TooLarge: it is larger than this daemon takes.
        """
        if want.size > self._config.max_shard_bytes:
            raise TooLarge(
                f"shard {want.digest} has {want.size} bytes, the limit is"
                f" {self._config.max_shard_bytes}"
            )
        heard: set[Source] = set()
        while True:
            path = await self._present(want)
            if path is not None:
                return path
            flight = self._flights.of(want)
            mine = flight is None
            if flight is None:
                flight = self._flights.start(want, self._fetch)
            try:
                return await flight.join(progress)
            except AtdError as error:
                heard.update(flight.want.sources)
                # Another's download failed in ways that need not be ours: it knew other places,
                # or was not allowed to use the network.
                elsewhere = not heard.issuperset(want.sources) or isinstance(error, Offline)
                if mine or not elsewhere:
                    raise

    def adopt(self, path: Path, digest: Cid, size: int) -> Path:
        """Take in a finished shard file that was made on this machine.

        The file is moved (copied first, if it is on another file system) after it was hashed, and
        must not be open for writing anywhere. Killed at any moment, it is either still where it
        was or in the store.

        Returns:
            Where it is now.

        Raises:
            DigestMismatch: it is not what it is said to be; it stays where it is.
            Busy: the same shard is being downloaded or adopted right now.
            StorageFault: it cannot be read, moved or copied.
        """
        with storing(path), working_now(self._layout.lock(digest)):
            here = self.path(digest)
            if here is None:
                here = self._move_in(path, digest, size)
            elif (found := size_of(here)) != size:
                raise _other_size(here, found, size)
            if path.exists() and not path.samefile(here):
                path.unlink()
            return here

    def remove(self, digest: Cid) -> bool:
        """Let the file with ``digest`` go, and what was begun of it. Whether there was one.

        Raises:
            Busy: it is being read or worked on.
        """
        path = self._layout.shard(digest)
        with storing(path), working_now(self._layout.lock(digest)):
            self._layout.sweep(digest)
            try:
                with sole_reader(path):
                    self._seals.drop(self._layout.seal(digest))
                    path.unlink()
            except FileNotFoundError:
                return False
        return True

    def digests(self) -> Iterator[Cid]:
        """The digests of the files that are here, in no order, whether verified lately or not."""
        return self._layout.digests()

    def usage(self) -> Usage:
        """Count what is here."""
        whole = [size_of(self._layout.shard(digest)) for digest in self.digests()]
        begun = self._layout.unfinished()
        damaged = [size_of(path) for path in self._layout.quarantined()]
        return Usage(
            len(whole),
            sum(whole),
            len(begun),
            self.unfinished_bytes(),
            len(damaged),
            sum(damaged),
        )

    def sizes(self) -> dict[Cid, int]:
        """The files that are here, with their bytes."""
        return {digest: size_of(self._layout.shard(digest)) for digest in self.digests()}

    def unfinished_bytes(self) -> int:
        """Bytes of the downloads that are not finished, running ones too."""
        return sum(size_of(path) for path in self._layout.unfinished())

    def idle(self, idle_s: float) -> list[Leftover]:
        """The unfinished downloads that nobody works on nor went on with for ``idle_s``; with their
        journals. `drop` removes them."""
        return list(find_idle(self._layout, idle_s))

    def damaged_bytes(self) -> int:
        """Bytes of the files that were found damaged and set aside."""
        return sum(size_of(path) for path in self._layout.quarantined())

    def drop_damaged(self) -> int:
        """Remove the files that were found damaged and set aside; returns their bytes."""
        freed = 0
        with storing(self._layout.quarantine):
            for path in self._layout.quarantined():
                freed += size_of(path)
                path.unlink(missing_ok=True)
        return freed

    def leftovers(self) -> list[Leftover]:
        """What lies here and is of no use to anybody."""
        return list(find_leftovers(self._layout))

    def drop(self, found: Iterable[Leftover]) -> list[Leftover]:
        """Remove what `leftovers` gave; returns what is gone, and that is all but what somebody
        works on by now."""
        return drop_leftovers(self._layout, found)

    async def close(self) -> None:
        """Give up every download; what they got stays for the next time."""
        await self._flights.close()

    def _tidy(self) -> None:
        """Remove what was begun for files that are here: whoever made them was killed over it."""
        with storing(self._layout.partials):
            for digest in self._layout.begun():
                if self._layout.shard(digest).exists():
                    with contextlib.suppress(Busy), working_now(self._layout.lock(digest)):
                        self._layout.sweep(digest)

    def _sealed(self, digest: Cid) -> FileIdentity | None:
        """What the file looks like, if it is here and looks as when it was verified: one stat."""
        try:
            found = look(self._layout.shard(digest))
        except FileNotFoundError:
            return None
        identity = FileIdentity.of(found)
        if not stat.S_ISREG(found.st_mode):
            return None
        return identity if self._seals.holds(self._layout.seal(digest), identity) else None

    async def _present(self, want: ShardWant) -> Path | None:
        """The file, if it is here; hashing, if it must be, happens in a thread."""
        path: Path | None = self._layout.shard(want.digest)
        identity = self._sealed(want.digest)
        if identity is None:
            path = await to_the_end(self.path, want.digest)
        if path is not None:
            size = size_of(path) if identity is None else identity.size
            if size != want.size:
                raise _other_size(path, size, want.size)
        return path

    async def _fetch(self, want: ShardWant, report: Report) -> Path:
        """Download, check, make visible, seal: for all who wait, in one process at a time."""
        async with working(self._layout.lock(want.digest)):
            path = await self._present(want)  # another process may just have finished it
            if path is not None:
                return path
            begun = [size_of(path) for path in self._layout.unfinished(want.digest)]
            check_space(self._layout.folder, want.size - max(begun, default=0))
            partial = await self._download(want, report)
            return await to_the_end(self._land, partial.path, want.digest)

    async def _download(self, want: ShardWant, report: Report) -> Partial:
        """From a mirror, where one has it, else from the places that its record names."""
        for origin, source in self._mirrors.sources(want.digest):
            at_mirror = replace(want, sources=(source,))
            try:
                return await download(at_mirror, self._layout, self._fetcher, _ONE_TRY, report)
            except Offline:
                raise
            except (DigestMismatch, Unreachable) as error:
                self._mirrors.failed(origin, error)
            except Absent:
                continue
        return await download(want, self._layout, self._fetcher, self._policy, report)

    def _land(self, partial: Path, digest: Cid) -> Path:
        """Make a file whose digest was just checked visible, and sweep up behind it."""
        target = self._layout.shard(digest)
        with storing(target):
            publish(partial, target)
            identity = FileIdentity.of(target.stat())
            self._seals.set(self._layout.seal(digest), identity)
            self._layout.sweep(digest)
        self._landed(digest, identity.size)
        return target

    def _move_in(self, path: Path, digest: Cid, size: int) -> Path:
        """Move the checked file into the store; a file of another file system is copied first."""
        before = _check(path, digest, size)
        target = self._layout.shard(digest)
        try:
            publish(path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            check_space(self._layout.folder, size)
            draft = self._layout.adopted(digest)
            shutil.copyfile(path, draft)
            before = _check(draft, digest, size)
            publish(draft, target)
        after = FileIdentity.of(target.stat())
        if before.same_content(after):
            self._seals.set(self._layout.seal(digest), after)
        else:
            self.verify(digest)  # somebody wrote to it meanwhile: raises unless it is still right
        self._landed(digest, size)
        return target

    def _set_aside(self, digest: Cid, inode: int) -> None:
        """Move the damaged file out of the way, unless another took its place in the meantime.

        Those who have it mapped keep it: it is renamed, not changed.
        """
        path = self._layout.shard(digest)
        with storing(path), contextlib.suppress(FileNotFoundError):
            self._seals.drop(self._layout.seal(digest))
            if os.stat(path, follow_symlinks=False).st_ino == inode:
                self._layout.set_aside(digest)


def _hashed(path: Path) -> tuple[Cid, FileIdentity, FileIdentity]:
    """The digest of a file, and what it looked like before and after; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = FileIdentity.of(os.fstat(handle))
        found, _ = hash_file(handle)
        return found, before, FileIdentity.of(os.fstat(handle))
    finally:
        os.close(handle)


def _check(path: Path, digest: Cid, size: int) -> FileIdentity:
    """Hash a file that is to be taken in; returns what it looked like before.

    Raises:
        DigestMismatch: it is not what it is said to be.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = FileIdentity.of(os.fstat(handle))
        found, length = hash_file(handle)
    finally:
        os.close(handle)
    if (found, length) != (digest, size):
        raise DigestMismatch(
            f"expected {path} to be {size} bytes with the digest {digest},"
            f" found {length} bytes with {found}",
            next_step="pack the data again",
        )
    return before


def _other_size(path: Path, found: int, size: int) -> DigestMismatch:
    return DigestMismatch(
        f"the stored shard {path} has {found} bytes and the right digest,"
        f" but its record says {size} bytes"
    )
