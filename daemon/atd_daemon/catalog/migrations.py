"""Bringing an index file up to date: the door of sqlite-utils.

Importing sqlite-utils takes most of a second where pandas is installed, so `database` reaches for
this module only when the file's version says that there is something to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlite_utils import Database, Migrations

from atd_daemon.catalog.schema import APPLICATION_ID, STEPS


def migrate(connection: sqlite3.Connection) -> None:
    """Run the steps that the file has not seen, each in a transaction with its version number."""
    migrations = Migrations("atd-index")
    for number, (name, statements) in enumerate(STEPS, start=1):
        migrations(name=name)(_step(number, statements))
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def _step(number: int, statements: str) -> Callable[[Database], None]:
    def step(db: Database) -> None:
        db.executescript(statements)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {number}")

    return step
