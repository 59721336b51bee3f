"""What recipes prepare, as samples: read, and published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd.errors import BadSource, NeedsConsent, RecipeError, ShardError
from atd.publishing.sources.opening import open_source
from atd.recipes.prepare import Prepared, prepare_dataset
from atd.recipes.values import from_value, to_value
from atd.settings import Settings
from publish.pictures import put
from recipes.making import idx, packed, write
from recipes.servers import FileServer

IMAGES = np.random.default_rng(3).integers(0, 255, (30, 4, 4), np.uint8)
LABELS = (np.arange(30) % 10).astype(np.uint8)
JOINED = {"train": {"image": "train.images", "label": "train.labels"}}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer().running() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, server: FileServer) -> Settings:
    return Settings.load({"ATD_HOME": str(tmp_path / "home"), "ATD_ALLOW_HOSTS": server.place})


def prepared(tmp_path: Path, settings: Settings, server: FileServer, **more: Any) -> Prepared:
    images = server.serve("/i.gz", packed(idx(more.pop("pixels", IMAGES))))
    labels = server.serve("/l", idx(LABELS))
    value = {
        "name": "org.example.digits",
        "resources": {
            "images": {"urls": [images], "transforms": ["gunzip"]},
            "labels": {"urls": [labels]},
        },
        "data": {
            "train.images": {"kind": "idx", "of": "images"},
            "train.labels": {"kind": "idx", "of": "labels"},
        },
        **more,
    }
    file = write(tmp_path / "digits.json", json.dumps(value))
    return prepare_dataset(file, settings=settings)


def test_data_that_belong_together_are_samples_again_and_again(
    tmp_path: Path, settings: Settings, server: FileServer
) -> None:
    made = prepared(tmp_path, settings, server, samples=JOINED)
    train = made.samples("train")
    for _ in range(2):
        found = list(train)
        assert len(found) == 30
        assert np.array_equal(found[7]["image"], IMAGES[7])
        assert found[7]["label"] == 7
    with pytest.raises(RecipeError, match="no samples of 'test'; it has: train"):
        made.samples("test")


@pytest.mark.parametrize("what", ["prepared", "samples"])
def test_they_are_a_source_with_a_schema(
    tmp_path: Path, settings: Settings, server: FileServer, what: str
) -> None:
    made = prepared(tmp_path, settings, server, samples=JOINED)
    source = open_source(made if what == "prepared" else made.samples())
    assert source.schema.names == ("image", "label")
    pairs = list(source.splits["train"].samples(source.schema))
    assert [key for key, _ in pairs[:2]] == ["000000000", "000000001"]
    assert np.array_equal(pairs[29][1]["image"], IMAGES[29])


def test_data_of_different_lengths_are_refused_with_the_one_that_ends(
    tmp_path: Path, settings: Settings, server: FileServer
) -> None:
    made = prepared(tmp_path, settings, server, samples=JOINED, pixels=IMAGES[:20])
    with pytest.raises(ShardError, match=r"train\.images ends after 20 samples"):
        list(made.samples())


def test_a_recipe_that_joins_nothing_says_how(
    tmp_path: Path, settings: Settings, server: FileServer
) -> None:
    with pytest.raises(BadSource, match="does not say how") as refused:
        open_source(prepared(tmp_path, settings, server))
    assert "[samples.train]" in refused.value.next_step


def test_rows_are_samples_as_they_are(
    tmp_path: Path, settings: Settings, server: FileServer
) -> None:
    url = server.serve("/t.jsonl", b'{"n": 1, "word": "one"}\n{"n": 2, "word": "two"}\n')
    value = {
        "name": "org.example.rows",
        "resources": {"t": {"urls": [url]}},
        "data": {"train": {"kind": "jsonl", "of": "t"}},
    }
    made = prepare_dataset(write(tmp_path / "r.json", json.dumps(value)), settings=settings)
    assert list(made.samples()) == [{"n": 1, "word": "one"}, {"n": 2, "word": "two"}]
    source = open_source(made)
    assert [one for _, one in source.splits["train"].samples(source.schema)] == list(made.samples())


def test_images_by_folder_keep_their_names_as_keys(tmp_path: Path, settings: Settings) -> None:
    for name in ("rose/1", "rose/2", "lily/1"):
        put(tmp_path / "pictures" / f"{name}.png")
    value = {
        "name": "org.example.pictures",
        "resources": {"all": {"kind": "folder", "key": "pictures"}},
        "data": {"train": {"kind": "images", "of": "all"}},
    }
    (settings.config_dir).mkdir(parents=True, exist_ok=True)
    folders = {"pictures": str(tmp_path / "pictures")}
    write(settings.config_dir / "folders.json", json.dumps(folders))
    made = prepare_dataset(write(tmp_path / "p.json", json.dumps(value)), settings=settings)
    source = open_source(made)
    assert source.schema.names == ("image", "label")
    keys = [key for key, _ in source.splits["train"].samples(source.schema)]
    assert len(set(keys)) == 3
    assert keys[0].startswith("lily_1")
    (said,) = [line for line in source.travels if "no file that it fetched" in line]
    assert str(tmp_path / "pictures") in said, "whose recipe it is may not be the user's"


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"train": {"a-b": "rows"}}, "cannot be a field"),
        ({"train": {"a": "nothing"}}, "is no data"),
        ({"train": {}}, "expected 1 to"),
        ({"Train": "rows"}, "name of a split"),
        ({"train": "all"}, "is no data"),
    ],
)
def test_samples_of_something_that_is_not_there_are_refused(
    samples: dict[str, Any], words: str
) -> None:
    value = {
        "name": "x",
        "resources": {"r": {"urls": ["https://example.org/r"]}},
        "data": {"rows": {"kind": "csv", "of": "r"}, "all": {"kind": "path", "of": "r"}},
    }
    with pytest.raises((RecipeError, ValueError), match=words):
        from_value({**value, "samples": samples})
    kept = from_value({**value, "samples": {"train": "rows"}})
    assert to_value(kept)["samples"] == {"train": "rows"}


def test_what_nobody_agreed_to_is_not_prepared_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    value = {
        "name": "org.example.terms",
        "agreement": "For research alone.",
        "resources": {"r": {"urls": ["https://example.org/r"]}},
    }
    write(settings.config_dir / "recipes" / "terms.json", json.dumps(value))
    monkeypatch.setenv("ATD_HOME", str(tmp_path / "home"))
    with pytest.raises(NeedsConsent) as refused:
        open_source("recipe:org.example.terms")
    assert refused.value.next_step == "first: atd prepare 'org.example.terms'"
