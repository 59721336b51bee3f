"""The house holds: arrows between rooms point one way, and each outside library has one door.

``ARROWS`` is the plan of ``docs/architecture.md`` as data. A room is the longest prefix that fits a
module; what it may import is transitive in the plan, spelt out here.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {
    "atd": ROOT / "client" / "atd",
    "atd_daemon": ROOT / "daemon" / "atd_daemon",
}

BASE = ["atd.errors", "atd.disk", "atd.names"]
# What a recipe is, in a record and elsewhere: the light half of atd.recipes.
RECIPE = [f"atd.recipes.{m}" for m in ("model", "recorded", "rules", "strangers", "values")]
# What a schema is in a record: the light half of atd.schema.
FIELDS = [*BASE, "atd.protocol.syntax", *(f"atd.schema.{m}" for m in ("fields", "kinds", "limits"))]
RECORDS = [*FIELDS, *RECIPE, "atd.protocol", "atd.records", "atd.lexicon_files"]
SCHEMA = [*RECORDS, "atd.schema"]
SHARDS = [*SCHEMA, "atd.shards", "atd.manifest", "atd.files"]
ASKING = [
    *BASE,
    "atd.protocol.syntax",
    *(f"atd.{room}" for room in ("api", "settings", "setting_values")),
    *(f"atd.{room}" for room in ("refs", "launch", "connection")),
]
LIBRARY = [
    *SHARDS,
    "atd.addresses",
    *ASKING,
    *(
        f"atd.{room}"
        for room in ("bundles", "changes", "comparing", "editing", "following", "keeping", "locks")
    ),
    *(f"atd.{room}" for room in ("proofs", "service", "sessions", "s3", "statistics", "versions")),
]

PUBLIC = [
    *LIBRARY,
    "atd",
    *(f"atd_daemon.{room}" for room in ("public", "catalog", "config", "health", "inflight")),
    *(f"atd_daemon.{room}" for room in ("listener", "metrics", "server", "store", "sync")),
    "atd_daemon.network.fetch",
]

ARROWS: dict[str, list[str]] = {
    "atd.errors": [],
    "atd.addresses": ["atd.errors", "atd.protocol.syntax"],
    "atd.disk": ["atd.errors"],
    "atd.names": ["atd.errors", "atd.protocol.syntax"],
    "atd.protocol": ["atd.errors"],
    "atd.schema.fields": FIELDS,
    "atd.schema.kinds": FIELDS,
    "atd.schema.limits": FIELDS,
    "atd.lexicon_files": ["atd.errors", "atd.protocol"],
    "atd.records": RECORDS,
    "atd.schema": SCHEMA,
    "atd.files": ["atd.errors", "atd.protocol"],
    "atd.validators": [],
    "atd.manifest": SHARDS,
    "atd.shards": SHARDS,
    "atd.bundles": [*RECORDS, "atd.bundles"],
    "atd.setting_values": [],
    "atd.settings": [*BASE, "atd.setting_values"],
    "atd.refs": [*BASE, "atd.protocol.syntax"],
    "atd.api": [*BASE, "atd"],
    "atd.launch": ASKING,
    "atd.connection": [*ASKING, "atd"],
    "atd.service": ASKING,
    "atd.sessions": ASKING,
    "atd.changes": [*ASKING, "atd.service"],
    "atd.versions": [*BASE],
    "atd.comparing": [*SCHEMA, "atd.versions"],
    "atd.following": [*ASKING, "atd.service"],
    "atd.keeping": [*ASKING, "atd.service"],
    "atd.editing": [*ASKING, *RECORDS, "atd.cards", "atd.changes", "atd.service"],
    "atd.statistics": [*SHARDS, "atd.statistics"],
    "atd.statistics.asking": [*SHARDS, *ASKING, "atd.service", "atd.statistics"],
    "atd.locks": [*ASKING, "atd.protocol.cid"],
    "atd.proofs": [*RECORDS, *ASKING, "atd.bundles"],
    **{key: [*BASE, "atd.protocol.syntax", "atd.protocol.cid", *RECIPE] for key in RECIPE},
    # Recipes run without a daemon, and know the shapes of samples. Only those that are published
    # are asked of the daemon: that is in two modules.
    "atd.recipes": [
        *BASE,
        *(f"atd.{room}" for room in ("addresses", "files", "refs", "settings", "validators")),
        "atd.protocol.syntax",
        "atd.shards.media",
        "atd.recipes",
        "atd",
    ],
    "atd.recipes.published": [*RECORDS, *ASKING, "atd.recipes", "atd"],
    "atd.recipes.publishing": [*RECORDS, *ASKING, "atd.service", "atd.recipes", "atd"],
    "atd.dataset": [*LIBRARY, "atd.dataset"],
    "atd.ray": [*LIBRARY, "atd.dataset"],
    "atd.cards": [*RECORDS, "atd.cards"],
    # Engines know tasks, and nothing of what a task does.
    "atd.engines": [*BASE, "atd.engines"],
    "atd.publishing": [*LIBRARY, "atd.cards", "atd.engines", "atd.recipes", "atd.publishing"],
    "atd.cli": [
        *LIBRARY,
        "atd.cards",
        "atd.dataset",
        "atd.publishing",
        "atd.recipes",
        "atd.cli",
        "atd",
        "atd_daemon",
    ],
    "atd.__main__": ["atd.cli"],
    "atd": [*LIBRARY, "atd.dataset", "atd.publishing", "atd.ray", "atd.recipes"],
    "atd_daemon.config": [*ASKING],
    "atd_daemon.sqlite": [],
    "atd_daemon.network": [*LIBRARY, "atd", "atd_daemon.config", "atd_daemon.network"],
    "atd_daemon.catalog": [
        *RECORDS,
        *(f"atd_daemon.{room}" for room in ("catalog", "config", "sqlite")),
    ],
    "atd_daemon.store": [
        "atd.api",
        *RECORDS,
        "atd.files",
        "atd.validators",
        *(f"atd_daemon.{room}" for room in ("store", "network", "config")),
    ],
    "atd_daemon.inflight": [],
    "atd_daemon.listener": ["atd_daemon.inflight"],
    "atd_daemon.host": [
        *RECORDS,
        "atd",
        *(f"atd_daemon.{room}" for room in ("host", "sqlite", "inflight", "listener")),
    ],
    "atd_daemon.sync": [
        *LIBRARY,
        "atd",
        *(f"atd_daemon.{room}" for room in ("config", "network", "catalog", "store", "sync")),
    ],
    "atd_daemon.publishing": [
        *LIBRARY,
        *(
            f"atd_daemon.{room}"
            for room in ("config", "sqlite", "network", "catalog", "store", "sync", "publishing")
        ),
    ],
    # Nothing here can fetch: of the network, only what says that it is switched off. The keeper
    # asks on the daemon's own account.
    "atd_daemon.public": PUBLIC,
    "atd_daemon.public.keeper": [*PUBLIC, "atd_daemon.network.directory"],
    "atd_daemon.public.opening": [*LIBRARY, "atd", "atd_daemon"],
    "atd_daemon": [*LIBRARY, "atd", "atd_daemon"],
}

# Library -> the modules that may import it. Everything else asks them.
DOORS: dict[str, list[str]] = {
    "libipld": ["atd.protocol.cbor", "atd.protocol.cid"],
    "regex": ["atd.protocol.graphemes", "atd_daemon.catalog.patterns"],
    "cryptography": ["atd.protocol.keys"],
    "coincurve": ["atd.protocol.keys"],
    "numpy": [
        "atd.recipes.readers",
        "atd.schema",
        "atd.shards",
        "atd.statistics",
        "atd.dataset",
        "atd.publishing",
        "atd_daemon.demo",
    ],
    "PIL": ["atd.shards.pillow", "atd_daemon.demo"],
    "soundfile": ["atd.shards.soundfile_door"],
    "msgpack": ["atd.shards.codec"],
    "webdataset": ["atd.dataset.webdataset_door"],
    "pyarrow": [
        "atd.shards.texts",
        "atd.recipes.parquet_door",
        *(
            f"atd.publishing.sources.{m}"
            for m in (
                "arrow_rows",
                "arrow_survey",
                "arrow_types",
                "arrow_file",
                "frames",
                "parquet",
            )
        ),
        *(f"atd.dataset.{door}" for door in ("arrow_columns", "arrow_door", "hf_door")),
        "atd.dataset.pandas_door",
        "atd.dataset.ray_door",
    ],
    "pandas": ["atd.dataset.pandas_door"],
    "polars": ["atd.dataset.polars_door"],
    "datasets": ["atd.dataset.hf_door"],
    "huggingface_hub": ["atd.publishing.sources.hub"],
    "torch": ["atd.dataset.torch_door"],
    "fsspec": ["atd.dataset.fsspec_door"],
    "typer": ["atd.cli"],
    "aiohttp": [
        f"atd_daemon.{room}"
        for room in (
            "network.transport",
            "server",
            "host",
            "public",
            "inflight",
            "listener",
            "main",
        )
    ],
    "dns": ["atd_daemon.network.names"],
    "sqlite_utils": ["atd_daemon.catalog.migrations"],
    # The demo alters a host's database behind its back, as a burglar would.
    "sqlite3": [
        "atd_daemon.demo",
        *(f"atd_daemon.{room}" for room in ("sqlite", "catalog", "publishing.journal", "host")),
    ],
    "botocore": ["atd.s3"],
    "yaml": ["atd.cards.yaml_door"],
    "packaging": ["atd.cards.spdx"],
    "dnslib": ["atd_daemon.demo"],
    "dask": ["atd.engines.dask_door"],
    "distributed": ["atd.engines.dask_door"],
    "ray": ["atd.engines.ray_door", "atd.dataset.ray_door"],
}

# Parts of the standard library that reach out: the modules of each package that may import them.
WAYS_OUT: dict[str, dict[str, list[str]]] = {
    "atd.recipes": {
        library: ["atd.recipes.fetching"]
        for library in ("http", "urllib.request", "ssl", "socket", "ftplib", "asyncio")
    },
}

# Never: code from data, in any form.
BANNED = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path) -> Iterator[tuple[str, int]]:
    """Every module that ``module`` imports, absolute, with its line."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            known = {name for name, _ in KNOWN}
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield (full if full in known else base), node.lineno


KNOWN = list(modules())


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def room_of(module: str) -> str:
    return max((room for room in ARROWS if within(module, room)), key=len)


def allowed(module: str, target: str) -> bool:
    rooms = ARROWS[room_of(module)]
    # "atd" alone means the package's own __init__ (its version), not the rooms below it.
    return room_of(module) == room_of(target) or any(
        target == room if room in ("atd",) else within(target, room) for room in rooms
    )


@pytest.mark.parametrize(("module", "path"), KNOWN, ids=[name for name, _ in KNOWN])
def test_arrows_point_one_way(module: str, path: Path) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for target, line in imports(module, path)
        if target.split(".")[0] in SOURCES and not allowed(module, target)
    ]
    assert not wrong, f"{room_of(module)} may import {ARROWS[room_of(module)]}: {wrong}"


@pytest.mark.parametrize(("module", "path"), KNOWN, ids=[name for name, _ in KNOWN])
def test_each_library_has_one_door(module: str, path: Path) -> None:
    wrong = []
    for target, line in imports(module, path):
        library = target.split(".")[0]
        doors = DOORS.get(library)
        if library in BANNED or (doors and not any(within(module, door) for door in doors)):
            wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}; doors: {doors}")
    assert not wrong, wrong


@pytest.mark.parametrize("room", WAYS_OUT)
def test_a_room_that_fetches_has_one_door_to_the_network(room: str) -> None:
    used, wrong = set(), []
    for module, path in KNOWN:
        for target, line in imports(module, path) if within(module, room) else ():
            for library, doors in WAYS_OUT[room].items():
                if within(target, library):
                    used.add(module)
                    if module not in doors:
                        wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert not wrong
    assert used == {door for doors in WAYS_OUT[room].values() for door in doors}


LOADED_LATE = {"botocore", "coincurve"}
"""Extras, loaded by name when they are needed."""


def test_every_door_is_used() -> None:
    used = {target.split(".")[0] for module, path in KNOWN for target, _ in imports(module, path)}
    unused = set(DOORS) - used - LOADED_LATE
    assert not unused, f"doors to libraries that nobody imports: {unused}"


def test_every_dependency_of_the_distribution_has_a_door() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(one for extra in extras for one in extra)]
    names = {re.split(r"[^A-Za-z0-9-]", one)[0].lower() for one in wanted}
    modules_of = {
        "pillow": "PIL",
        "dnspython": "dns",
        "sqlite-utils": "sqlite_utils",
        "huggingface-hub": "huggingface_hub",
        "pyyaml": "yaml",
    }
    brought = {"dask"}  # by distributed
    wanted_doors = set(DOORS) - {"sqlite3"} - brought
    assert {modules_of.get(name, name) for name in names} == wanted_doors


def test_no_import_hides_in_a_function() -> None:
    hidden = []
    for _, path in KNOWN:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                hidden += [
                    f"{path.relative_to(ROOT)}:{inner.lineno}"
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Import | ast.ImportFrom)
                ]
    assert not hidden, hidden


def test_the_lexicons_exist_once() -> None:
    link = SOURCES["atd"] / "lexicons"
    assert link.is_symlink()
    assert link.resolve() == ROOT / "lexicons"
