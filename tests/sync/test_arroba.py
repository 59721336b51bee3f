"""Reading and writing against arroba, a PDS that is neither ours nor the reference one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from arroba_lab import Lab, dataset_records, running
from atd.errors import LoginRefused, RecordAbsent
from atd.protocol.proof import VerifiedAbsence
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.account import Accounts, update
from atd_daemon.network.directory import Directory
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.sync.resolve import Resolver


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running() as lab:
        yield lab


async def test_records_written_to_arroba_are_proved_and_indexed(lab: Lab, tmp_path: Path) -> None:
    config = Config.under(
        tmp_path,
        dns_server=lab.zone.address,
        allow_hosts=frozenset({lab.host}),
    )
    fetcher = open_fetcher(config)
    catalog = Catalog(tmp_path / "index.sqlite")
    directory = Directory(fetcher, DnsResolver(config), config)
    resolver = Resolver(directory, PdsReader(fetcher, config), catalog, config)
    accounts = Accounts(tmp_path, fetcher, directory, config)
    try:
        with pytest.raises(LoginRefused, match="refused the password"):
            await accounts.login("lab.test", "wrong")
        account = await accounts.login("lab.test", "hunter2")
        assert account.did == lab.did
        with pytest.raises(RecordAbsent) as caught:  # arroba answers 400 and proves nothing
            await resolver.dataset("@lab.test/flowers")
        assert isinstance(caught.value.proof, VerifiedAbsence)
        writes = dataset_records(lab)
        await accounts.apply_writes(lab.did, writes, None)
        found = await resolver.dataset("@lab.test/flowers")
        assert found.identity.key == lab.key.public
        assert len(found.shards) == 3
        again = [update(w["collection"], w["rkey"], w["value"]) for w in writes[-1:]]
        again[0]["value"]["title"] = "Flowers"
        await accounts.apply_writes(lab.did, again, None)
        indexed = await resolver.publisher(lab.did)
        assert indexed.changes is not None
        assert [entry.title for entry in catalog.datasets(lab.did)] == ["Flowers"]
    finally:
        await fetcher.close()
        catalog.close()
