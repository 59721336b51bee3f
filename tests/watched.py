"""A program that is watched: how often it looks at files, and how much it reads and hashes.

Run as ``python watched.py REF``: it loads REF, reads every sample, and prints one JSON object. What
it counts is what the interpreter calls (`sys.setprofile` sees every call of a function in C), and
what the kernel says was read, not what atd says of itself; that is printed as well.
"""

from __future__ import annotations

import collections
import json
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import atd
from atd.files import COUNTS

CALLS: collections.Counter[str] = collections.Counter()
STATS = ("stat", "lstat", "fstat")


def watch(frame: FrameType, event: str, argument: Any) -> None:
    """Count what is called in C, but by the import system, which looks at files of its own."""
    if event != "c_call" or frame.f_code.co_filename.startswith("<frozen importlib"):
        return
    name = argument.__name__
    if name in STATS and argument.__module__ == "posix":
        CALLS["stat"] += 1
    elif name == "mmap":
        CALLS["map"] += 1
    elif name in ("sha256", "openssl_sha256", "file_digest", "update"):
        CALLS["hash"] += name != "update" or "HASH" in type(argument.__self__).__name__


def bytes_read() -> int:
    """Bytes that this process asked of the kernel by reading; what is mapped does not count."""
    return int(Path("/proc/self/io").read_text("ascii").split("rchar: ")[1].split()[0])


def main(ref: str) -> None:
    """Load, read, print."""
    ds = atd.load(ref)
    shards = ds.flow.source.shards
    threading.setprofile(watch)
    before = bytes_read()
    sys.setprofile(watch)
    numbers = [sample.number for sample in ds]
    sys.setprofile(None)
    told = {
        "numbers": numbers,
        "shards": len(shards),
        "size": sum(shard.size for shard in shards),
        "stats": CALLS["stat"],
        "read": bytes_read() - before,
        "told_stats": COUNTS.stats,
        "told_hashed": COUNTS.hashed_bytes,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
