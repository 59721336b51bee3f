"""The journal as a file: what survives, who holds what, and a file that is not one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from atd.errors import Busy, StorageFault
from atd.protocol.cbor import RAW, Cid
from atd.protocol.syntax import AtUri, Did
from atd.records import BlobRef, StrongRef
from atd_daemon.publishing.batches import Action, Write
from atd_daemon.publishing.holders import Holder
from atd_daemon.publishing.journal import Journal, Plan

DID = Did.parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
REQUEST = {"store": "pds", "baseUrl": None, "storeAsked": False, "version": None}


def plan(batches: int = 2) -> Plan:
    uris = [AtUri.parse(f"at://{DID}/network.atd.shards/k{at}") for at in range(batches)]
    writes = [Write.of(Action.CREATE, uri, {"at": at}) for at, uri in enumerate(uris)]
    refs = [StrongRef(write.uri, Cid.of(write.block)) for write in writes]
    return Plan("key", None, refs[-1], refs[0], {"newShards": 2}, tuple((one,) for one in writes))


def test_a_plan_comes_back_byte_for_byte(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal.sqlite")
    entry = first.begin(DID, "numbers", REQUEST, Holder())
    first.save_plan(entry.id, plan())
    first.close()
    second = Journal(tmp_path / "journal.sqlite")
    assert second.plan(entry.id) == plan()
    again = second.begin(DID, "numbers", REQUEST, Holder())
    assert (again.id, again.resumed, again.plan_key) == (entry.id, True, "key")
    second.drop_plan(entry.id)
    assert second.plan(entry.id) is None
    second.end(entry.id, done=True)
    assert second.last_request(DID, "numbers") == REQUEST
    assert not second.begin(DID, "numbers", REQUEST, Holder()).resumed


def test_uploads_are_known_by_place_and_digest(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    id = journal.begin(DID, "numbers", REQUEST, Holder()).id
    cid = Cid.of(b"x", RAW)
    raw = {"$type": "blob", "ref": cid, "mimeType": "a/b", "size": 1, "more": "words"}
    journal.remember_upload("here", id, BlobRef(cid, "a/b", 1, raw))
    found = journal.uploaded("here", cid)
    assert found is not None
    assert found.to_value() == raw
    assert journal.uploaded("there", cid) is None
    assert journal.uploads_of(id) == (1, 1)
    journal.forget_uploads("here", [cid])
    assert journal.uploaded("here", cid) is None


def test_record_keys_never_repeat_even_if_the_clock_goes_back(tmp_path: Path) -> None:
    now = [1_750_000_000.0]
    journal = Journal(tmp_path / "journal.sqlite", clock=lambda: now[0])
    first = journal.tids(3)
    now[0] -= 3600
    second = journal.tids(3)
    assert len({*first, *second}) == 6
    assert sorted([*first, *second]) == [*first, *second]


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = Holder.of(child.pid, "call")
    begun = journal.begin(DID, "numbers", REQUEST, holder)
    with pytest.raises(Busy):
        journal.begin(DID, "numbers", REQUEST, Holder.of(os.getpid(), "other"))
    child.kill()
    child.communicate()
    taken = journal.begin(DID, "numbers", REQUEST, Holder.of(os.getpid(), "other"))
    assert taken.id == begun.id


def test_an_id_that_another_process_got_does_not_count() -> None:
    assert Holder.of(os.getpid(), "x").alive()
    assert not Holder(os.getpid(), "1", "x").alive()
    assert not Holder().alive()


def test_what_is_being_sent_is_held_until_it_is_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    id = journal.begin(DID, "numbers", REQUEST, Holder()).id
    with journal.sending(id):
        with pytest.raises(Busy), journal.sending(id):
            pass
        with pytest.raises(Busy):
            journal.begin(DID, "numbers", REQUEST, Holder())
    with journal.sending(id):
        # The daemon dies here: the next one on the same file starts afresh.
        other = Journal(tmp_path / "journal.sqlite")
        assert other.begin(DID, "numbers", REQUEST, Holder()).id == id


def test_a_damaged_file_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database, but long enough to look at it" * 100)
    with pytest.raises(StorageFault, match=r"journal\.sqlite"):
        Journal(path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE mine (x)")
    with pytest.raises(StorageFault, match="not a journal of this version"):
        Journal(path)
