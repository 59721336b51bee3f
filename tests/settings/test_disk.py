"""Files that are replaced whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atd.disk import write_whole
from atd.errors import StorageFault


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    for data in (b"first, and longer", b"second"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_leave_what_one_of_them_wrote(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    written = [bytes([n]) * (n * 1000 + 1) for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda data: write_whole(path, data), written))
    assert path.read_bytes() in written
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_replaced_stays_and_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "inside").mkdir(parents=True)
    with pytest.raises(StorageFault, match="folder"):
        write_whole(path, b"data")
    assert (path / "inside").is_dir()
    assert list(tmp_path.iterdir()) == [path]
