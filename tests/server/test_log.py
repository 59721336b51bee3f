"""The daemon's log: bounded, one line per line, without secrets or control characters."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from atd.settings import Settings
from atd_daemon import lifecycle
from atd_daemon.lifecycle import PlainFormatter


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


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("bad\x1b[31m")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "a defect", (), info)
    lines = PlainFormatter("%(message)s").format(record).split("\n")
    assert lines[0] == "a defect"
    assert lines[-1] == "ValueError: bad\\x1b[31m"


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
            logging.info("line %d", number)
        files = sorted(settings.state_dir.glob("daemon.log*"))
        assert len(files) == 1 + lifecycle.KEPT_LOGS
        assert all(file.stat().st_size < 3000 for file in files)
        assert "line 499" in lifecycle.logs(settings)[-1]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()
