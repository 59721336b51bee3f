"""SIGKILL anywhere: what is there afterwards is the state before a commit or the state after it.

The process that dies is a fork of this one. It dies where it opens, renames or removes a file, and
where it asks what time it is, which it does in the middle of every transaction; the n-th such
moment for every n, until the work is done without dying.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atd.errors import Busy
from atd.protocol.lexicon import Lexicons
from atd.protocol.syntax import Nsid, RecordKey
from atd_daemon.host.account import Account
from atd_daemon.host.host import Host
from atd_daemon.host.writes import Write, prepare
from host.consistency import check

THING = Nsid("org.example.thing")
DOMAIN = "localhost:2583"
MOMENTS = {"open", "os.rename", "os.remove", "os.link", "os.mkdir", "shutil.rmtree"}


def in_a_fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a child; the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


class Death:
    """Kills this process at the ``moment``-th moment that could matter."""

    def __init__(self, moment: int, below: Path) -> None:
        self.left = moment
        self.below = str(below)
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[object, ...]) -> None:
        if event in MOMENTS and str(args[0]).startswith(self.below):
            self.approach()

    def approach(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def clock(self) -> float:
        self.approach()
        return time.time()


def put(account: Account, rkey: str, text: str, *contents: bytes) -> Write:
    blobs = []
    for content in contents:
        with account.blobs.receive() as upload:
            upload.write(content)
            blobs.append(account.blobs.keep(upload, "text/plain").to_value())
    record = prepare(
        {"text": text, "blobs": list(blobs)},
        THING,
        RecordKey(rkey),
        validate=None,
        lexicons=Lexicons(()),
    )
    return Write("put", THING, RecordKey(rkey), record)


def some_work(account: Account) -> None:
    """Every kind of change, with blobs that come, stay and go."""
    apply = account.repo.apply
    apply([put(account, "a", "one", b"first", b"shared")])
    apply([put(account, "b", "two", b"shared")])
    apply([put(account, "a", "three", b"second")])
    apply([Write("discard", THING, RecordKey("b"))])
    apply([put(account, f"k{n}", "many", str(n).encode()) for n in range(3)])
    apply([Write("discard", THING, RecordKey(key)) for key in ("a", "k0", "k1", "k2")])
    apply([put(account, "end", "end", b"first")])


def test_killed_at_any_moment_of_writing_the_account_is_sound(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    host = Host.open(folder)
    host.init(DOMAIN, "alice.test")
    host.close()

    def work(moment: int) -> None:
        death = Death(moment, folder)
        opened = Host.open(folder, death.clock)
        some_work(opened.account())

    killed = 0
    rev = ""
    for moment in range(1, 1000):
        ended = in_a_fork(lambda moment=moment: work(moment))
        host = Host.open(folder)
        account = host.account()
        records = check(account)
        assert account.reader.head().rev >= rev
        rev = account.reader.head().rev
        host.close()
        if ended == 0:
            break
        killed += 1
    assert killed > 60
    assert records.keys() == {f"{THING}/end"}


def test_killed_while_an_account_is_made_there_is_all_of_it_or_nothing(tmp_path: Path) -> None:
    def work(folder: Path, moment: int) -> None:
        death = Death(moment, folder)
        Host.open(folder, death.clock).init(DOMAIN, "alice.test", "a-long-password")

    made = []
    for moment in range(1, 200):
        folder = tmp_path / str(moment)
        ended = in_a_fork(lambda folder=folder, moment=moment: work(folder, moment))
        host = Host.open(folder)
        made.append(len(host.accounts))
        for account in host.accounts:
            assert check(account) == {}
        assert [path.name for path in folder.iterdir() if path.name.startswith(".new")] == []
        if not host.accounts:
            host.init(DOMAIN, "alice.test")
        host.close()
        if ended == 0:
            break
    assert made[0] == 0
    assert made[-1] == 1


def test_killed_at_random_instants_nothing_is_lost_that_was_answered(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    host = Host.open(folder)
    host.init(DOMAIN, "alice.test")
    host.close()
    answered = tmp_path / "answered"

    def work() -> None:
        account = Host.open(folder).account()
        with answered.open("a") as log:
            for n in range(100_000):
                applied = account.repo.apply([put(account, "r", str(n), str(n % 3).encode())])
                assert applied.head is not None
                log.write(f"{applied.head.rev}\n")
                log.flush()

    for _ in range(15):
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(1)
        time.sleep(random.uniform(0.05, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        host = Host.open(folder)
        check(host.account())
        last = answered.read_text().splitlines()[-1] if answered.exists() else ""
        assert host.account().reader.head().rev >= last
        host.close()


def test_two_processes_never_serve_one_folder(tmp_path: Path) -> None:
    host = Host.open(tmp_path)

    def second() -> None:
        with pytest.raises(Busy):
            Host.open(tmp_path)

    assert in_a_fork(second) == 0
    host.close()
    Host.open(tmp_path).close()
