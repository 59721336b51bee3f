"""The folder that a caller packs into: what is in it when the caller was killed and comes again."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from atd.publishing.packing import pack
from atd.publishing.sources.opening import open_source
from atd_daemon.publishing.asked import Begin, Commit
from publishing.desk import SMALL, numbers, opened
from world import Account, World


async def test_what_a_killed_caller_packed_is_not_packed_again(
    world: World, alice: Account, tmp_path: Path
) -> None:
    told: list[tuple[str, str]] = []
    data = tmp_path / "numbers.npz"
    np.savez(data, **numbers(900))
    with opened(world, tmp_path / "home") as desk:
        await desk.login(alice)
        begun = await desk.publishing.begin(Begin(name="numbers", shard_size=SMALL))
        assert begun.staging
        staging = Path(begun.staging)
        first = pack(open_source(data), staging, begun.cuts, resumable=True)
        (staging / "preview.json").write_text("made, too")
        (staging / first.shards[0].name).write_bytes(b"cut short by the power cut")
    with opened(world, tmp_path / "home") as desk:
        begun = await desk.publishing.begin(Begin(name="numbers", shard_size=SMALL))
        assert begun.resumed
        assert begun.staging == str(staging)
        left = {path.suffix for path in staging.iterdir()}
        assert left == {".tar", ".tmp"}, "nothing that could be taken for complete"
        note = lambda name, detail: told.append((name, detail))  # noqa: E731
        again = pack(open_source(data), staging, begun.cuts, note=note, resumable=True)
        assert again == first
        ((name, detail),) = told
        assert name == "packed already"
        done, parts = map(int, re.findall(r"[0-9]+", detail))
        assert done == parts - 1 > 1, "only the part with the damaged shard"
        published = await desk.publishing.commit(begun.id or "", Commit(consent=True), desk.heard)
        assert published.shards == len(first.shards)
