"""Random histories with faults and lies: the index ends as that of a daemon which saw none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oracle.histories import History
from oracle.stage import Stage

SEEDS = int(os.environ.get("ATD_SOAK_SEEDS", "20"))
FIRST = int(os.environ.get("ATD_SOAK_FIRST", "0"))
LENGTH = 8 if SEEDS <= 20 else 20


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
async def test_after_any_history_the_index_is_true(seed: int, tmp_path: Path) -> None:
    async with Stage.of(tmp_path, seed) as stage:
        await History(seed, LENGTH).play(stage)
        await stage.check()
