"""Editing what is published, at the terminal: with options, in an editor, from files."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from atd.errors import BadSource, Conflict, InvalidSyntax, NeedsConsent, RecordAbsent
from cli.conftest import Town
from cli.stage import Person, table
from cli.terminal import Terminal
from reference.client import ask

HEAD = "network.atd.dataset"


@pytest.fixture(scope="module")
def published(town: Town, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a data set of alice's with two releases, of these tests alone."""
    folder = tmp_path_factory.mktemp("ponds")
    for count in (3, 4):
        source = table(folder / "ponds.csv", [("n",), *((n,) for n in range(count))])
        words = ("--title", "Ponds", "--license", "MIT", "--tag", "water")
        town.alice.run("publish", str(source), "--name", "ponds", "--yes", *words).done()
    return "ponds"


def card(town: Town, name: str) -> Any:
    """The head record, as it is served."""
    url = f"http://{town.front.domain}"
    answer = ask(url, "com.atproto.repo.getRecord", repo=town.front.did, collection=HEAD, rkey=name)
    return answer.json()["value"]


def editor(tmp_path: Path, *edits: tuple[str, str]) -> str:
    """An editor that replaces text; the n-th edit is made when it is opened for the n-th time."""
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        f"edits = {edits!r}\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "n = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(n + 1))\n"
        "path = pathlib.Path(sys.argv[-1])\n"
        f"(count.parent / f'seen-{{n}}').write_text(path.read_text())\n"
        "path.write_text(path.read_text().replace(*edits[n]))\n"
    )
    return f"{sys.executable} {script}"


def drafts(alice: Person) -> list[Path]:
    return sorted((alice.home / "state" / "cards").glob("*.draft-*"))


def test_options_change_the_card_show_what_and_say_how_to_go_back(
    town: Town, published: str
) -> None:
    before = card(town, published)
    words = ("--title", "Two ponds", "--tag", "still", "--clear", "license")
    asked = town.alice.run("edit", published, *words)
    asked.refused(NeedsConsent, "was not changed", advice="--yes")
    assert "~ title: Ponds -> Two ponds" in asked.err
    dry = town.alice.run("edit", published, *words, "--dry-run").done()
    assert "+ tag: still" in dry.out
    assert card(town, published) == before
    done = town.alice.run("edit", f"@alice.test/{published}", *words, "--yes").done()
    assert "- licence: MIT" in done.out
    after = card(town, published)
    assert (after["title"], after["tags"]) == ("Two ponds", ["water", "still"])
    assert "license" not in after
    assert "unchanged" in town.alice.run("edit", published, *words, "--yes").done().out
    (command,) = [line for line in done.out.splitlines() if "to go back: " in line]
    back = command.partition("to go back: atd ")[2].split()
    answer = town.alice.run(*back, "--yes", "--json").done().json
    assert answer["written"]
    assert answer["previous"] != answer["cid"]
    again = card(town, published)
    for name in ("title", "license", "tags"):
        assert again[name] == before[name]
    assert again["latest"] == before["latest"]


def test_an_editor_changes_what_was_changed_in_it(
    town: Town, published: str, tmp_path: Path
) -> None:
    edit = ('title = "Ponds"', 'title = "Ponds by hand"\ncreators = [{ name = "Ada" }]\nx = 1')
    mend = ('creators = [{ name = "Ada" }]\nx = 1', 'homepage = "https://p.example.com"')
    twice = ('homepage = ""', "")
    alice = town.alice.having(VISUAL=editor(tmp_path, edit, mend, twice))
    with Terminal(alice, "edit", published) as terminal:
        terminal.wait_for("Edit it again? [y/N]")
        assert "Cannot overwrite" in terminal.seen or "TOML" in terminal.seen
        terminal.type("y\n")
        terminal.wait_for("Edit it again? [y/N]")
        terminal.type("y\n")
        terminal.wait_for("Write this to @alice.test/ponds? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.seen
    assert (tmp_path / "seen-1").read_text().startswith("+++\n#! ")
    after = card(town, published)
    assert (after["title"], after["homepage"]) == ("Ponds by hand", "https://p.example.com")
    assert after["license"] == "MIT"
    assert not drafts(town.alice)
    town.alice.run("edit", published, "--title", "Ponds", "--clear", "homepage", "--yes").done()


def test_a_draft_that_is_given_up_is_kept_and_can_be_taken_again(
    town: Town, published: str, tmp_path: Path
) -> None:
    alice = town.alice.having(EDITOR=editor(tmp_path, ('"Ponds"', '"Deep ponds"')), VISUAL="")
    with Terminal(alice, "edit", published) as terminal:
        terminal.wait_for("? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == NeedsConsent.exit_code, terminal.seen
    assert card(town, published)["title"] == "Ponds"
    (draft,) = drafts(town.alice)
    assert stat.S_IMODE(draft.parent.stat().st_mode) == 0o700
    assert f"--file {draft}" in "".join(terminal.lines)
    town.alice.run("edit", published, "--file", str(draft), "--yes").done()
    assert card(town, published)["title"] == "Deep ponds"
    draft.unlink()
    town.alice.run("edit", published, "--title", "Ponds", "--yes").done()


def test_a_card_that_changed_while_it_was_edited_is_a_conflict_and_the_draft_is_kept(
    town: Town, published: str, tmp_path: Path
) -> None:
    alice = town.alice.having(VISUAL=editor(tmp_path, ('"Ponds"', '"Mine"')))
    with Terminal(alice, "edit", published) as terminal:
        terminal.wait_for("? [y/N]")
        town.alice.run("edit", published, "--tag", "new", "--yes").done()
        terminal.type("y\n")
        assert terminal.end() == Conflict.exit_code, terminal.seen
    assert card(town, published)["title"] == "Ponds"
    (draft,) = drafts(town.alice)
    draft.unlink()
    town.alice.run("edit", published, "--remove-tag", "new", "--yes").done()


def test_an_editor_that_fails_or_is_none_changes_nothing(town: Town, published: str) -> None:
    before = card(town, published)
    for command in ("false", "/no/such/editor"):
        with Terminal(town.alice.having(VISUAL=command), "edit", published) as terminal:
            assert terminal.end() == BadSource.exit_code, terminal.seen
        for draft in drafts(town.alice):
            draft.unlink()
    result = town.alice.run("edit", published)
    result.refused(NeedsConsent, "stdin is not a terminal", advice="with options")
    assert card(town, published) == before


def test_a_card_is_taken_from_the_files_of_a_folder(
    town: Town, published: str, tmp_path: Path
) -> None:
    nothing = town.alice.run("edit", published, "--from", str(tmp_path))
    nothing.refused(BadSource, "nothing is said", advice="README.md")
    (tmp_path / "README.md").write_text("---\nlicense: odbl\n---\n# Fish ponds\n\nWith fish.\n")
    words = ("--from", str(tmp_path), "--title", "Ponds", "--json", "--yes")
    answer = town.alice.run("edit", published, *words).done()
    assert "license from README.md" in answer.err
    after = answer.json["after"]
    assert (after["license"], after["description"]) == ("ODbL-1.0", "With fish.")
    assert after["title"] == "Ponds"
    town.alice.run("edit", published, "--license", "mit", "--clear", "description", "--yes").done()


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("--license", "CC-BY"), "CC-BY-4.0"),
        (("--description", "@/no/such/file"), "@FILE"),
        (("--creator", "Ada <ftp://x>"), "https"),
        (("--clear", "latest"), "title"),
    ],
)
def test_words_that_no_card_has_are_refused(
    town: Town, published: str, words: tuple[str, ...], advice: str
) -> None:
    town.alice.run("edit", published, *words, "--yes").refused(InvalidSyntax, advice=advice)


def test_what_is_not_published_is_named(town: Town) -> None:
    result = town.alice.run("edit", "nothing-of-the-kind", "--title", "x", "--yes")
    result.refused(RecordAbsent, "nothing-of-the-kind", advice="atd ls @alice.test")


def test_a_deprecated_data_set_says_so_everywhere(town: Town, published: str) -> None:
    bob, ref = town.bob, f"@alice.test/{published}"
    town.alice.run(
        "deprecate",
        published,
        "--reason",
        "They dried\x1b[2J up",
        "--use",
        "@alice.test/plants",
        "--yes",
    ).done()
    said = "They dried [2J up. Use @alice.test/plants instead."
    assert said in bob.run("show", ref).done().out
    assert "deprecated" in bob.run("ls", "@alice.test").done().out
    assert said in bob.run("pull", ref).done().err
    preview = bob.run("preview", ref, "-n", "1").done()
    assert preview.err.count("is deprecated: They dried") == 1
    code = f"import warnings, atd; warnings.simplefilter('error'); atd.load({ref!r})"
    loaded = bob.run_python("-c", code)
    assert "UserWarning: @alice.test/ponds is deprecated: They dried\\x1b[2J up." in loaded.err
    undone = town.alice.run("deprecate", published, "--undo", "--yes").done().out
    assert f"to go back: atd deprecate ponds --reason '{said}'" in undone
    assert "deprecated" not in bob.run("show", ref).done().out


def test_a_release_is_named_found_by_its_name_and_pinned(
    town: Town, published: str, tmp_path: Path
) -> None:
    bob, ref = town.bob, f"@alice.test/{published}"
    made = town.alice.run("tag", published, "1.0.0", "stable", "--yes").done()
    assert "to go back: atd tag ponds --delete stable" in made.out
    listed = town.alice.run("tag", published).done().out
    assert listed.split() == ["stable", "1.0.0", f"{ref}@stable"]
    assert "splits of 1.0.0\n" in bob.run("show", f"{ref}@stable").done().out
    assert "1.0.0  (stable)" in bob.run("show", ref).done().out
    assert "ponds 1.0.0" in bob.run("pull", f"{ref}@stable").done().out
    assert bob.run("verify", f"{ref}@stable", "--json").done().json["holds"]
    assert f"{ref}@1.0.0  kept" in bob.run("ls", f"{ref}@stable").done().out
    lockfile, bundle = tmp_path / "atd.lock", tmp_path / "ponds.proof"
    bob.run("lock", f"{ref}@stable", "-o", str(lockfile)).done()
    bob.run("prove", f"{ref}@stable", "-o", str(bundle)).done()
    assert bob.run("prove", "--check", str(bundle)).done().code == 0
    moved = town.alice.run("tag", published, "1.1.0", "stable", "--yes").done()
    assert "to go back: atd tag ponds 1.0.0 stable" in moved.out
    pulled = bob.run("pull", f"{ref}@stable", "--lock", str(lockfile)).done()
    assert "ponds 1.0.0" in pulled.out
    assert "ponds 1.1.0" in bob.run("pull", f"{ref}@stable").done().out
    gone = bob.run("show", f"{ref}@best")
    gone.refused(RecordAbsent, "no alias best", advice="atd show")
    town.alice.run("tag", published, "--delete", "stable", "--yes").done()
    missing = town.alice.run("tag", published, "--delete", "stable", "--yes")
    missing.refused(RecordAbsent, "has no alias stable", advice="atd tag")
    town.alice.run("tag", published, "1.0.0", "v1", "--yes").refused(InvalidSyntax)


def test_a_plan_shows_who_says_what_and_publishing_does_it(town: Town, tmp_path: Path) -> None:
    source = table(tmp_path / "lakes.csv", [("n",), (1,), (2,)])
    (tmp_path / "README.md").write_text(
        "---\nlicense: cc-by-4.0\ntags: [water]\n---\n# Lakes\n\nTwo.\n"
    )
    (tmp_path / "LICENSE").write_text("all rights reserved")
    (tmp_path / "terms.txt").write_text("Do not drink.\n")
    words = ("publish", str(source), "--name", "lakes", "--title", "Big lakes", "--task", "a-task")
    words += ("--creator", "Ada Meier <https://orcid.org/0000-0002-1825-0097>", "--creator", "Bob")
    words += ("--agreement", f"@{tmp_path / 'terms.txt'}")
    plan = town.alice.run(*words, "--dry-run").done().out
    for line in (
        "card      title: Big lakes (given)",
        "card      license: CC-BY-4.0 (README.md)",
        "card      tags: water (README.md)",
        "card      agreement: Do not drink. (given)",
        "card      creators: Ada Meier <https://orcid.org/0000-0002-1825-0097>, Bob (given)",
        "note      LICENSE is not word for word a licence that is known here",
    ):
        assert line in plan.splitlines()
    said = town.alice.run(*words, "--dry-run", "--json").done().json["card"]
    assert said["license"] == {"value": "CC-BY-4.0", "from": "README.md"}
    done = town.alice.run(*words, "--yes").done()
    assert "note: LICENSE is not word for word" in done.err
    head = card(town, "lakes")
    assert (head["title"], head["license"], head["tasks"]) == ("Big lakes", "CC-BY-4.0", ["a-task"])
    assert (head["description"], head["agreement"]) == ("Two.", "Do not drink.")
    town.alice.run("edit", "lakes", "--license", "CC0-1.0", "--yes").done()
    assert "unchanged" in town.alice.run(*words, "--yes").done().out
    assert card(town, "lakes")["license"] == "CC0-1.0"
    bad = town.alice.run("publish", str(source), "--name", "lakes", "--license", "cc-by", "--yes")
    bad.refused(InvalidSyntax, "no licence", advice="CC-BY-4.0")
    none = town.alice.run("publish", str(source), "--name", "l2", "--no-card-files", "--dry-run")
    assert "card " not in none.done().out
