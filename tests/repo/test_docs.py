"""The documentation says what the code does: nothing undocumented, no dead link, code that runs.

Each test walks the code for what a user can meet (commands, options, settings, endpoints, record
fields, errors) and looks for it in the page, and in the section of the page, that is about it. It
cannot tell whether a sentence is true; a name that is missing it can.

Python blocks must compile. Those that begin with ```` ```python run ```` need nothing but this
machine, and are run.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import atd
from atd import api, errors
from atd.cli.app import app
from atd.names import COLLECTIONS
from atd.protocol.rejects import Reject
from atd.settings import FOLDER_VARIABLES, KNOBS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
LEXICONS = ROOT / "lexicons"

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)`\??", re.MULTILINE)
"""The name that a row of a table is about."""
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def without_code(page: Path) -> str:
    return _FENCE.sub("", text_of(page))


def sections(page: Path) -> dict[str, str]:
    """The text below each heading, up to the next of the same or a higher level, by its words."""
    lines = text_of(page).splitlines()
    found: dict[str, str] = {}
    fenced = False
    heads: list[tuple[int, int, str]] = []
    for at, line in enumerate(lines):
        fenced ^= line.startswith("```")
        match = re.match(r"(#+) (.*)", line)
        if match and not fenced:
            heads.append((at, len(match[1]), match[2].replace("`", "").strip()))
    for number, (at, level, words) in enumerate(heads):
        ends = (other for other, depth, _ in heads[number + 1 :] if depth <= level)
        found[words] = "\n".join(lines[at : next(ends, len(lines))])
    return found


def slug(heading: str) -> str:
    """The anchor of a heading, as the hosts of Markdown make it."""
    kept = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
    return kept.replace(" ", "-")


# ------------------------------------------------------------------ the command


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its words."""
    command = typer.main.get_command(app) if command is None else command
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(path), command
        return
    for name, inner in below.items():
        yield from commands(inner, (*path, name))


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_option_is_documented(words: str) -> None:
    section = sections(DOCS / "cli.md").get(f"atd {words}")
    assert section is not None, f"docs/cli.md has no section 'atd {words}'"
    options = [
        option
        for parameter in COMMANDS[words].params
        if parameter.param_type_name == "option"
        for option in parameter.opts
    ]
    missing = [one for one in options if not re.search(rf"(?<![\w-]){one}(?![\w-])", section)]
    assert not missing, f"docs/cli.md, atd {words}: {missing}"


def test_options_of_atd_itself_are_documented() -> None:
    text = text_of(DOCS / "cli.md")
    options = [one for p in typer.main.get_command(app).params for one in p.opts]
    assert not [one for one in [*options, "-h", "--help"] if f"`{one}`" not in text]


def test_every_documented_command_exists() -> None:
    headings = [head for head in sections(DOCS / "cli.md") if head.startswith("atd ")]
    assert sorted(headings) == sorted(f"atd {words}" for words in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_pages_have_only_options_that_exist(page: Path) -> None:
    wrong = []
    for line in re.findall(r"^ {4}(atd .*)$", text_of(page), re.MULTILINE):
        words = re.sub(r"\s#.*", "", line).split()
        name = next((n for n in (2, 1) if " ".join(words[1 : 1 + n]) in COMMANDS), None)
        if name is None:
            wrong.append(line)
            continue
        known = {
            option
            for parameter in COMMANDS[" ".join(words[1 : 1 + name])].params
            for option in getattr(parameter, "opts", ())
        }
        given = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(words[1 + name :]))
        wrong += [f"{line}: {one}" for one in given if one not in known]
    assert not wrong


def test_every_error_and_exit_code_is_in_the_table() -> None:
    table = sections(DOCS / "cli.md")["Exit codes"]
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE))
    assert rows == {str(cls.exit_code): cls.__name__ for cls in errors.tree()}


def test_no_two_errors_share_an_exit_code() -> None:
    codes = [cls.exit_code for cls in errors.tree()]
    assert len(set(codes)) == len(codes)


def test_every_reason_to_refuse_a_message_is_in_the_checklist() -> None:
    table = sections(DOCS / "verification.md")["Messages of an event stream"]
    listed = re.findall(r"^\| .* \| `(\w+)` \|$", table, re.MULTILINE)
    assert sorted(listed) == sorted(Reject)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_every_setting_is_documented(knob: Any) -> None:
    row = rf"^\| `{knob.name}` \| `{knob.variable}` \|"
    assert re.search(row, text_of(DOCS / "configuration.md"), re.MULTILINE)


@pytest.mark.parametrize("variable", FOLDER_VARIABLES)
def test_every_variable_of_the_folders_is_documented(variable: str) -> None:
    assert f"`{variable}`" in text_of(DOCS / "configuration.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_variable_is_documented_that_nobody_reads(page: Path) -> None:
    known = {knob.variable for knob in KNOBS} | {"ATD_HOME"}
    assert set(re.findall(r"\bATD_[A-Z_]+\b", text_of(page))) <= known


# ------------------------------------------------------------------ endpoints and records


def lexicon(nsid: str) -> dict[str, Any]:
    path = LEXICONS / f"{nsid.replace('.', '/')}.json"
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def nsids() -> list[str]:
    found = (path.relative_to(LEXICONS).with_suffix("") for path in LEXICONS.rglob("*.json"))
    return sorted(".".join(path.parts) for path in found)


def properties(definition: Any) -> Iterator[str]:
    """The names of every property in a definition, however deep."""
    if isinstance(definition, dict):
        inner = definition.get("properties")
        yield from inner if isinstance(inner, dict) else ()
        for value in definition.values():
            yield from properties(value)


@pytest.mark.parametrize("nsid", api.ENDPOINTS)
def test_every_endpoint_is_documented_with_its_fields(nsid: str) -> None:
    section = sections(DOCS / "http-api.md").get(nsid)
    assert section is not None, f"docs/http-api.md has no section {nsid}"
    missing = [name for name in properties(lexicon(nsid)) if f"`{name}`" not in section]
    assert not missing, f"docs/http-api.md, {nsid}: {missing}"
    endpoint = api.ENDPOINTS[nsid]
    method = "GET" if endpoint.kind == "query" else "POST"
    streams = ", streams" if endpoint.streaming else ""
    version = ", any version" if endpoint.any_version else ""
    assert f"\n{method}{streams}{version}. " in section


def test_every_documented_endpoint_exists() -> None:
    headings = [head for head in sections(DOCS / "http-api.md") if head.startswith("network.")]
    assert sorted(headings) == sorted(api.ENDPOINTS)


@pytest.mark.parametrize("header", ["VERSION_HEADER", "SETTINGS_HEADER", "OFFLINE_HEADER"])
def test_every_header_is_documented(header: str) -> None:
    assert f"| `{getattr(api, header)}` |" in text_of(DOCS / "http-api.md")


def test_every_status_is_in_the_table_of_errors() -> None:
    table = sections(DOCS / "http-api.md")["Errors"]
    rows = {row[0]: row[1] for row in re.findall(r"^\| ([\d, ]+) \| (.*?) \|$", table, re.M)}
    missing = [
        f"{status} {cls.__name__}"
        for cls, status in api.STATUSES.items()
        if not any(str(status) in on and f"`{cls.__name__}`" in said for on, said in rows.items())
    ]
    assert not missing


@pytest.mark.parametrize("nsid", [one for one in nsids() if one.endswith(".defs")])
def test_shared_definitions_are_documented(nsid: str) -> None:
    text = text_of(DOCS / "http-api.md")
    for name, definition in lexicon(nsid)["defs"].items():
        assert f"`{nsid}#{name}`" in text, f"{nsid}#{name}"
        assert not [one for one in properties(definition) if f"`{one}`" not in text]


@pytest.mark.parametrize("nsid", COLLECTIONS)
def test_every_record_is_documented_with_its_fields(nsid: str) -> None:
    section = sections(DOCS / "records.md").get(nsid)
    assert section is not None, f"docs/records.md has no section {nsid}"
    defs = lexicon(nsid)["defs"]
    words = {*properties(defs), *(name for name in defs if name != "main")}
    missing = [one for one in words if f"`{one}`" not in section]
    assert not missing, f"docs/records.md, {nsid}: {missing}"
    assert not set(_ROW.findall(section)) - words


def test_no_field_of_an_endpoint_is_documented_that_is_not_there() -> None:
    for nsid in api.ENDPOINTS:
        rows = _ROW.findall(sections(DOCS / "http-api.md")[nsid])
        assert not set(rows) - set(properties(lexicon(nsid))), nsid


def test_every_lexicon_is_documented_somewhere() -> None:
    known = {*api.ENDPOINTS, *COLLECTIONS}
    ours = {nsid for nsid in nsids() if nsid.startswith("network.atd.")}
    assert {nsid for nsid in ours if not nsid.endswith(".defs")} == known


# ------------------------------------------------------------------ the library


@pytest.mark.parametrize("name", [one for one in atd.__all__ if one != "__version__"])
def test_every_public_name_is_documented(name: str) -> None:
    text = text_of(DOCS / "python.md")
    assert re.search(rf"`(?:atd\.)?{name}\b", text), f"docs/python.md does not mention {name}"


@pytest.mark.parametrize("name", ["load", "publish", "pack"])
def test_signatures_in_the_reference_are_those_of_the_code(name: str) -> None:
    said = re.search(rf"^atd\.{name}\((.*?)\)$", text_of(DOCS / "python.md"), re.M | re.S)
    assert said is not None
    wanted = []
    for parameter in inspect.signature(getattr(atd, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in wanted:
            wanted.append("*")
        empty = parameter.default is parameter.empty
        default = "" if empty else "=" + repr(parameter.default).replace("'", '"')
        wanted.append(parameter.name + default)
    assert " ".join(said[1].split()) == ", ".join(wanted)


def test_methods_of_a_data_set_are_documented() -> None:
    section = sections(DOCS / "python.md")["Dataset"]
    public = [name for name in vars(atd.Dataset) if not name.startswith("_")]
    fields = {"source", "selection", "reading", "stages", "world", "position"}
    assert not [name for name in public if name not in fields and f"ds.{name}" not in section]


# ------------------------------------------------------------------ every page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(without_code(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            broken.append(link)
            continue
        anchors = {slug(head) for head in sections(target)} if target.suffix == ".md" else {anchor}
        if anchor and anchor not in anchors:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name_of)
def test_every_page_can_be_reached_from_the_readme(page: Path) -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        here = waiting.pop()
        if here in seen or here.suffix != ".md":
            continue
        seen.add(here)
        links = (link.partition("#")[0] for link in _LINK.findall(without_code(here)))
        paths = ((here.parent / link).resolve() for link in links if link and ":" not in link)
        waiting += [path for path in paths if path.is_file()]
    assert page in seen


def test_every_decision_is_in_the_index() -> None:
    index = text_of(DOCS / "decisions" / "README.md")
    decisions = list((DOCS / "decisions").glob("[0-9]*.md"))
    assert decisions
    for path in decisions:
        title = text_of(path).splitlines()[0].removeprefix("# ")
        assert f"]({path.name})" in index, path.name
        assert title[:25] in index, f"{path.name}: {title}"


BLOCKS = [
    pytest.param(match["info"].split(), match["body"], id=f"{name_of(page)}:{line}")
    for page in PAGES
    for match in _FENCE.finditer(text_of(page))
    for line in [text_of(page).count("\n", 0, match.start()) + 1]
    if match["info"].startswith("python")
]


@pytest.mark.parametrize(("info", "code"), BLOCKS)
def test_python_code_compiles(info: list[str], code: str) -> None:
    assert info in (["python"], ["python", "run"])
    compile(code, "<docs>", "exec")


@pytest.mark.parametrize(("info", "code"), [block for block in BLOCKS if "run" in block.values[0]])
def test_python_examples_run(info: list[str], code: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    environ = {"ATD_HOME": str(tmp_path / "home"), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------ every file

_SKIPPED = (".gz", ".png", ".jpg", ".npz", ".parquet", ".car", ".tar")
# Spelt so that this file does not hold what it looks for.
_UNWANTED = {
    "a folder of the machine that built it": re.compile(
        r"(?<![\w.}~-])/(?:" + "|".join(("wor" + "k", "roo" + "t", "Users", "builds")) + r")/\w"
    ),
    "something left to do": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
}


def committed() -> list[str]:
    """Every text file that git knows, but those that were generated."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.split("\0") if name]
    return [name for name in names if not name.endswith((*_SKIPPED, "package-lock.json"))]


def test_no_committed_text_names_a_build_machine_or_something_left_to_do() -> None:
    found = []
    for name in committed():
        path = ROOT / name
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            what = [why for why, pattern in _UNWANTED.items() if pattern.search(line)]
            found += [f"{name}:{number}: {why}: {line.strip()[:100]}" for why in what]
    assert not found
