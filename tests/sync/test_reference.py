"""Reading and writing against the reference PDS and PLC directory, which we did not write."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atd.errors import (
    Conflict,
    DidAbsent,
    HandleAbsent,
    IdentityMismatch,
    LoginRefused,
    PreviousKey,
    RateLimited,
    RecordAbsent,
    TooLarge,
    Unreachable,
)
from atd.protocol.cbor import RAW, Cid, encode
from atd.protocol.keys import PrivateKey
from atd.protocol.proof import VerifiedAbsence
from atd.protocol.syntax import Did, Nsid, Tid
from atd.records import Dataset, Layout, Release, SchemaRecord, ShardEntry, ShardPart, Split
from atd.records.references import BlobRef, StrongRef
from atd.refs import parse_dataset_ref
from atd.schema.fields import Field, Int, Schema
from atd_daemon.catalog import Catalog
from atd_daemon.config import Config
from atd_daemon.network.account import Accounts, create, delete, update
from atd_daemon.network.directory import Directory
from atd_daemon.network.fetch import HttpFetcher
from atd_daemon.network.names import DnsResolver
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.transport import open_fetcher
from atd_daemon.store import Store
from atd_daemon.sync.identities import CatalogIdentities
from atd_daemon.sync.resolve import Resolver
from atd_daemon.sync.verify import Verifier
from reference.network import Network
from world.plc import sign

pytestmark = pytest.mark.reference

NOTE = "com.example.note"
WHEN = datetime(2025, 6, 1, tzinfo=UTC)
Start = Callable[..., Network]


@dataclass
class User:
    """Everything one user's daemon reads and writes with."""

    fetcher: HttpFetcher
    directory: Directory
    pds: PdsReader
    catalog: Catalog
    store: Store
    resolver: Resolver
    accounts: Accounts

    async def head(self, did: Did) -> Cid:
        """The proved head of a repository, as the journal asks for it."""
        try:
            uri = f"at://{did}/network.atd.dataset/no-such-name"
            return (await self.resolver.record(uri, refresh=True)).commit
        except RecordAbsent as absent:
            if not isinstance(absent.proof, VerifiedAbsence):
                raise
            return absent.proof.commit.cid


@asynccontextmanager
async def user(network: Network, folder: Path) -> AsyncIterator[User]:
    config = Config.under(
        folder,
        plc_url=network.plc_url,
        dns_server=network.zone.address,
        allow_hosts=frozenset(network.allow_hosts.split(",")),
    )
    config.state_dir.mkdir(parents=True, exist_ok=True)
    fetcher = open_fetcher(config)
    catalog = Catalog(config.state_dir / "index.sqlite")
    cache = CatalogIdentities(catalog)
    directory = Directory(fetcher, DnsResolver(config), config, cache=cache)
    pds = PdsReader(fetcher, config)
    store = Store(config.cache_dir / "shards", fetcher, config)
    accounts = Accounts(config.state_dir, fetcher, directory, config)
    resolver = Resolver(directory, pds, catalog, config)
    try:
        yield User(fetcher, directory, pds, catalog, store, resolver, accounts)
    finally:
        await store.close()
        await fetcher.close()
        catalog.close()


async def publish(writer: User, did: Did, folder: Path, name: str) -> dict[str, bytes]:
    """A data set of two blobs, written in one commit; the shards' bytes by file name."""
    shards = {f"train-{number}.tar": os.urandom(200_000) for number in range(2)}
    entries = []
    for file, data in shards.items():
        (folder / file).write_bytes(data)
        blob = await writer.accounts.upload_blob(did, folder / file, "application/x-tar")
        ref = BlobRef.from_value(blob)
        entries.append(ShardEntry(file, Cid.of(data, RAW), len(data), samples=3, blob=ref))
    part_key = Tid.from_micros(int(time.time() * 1e6), 5)
    part = ShardPart(tuple(entries), WHEN)
    schema = SchemaRecord(name, "1.0.0", Schema((Field("number", Int()),)), WHEN)
    split = Split("train", (_ref(did, part, part_key),), 6, 2, 400_000)
    release = Release(
        name, "1.0.0", _ref(did, schema), Layout(), (split,), 6, 400_000, created_at=WHEN
    )
    head = Dataset(name, _ref(did, release), WHEN)
    writes = [create(part.NSID, part_key, part.to_value())]
    writes += [create(r.NSID, r.rkey, r.to_value()) for r in (schema, release, head)]
    await writer.accounts.apply_writes(did, writes, await writer.head(did))
    return shards


def _ref(did: Did, record: Any, rkey: str | None = None) -> StrongRef:
    uri = f"at://{did}/{record.NSID}/{rkey or record.rkey}"
    value: dict[str, Any] = record.to_value()
    return StrongRef.from_value({"uri": uri, "cid": str(Cid.of(encode(value)))}, "")


async def test_alice_publishes_and_bob_finds_proves_and_pulls(
    reference: Network, tmp_path: Path
) -> None:
    name = f"net-{os.getpid()}"
    async with user(reference, tmp_path / "alice") as alice:
        account = await alice.accounts.login("alice.pds1.test", "hunter2")
        assert account.pds == reference.pds[0]
        shards = await publish(alice, account.did, tmp_path, name)
    async with user(reference, tmp_path / "bob") as bob:
        found = await bob.resolver.dataset(f"@alice.pds1.test/{name}")
        assert found.identity.did == reference.account("alice.pds1.test").did
        for shard in found.shards:
            path = await bob.store.ensure(shard.want)
            assert path.read_bytes() == shards[shard.entry.name]
        verifier = Verifier(bob.directory, bob.pds, bob.resolver, bob.store)
        ref = parse_dataset_ref(f"@alice.pds1.test/{name}")
        steps = [step async for step in verifier.steps(ref)]
        assert verifier.failure is None
        assert all(step.holds for step in steps)
        await bob.resolver.publisher("alice.pds1.test")
        assert name in [entry.name for entry in bob.catalog.datasets(found.identity.did)]
        with pytest.raises(RecordAbsent) as caught:
            await bob.resolver.dataset("@alice.pds1.test/no-such-data-set")
        assert isinstance(caught.value.proof, VerifiedAbsence)


async def test_both_halves_of_an_identity_are_proved_by_the_reference_directory(
    reference: Network, tmp_path: Path
) -> None:
    async with user(reference, tmp_path) as bob:
        for account in reference.accounts:
            found = await bob.directory.resolve(account.handle)
            assert (found.did, found.pds, found.handle) == (
                account.did,
                account.pds,
                account.handle,
            )
            assert await bob.directory.previous_keys(found.did) == []
        with pytest.raises(HandleAbsent):
            await bob.directory.resolve("nobody.pds1.test")
        with pytest.raises(DidAbsent):
            await bob.directory.resolve("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
        dave = reference.account("dave.pds2.test")
        reference.zone.point("famous.pds1.test", dave.did)
        with pytest.raises(IdentityMismatch, match=r"dave\.pds2\.test"):
            await bob.directory.resolve("famous.pds1.test")


async def test_hints_of_the_reference_server_are_read(reference: Network, tmp_path: Path) -> None:
    async with user(reference, tmp_path) as carol:
        account = await carol.accounts.login("carol.pds2.test", "hunter2")
        writes = [create(NOTE, f"hint{number}", {"n": number}) for number in range(120)]
        done = await carol.accounts.apply_writes(account.did, writes, None)
        identity = await carol.directory.resolve(account.did)
        listed = await carol.pds.list_records(identity, Nsid(NOTE))
        assert {str(hint.cid) for hint in listed} >= {row["cid"] for row in done["results"]}
        cid, rev = await carol.pds.latest_commit(identity)
        assert (str(cid), rev) == (done["commit"]["cid"], done["commit"]["rev"])
        status = await carol.pds.repo_status(identity)
        assert (status.active, status.rev) == (True, rev)
        described = await carol.pds.describe_server(identity.pds)
        assert described.blob_limit == 5 * 1024 * 1024


async def test_refusals_of_the_reference_server_are_told_apart(
    reference: Network, tmp_path: Path
) -> None:
    async with user(reference, tmp_path) as dave:
        with pytest.raises(LoginRefused, match="refused the password"):
            await dave.accounts.login("dave.pds2.test", "wrong")
        account = await dave.accounts.login("dave.pds2.test", "hunter2", pds=reference.pds[1])
        with pytest.raises(LoginRefused):
            await dave.accounts.login("dave.pds2.test", "hunter2", pds=reference.pds[0])
        did, apply = account.did, dave.accounts.apply_writes
        before = await dave.head(did)
        await apply(did, [create(NOTE, "a", {"n": 1, "nothing": None})], before)
        with pytest.raises(Conflict) as swap:
            await apply(did, [create(NOTE, "b", {"n": 1})], before)
        assert swap.value.reason == "InvalidSwap"
        blob = {"$type": "blob", "ref": Cid.of(b"never", RAW), "mimeType": "a/b", "size": 5}
        with pytest.raises(Conflict) as missing:
            await apply(did, [create(NOTE, "b", {"file": blob})], None)
        assert missing.value.reason == "BlobNotFound"
        with pytest.raises(Unreachable, match="answered 500"):
            await apply(did, [create(NOTE, "a", {"n": 2})], None)
        await apply(did, [update(NOTE, "a", {"n": 2})], None)
        await apply(did, [delete(NOTE, "a")], None)
        (tmp_path / "big").write_bytes(bytes(5 * 1024 * 1024 + 1))
        with pytest.raises(TooLarge):
            await dave.accounts.upload_blob(did, tmp_path / "big", "application/x-tar")
        await dave.accounts.logout()


async def test_a_token_of_the_reference_server_is_renewed(
    reference: Network, tmp_path: Path
) -> None:
    async with user(reference, tmp_path) as bob:
        account = await bob.accounts.login("bob.pds1.test", "hunter2")
        file = tmp_path / "state" / "accounts.json"
        token = bob.accounts.list()[0]
        assert token.did == account.did
        # What an old token looks like to the server: one that its secret did not sign.
        text = file.read_text()
        access = text.partition('"access": "')[2].partition('"')[0]
        file.write_text(text.replace(access, access[:-4] + "AAAA"))
    async with user(reference, tmp_path) as bob:
        await bob.accounts.apply_writes(account.did, [create(NOTE, "renewed", {})], None)
        assert file.read_text() != text
        await bob.accounts.apply_writes(account.did, [delete(NOTE, "renewed")], None)


async def test_a_rate_limit_of_the_reference_server_is_told(
    start_network: Start, tmp_path: Path
) -> None:
    network = start_network(count=1, rate_limits=True)
    async with user(network, tmp_path) as alice:
        account = await alice.accounts.login("alice.pds1.test", "hunter2")
        with pytest.raises(RateLimited) as caught:
            await _spend(alice, account.did)
        assert caught.value.retry_after_s is not None
        assert 0 < caught.value.retry_after_s <= 3600


async def _spend(writer: User, did: Did) -> None:
    """Use up an hour's 5,000 points: 600 for each commit of 200 new records."""
    for turn in range(9):
        writes = [create(NOTE, f"{turn}-{number}", {}) for number in range(200)]
        await writer.accounts.apply_writes(did, writes, None)


async def test_a_rotated_key_is_a_state_of_its_own_until_the_next_write(
    start_network: Start, tmp_path: Path
) -> None:
    """The signing key changes in the PLC directory while the PDS goes on with the old one."""
    network = start_network(count=1)
    did = Did(network.account("alice.pds1.test").did)
    async with user(network, tmp_path / "alice") as alice:
        await alice.accounts.login("alice.pds1.test", "hunter2")
        await publish(alice, did, tmp_path, "flowers")
        old = (await alice.directory.resolve(did)).key
        await alice.resolver.dataset("@alice.pds1.test/flowers")
        await _rotate(alice, network, did)
        async with user(network, tmp_path / "bob") as bob:
            assert await bob.directory.previous_keys(did) == [old]
            with pytest.raises(PreviousKey, match="signed by a previous key"):
                await bob.resolver.dataset("@alice.pds1.test/flowers")
            assert [p.reason for p in bob.catalog.problems()] == ["PreviousKey"]
            found = await bob.resolver.dataset("@alice.pds1.test/flowers", allow_previous_key=True)
            assert found.release.previous_key
        await alice.directory.resolve(did, refresh=True)
        found = await alice.resolver.dataset("@alice.pds1.test/flowers")
        assert not found.release.previous_key, "she proved this very commit under that key"


async def _rotate(who: User, network: Network, did: Did) -> None:
    """What a migration does to the signing key, with the rotation key of the test's PDS."""
    reply = await who.fetcher.request("GET", f"{network.plc_url}/{did}/log/last", max_bytes=100_000)
    last = reply.json()
    secret = hashlib.sha256(b"rotation key of test PDS 1").digest()
    rotation = PrivateKey.from_bytes("k256", secret)
    fresh = PrivateKey.from_bytes("k256", hashlib.sha256(b"fresh").digest())
    operation = {name: value for name, value in last.items() if name != "sig"}
    operation |= {
        "prev": str(Cid.of(encode(last))),
        "verificationMethods": {"atproto": fresh.public.to_did_key()},
    }
    url = f"{network.plc_url}/{did}"
    signed = sign(operation, rotation)
    reply = await who.fetcher.request("POST", url, json=signed, max_bytes=100_000)
    assert reply.status == 200, reply.body
