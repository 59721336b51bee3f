"""Settings, folders, disk space, databases, quota: what can be seen without asking anybody."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from atd.errors import AtdError, StorageFault
from atd.settings import Settings, survey
from atd_daemon import sqlite
from atd_daemon.catalog.place import refuse_network
from atd_daemon.doctor.finding import Finding, fail, ok, warn

LOW_BYTES: Final = 2 * 10**9
NO_SPACE_BYTES: Final = 100 * 10**6
_DATABASE_S: Final = 20.0


def settings() -> Iterator[Finding]:
    """Whether every setting can be used."""
    rows, problems = survey()
    for problem in problems:
        yield fail("settings", problem.message, "correct it where it comes from: atd config")
    if not problems:
        set_ = [row.name for row in rows if row.origin != "default"]
        said = ", ".join(set_) or "all defaults"
        yield ok("settings", f"can be used ({said})")


def folders(settings: Settings) -> Iterator[Finding]:
    """Whether our folders are ours, closed to others, writable, and on this machine."""
    places = {
        "config": settings.config_dir,
        "state": settings.state_dir,
        "cache": settings.cache_dir,
        "run": settings.run_dir,
    }
    for name, folder in places.items():
        check = f"folder {name}"
        try:
            found = os.lstat(folder)
        except FileNotFoundError:
            yield ok(check, f"{folder} is not there yet, and is made when it is needed")
            continue
        except OSError as error:
            step = "choose another place with ATD_HOME"
            yield fail(check, f"{folder} cannot be looked at: {error.strerror}", step)
            continue
        yield _folder(check, folder, found, private=name in ("state", "run"))
    try:
        refuse_network(settings.state_dir)
    except StorageFault as fault:
        yield fail("folder state", fault.message, fault.next_step)


def _folder(check: str, folder: Path, found: os.stat_result, *, private: bool) -> Finding:
    if stat.S_ISLNK(found.st_mode):
        found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        return fail(check, f"{folder} is no folder", f"move it away: mv {folder} {folder}.old")
    if found.st_uid != os.getuid():
        step = "give it to yourself with chown, or choose another place with ATD_HOME"
        return fail(check, f"{folder} belongs to user {found.st_uid}", step)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail(check, f"{folder} cannot be written", f"chmod u+rwx {folder}")
    if private and found.st_mode & 0o077:
        said = f"{folder} is open to other users, and holds sessions and keys"
        return warn(check, said, f"chmod 700 {folder}")
    return ok(check, str(folder))


def space(settings: Settings) -> Iterator[Finding]:
    """Whether there is room on the disks."""
    for name, folder in (("state", settings.state_dir), ("cache", settings.cache_dir)):
        usage = shutil.disk_usage(_existing(folder))
        yield room(name, folder, usage.free, usage.total)


def room(name: str, folder: Path, free: int, total: int) -> Finding:
    """What so many free bytes mean for the folder called ``name``."""
    check, step = f"disk {name}", "free space; of shards with: atd cache prune"
    said = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB for {folder}"
    if free < NO_SPACE_BYTES:
        return fail(check, said, step)
    return warn(check, said, step) if free < LOW_BYTES else ok(check, said)


def quota(settings: Settings) -> Iterator[Finding]:
    """Whether the store keeps within its quota, and its quota within the disk."""
    folder = settings.cache_dir / "shards"
    size = sum(path.stat().st_size for path in folder.rglob("*.tar")) if folder.is_dir() else 0
    held = f"{size / 1e9:.1f} GB of shards"
    limit = settings.cache_quota
    if limit is None:
        yield ok("quota", f"{held}, no quota is set")
        return
    said = f"{held}, the quota is {limit / 1e9:.1f} GB"
    if size > limit:
        step = "see what is pinned or in use with: atd cache ls; or raise cache_quota"
        yield warn("quota", f"{said}: it is exceeded", step)
    elif limit - size > shutil.disk_usage(_existing(folder)).free:
        yield warn("quota", f"{said}: more than the disk has left", "lower cache_quota")
    else:
        yield ok("quota", said)


def databases(settings: Settings) -> Iterator[Finding]:
    """Whether the SQLite files are whole, as far as can be told by looking."""
    if not settings.state_dir.is_dir():
        return
    for path in sorted(settings.state_dir.rglob("*.sqlite")):
        check = f"database {path.relative_to(settings.state_dir)}"
        seen = sqlite.look(path, limit_s=_DATABASE_S)
        if seen.damage is not None:
            step = _rescue(settings, path)
            yield fail(check, f"{path} is damaged: {seen.damage}", step)
        elif not seen.complete:
            yield ok(check, f"{seen.size / 1e6:.1f} MB; {seen.note}")
        else:
            yield ok(check, f"{seen.size / 1e6:.1f} MB, whole")
    for kept in sorted(settings.state_dir.rglob("*.damaged-*")):
        if not kept.name.endswith(("-wal", "-shm")):
            step = f"look at it, or delete it: rm {kept}"
            yield warn("database", f"{kept} was set aside because it was damaged", step)


def _rescue(settings: Settings, path: Path) -> str:
    """What to do about a damaged file: what it holds decides."""
    if path.name == "index.sqlite":
        return f"atd daemon stop; mv {path} {path}.old; list again what you had: atd ls @HANDLE"
    if path.is_relative_to(settings.state_dir / "host"):
        return "atd daemon stop; then restore the host from its last backup (docs/hosting.md)"
    return f"atd daemon stop; mv {path} {path}.old; what was being published is begun anew"


def _existing(folder: Path) -> Path:
    """The folder, or what there is of its parents."""
    for one in (folder, *folder.parents):
        if one.exists():
            return one
    raise AssertionError("the root exists")


def loaded() -> Settings | AtdError:
    """The settings, or why there are none."""
    try:
        return Settings.load()
    except AtdError as error:
        return error
