"""What is installed: what must be, and what may be."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from atd.protocol.keys import ACCELERATED
from atd_daemon.doctor.finding import Finding, fail, ok, skipped

DISTRIBUTION: Final = "atd-catalog"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([a-z0-9-]+)['\"]")


def libraries() -> Iterator[Finding]:
    """Python, the libraries that atd needs, and those that open further doors."""
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield skipped("libraries", f"{DISTRIBUTION} is not installed; it runs from its sources")
        return
    yield ok("python", f"{platform.python_version()}, {DISTRIBUTION} {version}")
    missing: dict[str, list[str]] = {}
    for one in wanted:
        match, extra = _NAME.match(one), _EXTRA.search(one)
        if match is not None and not _is_there(match[0]):
            missing.setdefault(extra[1] if extra else "", []).append(match[0])
    needed = missing.pop("", [])
    if needed:
        step = f"pip install --upgrade {DISTRIBUTION}"
        yield fail("libraries", f"not installed: {', '.join(needed)}", step)
    else:
        yield ok("libraries", "all that atd needs are installed")
    extras = {extra[1] for one in wanted if (extra := _EXTRA.search(one))}
    have = ", ".join(sorted(extras - missing.keys())) or "none"
    without = ", ".join(f"{extra} ({', '.join(names)})" for extra, names in sorted(missing.items()))
    yield ok("extras", f"installed: {have}; not installed: {without or 'none'}")
    speed = "by coincurve" if ACCELERATED else "by cryptography; ten times faster with extra fast"
    yield ok("signatures", f"secp256k1 is verified {speed}")


def _is_there(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
