"""What is in the store: remembered, checked, adopted, removed."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from atd.errors import Busy, DigestMismatch, StorageFault
from atd.protocol.cbor import RAW, Cid
from atd_daemon.store import Store
from atd_daemon.store.layout import MAX_SET_ASIDE, Layout
from store_servers import honest, payload

DATA = payload()
DIGEST = Cid.of(DATA, RAW)


@pytest.fixture
async def stored(bench, server):
    """The shard DATA, in the store."""
    return await bench.ensure(bench.want(DATA, server.on("/a", honest(DATA))))


def packed(tmp_path, data=DATA, name="staging/train-000000.tar"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def reads(function):
    """How many bytes this process read (by system calls) while ``function`` ran."""

    def so_far() -> int:
        text = Path("/proc/self/io").read_text()
        return int(text.split("rchar: ")[1].split()[0])

    overhead = -so_far() + so_far()
    before = so_far()
    result = function()
    return result, so_far() - before - overhead


def alter(path, at=100):
    """Flip a bit in a file that is read-only."""
    os.chmod(path, 0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.chmod(path, 0o444)


async def test_a_warm_read_hashes_nothing(bench, stored):
    bench.store.path(DIGEST)
    found, count = reads(lambda: bench.store.path(DIGEST))
    assert found == stored
    assert count < 1000


async def test_a_warm_read_after_a_restart_reads_the_seal_alone(bench, stored):
    again = Store(bench.folder, bench.fetcher, bench.config)
    found, count = reads(lambda: again.path(DIGEST))
    assert found == stored
    assert count < 2000


async def test_without_its_seal_a_file_is_hashed_again(bench, stored):
    stored.with_suffix(".seal").unlink()
    again = Store(bench.folder, bench.fetcher, bench.config)
    found, count = reads(lambda: again.path(DIGEST))
    assert found == stored
    assert count >= len(DATA)
    assert stored.with_suffix(".seal").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "identity": [1,2,3,4,5]}', "[" * 900, "\x00" * 5000]
)
async def test_a_damaged_seal_is_worth_nothing(bench, stored, text):
    stored.with_suffix(".seal").write_text(text)
    again = Store(bench.folder, bench.fetcher, bench.config)
    assert again.path(DIGEST) == stored


async def test_a_flipped_bit_makes_a_shard_invisible(bench, stored):
    alter(stored)
    assert bench.store.path(DIGEST) is None
    assert not stored.exists()


async def test_a_flipped_bit_is_noticed_though_the_times_were_put_back(bench, stored):
    before = stored.stat()
    alter(stored)
    os.utime(stored, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert bench.store.path(DIGEST) is None


async def test_verify_hashes_whatever_is_remembered_and_says_what_it_found(bench, stored):
    assert bench.store.verify(DIGEST) == stored
    alter(stored)
    found = Cid.of(stored.read_bytes(), RAW)
    with pytest.raises(DigestMismatch, match=f"{found}, expected {DIGEST}"):
        bench.store.verify(DIGEST)
    assert bench.store.verify(DIGEST) is None


async def test_a_damaged_shard_is_fetched_again(bench, server, stored):
    alter(stored)
    assert (await bench.ensure(bench.want(DATA, server.url("/a")))).read_bytes() == DATA


async def test_damaged_shards_are_kept_to_be_looked_at_but_not_all(bench, server):
    want = bench.want(DATA, server.on("/a", honest(DATA)))
    for at in range(MAX_SET_ASIDE + 2):
        alter(await bench.ensure(want), at)
        assert bench.store.path(DIGEST) is None
    kept = sorted((bench.folder / "quarantine").iterdir(), key=lambda path: path.suffix)
    assert len(kept) == MAX_SET_ASIDE == bench.store.usage().damaged
    wrong = [next(n for n in range(100) if path.read_bytes()[n] != DATA[n]) for path in kept]
    assert wrong == list(range(2, MAX_SET_ASIDE + 2))
    assert bench.store.drop_damaged() == MAX_SET_ASIDE * len(DATA)
    assert bench.store.usage().damaged == 0


async def test_who_has_a_damaged_shard_mapped_keeps_it(bench, stored):
    with stored.open("rb") as file:
        alter(stored)
        assert bench.store.path(DIGEST) is None
        assert len(file.read()) == len(DATA)


async def test_a_touched_shard_is_hashed_again_and_stays(bench, stored):
    os.utime(stored)
    assert bench.store.path(DIGEST) == stored


async def test_a_symbolic_link_is_no_shard(bench, tmp_path):
    elsewhere = packed(tmp_path)
    path = bench.shard_file(DATA)
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    assert list(bench.store.digests()) == []
    with pytest.raises(DigestMismatch, match="symbolic link"):
        bench.store.verify(DIGEST)
    assert bench.store.path(DIGEST) is None
    assert bench.store.drop_damaged() == len(str(elsewhere))
    assert elsewhere.read_bytes() == DATA


async def test_unknown_digests_are_simply_not_there(bench):
    assert bench.store.path(DIGEST) is None
    assert bench.store.verify(DIGEST) is None
    assert bench.store.remove(DIGEST) is False


# --- adopting -------------------------------------------------------------------------------------


async def test_a_packed_shard_is_moved_in(bench, tmp_path):
    path = packed(tmp_path)
    here = bench.store.adopt(path, DIGEST, len(DATA))
    assert here == bench.shard_file(DATA)
    assert here.read_bytes() == DATA
    assert stat.S_IMODE(here.stat().st_mode) == 0o444
    assert not path.exists()
    assert reads(lambda: bench.store.path(DIGEST))[1] < 1000


@pytest.mark.parametrize(("data", "size"), [(DATA[:-1], 20_000), (DATA, 19_999), (b"", 20_000)])
async def test_a_packed_shard_that_is_not_what_it_should_be_stays_outside(
    bench, tmp_path, data, size
):
    path = packed(tmp_path, data)
    with pytest.raises(DigestMismatch, match=str(path)):
        bench.store.adopt(path, DIGEST, size)
    assert path.read_bytes() == data
    assert bench.store.path(DIGEST) is None


async def test_adopting_what_is_here_already_removes_the_second_copy(bench, tmp_path, stored):
    path = packed(tmp_path)
    assert bench.store.adopt(path, DIGEST, len(DATA)) == stored
    assert not path.exists()
    assert stored.read_bytes() == DATA


async def test_adopting_twice_is_adopting_once(bench, tmp_path):
    path = packed(tmp_path)
    here = bench.store.adopt(path, DIGEST, len(DATA))
    assert bench.store.adopt(path, DIGEST, len(DATA)) == here
    assert bench.store.adopt(here, DIGEST, len(DATA)) == here


async def test_adopting_over_a_damaged_shard_replaces_it(bench, tmp_path, stored):
    alter(stored)
    assert bench.store.adopt(packed(tmp_path), DIGEST, len(DATA)).read_bytes() == DATA


async def test_a_shard_of_another_file_system_is_copied_in(bench, tmp_path):
    memory = os.path.join("/dev/shm", f"atd-test-{os.getpid()}")
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at /dev/shm")
    path = tmp_path.__class__(memory)
    path.write_bytes(DATA)
    try:
        assert bench.store.adopt(path, DIGEST, len(DATA)).read_bytes() == DATA
        assert not path.exists()
        assert bench.left_over() == []
    finally:
        path.unlink(missing_ok=True)


async def test_a_file_that_is_not_there_cannot_be_adopted(bench, tmp_path):
    with pytest.raises(StorageFault):
        bench.store.adopt(tmp_path / "nothing", DIGEST, len(DATA))


async def test_two_who_adopt_the_same_shard_do_not_disturb_each_other(bench, tmp_path):
    path = packed(tmp_path)
    lock = Layout(bench.folder).lock(DIGEST)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy):
            bench.store.adopt(path, DIGEST, len(DATA))
    assert bench.store.adopt(path, DIGEST, len(DATA)).exists()


# --- letting go -----------------------------------------------------------------------------------


async def test_a_shard_that_is_read_is_not_removed(bench, stored):
    with stored.open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        with pytest.raises(Busy, match="being read"):
            bench.store.remove(DIGEST)
        assert bench.store.path(DIGEST) == stored
    assert bench.store.remove(DIGEST) is True
    assert not stored.exists()
    assert not stored.with_suffix(".seal").exists()
    assert bench.store.path(DIGEST) is None


async def test_usage_counts_whole_and_unfinished_files(bench, server, stored):
    other = payload(seed=3)

    async def begins(asked, to):
        await to.head(200, Content_Length=len(other))
        await to.send(other[:3000])

    with pytest.raises(Exception, match="could not be fetched"):
        await bench.ensure(bench.want(other, server.on("/b", begins)))
    usage = bench.store.usage()
    assert (usage.shards, usage.shard_bytes) == (1, len(DATA))
    assert usage.unfinished == 1
    assert 0 < usage.unfinished_bytes <= 3000
    assert list(bench.store.digests()) == [DIGEST]
    assert bench.store.remove(Cid.of(other, RAW)) is False
    assert bench.store.usage().unfinished == 0


async def test_foreign_files_in_the_folder_are_passed_over(bench, stored):
    stored.with_name("README.tar").write_text("hello")
    stored.with_name(f"{Cid.of(b'x', RAW)}.tar").write_text("in the wrong folder, perhaps")
    (bench.folder / "zz").mkdir()
    (bench.folder / "notes.txt").write_text("hello")
    assert DIGEST in set(bench.store.digests())
    assert bench.store.usage().shards <= 2


async def test_a_store_that_cannot_be_made_is_a_storage_fault(bench, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFault):
        Store(tmp_path / "file" / "shards", bench.fetcher, bench.config)


async def test_a_thousand_warm_reads_take_no_time(bench, stored):
    start = time.perf_counter()
    for _ in range(1000):
        bench.store.path(DIGEST)
    assert time.perf_counter() - start < 0.5
