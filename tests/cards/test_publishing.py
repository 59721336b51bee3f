"""Publishing with files beside the data: who has the last word on the card."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atd import publishing
from atd.errors import InvalidSyntax, NeedsConsent
from publish import pictures
from serving import Client, serving
from world import Account, World

DATA = Path(__file__).parent / "data"


@pytest.fixture
async def daemon(world: World, alice: Account, tmp_path: Path) -> AsyncIterator[Client]:
    async with serving(world, tmp_path / "home") as client:
        await client.services.accounts.login(alice.handle, alice.password)
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table, and a README and a citation beside it."""
    made = tmp_path / "in"
    made.mkdir()
    (made / "rows.csv").write_text("n\n1\n2\n")
    shutil.copy(DATA / "CITATION-1.2.cff", made / "CITATION.cff")
    (made / "README.md").write_text("---\npretty_name: Rows\nlicense: mit\n---\n# rows\n\nTwo.\n")
    return made


async def publish(daemon: Client, what: Any, **options: Any) -> publishing.PublishedRelease:
    given = {"name": "rows", "connection": daemon.connection, **options}
    return await asyncio.to_thread(lambda: publishing.publish(what, **given))


async def plan(daemon: Client, what: Any, **options: Any) -> publishing.Plan:
    given = {"name": "rows", "connection": daemon.connection, **options}
    return await asyncio.to_thread(lambda: publishing.plan(what, **given))


def card(alice: Account) -> Any:
    return alice.value(alice.head.records["network.atd.dataset/rows"])


async def test_a_card_is_published_from_the_files(
    daemon: Client, alice: Account, folder: Path
) -> None:
    released = await publish(daemon, folder, title="The rows")
    head = card(alice)
    assert (head["title"], head["license"], head["description"]) == ("The rows", "MIT", "Two.")
    assert head["creators"][0]["url"] == "https://orcid.org/0000-0002-1825-0097"
    assert head["citation"].startswith("@article{meier2024")
    assert any("CC-BY-4.0 OR ODbL-1.0" in note for note in released.warnings)


async def test_a_file_and_a_pattern_are_spoken_for_by_their_folder(
    daemon: Client, folder: Path
) -> None:
    for source in (folder / "rows.csv", f"{folder}/*.csv"):
        found = await plan(daemon, source)
        assert found.card.fields["title"].value == "Rows"
    assert not (await plan(daemon, [{"n": 1}])).card.fields


async def test_a_plan_says_where_each_field_comes_from(daemon: Client, folder: Path) -> None:
    await publish(daemon, folder, card={"homepage": "https://a.example.com"})
    (folder / "README.md").write_text("# rows\n\nTwo of them.\n")
    (folder / "CITATION.cff").unlink()
    found = await plan(daemon, folder, license="cc0-1.0", tags=["x"])
    said = {name: (one.value, one.origin) for name, one in found.card.fields.items()}
    assert said == {
        "title": ("rows", "README.md"),
        "description": ("Two of them.", "README.md"),
        "license": ("CC0-1.0", "given"),
        "tags": (["x"], "given"),
        "creators": (found.card.fields["creators"].value, "published"),
        "citation": (found.card.fields["citation"].value, "published"),
        "homepage": ("https://a.example.com", "published"),
    }
    assert found.license == "CC0-1.0"
    assert found.to_json()["card"]["tags"] == {"value": ["x"], "from": "given"}


async def test_unchanged_files_write_nothing(daemon: Client, alice: Account, folder: Path) -> None:
    await publish(daemon, folder)
    before = alice.head.commit
    again = await publish(daemon, folder)
    assert again.unchanged
    assert not again.raw["cardChanged"]
    assert alice.head.commit == before


async def test_a_file_that_changed_changes_the_card_alone(
    daemon: Client, alice: Account, folder: Path
) -> None:
    await publish(daemon, folder)
    (folder / "README.md").write_text("---\npretty_name: All rows\nlicense: mit\n---\n")
    again = await publish(daemon, folder)
    assert (again.version, again.raw["cardChanged"]) == ("1.0.0", True)
    assert (card(alice)["title"], card(alice)["description"]) == (
        "All rows",
        "Photographs of flowers, taken above 2,000 m.",
    )


async def test_a_card_that_was_edited_is_not_set_back_by_a_file_that_was_not(
    daemon: Client, alice: Account, folder: Path
) -> None:
    await publish(daemon, folder)
    await publish(daemon, [{"n": 1}, {"n": 2}], title="By hand", order="keep")
    assert card(alice)["title"] == "By hand"
    # Now the last publication had no files: what they say counts as new.
    found = await plan(daemon, folder)
    assert found.card.fields["title"].value == "Rows"
    await publish(daemon, folder, title="By hand")
    assert card(alice)["title"] == "By hand"
    found = await plan(daemon, folder)
    assert found.card.fields["title"].value == "By hand"
    assert any("README.md says another title" in note for note in found.warnings)
    await publish(daemon, folder)
    assert card(alice)["title"] == "By hand"


async def test_a_name_that_was_unpublished_takes_its_files_again(
    daemon: Client, alice: Account, folder: Path
) -> None:
    await publish(daemon, folder)
    await daemon.services.publishing.unpublish("rows", _Nobody(), consent=True)
    await publish(daemon, folder)
    assert card(alice)["title"] == "Rows"


async def test_files_can_be_left_out(daemon: Client, alice: Account, folder: Path) -> None:
    await publish(daemon, folder, card_files=False)
    assert not {"title", "license", "creators"} & set(card(alice))


async def test_a_readme_among_images_is_neither_an_image_nor_left_out(
    daemon: Client, tmp_path: Path
) -> None:
    pictures.put(tmp_path / "pics" / "rose" / "1.png")
    for name in ("README.md", "LICENSE"):
        (tmp_path / "pics" / name).write_text("# Flowers\n\nSome.\n")
    found = await plan(daemon, tmp_path / "pics")
    assert (found.samples, found.card.fields["title"].value) == (1, "Flowers")
    assert [note for note in found.warnings if "left out" in note] == []
    assert any("word for word" in note for note in found.warnings)


@pytest.mark.parametrize("words", [{"license": "CC-BY"}, {"card": {"colour": "red"}}])
async def test_a_card_that_cannot_be_is_refused_before_anything_is_packed(
    daemon: Client, alice: Account, folder: Path, words: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSyntax):
        await publish(daemon, folder, **words)
    assert not alice.head.records


async def test_nobody_agreeing_shows_the_card_first(daemon: Client, folder: Path) -> None:
    seen: list[publishing.Plan] = []

    def refuse(plan: publishing.Plan) -> bool:
        seen.append(plan)
        return False

    with pytest.raises(NeedsConsent):
        await publish(daemon, folder, confirm=refuse)
    assert seen[0].card.fields["license"].origin == "README.md"


class _Nobody:
    def step(self, **values: Any) -> None: ...

    def progress(self, **values: Any) -> None: ...
