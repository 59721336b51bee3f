"""``atd prepare`` and its kin at a terminal: MNIST from a server on loopback, the whole story."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atd.errors import DigestMismatch, InvalidSyntax, NeedsConsent, RecipeError, Unreachable
from cli.conftest import MakePerson
from cli.stage import Person, write
from cli.terminal import Terminal
from recipes.making import idx, packed, sha256
from recipes.servers import FileServer

FILES = {
    "train_images": np.random.default_rng(0).integers(0, 255, (60, 28, 28), np.uint8),
    "train_labels": np.arange(60).astype(np.uint8) % 10,
    "test_images": np.ones((10, 28, 28), np.uint8),
    "test_labels": np.arange(10).astype(np.uint8) % 10,
}
PACKED = {name: packed(idx(array)) for name, array in FILES.items()}
LARGE = packed(idx(np.zeros((60000, 28, 28), np.uint8)))
SHAPE = """
import atd, sys
ds = atd.prepare_dataset("com.lecun.mnist")
print(ds.train.images.data().shape, ds.test.labels.data().shape)
"""


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer().running() as running:
        yield running


@pytest.fixture
def reader(somebody: MakePerson, server: FileServer) -> Person:
    """Somebody whose own recipe of MNIST comes before the one that ships."""
    person = somebody(ATD_ALLOW_HOSTS=server.place)
    mnist(person, server)
    return person


def mnist(
    person: Person, server: FileServer, *, agreement: str = "", bad: str = "", large: bool = False
) -> None:
    resources, data = {}, {}
    files = {**PACKED, "train_images": LARGE} if large else PACKED
    for name, served in files.items():
        url = server.serve(f"/{name}.gz", served)
        digest = "0" * 64 if name == bad else sha256(served)
        resources[name] = {"urls": [url], "sha256": digest, "transforms": ["gunzip"]}
        data[name.replace("_", ".")] = {"kind": "idx", "of": name}
    value = {"name": "com.lecun.mnist", "resources": resources, "data": data}
    if agreement:
        value["agreement"] = agreement
    write(person.home / "recipes" / "mnist.json", json.dumps(value))


def test_mnist_is_prepared_once_and_read_as_arrays(reader: Person, server: FileServer) -> None:
    mnist(reader, server, large=True)
    done = reader.run("prepare", "com.lecun.mnist").done()
    assert done.out.count("\n") == 1
    path = Path(done.json["train"]["images"]["path"])
    assert path.is_absolute()
    assert path.stat().st_size == 16 + 60000 * 28 * 28
    assert done.json["id"] == "com.lecun.mnist"
    assert "fetching" in done.err
    asked = len(server.requests)
    assert asked == 4
    assert reader.run("prepare", "com.lecun.mnist").done().json == done.json
    assert reader.run_python("-c", SHAPE).done().out == "(60000, 28, 28) (10,)\n"
    typed = reader.run("prepare", "com.lecun.mnist", "--encoder", "xpm", "--no-downloads").done()
    expected = {"$type": "path", "$value": str(path)}
    assert typed.json["train"]["images"]["path"] == expected
    assert len(server.requests) == asked


def test_a_bad_hash_leaves_nothing_and_a_cut_is_resumed(reader: Person, server: FileServer) -> None:
    mnist(reader, server, bad="train_images")
    refused = reader.run("prepare", "com.lecun.mnist")
    assert refused.code == DigestMismatch.exit_code
    assert refused.out == ""
    assert "com.lecun.mnist/train_images" not in reader.files("cache", "prepared")
    mnist(reader, server)
    half = len(PACKED["train_images"]) // 2
    server.files["/train_images.gz"].cut = half
    reader.run("prepare", "com.lecun.mnist").done()
    asked = [ranged for _, path, ranged in server.requests if path == "/train_images.gz"]
    assert asked[-2:] == [None, f"bytes={half}-"]


def test_three_commands_at_once_succeed(reader: Person, server: FileServer) -> None:
    running = [reader.start("prepare", "com.lecun.mnist") for _ in range(3)]
    said = [one.communicate(timeout=120) for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert sorted(server.gets()) == sorted(f"/{name}.gz" for name in PACKED)


def test_an_altered_file_is_found_and_repaired(reader: Person, server: FileServer) -> None:
    done = reader.run("prepare", "com.lecun.mnist").done()
    path = Path(done.json["files"]["test_labels"])
    right = path.read_bytes()
    path.write_bytes(right[:-1] + b"\xff")
    reader.run("prepare", "com.lecun.mnist").refused(
        DigestMismatch, "altered", str(path), advice="--repair"
    )
    found = reader.run("prepare", "com.lecun.mnist", "--check")
    assert found.code == DigestMismatch.exit_code
    assert f"altered: {path}" in found.err
    reader.run("prepare", "com.lecun.mnist", "--repair").done()
    assert path.read_bytes() == right
    assert "4 resources: all right" in reader.run("prepare", "com.lecun.mnist", "--check").err
    assert server.gets().count("/test_labels.gz") == 2
    assert server.gets().count("/train_images.gz") == 1
    path.write_bytes(right[:-1] + b"\xff")
    assert reader.run("verify", "recipe:com.lecun.mnist").code == DigestMismatch.exit_code
    reader.run("verify", "recipe:com.lecun.mnist", "--repair").done()
    assert path.read_bytes() == right
    found = reader.run("verify", "recipe:com.lecun.mnist", "--json").done().json["resources"]
    assert {one["state"] for one in found} == {"right"}
    reader.run("verify", "@alice.test/x", "--repair").refused(InvalidSyntax, "recipe:NAME")


def test_a_refused_agreement_downloads_nothing(reader: Person, server: FileServer) -> None:
    mnist(reader, server, agreement="For research alone.\nCite it.")
    nobody = reader.run("prepare", "com.lecun.mnist")
    assert nobody.code == NeedsConsent.exit_code
    assert "For research alone." in nobody.err
    with Terminal(reader, "prepare", "com.lecun.mnist") as terminal:
        terminal.wait_for("[y/N]")
        terminal.type("n\n")
        assert terminal.end() == NeedsConsent.exit_code
    assert server.requests == []
    assert reader.files("cache") == ["recipes.json"]
    reader.run("prepare", "com.lecun.mnist", "--yes").done()
    reader.run("prepare", "com.lecun.mnist").done()


def test_addresses_are_asked_without_downloading(reader: Person, server: FileServer) -> None:
    good = reader.run("check", "com.lecun.mnist", "--json").done()
    assert [one["ok"] for one in good.json["addresses"]] == [True] * 4
    del server.files["/test_images.gz"]
    bad = reader.run("check", "com.lecun.mnist")
    assert bad.code == Unreachable.exit_code
    assert "404" in bad.out
    assert {method for method, _, _ in server.requests} == {"HEAD"}


def test_recipes_are_listed_and_begun(reader: Person, tmp_path: Path) -> None:
    made = reader.run("new", "org.example.letters").done()
    reader.run("new", "org.example.letters").refused(RecipeError, "exists already")
    listed = reader.run("recipes", "example", "--json").done().json["recipes"]
    assert [(one["name"], one["path"]) for one in listed] == [
        ("org.example.letters", made.out.strip())
    ]
    reader.run("prepare", "org.example.nothing").refused(RecipeError, advice="atd recipes")
    reader.run("prepare", "com.lecun.mnist", "--encoder", "x").refused(InvalidSyntax, "normal")


def test_data_folders_are_kept(reader: Person, tmp_path: Path) -> None:
    reader.run("folder", "set", "mine", str(tmp_path)).done()
    assert reader.run("folder", "ls", "--json").done().json == {"folders": {"mine": str(tmp_path)}}
    reader.run("folder", "rm", "mine").done()
    reader.run("folder", "rm", "mine").refused(RecipeError, "no folder")


def test_no_daemon_is_started(reader: Person) -> None:
    reader.run("prepare", "com.lecun.mnist").done()
    assert not (reader.home / "run").exists()
