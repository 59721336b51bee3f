"""A publisher of the world who writes data sets, and an index to put them into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from atd import records
from atd.errors import RecordAbsent
from atd.protocol.proof import (
    VerifiedAbsence,
    VerifiedRecord,
    VerifiedRepo,
    verify_record,
    verify_repo,
)
from atd_daemon.catalog import Catalog, Flaw
from world import Account, Strong, World

CREATED = "2025-06-01T12:00:00.000Z"
ABSENT_CID = "bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee"


@dataclass
class Author:
    """Somebody who publishes data sets, and whatever can be proved of them."""

    account: Account
    history: list[Strong] = field(default_factory=list)

    @property
    def did(self) -> Any:
        return self.account.did

    def ref(self, collection: str, rkey: str) -> dict[str, str]:
        return {"uri": str(self.account.uri(collection, rkey)), "cid": ABSENT_CID}

    def release(self, name: str, version: str = "1.0.0", **fields: Any) -> Strong:
        split = {
            "name": "train",
            "parts": [self.ref(records.SHARDS, "3lrnqk7qs232b")],
            "samples": 10,
            "shards": 2,
            "size": 1000,
        }
        value = {
            "name": name,
            "version": version,
            "schema": self.ref(records.SCHEMA, f"{name}:1.0.0"),
            "layout": {"$type": "network.atd.release#packed"},
            "splits": [split],
            "samples": 10,
            "size": 1000,
            "createdAt": CREATED,
        }
        return self.account.put(records.RELEASE, f"{name}:{version}", {**value, **fields})

    def card(self, name: str, latest: Strong | None = None, **fields: Any) -> dict[str, Any]:
        ref = self.ref(records.RELEASE, f"{name}:1.0.0") if latest is None else latest.to_value()
        return {"name": name, "latest": ref, "createdAt": CREATED, **fields}

    def dataset(self, name: str, latest: Strong | None = None, **fields: Any) -> Strong:
        return self.account.put(records.DATASET, name, self.card(name, latest, **fields))

    def delete(self, name: str) -> None:
        self.account.delete(records.DATASET, name)

    def uri(self, name: str) -> Any:
        return self.account.uri(records.DATASET, name)

    def proved(self, uri: Any, at: int = -1) -> VerifiedRecord:
        """The record at ``uri`` as it was in the account's history."""
        car = self.account.history[at].record_car(f"{uri.collection}/{uri.rkey}")
        return verify_record(car, self.account.identity, uri)

    def absence(self, uri: Any, at: int = -1) -> VerifiedAbsence:
        with pytest.raises(RecordAbsent) as refused:
            self.proved(uri, at)
        assert isinstance(refused.value.proof, VerifiedAbsence)
        return refused.value.proof

    def repo(self, at: int = -1) -> VerifiedRepo:
        return verify_repo(self.account.history[at].repo_car(), self.account.identity)

    def read(self, repo: VerifiedRepo) -> tuple[list[Any], list[Flaw]]:
        """What a resolver makes of a repository: the readable records and the flawed ones."""
        good: list[Any] = []
        bad: list[Flaw] = []
        for key in repo.entries:
            collection, _, rkey = key.partition("/")
            if collection not in records.COLLECTIONS:
                continue
            verified = repo.record(self.account.uri(collection, rkey))
            try:
                good.append((verified, records.parse(verified)))
            except records.LexiconError as error:
                bad.append(Flaw(verified.uri, type(error).__name__, str(error)))
        return good, bad


@dataclass
class Shelf:
    """A world, and an index of it."""

    world: World
    catalog: Catalog

    def author(self, handle: str = "alice.test") -> Author:
        author = Author(self.world.account(handle))
        self.catalog.publisher_seen(author.account.identity, now=self.world.now())
        return author

    def put(self, verified: VerifiedRecord) -> None:
        self.catalog.put(verified, records.parse(verified), now=self.world.now())

    def publish(self, author: Author, name: str, **fields: Any) -> VerifiedRecord:
        verified = author.proved(author.dataset(name, **fields).uri)
        self.put(verified)
        return verified

    def snapshot(self, author: Author, at: int = -1) -> Any:
        repo = author.repo(at)
        good, bad = author.read(repo)
        return self.catalog.publisher_snapshot(repo, good, bad, now=self.world.now())

    def names(self, text: str = "", **filters: Any) -> list[str]:
        return [entry.name for entry in self.catalog.search(text, **filters).entries]


@pytest.fixture
def open_catalog(tmp_path: Path) -> Iterator[Callable[[], Catalog]]:
    """Opens the index in the test's folder, as often as asked; closes what was opened."""
    opened: list[Catalog] = []

    def opening() -> Catalog:
        opened.append(Catalog(tmp_path / "state" / "index.sqlite"))
        return opened[-1]

    yield opening
    for catalog in opened:
        catalog.close()


@pytest.fixture
def shelf(open_catalog: Callable[[], Catalog]) -> Shelf:
    return Shelf(World(), open_catalog())
