"""Every lie, told alone: it is counted under its reason, and the index is true afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracle.stage import ALL_LIES, Stage


@pytest.mark.parametrize("name", ALL_LIES)
async def test_a_lie_is_counted_and_leaves_the_index_true(name: str, tmp_path: Path) -> None:
    async with Stage.of(tmp_path, seed=1, people=2) as stage:
        await stage.lie(name, stage.people[0])
        await stage.check()
