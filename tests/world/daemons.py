"""The reading half of a daemon, in a world: what tests of reading look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.directory import Directory
from atd_daemon.network.mirrors import MirroredReader
from atd_daemon.network.pds import PdsReader
from atd_daemon.store import Store
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.resolve import Resolver
from world.network import World


@dataclass
class Reader:
    """Directory, catalog, store and resolver of one user."""

    config: Config
    catalog: Catalog
    directory: Directory
    pds: PdsReader
    store: Store
    resolver: Resolver

    @classmethod
    def of(cls, world: World, folder: Path, **values: Any) -> Reader:
        """A reader whose things live in ``folder``."""
        config = world.config(folder, **values)
        config.state_dir.mkdir(parents=True, exist_ok=True)
        catalog = Catalog(config.state_dir / "index.sqlite")
        fetcher = world.fetcher_with(config)
        directory = Directory(
            fetcher, world.txt, config, clock=world.now, cache=CatalogIdentities(catalog)
        )
        pds = MirroredReader(fetcher, config)
        store = Store(config.cache_dir / "shards", fetcher, config)
        resolver = Resolver(directory, pds, catalog, config, clock=world.now)
        return cls(config, catalog, directory, pds, store, resolver)

    def problems(self) -> dict[str, str]:
        """What the index says is wrong: URI's last part to the error's class."""
        return {str(p.uri).rpartition("/")[2]: p.reason for p in self.catalog.problems()}

    def listed(self) -> list[str]:
        """The names of the data sets that are listed."""
        return [entry.name for entry in self.catalog.datasets()]
