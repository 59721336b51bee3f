"""Running recipes: once, together, killed, altered, and what stays afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atd import recipes
from atd.errors import AtdError, DigestMismatch, NeedsConsent, Offline, RecipeError, RemoteError
from atd.recipes import agreements
from atd.recipes.agreements import remove_folder, set_folder
from atd.recipes.model import Recipe
from atd.recipes.places import Places
from atd.recipes.prepare import check, plan, prepare_dataset
from atd.recipes.variants import Choice
from atd.settings import Settings
from recipes.making import idx, left, noise, packed, prepared, recipe, sha256, write
from recipes.servers import FileServer
from recipes.test_unpacking import tarred

DATA = b"a line\n" * 5000


def one_file(server: FileServer, **options: Any) -> Recipe:
    url = server.serve("/a.gz", packed(DATA), **options)
    unpack = [recipes.gunzip()]
    return recipe(a=recipes.file(url, sha256=sha256(packed(DATA)), transforms=unpack))


def test_a_second_run_asks_nobody(server: FileServer, settings: Settings) -> None:
    wanted = one_file(server)
    first = prepared(wanted, settings)
    assert first.files["a"].read_bytes() == DATA
    assert left(settings) == ["org.example.data/a"]
    server.requests.clear()
    assert prepared(wanted, settings) == first
    assert server.requests == []


def test_a_bad_hash_leaves_nothing_at_the_final_path(
    server: FileServer, settings: Settings
) -> None:
    wanted = recipe(a=recipes.file(server.serve("/a", DATA), sha256="0" * 64))
    with pytest.raises(DigestMismatch, match=r"org\.example\.data"):
        prepared(wanted, settings)
    assert left(settings) == []


def test_what_has_no_declared_hash_must_stay_what_it_was(
    server: FileServer, settings: Settings
) -> None:
    wanted = recipe(a=recipes.file(server.serve("/a", DATA)))
    made = prepared(wanted, settings).files["a"]
    made.unlink()
    server.serve("/a", b"another\n")
    with pytest.raises(DigestMismatch, match="first prepared"):
        prepared(wanted, settings)
    assert not made.exists()
    server.serve("/a", DATA)
    assert prepared(wanted, settings).files["a"].read_bytes() == DATA


def test_an_altered_file_is_refused_found_and_repaired(
    server: FileServer, settings: Settings
) -> None:
    wanted = one_file(server)
    made = prepared(wanted, settings).files["a"]
    made.write_bytes(DATA.replace(b"line", b"lime"))
    with pytest.raises(DigestMismatch, match="altered"):
        prepared(wanted, settings)
    found = check(plan(wanted, settings), settings, repair=False)
    assert [one.state for one in found] == ["altered"]
    assert b"lime" in made.read_bytes()
    check(plan(wanted, settings), settings, repair=True)
    assert prepared(wanted, settings).files["a"].read_bytes() == DATA
    assert [one.state for one in check(plan(wanted, settings), settings, repair=False)] == ["right"]


def test_a_file_that_was_only_touched_is_known_again(
    server: FileServer, settings: Settings
) -> None:
    wanted = one_file(server)
    os.utime(prepared(wanted, settings).files["a"], (1, 1))
    server.requests.clear()
    prepared(wanted, settings)
    assert server.requests == []


def pipeline(server: FileServer, folder: Path) -> Recipe:
    archive = tarred(folder / "a.tar", ("top/x", b"x\n"), ("top/y", b"y\n"), ("other", b"no"))
    url = server.serve("/a.tar.gz", packed(archive.read_bytes()))
    return recipe(
        raw=recipes.file(url, transient=True),
        tree=recipes.archive(of="raw", transforms=[recipes.gunzip(), recipes.untar("top")]),
        y=recipes.file(of="raw", transforms=[recipes.gunzip(), recipes.untar("top/y")]),
        both=recipes.concat("y", "y", transforms=[recipes.lines(take=1)], path="out/both.txt"),
    )


def test_transient_resources_go_when_all_that_is_made_of_them_is_complete(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    wanted = pipeline(server, tmp_path)
    made = prepared(wanted, settings)
    assert left(settings) == [
        f"org.example.data/{name}" for name in ("out/both.txt", "tree/x", "tree/y", "y")
    ]
    assert made.files["both"].read_bytes() == b"y\n"
    assert "raw" not in made.files
    server.requests.clear()
    prepared(wanted, settings)
    assert server.requests == []


def test_a_transient_resource_is_made_again_for_what_is_missing_alone(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    wanted = pipeline(server, tmp_path)
    made = prepared(wanted, settings)
    made.files["y"].unlink()
    prepared(wanted, settings)
    assert made.files["y"].read_bytes() == b"y\n"
    assert server.gets() == ["/a.tar.gz"] * 2
    assert not any("raw" in name for name in left(settings))


def test_downloads_and_transients_stay_if_asked_to(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    wanted = pipeline(server, tmp_path)
    prepared(wanted, settings, keep=True)
    assert "org.example.data/raw" in left(settings)
    assert "org.example.data/.atd/downloads/raw" in left(settings)


def test_an_archive_with_a_way_out_leaves_nothing(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    evil = tarred(tmp_path / "a.tar", ("good", b"1"), ("../../../evil", b"2"))
    url = server.serve("/a.tar", evil.read_bytes())
    wanted = recipe(tree=recipes.archive(url, transforms=[recipes.untar()]))
    with pytest.raises(RemoteError, match=r"org\.example\.data: tree"):
        prepared(wanted, settings)
    assert not (settings.cache_dir / "prepared" / "org.example.data" / "tree").exists()
    assert not list(tmp_path.rglob("evil"))


def test_without_downloads_what_is_missing_is_an_error_and_what_is_there_is_not(
    server: FileServer, settings: Settings
) -> None:
    wanted = one_file(server)
    with pytest.raises(Offline, match="nothing is to be downloaded"):
        prepared(wanted, settings, downloads=False)
    assert server.requests == []
    prepared(wanted, settings)
    prepared(wanted, settings, downloads=False)


def test_several_are_fetched_at_once(server: FileServer, settings: Settings) -> None:
    together = threading.Barrier(3, timeout=30)
    urls = []
    for name in "abc":
        urls.append(
            server.serve(f"/{name}", noise(1000), etag='"1"', hold=500, holding=together.wait)
        )
    files = {name: recipes.file(url) for name, url in zip("abc", urls, strict=True)}
    prepared(recipe(**files), settings)
    assert not together.broken


def test_the_first_error_stops_the_others(server: FileServer, settings: Settings) -> None:
    wanted = recipe(a=recipes.file(server.url("/gone")), b=recipes.file(server.serve("/b", DATA)))
    with pytest.raises(AtdError, match="404"):
        prepared(wanted, settings)


# ------------------------------------------------------------------ agreements, links, folders


def test_without_agreement_nothing_is_asked_for(server: FileServer, settings: Settings) -> None:
    url = server.serve("/a", DATA)
    wanted = Recipe("org.example.terms", {"a": recipes.file(url)}, agreement="Be kind.")
    with pytest.raises(NeedsConsent):
        prepared(wanted, settings)
    assert server.requests == []
    assert not agreements.agreed(wanted, settings)
    agreements.agree(wanted, settings)
    prepared(wanted, settings)
    other = Recipe("org.example.terms", {"a": recipes.file(url)}, agreement="Be kinder.")
    with pytest.raises(NeedsConsent):
        prepared(other, settings)


def test_a_link_prepares_the_other_data_set_first_and_asks_for_its_agreement(
    server: FileServer, settings: Settings
) -> None:
    url = server.serve("/a", DATA)
    folder = settings.config_dir / "recipes"
    text = f'name = "org.example.far"\nagreement = "Yes?"\n[resources.a]\nurls = ["{url}"]\n'
    write(folder / "far.toml", text)
    wanted = recipe(
        {"train": recipes.reader("lines", "half")},
        far=recipes.link("org.example.far:a"),
        half=recipes.file(of="far", transforms=[recipes.lines(take=2)]),
    )
    with pytest.raises(NeedsConsent, match=r"org\.example\.far"):
        prepared(wanted, settings)
    agreements.agree(plan("org.example.far", settings).recipe, settings)
    assert prepared(wanted, settings).train.data() == ["a line", "a line"]


def test_data_sets_that_link_to_each_other_are_refused(settings: Settings) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        text = f'name = "{one}"\n[resources.x]\nkind = "link"\ntarget = "{other}"\n'
        write(settings.config_dir / "recipes" / f"{one}.toml", text)
    with pytest.raises(RecipeError, match="a → b → a"):
        plan("a", settings)


def test_a_folder_of_the_user_is_asked_for_and_used(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "mine" / "sub" / "x.txt", "one\ntwo\n")
    wanted = recipe(
        {"train": recipes.reader("lines", "mine", path="x.txt")},
        mine=recipes.folder("mine", "sub"),
    )
    with pytest.raises(RecipeError) as caught:
        prepared(wanted, settings)
    assert "atd folder set mine" in caught.value.next_step
    set_folder("mine", tmp_path / "mine", settings)
    assert prepared(wanted, settings).train.data() == ["one", "two"]
    remove_folder("mine", settings)
    with pytest.raises(RecipeError):
        prepared(wanted, settings)
    assert (tmp_path / "mine" / "sub" / "x.txt").exists()


# ------------------------------------------------------------------ several, and killed

RUN = """
import sys
from atd.recipes.prepare import prepare_dataset
print(prepare_dataset(sys.argv[1]).files)
"""


def start(file: Path, settings: Settings) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(file)],
        env={**os.environ, **dict(settings.variables)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def recipe_file(folder: Path, url: str) -> Path:
    text = f"""
    import os, signal, atd
    from atd import recipes

    def doubled(needs, out):
        if not os.path.exists({str(folder / "spared")!r}):
            open({str(folder / "spared")!r}, "w").close()
            out.write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        out.write_bytes(needs[0].read_bytes() * 2)

    @atd.recipe("org.example.data")
    class Data:
        raw = recipes.file("{url}", transforms=[recipes.gunzip()], transient=True)
        twice = recipes.compute(doubled, raw)
    """
    return write(folder / "r.py", "\n".join(line[4:] for line in text.splitlines()))


def test_killed_in_the_middle_of_a_download_the_next_run_goes_on_from_there(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    data = packed(noise(400_000))
    url = server.serve("/a.gz", data, etag='"1"', hold=200_000)
    file = recipe_file(tmp_path, url)
    (tmp_path / "spared").touch()
    parts = settings.cache_dir / "prepared" / "org.example.data" / ".atd" / "downloads"
    arrived = threading.Event()
    server.files["/a.gz"].holding = lambda: arrived.wait(60) and None
    running = start(file, settings)
    while not any(one.stat().st_size >= 190_000 for one in parts.glob("raw.part-*")):
        assert running.poll() is None, running.stderr.read() if running.stderr else ""
        threading.Event().wait(0.05)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    arrived.set()
    assert not (settings.cache_dir / "prepared" / "org.example.data" / "raw").exists()
    made = prepare_dataset(file, settings=settings)
    assert made.files["twice"].read_bytes() == noise(400_000) * 2
    ranges = [ranged for _, _, ranged in server.requests]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert int(ranges[1].removeprefix("bytes=").removesuffix("-")) >= 190_000


def test_killed_while_something_is_made_the_next_run_makes_it_from_what_was_fetched(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    file = recipe_file(tmp_path, server.serve("/a.gz", packed(DATA)))
    running = start(file, settings)
    _, err = running.communicate(timeout=90)
    assert running.returncode == -signal.SIGKILL, err
    assert not (settings.cache_dir / "prepared" / "org.example.data" / "twice").exists()
    made = prepare_dataset(file, settings=settings)
    assert made.files["twice"].read_bytes() == DATA * 2
    assert server.gets() == ["/a.gz"]
    assert left(settings) == ["org.example.data/twice"]


@pytest.mark.parametrize("visible", [True, False])
def test_killed_between_a_rename_and_its_note_costs_no_download(
    server: FileServer, settings: Settings, visible: bool
) -> None:
    wanted = one_file(server)
    made = prepared(wanted, settings, keep=True).files["a"]
    places = Places(settings, wanted, Choice(wanted.name))
    state = places.state("a")
    places.note("a", type(state)(state.spec, state.download, state.url, state.result, state.size))
    if not visible:
        made.unlink()
    server.requests.clear()
    assert prepared(wanted, settings).files["a"].read_bytes() == DATA
    assert server.requests == []


def test_three_runs_at_once_succeed_with_one_download(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    url = server.serve("/a.gz", packed(noise(200_000)))
    (tmp_path / "spared").touch()
    file = recipe_file(tmp_path, url)
    together = [start(file, settings) for _ in range(3)]
    for running in together:
        out, err = running.communicate(timeout=120)
        assert running.returncode == 0, err
        assert "twice" in out
    assert server.gets() == ["/a.gz"]
    assert left(settings) == ["org.example.data/twice"]


# ------------------------------------------------------------------ as a user sees it


def test_arrays_come_out_as_the_recipe_declares(server: FileServer, settings: Settings) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    url = server.serve("/i.gz", packed(idx(images)))
    wanted = recipe(
        {"train.images": recipes.reader("idx", "i")},
        i=recipes.file(url, transforms=[recipes.gunzip()]),
    )
    ds = prepared(wanted, settings)
    assert ds.train.images.shape == (2, 3, 4)
    np.testing.assert_array_equal(np.asarray(ds.train.images), images)
    np.testing.assert_array_equal(ds.train.images.data(), images)
    assert len(list(ds.train.images)) == 2
    with pytest.raises(AttributeError, match="images"):
        _ = ds.train.labels
    assert ds.to_value()["train"]["images"]["path"] == str(ds.files["i"])


def test_python_agrees_once_and_is_told_how_far_it_is(
    server: FileServer, settings: Settings
) -> None:
    url = server.serve("/a", DATA)
    text = f'name = "org.example.terms"\nagreement = "Yes?"\n[resources.a]\nurls = ["{url}"]\n'
    file = write(settings.config_dir / "recipes" / "terms.toml", text)
    with pytest.raises(NeedsConsent):
        prepare_dataset(file, settings=settings)
    told: list[Any] = []
    made = prepare_dataset(file, agree=True, progress=told.append, settings=settings)
    assert (told[-1].resource, told[-1].done, told[-1].total) == ("a", len(DATA), len(DATA))
    assert prepare_dataset("org.example.terms", settings=settings) == made


def test_a_variant_lies_in_a_folder_of_its_own(server: FileServer, settings: Settings) -> None:
    for size in ("small", "large"):
        server.serve(f"/{size}", size.encode())
    text = f"""
    name = "org.example.sized"
    variants = {{ size = ["small", "large"] }}
    [resources.a]
    urls = ["{server.url("/{size}")}"]
    """
    write(settings.config_dir / "recipes" / "sized.toml", text)
    for name, data in {
        "org.example.sized": b"small",
        "org.example.sized[size=large]": b"large",
    }.items():
        assert prepare_dataset(name, settings=settings).files["a"].read_bytes() == data
    assert left(settings) == [
        "org.example.sized[size=large]/a",
        "org.example.sized[size=small]/a",
    ]
