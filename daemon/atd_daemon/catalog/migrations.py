"""Bringing an index file up to date: the door of sqlite-utils.

`database` reaches for this module only when the file's version says that there is something to do,
because sqlite-utils imports pandas and numpy where it finds them, only to know their types: half a
second, and 80 MB that a daemon would carry for its whole life. They are hidden from it here.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atd_daemon.catalog.schema import APPLICATION_ID, STEPS


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Let ``import`` say that these modules do not exist, unless they are loaded already."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _hidden("pandas", "numpy"):
    from sqlite_utils import Database, Migrations


def migrate(connection: sqlite3.Connection) -> None:
    """Run the steps that the file has not seen, each in a transaction with its version number.

    The file is marked as ours before anything is in it: sqlite-utils makes its own table first, and
    a file in which there is only that must not look like another program's.
    """
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations = Migrations("atd-index")
    for number, (name, statements) in enumerate(STEPS, start=1):
        migrations(name=name)(_step(number, statements))
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def _step(number: int, statements: str) -> Callable[[Database], None]:
    def step(db: Database) -> None:
        db.executescript(statements)
        db.execute(f"PRAGMA user_version = {number}")

    return step
