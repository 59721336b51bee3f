"""Recipes of strangers: what they may ask, write, link to; and what they may not."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atd import recipes
from atd.errors import (
    AtdError,
    DigestMismatch,
    LexiconError,
    NeedsConsent,
    RecipeError,
    RemoteError,
    TooLarge,
    Unreachable,
)
from atd.protocol.cid import RAW, Cid
from atd.protocol.syntax import Did
from atd.recipes import agreements
from atd.recipes.access import Access, Allowance
from atd.recipes.downloads import download
from atd.recipes.engine import Engine, Options
from atd.recipes.model import Recipe, Resource
from atd.recipes.places import Places
from atd.recipes.planning import Find, Plan, plan
from atd.recipes.prepare import Prepared, prepare_dataset, run
from atd.recipes.published import PublishedRecipe
from atd.recipes.recorded import body_of, recipe_of_body
from atd.recipes.strangers import Origin, faults, of_stranger
from atd.recipes.values import from_value, to_value
from atd.recipes.variants import Choice
from atd.records import parse_value, recipe_uri
from atd.settings import Settings
from publishing.sources import fakehub
from recipes.making import left, noise, packed, recipe, sha256, write
from recipes.servers import FileServer

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
DATA = noise(5000)
CREATED = "2025-06-01T12:00:00.000Z"


def get(access: Access, folder: Path, *urls: str, data: bytes = DATA) -> Any:
    return download(
        urls,
        folder / "target",
        sha256=sha256(data),
        size=len(data),
        access=access,
        report=lambda done, total: None,
    )


def origin(one: Recipe, content: str = "one") -> Origin:
    return Origin(f"at://{DID}/network.atd.recipe/{one.name}", f"bafy{content}", DID, "alice.test")


def planned(settings: Settings, one: Recipe) -> Plan:
    choice = Choice(one.name, {}, DID)
    return Plan(one, choice, Places(settings, one, choice), {}, origin(one))


def prepared(settings: Settings, trusting: bool = True, /, **made: Any) -> Prepared:
    """Prepare a stranger's recipe of these resources."""
    options = made.pop("options", Options())
    wanted = planned(settings, of_stranger(recipe(**made), DID))
    if trusting:
        assert wanted.origin is not None
        agreements.trust(wanted.origin, settings)
    return run(wanted, settings, options, lambda event: None)


def sealed(server: FileServer, path: str, data: bytes, **more: Any) -> Resource:
    url = server.serve(path, data)
    return recipes.file(url, size=len(data), sha256=sha256(data), **more)


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "https://localhost/x",
        "https://10.0.0.1/x",
        "https://192.168.1.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://[::1]/x",
        "https://[fe80::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://2130706433/x",
        "https://0x7f.1/x",
        "https://127.1/x",
        "http://example.org/x",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "gopher://example.org/x",
        "https://user:word@example.org/x",
    ],
)
def test_a_stranger_sends_us_nowhere_private(settings: Settings, tmp_path: Path, url: str) -> None:
    with pytest.raises(Unreachable, match=r"private|expected an https|not a|credentials"):
        get(Access(settings, stranger=True), tmp_path, url)


@pytest.mark.parametrize(
    "target", ["https://127.0.0.1/x", "https://169.254.169.254/x", "https://[::1]/x"]
)
def test_a_redirect_does_not_get_around_that(
    server: FileServer, settings: Settings, tmp_path: Path, target: str
) -> None:
    url = server.serve("/a", b"", redirect=target)
    with pytest.raises(Unreachable, match="private, loopback or reserved"):
        get(Access(settings, stranger=True), tmp_path, url)


def test_a_name_that_leads_home_is_refused(settings: Settings, tmp_path: Path) -> None:
    access = Access(settings, stranger=True, lookup=lambda host, port: ["127.0.0.1", "::1"])
    with pytest.raises(Unreachable, match=r"evil\.example\.com leads to 127\.0\.0\.1"):
        get(access, tmp_path, "https://evil.example.com/x")


def test_a_name_that_changes_is_connected_to_where_it_was_checked(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    port = server.place.rpartition(":")[2]
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.66"]

    place = f"files.example:{port}"
    allowed = Settings.load({**dict(settings.variables), "ATD_ALLOW_HOSTS": place})
    server.serve("/x", DATA)
    got = get(Access(allowed, True, lookup=rebinding), tmp_path, f"http://{place}/x")
    assert (got.size, asked) == (len(DATA), ["files.example"])


# ------------------------------------------------------------------ what must be said


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"a": recipes.file("https://example.org/a")}, "size and sha256"),
        ({"a": recipes.file("https://example.org/a", size=1)}, "its sha256"),
        ({"a": recipes.hf_file("o/n", "f", size=1)}, "its sha256"),
        ({"a": recipes.blob(DID, str(Cid.of(b"x", RAW)))}, "its size"),
        ({"a": recipes.compute(lambda needs, out: None, "b"), "b": recipes.folder("k")}, "code"),
    ],
)
def test_what_a_recipe_of_a_stranger_lacks_is_refused(made: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        of_stranger(recipe(**made), DID)


def test_one_hash_does_not_stand_for_every_variant() -> None:
    value = {
        "name": "x",
        "variants": {"size": ["large", "small"]},
        "resources": {
            "a": {"urls": ["https://example.org/{size}"], "size": 1, "sha256": "0" * 64},
        },
    }
    assert "with when" in next(faults(from_value(value)))


def test_a_name_in_it_is_its_publishers_and_never_one_of_this_machine() -> None:
    one = recipe(
        a=recipes.link("com.lecun.mnist:train_images"),
        b=recipes.link("@bob.example.com/other"),
        c=recipes.link("mine[size=small]"),
    )
    led = of_stranger(one, DID).resources
    assert led["a"].target == f"{DID}/com.lecun.mnist:train_images"
    assert led["b"].target == "@bob.example.com/other"
    assert led["c"].target == f"{DID}/mine[size=small]"


@pytest.mark.parametrize("target", ["../x", "a/b/c", "x:Y", "@a b/x", "x@1.0.0", "a:b:c", "", "x["])
def test_a_link_to_nothing_is_refused(target: str) -> None:
    with pytest.raises(AtdError):
        recipes.link(target)


# ------------------------------------------------------------------ records


def parsed(resources: list[dict[str, Any]], **more: Any) -> Any:
    value = {"$type": "network.atd.recipe", "name": "x", "createdAt": CREATED, **more}
    return parse_value(recipe_uri(Did(DID), "x"), {**value, "resources": resources})


def fetched(name: str = "a", **more: Any) -> dict[str, Any]:
    how = {"$type": "network.atd.recipe#file", "urls": [{"url": "https://example.org/x"}]}
    return {"name": name, "how": {**how, "size": 1, "sha256": "0" * 64}, **more}


@pytest.mark.parametrize(
    "resources",
    [
        [fetched(path="../../x")],
        [fetched(path="/etc/passwd")],
        [fetched(path=".atd/state/a.json")],
        [fetched(path="a\\b")],
        [fetched("../a")],
        [fetched(), fetched()],
        [fetched("a", path="x"), fetched("b", path="x/y")],
        [{"name": "a", "how": {"$type": "network.atd.recipe#file", "of": ["a"]}}],
        [{"name": "a", "how": {"$type": "network.atd.recipe#concat", "of": ["b"]}}],
        [
            {
                "name": "a",
                "how": {"$type": "network.atd.recipe#file", "urls": [{"url": "file:///x"}]},
            }
        ],
        [fetched(f"a{number}") for number in range(10_000)],
        [],
    ],
)
def test_a_record_that_is_no_recipe_does_not_parse(resources: list[dict[str, Any]]) -> None:
    with pytest.raises(LexiconError):
        parsed(resources)


def test_code_has_no_form_in_a_record() -> None:
    record = parsed([{"name": "a", "how": {"$type": "network.atd.recipe#compute", "of": ["a"]}}])
    assert "network.atd.recipe#compute" in record.unknown
    with pytest.raises(RecipeError, match="is a 'network") as refused:
        record.recipe()
    assert "newer atd" in refused.value.next_step


def test_a_record_says_all_that_a_file_says() -> None:
    when = {"when": {"size": "small"}}
    value = {
        "name": "x",
        "title": "X",
        "agreement": "Be kind.",
        "variants": {"size": ["large", "small"]},
        "resources": {
            "raw": {"urls": ["https://example.org/x"], "size": 9, "sha256": "0" * 64, **when},
            "out": {
                "kind": "archive",
                "of": "raw",
                "transforms": ["unxz", {"do": "untar", "path": "in/side"}],
                "max_bytes": 7,
                "path": "put/here",
            },
            "few": {"of": "raw", "transforms": [{"do": "lines", "skip": 1, "take": 2}]},
            "all": {"kind": "concat", "of": ["raw", "few"], "transient": True},
            "other": {"kind": "link", "target": "@bob.example.com/y:z"},
            "mine": {"kind": "folder", "key": "k", "path": "below"},
            "hub": {"kind": "hf", "target": "o/n", "key": "v1", "path": "f.csv"},
            "blob": {"kind": "blob", "target": DID, "key": str(Cid.of(b"x", RAW)), "path": "b"},
        },
        "data": {"rows": {"kind": "csv", "of": "few", "delimiter": ";", "columns": ["a", "b"]}},
        "samples": {"train": {"": "rows", "more": "rows"}},
    }
    one = from_value(value)
    again = recipe_of_body("x", json.loads(json.dumps(body_of(one))))
    assert to_value(again) == to_value(one)


# ------------------------------------------------------------------ running


def test_what_is_unpacked_and_never_written_has_an_end_too(
    server: FileServer, settings: Settings
) -> None:
    """A kilobyte that is packed twice is a gigabyte, of which a later step leaves nothing over."""
    bomb = packed(packed(b"a" * 1048575 + b"\n") * 1100)
    assert len(bomb) < 20_000
    steps = [recipes.gunzip(), recipes.gunzip(), recipes.lines(starts="b")]
    with pytest.raises(RemoteError, match="unpacks to more than 1,073,741,824 bytes"):
        prepared(settings, a=sealed(server, "/a", bomb, transforms=steps))
    assert left(settings) == [f"{DID}/org.example.data/.atd/downloads/a"]


def test_nothing_is_asked_before_somebody_agreed_to_this_very_content(
    server: FileServer, settings: Settings
) -> None:
    with pytest.raises(NeedsConsent, match="recipe of @alice"):
        prepared(settings, False, a=sealed(server, "/a", DATA))
    assert server.requests == []
    made = prepared(settings, a=sealed(server, "/a", DATA))
    assert made.files["a"].read_bytes() == DATA
    assert made.id == f"{DID}/org.example.data"
    one = recipe(a=sealed(server, "/a", DATA))
    assert agreements.trusted(origin(one), settings)
    assert not agreements.trusted(origin(one, "another"), settings)


def test_two_publishers_with_one_name_have_a_folder_each(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    prepared(settings, a=sealed(server, "/a", DATA))
    url = server.serve("/b", b"mine")
    value = {"name": "org.example.data", "resources": {"a": {"urls": [url]}}}
    mine = prepare_dataset(write(tmp_path / "mine.json", json.dumps(value)), settings=settings)
    assert mine.files["a"].read_bytes() == b"mine"
    assert left(settings) == [f"{DID}/org.example.data/a", "org.example.data/a"]


def test_other_bytes_than_those_that_were_signed_are_not_kept(
    server: FileServer, settings: Settings
) -> None:
    one = sealed(server, "/a", DATA)
    for wrong in (DATA[:-1] + b"x", DATA + b"more", DATA[:-5]):
        server.serve("/a", wrong)
        with pytest.raises((DigestMismatch, Unreachable)):
            prepared(settings, a=one)
        assert f"{DID}/org.example.data/a" not in left(settings)


def bomb() -> bytes:
    return packed(b"\0" * (8 << 20))


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, data)
    return out.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("how", ["gunzip", "unzip", "unzip a member", "chained"])
def test_what_unpacks_beyond_the_budget_is_ended(
    server: FileServer, settings: Settings, how: str
) -> None:
    if how == "gunzip":
        made = {"a": sealed(server, "/a", bomb(), transforms=[recipes.gunzip()])}
    elif how == "chained":
        raw = sealed(server, "/a", bomb(), transient=True)
        made = {"raw": raw, "a": recipes.file(of="raw", transforms=[recipes.gunzip()])}
    else:
        data = zipped("x", b"\0" * (8 << 20))
        step = recipes.unzip("x" if "member" in how else None)
        url = server.serve("/a", data)
        make = recipes.file if "member" in how else recipes.archive
        made = {"a": make(url, size=len(data), sha256=sha256(data), transforms=[step])}
    with pytest.raises(TooLarge, match="1,048,576 bytes of disk"):
        prepared(settings, options=Options(max_bytes=1 << 20), **made)
    kept = {f"{DID}/org.example.data/{name}" for name in (".atd/downloads/a", "raw")}
    assert set(left(settings)) <= kept  # what is right, and nothing that came out of it


@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../x"])
def test_a_member_does_not_leave_its_folder(
    server: FileServer, settings: Settings, name: str
) -> None:
    for number, data in enumerate((zipped(name, b"out"), tarred(name, b"out"))):
        step = (recipes.unzip, recipes.untar)[number]()
        url = server.serve(f"/{number}", data)
        one = recipes.archive(url, size=len(data), sha256=sha256(data), transforms=[step])
        with pytest.raises(RemoteError, match="nothing was unpacked"):
            prepared(settings, a=one)
    assert not [path for path in settings.cache_dir.rglob("x") if path.is_file()]


def test_the_budget_is_known_before_the_first_byte_and_removed_bytes_are_given_back(
    server: FileServer, settings: Settings
) -> None:
    raw = sealed(server, "/a", packed(DATA), transforms=[recipes.gunzip()])
    announced = len(packed(DATA))
    with pytest.raises(TooLarge, match="downloads"):
        prepared(settings, options=Options(max_bytes=announced - 1), a=raw)
    assert server.requests == []
    several = {f"a{number}": replace(raw, path=f"p{number}") for number in range(4)}
    room = announced * 4 + len(DATA) + 4 * 100  # never all downloads and all that is made of them
    prepared(settings, options=Options(max_bytes=room, workers=1), **several)
    prepared(settings, options=Options(max_bytes=room, workers=1), **several)


def test_the_setting_bounds_strangers_and_nobody_else(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    tight = Settings.load({**dict(settings.variables), "ATD_RECIPE_MAX_BYTES": "100"})
    one = sealed(server, "/a", DATA)
    with pytest.raises(TooLarge, match="may take 100"):
        prepared(tight, a=one)
    file = write(tmp_path / "own.json", json.dumps(to_value(recipe(a=one))))
    prepare_dataset(file, settings=tight)
    with pytest.raises(TooLarge):
        prepare_dataset(file, settings=settings, max_bytes=100)


def test_an_allowance_counts_what_goes_as_well() -> None:
    allowance = Allowance(10)
    allowance.take(8)
    allowance.take(-5)
    allowance.take(7)
    with pytest.raises(TooLarge):
        allowance.take(1)


# ------------------------------------------------------------------ links


def finder(asked: list[str], **known: Recipe) -> Find:
    """Who finds these recipes, each of another publisher of which all have one DID."""

    def find(ref: str, settings: Settings) -> PublishedRecipe:
        asked.append(ref)
        one = known[ref.rpartition("/")[2]]
        return PublishedRecipe(of_stranger(one, DID), origin(one))

    return find


def linking(*targets: str) -> Recipe:
    links = {f"l{number}": recipes.link(target) for number, target in enumerate(targets)}
    return Recipe("top", links, {})


def test_a_recipe_with_many_links_to_one_asks_for_it_once(settings: Settings) -> None:
    other = from_value(
        {
            "name": "other",
            "variants": {"size": ["large", "small"]},
            "resources": {"a": {"kind": "link", "target": "leaf"}},
        }
    )
    asked: list[str] = []
    leaf = recipe(mine=recipes.folder("key"))
    targets = [f"@bob.example.com/other{end}" for end in ("", "[size=large]", ":a") * 200]
    find = finder(asked, top=linking(*targets), other=other, leaf=replace(leaf, name="leaf"))
    made = plan("@alice.example.com/top", settings, find)
    assert len(made.links) == 600
    assert asked == ["@alice.example.com/top", "@bob.example.com/other", f"{DID}/leaf"]


def test_one_recipe_under_many_handles_has_an_end(settings: Settings) -> None:
    asked: list[str] = []
    leaf = replace(recipe(mine=recipes.folder("key")), name="leaf")
    targets = [f"@h{number}.example.com/leaf" for number in range(500)]
    with pytest.raises(RecipeError, match="links to more than 64 recipes in all"):
        plan("@a.example.com/top", settings, finder(asked, top=linking(*targets), leaf=leaf))
    assert len(asked) == 64


# ------------------------------------------------------------------ blobs, the hub


def test_a_blob_of_ones_own_recipe_is_not_fetched_from_where_a_did_document_leads_home(
    settings: Settings,
) -> None:
    one = recipe(a=recipes.blob(DID, str(Cid.of(DATA, RAW)), size=len(DATA)))
    places = Places(settings, one, Choice(one.name))
    access = Access(settings, locate=lambda did: "https://127.0.0.1:9")
    engine = Engine(one, places, access, {}, Options(), lambda event: None)
    with pytest.raises(Unreachable, match="private, loopback or reserved"):
        engine.run()


def test_a_blob_comes_from_its_owners_server_and_has_its_cid(
    server: FileServer, settings: Settings, tmp_path: Path
) -> None:
    cid = str(Cid.of(DATA, RAW))
    where = f"/xrpc/com.atproto.sync.getBlob?did={DID.replace(':', '%3A')}&cid={cid}"
    server.serve(where, DATA)
    found = Access(settings, True, lambda did: f"http://{server.place}" if did == DID else "")
    one = recipes.blob(DID, cid, size=len(DATA))
    (url,) = found.addresses(one)
    assert one.digest == sha256(DATA)
    assert get(found, tmp_path, url).size == len(DATA)
    server.serve(where, DATA[:-1] + b"x")
    (tmp_path / "target").unlink()
    with pytest.raises(DigestMismatch):
        get(found, tmp_path, url)


def test_a_file_of_the_hub_is_prepared_and_checked(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "hub" / "alice" / "letters" / "data" / "a b.csv", "a,b\n1,2\n")
    with fakehub.serving(tmp_path / "hub") as endpoint:
        variables = {"HF_ENDPOINT": endpoint, "ATD_ALLOW_HOSTS": endpoint.partition("//")[2]}
        here = Settings.load({**dict(settings.variables), **variables})
        one = recipes.hf_file("alice/letters", "data/a b.csv", size=8, sha256=sha256(b"a,b\n1,2\n"))
        made = prepared(here, a=one)
        assert made.files["a"].read_text() == "a,b\n1,2\n"
        with pytest.raises(AtdError, match="404"):
            prepared(here, b=replace(one, path="data/none.csv"))
