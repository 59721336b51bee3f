"""Every record goes out and comes back as it was."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from atd import records
from atd.errors import LexiconError, LocalError
from atd.records import Dataset, Layout, ShardPart
from records.samples import NOW, SHARDS, VALID, proved, uri, value


@pytest.mark.parametrize("name", VALID)
def test_what_is_written_is_read(name: str) -> None:
    record, _ = VALID[name]
    assert records.parse_value(uri(name), value(name)) == record
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("name", VALID)
def test_a_proved_record_is_parsed(name: str) -> None:
    record, _ = VALID[name]
    assert records.parse(proved(uri(name), value(name))) == record


def test_keys_that_the_lexicon_does_not_name_are_no_fault() -> None:
    later = {**value("dataset"), "moderators": [{"name": "Bob"}]}
    found = records.parse_value(uri("dataset"), later)
    assert found == VALID["dataset"][0]
    assert found.to_value() == later, "and they are written again"


def test_a_data_set_may_leave_its_name_to_its_key() -> None:
    bare = {key: item for key, item in value("dataset").items() if key != "name"}
    found = records.parse_value(uri("dataset"), bare)
    assert isinstance(found, Dataset)
    assert found.name == "flowers"
    assert found.version == "1.1.0"


def test_a_blob_is_written_exactly_as_it_was_uploaded() -> None:
    part = value("shards")
    part["shards"][0]["blob"]["extra"] = [1, {"a": b"x"}]
    found = records.parse_value(uri("shards"), part)
    assert found.to_value() == part


def test_where_a_shard_can_be_fetched() -> None:
    first, second = SHARDS.shards
    assert SHARDS.sources(first) == (
        "https://data.example/flowers/train-00000.tar",
        "https://backup.example/train-00000.tar",
    )
    assert SHARDS.sources(second) == (
        "https://data.example/flowers/second.tar",
        "https://backup.example/second.tar",
        "https://mirror.example/second.tar",
    )
    assert ShardPart((first,), NOW).sources(first) == ()


def test_what_does_not_satisfy_the_lexicon_does_not_leave() -> None:
    long = Dataset("flowers", VALID["dataset"][0].latest, NOW, title="x" * 301)  # type: ignore[union-attr]
    with pytest.raises(LocalError, match=r"cannot be written: title: expected at most 300"):
        long.to_value()


def test_a_layout_must_place_the_fields_of_the_schema() -> None:
    schema = VALID["schema"][0].schema  # type: ignore[union-attr]
    Layout().check_fits(schema)
    VALID["release"][0].layout.check_fits(schema)  # type: ignore[union-attr]
    with pytest.raises(LexiconError, match="unknown: colour; missing: label, mask"):
        Layout("packed", {"image": "i", "colour": "c"}).check_fits(schema)


def test_records_are_light() -> None:
    heavy = "numpy", "PIL", "cryptography", "regex", "msgpack", "aiohttp"
    code = f"import sys, atd.records, atd.schema.fields; print({heavy} & sys.modules.keys())"
    code = code.replace(str(heavy), str(set(heavy)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
