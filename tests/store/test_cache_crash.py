"""SIGKILL while shards come in and others are let go: what is there is whole, and pins hold."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from atd.protocol.cbor import RAW, Cid
from store.keeper import QUOTA, SIZE, opened, shard

ROUNDS = 4


async def test_killed_at_any_moment_the_cache_is_consistent(tmp_path: Path) -> None:
    draw = random.Random(3)
    pinned = Cid.of(shard(0), RAW)
    for _ in range(ROUNDS):
        _killed_after(tmp_path, draw.randrange(9, 60))
        catalog, store, cache = opened(tmp_path)
        sizes = store.sizes()
        # One that came in may not have made another go yet; `opened` makes up for it.
        assert sum(sizes.values()) <= QUOTA
        assert set(sizes.values()) == {SIZE}
        assert pinned in sizes
        assert cache.holdings.pins() == [str(pinned)]
        assert {one.digest for one in cache.holdings.all()} == set(sizes)
        assert all(store.verify(digest) for digest in sizes)
        assert cache.prune(0).removed == len(sizes) - 1
        assert list(store.digests()) == [pinned]
        await store.close()
        catalog.close()


def _killed_after(folder: Path, count: int) -> None:
    """Run the keeper until it said that so many shards are in, and kill it there and then."""
    program = Path(__file__).with_name("keeper.py")
    with subprocess.Popen(
        [sys.executable, str(program), str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(count):
            assert process.stdout.readline(), "the keeper ended by itself"
        process.kill()
    for left in folder.glob("staged-*"):
        left.unlink()
