"""The index file: damage, strangers, newer versions, network disks, crashes, many threads."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from atd import records
from atd.errors import Busy, StorageFault
from atd_daemon.catalog import Catalog, migrations
from atd_daemon.catalog.database import Database
from atd_daemon.catalog.place import filesystem_of, refuse_network
from atd_daemon.catalog.schema import STEPS, VERSION

ROOT = Path(__file__).parents[2]


def index_file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "index.sqlite"


def test_a_new_index_is_for_its_owner_alone(open_catalog, tmp_path):
    open_catalog()
    assert stat.S_IMODE(index_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(index_file(tmp_path).parent.stat().st_mode) == 0o700


def test_what_was_put_is_there_after_a_restart(shelf, open_catalog):
    alice = shelf.author()
    verified = shelf.publish(alice, "flowers")
    shelf.catalog.close()
    again = open_catalog()
    assert again.record(verified.uri).proof == verified.proof
    assert again.rev_floor(alice.did) == verified.commit.rev
    assert [entry.name for entry in again.search("flow").entries] == ["flowers"]


def test_sqlite_utils_is_imported_only_when_a_migration_is_due(tmp_path):
    code = (
        "import sys; from pathlib import Path; from atd_daemon.catalog import Catalog;"
        "Catalog(Path(sys.argv[1])).close(); print('sqlite_utils' in sys.modules)"
    )
    args = [sys.executable, "-c", code, str(index_file(tmp_path))]
    first, second = (
        subprocess.run(args, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert (first.strip(), second.strip()) == ("True", "False")


def test_every_step_of_the_schema_runs_and_is_counted(open_catalog, tmp_path):
    open_catalog().close()
    file = sqlite3.connect(index_file(tmp_path))
    assert file.execute("PRAGMA user_version").fetchone() == (VERSION,)
    names = file.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    assert names == [(name,) for name, _ in STEPS]
    file.close()


def test_a_file_that_is_no_database_is_moved_aside_and_the_next_start_is_fresh(
    open_catalog, tmp_path
):
    path = index_file(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 500)
    with pytest.raises(StorageFault, match=r"damaged.*index\.sqlite\.damaged-1") as refused:
        open_catalog()
    assert "atd ls @HANDLE" in refused.value.next_step
    assert path.with_name("index.sqlite.damaged-1").read_bytes().startswith(b"this is not")
    assert open_catalog().counts().records == 0


def test_a_damaged_page_is_found_on_opening_and_the_file_is_kept(shelf, open_catalog, tmp_path):
    alice = shelf.author()
    for number in range(50):
        shelf.publish(alice, f"set-{number}", description="x" * 2000)
    shelf.catalog.close()
    path = index_file(tmp_path)
    data = bytearray(path.read_bytes())
    for page in range(4, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(StorageFault, match=r"kept as index\.sqlite\.damaged-1"):
        open_catalog()
    assert path.with_name("index.sqlite.damaged-1").read_bytes() == bytes(data)
    assert open_catalog().counts().records == 0


def test_two_damaged_files_are_both_kept(open_catalog, tmp_path):
    path = index_file(tmp_path)
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(bytes([number]) * 5000)
        with pytest.raises(StorageFault, match=f"damaged-{number}"):
            open_catalog()
    assert path.with_name("index.sqlite.damaged-1").read_bytes()[0] == 1
    assert path.with_name("index.sqlite.damaged-2").read_bytes()[0] == 2


def test_damage_met_while_running_is_a_storage_fault_and_checked_at_the_next_start(
    shelf, open_catalog, tmp_path
):
    alice = shelf.author()
    for number in range(50):
        shelf.publish(alice, f"set-{number}", description="x" * 2000)
    shelf.catalog.close()
    running = open_catalog()
    path = index_file(tmp_path)
    with path.open("r+b") as file:
        for page in range(4, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    with pytest.raises(StorageFault, match="is damaged") as refused:
        running.datasets()
    assert "stop atd" in refused.value.next_step
    assert path.with_name("index.sqlite.suspect").exists()
    running.close()
    with pytest.raises(StorageFault, match="damaged-1"):
        open_catalog()
    assert not path.with_name("index.sqlite.suspect").exists()


def test_a_database_of_another_program_is_left_alone(open_catalog, tmp_path):
    path = index_file(tmp_path)
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StorageFault, match="another program"):
        open_catalog()
    assert path.read_bytes() == before


def test_an_index_whose_making_was_cut_short_is_made_to_its_end(open_catalog, tmp_path):
    """A process that dies in its very first start leaves no file that nobody can open any more."""
    open_catalog().close()
    path = index_file(tmp_path)
    file = sqlite3.connect(path)
    mark = file.execute("PRAGMA application_id").fetchone()[0]
    file.close()
    path.unlink()
    begun = sqlite3.connect(path)
    begun.execute(f"PRAGMA application_id = {mark}")
    begun.execute(
        "CREATE TABLE _sqlite_migrations"
        " (id INTEGER PRIMARY KEY, migration_set TEXT, name TEXT, applied_at TEXT)"
    )
    begun.close()
    assert open_catalog().counts().datasets == 0


def test_the_file_is_marked_as_an_index_before_anything_is_in_it(tmp_path):
    path = tmp_path / "index.sqlite"
    said = []
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_trace_callback(said.append)
        migrations.migrate(connection)
    assert said[0].startswith("PRAGMA application_id")


def test_an_index_of_a_newer_atd_is_left_alone(open_catalog, tmp_path):
    open_catalog().close()
    file = sqlite3.connect(index_file(tmp_path))
    file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()
    with pytest.raises(StorageFault, match="newer atd"):
        open_catalog()
    assert index_file(tmp_path).exists()


def test_a_folder_that_cannot_be_made_is_a_storage_fault(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(StorageFault, match="cannot use the index"):
        Catalog(index_file(tmp_path))


def test_another_process_that_writes_for_long_is_busy_not_damage(shelf, tmp_path):
    shelf.catalog._database._writer.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(index_file(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="another process"):
        shelf.catalog.put_answer("a", "b", 1.0)
    other.execute("ROLLBACK")
    other.close()
    shelf.catalog.put_answer("a", "b", 1.0)


# --- places ---------------------------------------------------------------------------------------

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /home/me rw - nfs4 server:/home rw,vers=4.2
31 30 0:27 / /home/me/local\\040disk rw - xfs /dev/sdb1 rw
32 22 0:28 / /mnt/share rw - cifs //server/share rw
33 22 0:29 / /mnt/ssh rw - fuse.sshfs me@host:/ rw
34 22 0:30 / /both rw - nfs server:/x rw
35 22 0:31 / /both rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/home/me/.local/state", "nfs4"),
        ("/home/meagan", "ext4"),
        ("/home/me/local disk/state", "xfs"),
        ("/mnt/share", "cifs"),
        ("/mnt/ssh/deep/below", "fuse.sshfs"),
        ("/both/x", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path, kind):
    assert filesystem_of(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused_with_advice():
    with pytest.raises(StorageFault, match="nfs4") as refused:
        refuse_network(Path("/home/me/state"), MOUNTS)
    assert "ATD_HOME" in refused.value.next_step
    refuse_network(Path("/var/lib"), MOUNTS)
    refuse_network(Path("/anything"), "garbage\n1 2 3 - \n")


def test_this_very_machine_has_a_file_system(tmp_path):
    assert filesystem_of(tmp_path.resolve(), Path("/proc/self/mountinfo").read_text())


# --- many at a time -------------------------------------------------------------------------------


def test_readers_see_whole_transactions_while_another_thread_writes(shelf):
    alice = shelf.author()
    for number in range(30):
        alice.dataset(f"a-{number}")
    first = len(alice.account.history) - 1
    for number in range(30):
        alice.delete(f"a-{number}")
        alice.dataset(f"b-{number}")
    shelf.snapshot(alice, at=first)
    stop, seen, errors = threading.Event(), set(), []

    def read():
        try:
            while not stop.is_set():
                names = {entry.name[0] for entry in shelf.catalog.datasets(alice.did)}
                seen.add("".join(sorted(names)))
                shelf.catalog.search("a")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    shelf.snapshot(alice)
    deadline = time.monotonic() + 10
    while "b" not in seen and not errors and time.monotonic() < deadline:
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert seen <= {"a", "b"}
    assert "b" in seen


def test_a_long_look_keeps_nobody_from_a_short_one(open_catalog, tmp_path):
    open_catalog().close()
    database = Database(index_file(tmp_path))
    counted: queue.SimpleQueue[int] = queue.SimpleQueue()

    def look():
        with database.read() as db:
            counted.put(db.execute("SELECT count(*) FROM records").fetchone()[0])

    with contextlib.closing(database), database.read():
        threads = [threading.Thread(target=look) for _ in range(6)]  # more than are kept open
        for thread in threads:
            thread.start()
        assert [counted.get(timeout=10) for _ in threads] == [0] * len(threads)
        for thread in threads:
            thread.join()


def test_writers_of_several_threads_wait_for_each_other(shelf):
    def write(which: int) -> None:
        for number in range(50):
            shelf.catalog.put_answer(f"{which}-{number}", "x", 1.0)

    threads = [threading.Thread(target=write, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(shelf.catalog.answer(f"{w}-{n}") for w in range(4) for n in range(50))


# --- killed ---------------------------------------------------------------------------------------

WRITING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from atd import records
from atd.protocol.proof import verify_repo
from atd_daemon.catalog import Catalog, migrations
from world import World
catalog = Catalog(Path(sys.argv[1]))
account = World().account("alice.test")
ref = {"uri": f"at://{account.did}/network.atd.release/NAME:1.0.0",
       "cid": "bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee"}
for turn in range(100000):
    names = [f"set-{turn % 7}-{n}" for n in range(20)]
    keys = {}
    for name in names:
        card = {"$type": records.DATASET, "name": name, "title": f"turn {turn}",
                "latest": {**ref, "uri": ref["uri"].replace("NAME", name)},
                "createdAt": "2025-06-01T12:00:00.000Z"}
        keys[f"{records.DATASET}/{name}"] = account.store(card)
    account.replace(keys)
    repo = verify_repo(account.head.repo_car(), account.identity)
    proved = [repo.record(account.uri(*key.split("/"))) for key in repo.entries]
    catalog.publisher_snapshot(repo, [(v, records.parse(v)) for v in proved], now=float(turn))
    print(turn, flush=True)
"""


@pytest.mark.parametrize("wait_s", [0.0, 0.013, 0.031])
def test_sigkill_while_writing_leaves_a_whole_index(tmp_path, open_catalog, wait_s):
    args = [sys.executable, "-c", WRITING, str(index_file(tmp_path)), str(ROOT / "tests")]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    done = [int(process.stdout.readline()) for _ in range(3)]
    time.sleep(wait_s)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    last = max([*done, *(int(line) for line in rest if line.isdigit())])
    catalog = open_catalog()
    (publisher,) = catalog.publishers()
    entries = catalog.datasets()
    assert len(entries) == 20
    (title,) = {entry.title for entry in entries}
    # Either the last transaction that was reported, or the one that was being reported.
    assert int(title.split()[1]) in (last, last + 1)
    assert publisher.complete_rev == publisher.rev
    assert {entry.name for entry in catalog.search("turn", limit=100).entries} == {
        entry.name for entry in entries
    }
    with catalog._database.write() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    assert {r.collection for r in (e.uri for e in entries)} == {records.DATASET}
