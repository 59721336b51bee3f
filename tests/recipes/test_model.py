"""Recipes as values: what is refused, and that what is written is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import atd
from atd import recipes
from atd.errors import AtdError, InvalidSyntax, RecipeError
from atd.recipes.catalogue import LIBRARY, load_file
from atd.recipes.classes import recipe_of
from atd.recipes.model import Recipe, Resource
from atd.recipes.values import digests, from_value, to_value
from atd.recipes.variants import choose, parse_choice

URL = "https://example.org/a.gz"


def test_resources_that_need_each_other_are_refused_with_the_circle() -> None:
    circle = {
        "one": recipes.concat("three"),
        "two": recipes.concat("one"),
        "three": recipes.concat("two"),
    }
    with pytest.raises(RecipeError, match=r"one → three → two → one"):
        Recipe("circle", circle)


def test_a_long_chain_is_put_in_order_without_recursion() -> None:
    chain: dict[str, Resource] = {f"r{n}": recipes.concat(f"r{n + 1}") for n in range(998)}
    chain["r998"] = recipes.file(URL)
    order = Recipe("chain", chain).order
    assert order == tuple(f"r{n}" for n in range(998, -1, -1))


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../up", "a/../b", "a//b", ".", "a\\b", "a\0b", ".atd/state", "x" * 300]
)
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(RecipeError):
        recipes.file(URL, path=path)
    with pytest.raises(RecipeError):
        recipes.untar(path)


def test_two_resources_at_one_place_are_refused() -> None:
    with pytest.raises(RecipeError, match="same place"):
        Recipe("x", {"a": recipes.file(URL, path="d/a"), "b": recipes.file(URL, path="d")})


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a", "file:///etc/passwd", "https://user:pw@example.org/", "a.gz"]
)
def test_an_address_that_is_not_plain_http_is_refused(url: str) -> None:
    with pytest.raises(RecipeError):
        recipes.file(url)


def value(**resource: Any) -> dict[str, Any]:
    return {"name": "x", "resources": {"a": {"urls": [URL], **resource}}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"function": "os.system"},
        {"kind": "compute"},
        {"size": -1},
        {"size": True},
        {"size": "12"},
        {"sha256": "ABC"},
        {"transforms": ["rm"]},
        {"transforms": [{"do": "gunzip", "path": "x"}]},
        {"transforms": ["gunzip"] * 9},
        {"urls": [URL] * 17},
        {"urls": []},
        {"of": ["b"]},
        {"path": "../b"},
        {"transient": 1},
    ],
)
def test_a_recipe_file_with_anything_odd_is_refused_with_its_place(wrong: dict[str, Any]) -> None:
    from_value(value())
    with pytest.raises(RecipeError):
        from_value(value(**wrong))


@pytest.mark.parametrize("odd", [[], None, "x", {"name": 5}, {"name": "x"}, {"resources": {}}])
def test_what_is_no_recipe_at_all_is_refused(odd: object) -> None:
    with pytest.raises((RecipeError, InvalidSyntax)):
        from_value(odd)


def test_a_later_form_is_refused() -> None:
    with pytest.raises(RecipeError, match="form 1"):
        from_value({**value(), "recipe": 2})


def everything() -> Recipe:
    return Recipe(
        "org.example.all",
        {
            "raw": recipes.file(URL, size=5, sha256="0" * 64, transient=True),
            "text": recipes.file(of="raw", transforms=[recipes.gunzip(), recipes.lines(skip=1)]),
            "tree": recipes.archive(URL, transforms=[recipes.unxz(), recipes.untar("data")]),
            "both": recipes.concat("raw", "text", path="out/both.txt"),
            "mine": recipes.folder("imagenet", "train"),
            "other": recipes.link("com.lecun.mnist:train_images"),
            "hub": recipes.hf_file("owner/name", "train.parquet", revision="main"),
        },
        {"train.rows": recipes.reader("csv", "text", delimiter=";", columns=["a", "b"])},
        title="All",
        agreement="Yes?",
    )


def test_what_is_written_is_read_again() -> None:
    written = json.loads(json.dumps(to_value(everything())))
    again = from_value(written)
    assert to_value(again) == written
    assert digests(again) == digests(everything())


def test_code_has_no_form() -> None:
    code = Recipe("x", {"a": recipes.file(URL), "b": recipes.compute(lambda needs, out: None, "a")})
    with pytest.raises(RecipeError, match="code"):
        to_value(code)


def test_another_address_of_the_same_bytes_changes_nothing_and_another_hash_does() -> None:
    def at(url: str, sha: str) -> str:
        return digests(Recipe("x", {"a": recipes.file(url, sha256=sha)}))["a"]

    assert at(URL, "0" * 64) == at("https://mirror.example/a", "0" * 64)
    assert at(URL, "0" * 64) != at(URL, "1" * 64)


def test_what_something_is_made_of_counts_for_it_too() -> None:
    def spec(sha: str) -> str:
        raw = recipes.file(URL, sha256=sha)
        return digests(Recipe("x", {"raw": raw, "made": recipes.concat("raw")}))["made"]

    assert spec("0" * 64) != spec("1" * 64)


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*")), ids=lambda path: path.name)
def test_every_recipe_that_ships_is_valid_and_declares_its_hashes(path: Path) -> None:
    (recipe,) = load_file(path)
    assert path.stem == recipe.name
    for name, one in recipe.resources.items():
        assert one.sha256, name
        assert all(url.startswith("https://") for url in one.urls), name


def test_resources_that_meet_again_and_again_are_hashed_once_each() -> None:
    diamonds: dict[str, Resource] = {
        f"r{n}": recipes.concat(f"r{n + 1}", f"r{n + 1}") for n in range(998)
    }
    diamonds["r998"] = recipes.file(URL)
    assert len(set(digests(Recipe("diamonds", diamonds)).values())) == 999


_SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_KEYS = "name kind urls of size sha256 transforms path target key when do columns x gunzip"
_WORDS = st.sampled_from([*_KEYS.split(), URL])
_JSON = st.recursive(
    _SCALARS | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(resources=st.dictionaries(_WORDS, _JSON, max_size=3), data=_JSON, variants=_JSON)
def test_whatever_a_file_holds_is_a_recipe_or_refused(
    resources: Any, data: Any, variants: Any
) -> None:
    for whole in ({"resources": resources, "data": data, "variants": variants}, {}):
        try:
            recipe = from_value({"name": "x", "resources": resources, **whole})
        except AtdError:
            continue
        assert to_value(from_value(to_value(recipe))) == to_value(recipe)


# ------------------------------------------------------------------ classes


@atd.recipe("org.example.letters", license="CC0-1.0")
class Letters:
    """Letters by hand.

    More words.
    """

    agreement = "Cite us."
    raw = recipes.file(URL, transient=True)
    images = recipes.file(of=raw, transforms=[recipes.gunzip()], path="images.idx")
    data = {"train.images": recipes.reader("idx", images)}  # noqa: RUF012


def test_a_class_is_a_recipe_of_its_attributes() -> None:
    recipe = recipe_of(Letters)
    assert recipe is not None
    assert recipe.title == "Letters by hand."
    assert recipe.agreement == "Cite us."
    assert recipe.resources["images"].needs == ("raw",)
    assert recipe.data["train.images"].of == "images"


def test_a_resource_without_a_name_is_refused() -> None:
    with pytest.raises(RecipeError, match="no attribute"):

        @atd.recipe("x")
        class Nameless:
            made = recipes.concat(recipes.file(URL))


# ------------------------------------------------------------------ variants


SIZED = {
    "name": "org.example.sized",
    "variants": {"size": ["small", "large"], "lang": ["en", "de"]},
    "resources": {
        "text": {"urls": ["https://example.org/{lang}/{size}.txt"], "when": {"size": "small"}},
        "more": {"urls": ["https://example.org/{lang}/more.txt"], "when": {"size": "large"}},
        "both": {"urls": ["https://example.org/{lang}.txt"], "path": "{lang}/both.txt"},
    },
    "data": {"train": {"kind": "lines", "of": "both"}},
}


def test_a_variant_fills_the_holes_and_takes_what_belongs_to_it() -> None:
    recipe, choice = choose(from_value(SIZED), {"size": "large"})
    assert str(choice) == "org.example.sized[lang=en,size=large]"
    assert set(recipe.resources) == {"more", "both"}
    assert recipe.resources["more"].urls == ("https://example.org/en/more.txt",)
    assert recipe.resources["both"].path == "en/both.txt"


@pytest.mark.parametrize("values", [{"size": "huge"}, {"colour": "red"}])
def test_a_variant_that_is_not_there_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(RecipeError):
        choose(from_value(SIZED), values)


def test_names_of_variants_are_parsed() -> None:
    assert parse_choice("a.b[k=v, x=1]").values == {"k": "v", "x": "1"}
    for wrong in ("a[", "a[]", "a[k]", "a[k=v", "a[k=v,k=w]", "a[k=../x]", "A[k=v]", "[k=v]"):
        with pytest.raises(AtdError):
            parse_choice(wrong)
