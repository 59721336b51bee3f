"""The daemon's log: bounded, one line per line, without secrets or control characters."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atd.settings import Settings
from atd_daemon import lifecycle
from atd_daemon.logs import Flood, JsonFormatter, PlainFormatter


def formatted(text: str, *args: object) -> str:
    record = logging.LogRecord("x", logging.INFO, "f", 1, text, args, None)
    return PlainFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def-SECRET",
        "sent 'password': 'SECRET'",
        '{"accessJwt": "SECRET"}',
        "token=SECRET",
        "app_password = SECRET",
        "got eyJhbGciOiJFUzI1NiJ9.eyJSECRETSECRET.SECRET from it",
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str) -> None:
    assert "SECRET" not in formatted(text)
    assert "[secret]" in formatted(text)


def test_ordinary_words_stay() -> None:
    text = "the token was refused for alice.test at https://pds.example.com (401)"
    assert formatted(text) == text


def test_control_characters_and_line_breaks_are_made_visible() -> None:
    assert formatted("a\x1b[2Jb\r\nINFO forged: line\u202e\x00") == (
        "a\\x1b[2Jb\\r\\nINFO forged: line\\u202e\\x00"
    )


def test_a_traceback_keeps_its_lines_and_forges_none() -> None:
    try:
        raise ValueError("bad\x1b[31m\n2026-01-01 INFO atd: forged")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "a defect", (), info)
    lines = PlainFormatter("%(message)s").format(record).split("\n")
    assert lines[0] == "a defect"
    assert lines[-2:] == ["  ValueError: bad\\x1b[31m", "  2026-01-01 INFO atd: forged"]


# Each from a line of its own, for each line of the code has its own allowance.
_LINES = "\n".join(f"def say_{n}(): logging.info('line {n}')" for n in range(500))
_SAID: dict[str, Any] = {"logging": logging}
exec(compile(_LINES, "<lines>", "exec"), _SAID)


def say(number: int) -> None:
    _SAID[f"say_{number}"]()


def test_the_log_turns_over_and_is_private(tmp_path: Path) -> None:
    settings = Settings.load({"ATD_HOME": str(tmp_path)})
    settings.prepare()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = lifecycle.keep_log(settings)
    try:
        assert settings.log_file.stat().st_mode & 0o077 == 0
        handler.maxBytes = 2000  # type: ignore[attr-defined]
        for number in range(500):
            say(number)
        files = sorted(settings.state_dir.glob("daemon.log*"))
        assert len(files) == 1 + lifecycle.KEPT_LOGS
        assert all(file.stat().st_size < 3000 for file in files)
        assert "line 499" in lifecycle.logs(settings)[-1]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()


# ------------------------------------------------------------------ floods


class Lines(logging.Handler):
    """What became a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Clock:
    """A clock that is turned by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Iterator[tuple[logging.Logger, Lines, Flood]]:
    handler, flood = Lines(), Flood(clock, burst=10, every_s=5, burst_all=50, every_all_s=1)
    handler.addFilter(flood)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logger = logging.getLogger("flooded")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger, handler, flood
    logger.removeHandler(handler)


Flooded = tuple[logging.Logger, Lines, Flood]


def test_a_stranger_who_sends_a_million_bad_messages_gets_a_few_lines(
    lines: Flooded, clock: Clock
) -> None:
    logger, handler, flood = lines
    for number in range(100_000):
        logger.warning("refused %s", f"message {number} of did:plc:{number}")
        clock.now += 0.001
    assert len(handler.lines) in (29, 30, 31)
    assert flood.dropped == 100_000 - len(handler.lines)
    assert len(flood._places) == 1


def test_what_was_left_out_is_said_with_the_next_line(lines: Flooded, clock: Clock) -> None:
    logger, handler, _ = lines
    for number in range(25):
        if number == 24:
            clock.now += 60
        logger.info("line %d", number)
    assert handler.lines[9] == "line 9"
    assert handler.lines[10] == "line 24 (14 more like this were left out)"


def test_one_place_does_not_silence_another_and_all_together_have_an_end(
    lines: Flooded, clock: Clock
) -> None:
    logger, handler, flood = lines
    for _ in range(1000):
        logger.info("one")
    logger.info("another")
    assert handler.lines.count("another") == 1
    source = "\n".join(f"logger.info('place {n}')" for n in range(1000))
    exec(compile(source, "<places>", "exec"), {"logger": logger})
    assert len(handler.lines) == 50
    assert flood.dropped == 1000 - 10 + 1000 - 39


def test_two_handlers_take_one_line_from_the_allowance(lines: Flooded, clock: Clock) -> None:
    logger, handler, flood = lines
    other = Lines()
    other.addFilter(flood)
    logger.addHandler(other)
    for number in range(20):
        logger.info("line %d", number)
    logger.removeHandler(other)
    assert len(handler.lines) == len(other.lines) == 10


def test_a_line_has_an_end() -> None:
    assert len(formatted("x" * 1_000_000)) <= 4_000
    record = logging.LogRecord("x", logging.INFO, "f", 1, "y" * 1_000_000, (), None)
    assert len(JsonFormatter().format(record)) < 5_000


def test_a_line_of_json_is_one_object_without_secrets_or_control_characters() -> None:
    try:
        raise ValueError("token=SECRET \x1b[31m")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    text = "a\n\u202e%s"
    record = logging.LogRecord("x.y", logging.ERROR, "f", 1, text, ("eyJx.SECRET.y",), info)
    record.omitted = 7
    line = JsonFormatter().format(record)
    assert line.isprintable()
    assert line.isascii()
    assert "SECRET" not in line
    said = json.loads(line)
    assert said["level"] == "error"
    assert said["logger"] == "x.y"
    assert said["message"] == "a\n\u202e[secret]"
    assert said["error"] == "ValueError"
    assert said["omitted"] == 7
    assert said["traceback"].startswith("Traceback")


def test_the_log_is_json_where_that_is_set(tmp_path: Path) -> None:
    settings = Settings.load({"ATD_HOME": str(tmp_path), "ATD_LOG_FORMAT": "json"})
    settings.prepare()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = lifecycle.keep_log(settings)
    try:
        logging.info("hello")
        assert json.loads(lifecycle.logs(settings)[-1])["message"] == "hello"
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()
