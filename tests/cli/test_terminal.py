"""Sitting at a terminal, or not: questions, Ctrl-C, progress, pipes that close, odd encodings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from atd.errors import LoginRefused, NeedsConsent, StorageFault
from cli import front
from cli.conftest import MakePerson, Town
from cli.stage import Person, finished, table
from cli.terminal import CTRL_C, CTRL_D, Terminal

READER_GONE = 141


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a table of three rows."""
    table(tmp_path / "t.csv", [("n",), (1,), (2,), (3,)])
    return tmp_path


# ------------------------------------------------------------------ questions


def test_a_password_is_typed_unseen(town: Town, stranger: Person) -> None:
    with Terminal(stranger, "login", "alice.test") as terminal:
        terminal.wait_for("App password of alice.test: ")
        terminal.type(town.password + "\n")
        assert terminal.end() == 0, terminal.seen
    assert "logged in as @alice.test" in terminal.seen
    assert town.password not in terminal.seen
    stranger.run("logout", "alice.test").done()


@pytest.mark.parametrize(
    ("keys", "code"), [(CTRL_C, 130), (CTRL_D, LoginRefused.exit_code), ("\n", 14)]
)
def test_a_password_that_is_not_given(stranger: Person, keys: str, code: int) -> None:
    with Terminal(stranger, "login", "alice.test") as terminal:
        terminal.wait_for("App password of alice.test: ")
        terminal.type(keys)
        assert terminal.end() == code, terminal.seen
    assert "Traceback" not in terminal.seen
    assert not stranger.home.exists(), "no daemon was asked"


def test_no_password_can_be_asked_for_without_a_terminal(stranger: Person) -> None:
    result = stranger.run("login", "alice.test")
    result.refused(LoginRefused, "not a terminal", advice="login alice.test --password-stdin")


@pytest.mark.parametrize(
    ("keys", "code"),
    [("\n", 17), ("yes please\nno\n", 17), (CTRL_D, 17), (CTRL_C, 130)],
)
def test_a_question_that_is_not_answered_with_yes(town: Town, keys: str, code: int) -> None:
    with Terminal(town.alice, "unpublish", "plants") as terminal:
        terminal.wait_for("Unpublish plants? [y/N] ")
        terminal.type(keys)
        assert terminal.end() == code, terminal.seen
    assert "Traceback" not in terminal.seen
    assert "every record of plants" in terminal.seen
    town.bob.run("show", "@alice.test/plants").done()


def test_publishing_and_unpublishing_at_a_terminal(town: Town, folder: Path) -> None:
    arguments = ("publish", str(folder / "t.csv"), "--name", "asked")
    with Terminal(town.alice, *arguments) as terminal:
        terminal.wait_for("Publish asked? [y/N] ")
        assert "copies cannot be called back" in terminal.seen
        assert "every cell of 1 column" in terminal.seen
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.seen
    assert "published @alice.test/asked 1.0.0" in terminal.seen
    with Terminal(town.alice, "unpublish", "asked") as terminal:
        terminal.wait_for("Unpublish asked? [y/N] ")
        terminal.type("YES\n")
        assert terminal.end() == 0, terminal.seen
    assert "deleted, proved absent" in terminal.seen


def test_nobody_is_asked_twice(town: Town, folder: Path) -> None:
    source = str(folder / "t.csv")
    town.alice.run("publish", source, "--name", "once").refused(NeedsConsent)
    town.alice.run("publish", source, "--name", "once", "--yes").done()
    again = town.alice.run("publish", source, "--name", "once").done()
    assert again.out.startswith("unchanged: @alice.test/once 1.0.0")


# ------------------------------------------------------------------ progress


@pytest.fixture(scope="module")
def slow(town: Town) -> str:
    """A data set of a dozen shards."""
    made = np.random.default_rng(9).integers(0, 255, (600, 1000), np.uint8)
    np.savez(town.folder / "slow.npz", noise=made)
    arguments = ("--name", "slow", "--yes", "--shard-size", "65536")
    town.alice.run("publish", str(town.folder / "slow.npz"), *arguments).done()
    return "@alice.test/slow"


@pytest.mark.parametrize(("columns", "seconds"), [(100, 0.5), (40, 0.1)])
def test_a_long_fetch_shows_how_far_it_is_on_one_line(
    town: Town, stranger: Person, slow: str, columns: int, seconds: float
) -> None:
    town.front.will(front.slowly(seconds, town.front), "getBlob")
    with Terminal(stranger, "pull", slow, columns=columns) as terminal:
        assert terminal.end() == 0, terminal.seen
    drawn = terminal.seen.replace("\r\n", "\n").split("\r")
    bars = [one for one in drawn if one.startswith("fetching ")]
    assert len(bars) > 3
    assert all(len(one) < columns for one in bars), "a line that wraps cannot be drawn over"
    assert "█" in bars[-1]
    if columns == 100:
        assert any("B/s" in one for one in bars), bars
        assert all(re.search(r"\(\d+ of \d+ shards\)", one) for one in bars), bars
    assert len([line for line in terminal.lines if line]) == 1, "only the answer is left"
    assert terminal.lines[0].startswith("slow 1.0.0: ")


def test_without_a_terminal_each_phase_is_told_once(
    town: Town, stranger: Person, slow: str
) -> None:
    result = stranger.run("pull", slow).done()
    assert result.err == "fetching\n"
    assert stranger.run("pull", slow, "--json").done().err == ""


def test_an_answer_that_takes_its_time_is_announced(town: Town, stranger: Person) -> None:
    stranger.run("accounts").done()
    town.front.will(front.slowly(2, town.front), "sync.getRecord", times=1)
    with Terminal(stranger, "show", "@alice.test/plants") as terminal:
        terminal.wait_for("asking @alice.test/plants …")
        assert terminal.end() == 0, terminal.seen
    assert "asking" not in "".join(terminal.lines)


# ------------------------------------------------------------------ where the words go


def test_a_reader_that_goes_away_is_no_error(town: Town) -> None:
    town.bob.run("ls", "@alice.test").done()
    process = town.bob.start("verify", "@alice.test/plants")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ok")
    process.stdout.close()
    process.stdout = None
    result = finished(process)
    assert (result.code, result.err) == (READER_GONE, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_never_came(town: Town, options: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = town.bob.run("show", "@alice.test/plants", *options, stdout=writing)
    finally:
        os.close(writing)
    assert (result.code, result.err) == (READER_GONE, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_answer_that_does_not_fit_on_the_disk(town: Town, options: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = town.bob.run("show", "@alice.test/plants", *options, stdout=full)
    result.refused(StorageFault, "cannot write the answer to stdout: No space left on device")


def test_closed_streams_are_what_was_asked_for(town: Town) -> None:
    for stream in (1, 2):
        result = town.bob.run("ls", "@alice.test", preexec_fn=lambda: os.close(stream))  # noqa: B023
        assert result.code == 0, result
        assert "Traceback" not in result.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_a_character_that_the_encoding_lacks_is_an_escape(
    town: Town, folder: Path, encoding: str
) -> None:
    arguments = ("--name", "letters", "--title", "Blüten 花 🌷", "--yes")
    town.alice.run("publish", str(folder / "t.csv"), *arguments).done()
    person = town.bob.having(PYTHONIOENCODING=encoding)
    process = person.start("ls", "@alice.test", text=False, encoding=None)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    shown = out.decode(encoding)
    assert "Bl" in shown
    assert ("\\u82b1" in shown) == (encoding != "utf-16")


def test_columns_stay_in_line_whatever_the_letters(town: Town, folder: Path) -> None:
    for name, title in (("wide", "花の写真集 " * 30), ("marks", "e\u0301" * 20)):
        arguments = ("--name", name, "--title", title, "--license", "CC0-1.0", "--yes")
        town.alice.run("publish", str(folder / "t.csv"), *arguments).done()
    lines = town.bob.run("ls", "@alice.test").done().out.splitlines()
    starts = {line.index("proved") for line in lines[1:]}
    assert starts == {lines[0].index("PROOF")}
    assert max(map(len, lines)) < 250


def test_a_home_with_a_long_path_and_odd_letters(
    town: Town, somebody: MakePerson, tmp_path: Path
) -> None:
    home = tmp_path / ("ödland " + "x" * 100) / "h\no"
    result = somebody(home, **town.variables).run("ls", "@alice.test").done()
    assert "@alice.test/plants" in result.out


def test_every_message_is_there_without_colours_and_without_a_terminal(town: Town) -> None:
    result = town.bob.having(TERM="dumb").run("--help").done()
    assert "\x1b" not in result.out


HALF_STARTED = """
import runpy, sys
class CtrlC:
    def find_spec(self, name, *rest):
        if name == "atd.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
runpy.run_module("atd", run_name="__main__")
"""


def test_an_interrupt_before_the_command_has_begun_is_no_traceback(stranger: Person) -> None:
    result = stranger.run_python("-c", HALF_STARTED)
    assert (result.code, result.out, result.err) == (130, "", "")
