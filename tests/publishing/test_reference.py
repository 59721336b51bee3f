"""Publishing to the reference PDS: what a world that we made ourselves cannot show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atd.errors import RecordAbsent, TooLarge
from atd.publishing.packing import pack
from atd.publishing.previewing import write_preview
from atd.publishing.sources.opening import open_source
from atd.recipes.recorded import body_of
from atd.recipes.values import from_value
from atd.records import BlobRef
from atd.settings import Settings
from atd_daemon.network.account import create
from atd_daemon.publishing.asked import Begin, Commit, Published
from atd_daemon.publishing.edit import Edit, Edited
from atd_daemon.publishing.recipes import PutRecipe
from atd_daemon.services import Services, open_services
from atd_daemon.sync.recipes import RecipeFinder
from publishing.desk import Heard, numbers
from reference.network import Network

pytestmark = pytest.mark.reference

Open = Callable[[Network, str], AbstractAsyncContextManager[Services]]


@pytest.fixture
def daemon(tmp_path: Path) -> Open:
    """Opens the parts of a daemon in a network, logged in as one of its accounts."""

    @asynccontextmanager
    async def make(network: Network, handle: str) -> AsyncIterator[Services]:
        variables = {
            "ATD_HOME": str(tmp_path / handle),
            "ATD_PLC_URL": network.plc_url,
            "ATD_DNS_SERVER": network.zone.address,
            "ATD_ALLOW_HOSTS": network.allow_hosts,
        }
        settings = Settings.load(variables)
        settings.prepare()
        async with open_services(settings, datetime.now(UTC)) as services:
            await services.accounts.login(handle, "hunter2")
            yield services

    return make


async def publish(
    services: Services, what: Any, name: str, heard: Heard | None = None, preview: str = "none"
) -> Published:
    begun = await services.publishing.begin(Begin(name=name, shard_size=65536))
    assert begun.id
    assert begun.staging
    made = pack(open_source(what), begun.staging, begun.cuts)
    write_preview(made, Path(begun.staging), preview)
    return await services.publishing.commit(begun.id, Commit(consent=True), Heard())


async def test_first_again_changed_and_gone(reference: Network, daemon: Open) -> None:
    async with daemon(reference, "dave.pds2.test") as dave:
        first = await publish(dave, numbers(100), "numbers")
        assert (first.version, first.handle) == ("1.0.0", "dave.pds2.test")
        assert (await publish(dave, numbers(100), "numbers")).unchanged
        second = await publish(dave, numbers(101), "numbers")
        assert (second.version, second.new_shards <= 2) == ("1.1.0", True)

        async with daemon(reference, "alice.pds1.test") as alice:
            found = await alice.resolver.dataset("@dave.pds2.test/numbers@1.0.0")
            for shard in found.shards:
                await alice.store.ensure(shard.want)

            undone = await dave.publishing.unpublish("numbers", Heard(), consent=True)
            assert len(undone.records) >= 5
            with pytest.raises(RecordAbsent):
                await alice.resolver.dataset("@dave.pds2.test/numbers", refresh=True)


async def test_a_blob_that_the_pds_never_got(reference: Network, daemon: Open) -> None:
    async with daemon(reference, "dave.pds2.test") as dave:
        begun = await dave.publishing.begin(Begin(name="lost", shard_size=65536))
        assert begun.id
        assert begun.staging
        manifest = pack(open_source(numbers(60, start=9000)), begun.staging, begun.cuts)
        account = dave.accounts.get()
        for shard in manifest.shards:
            blob = BlobRef(shard.digest, "application/x-tar", shard.size)
            journal = dave.publishing.tools.journal
            journal.remember_upload(f"{account.pds} {account.did}", begun.id, blob)
        heard = Heard()
        published = await dave.publishing.commit(begun.id, Commit(consent=True), heard)
        assert "uploading again" in heard.names
        assert published.version == "1.0.0"
        await dave.publishing.unpublish("lost", heard, consent=True)


async def test_another_writer_at_the_same_time(reference: Network, daemon: Open) -> None:
    async with daemon(reference, "dave.pds2.test") as dave:
        did = dave.accounts.get().did
        done = asyncio.Event()

        async def chatter() -> int:
            posts = 0
            while not done.is_set():
                value = {"text": f"{posts}", "createdAt": "2025-01-01T00:00:00Z"}
                key = f"chatter{posts}"
                write = create("app.bsky.feed.post", key, value)
                await dave.accounts.apply_writes(did, [write], None)
                posts += 1
                await asyncio.sleep(0.05)
            return posts

        writer = asyncio.create_task(chatter())
        published = await publish(dave, numbers(60, start=500), "between")
        done.set()
        assert published.version == "1.0.0"
        assert await writer > 1
        await dave.publishing.unpublish("between", Heard(), consent=True)


async def test_shards_are_cut_to_what_the_pds_says_that_it_takes(
    start_network: Callable[..., Network], daemon: Open
) -> None:
    network = start_network(count=1, blob_limit=50_000)
    async with daemon(network, "alice.pds1.test") as alice:
        published = await publish(alice, numbers(200), "numbers")
        assert published.size / published.shards <= 50_000
        pack_to = alice.config.cache_dir / "packed"
        pack(open_source(numbers(200)), pack_to)
        with pytest.raises(TooLarge, match="takes 50000") as caught:
            await publish(alice, pack_to, "large")
        assert "--store" in caught.value.next_step


async def test_what_a_new_version_costs_at_a_real_pds(reference: Network, daemon: Open) -> None:
    """Unchanged: no byte and no write. One sample: one shard. Appended: what is new alone."""
    async with daemon(reference, "dave.pds2.test") as dave:
        data = [(f"s{at}", {"noise": one}) for at, one in enumerate(numbers(600)["noise"])]
        first = await publish(dave, data, "costs")
        rev = (await rev_of(dave, "costs"), first.rev)
        again = await publish(dave, data, "costs")
        assert (again.unchanged, again.uploaded) == (True, 0)
        assert (await rev_of(dave, "costs"), again.rev) == rev
        data[77] = ("s77", {"noise": data[78][1]["noise"]})
        second = await publish(dave, data, "costs")
        assert (second.new_shards, second.shards) == (1, first.shards)
        assert second.uploaded < 70_000 < first.uploaded
        added = [(f"t{at}", value) for at, (_, value) in enumerate(data[:20])]
        begun = await dave.publishing.begin(Begin(name="costs", append=True))
        assert begun.id
        assert begun.staging
        pack(open_source(added), begun.staging, begun.cuts)
        third = await dave.publishing.commit(begun.id, Commit(consent=True), Heard())
        assert (third.new_shards, third.samples) == (1, 620)
        assert third.uploaded == third.size - second.size
        await dave.publishing.unpublish("costs", Heard(), consent=True)


async def rev_of(services: Services, name: str) -> str:
    """The revision of the whole repository, as its PDS says now."""
    found = await services.resolver.dataset(f"@dave.pds2.test/{name}", refresh=True)
    assert found.head is not None
    return str(found.head.rev)


async def test_a_card_is_edited_deprecated_and_a_release_is_named(
    reference: Network, daemon: Open
) -> None:
    async with daemon(reference, "dave.pds2.test") as dave:
        await publish(dave, numbers(60), "edited")
        await publish(dave, numbers(70), "edited")

        async def edit(**asked: Any) -> Edited:
            return await dave.publishing.edit(Edit.from_json({"name": "edited", **asked}), Heard())

        words = {"card": {"title": "Edited", "license": "MIT"}, "addTags": ["numbers"]}
        first = await edit(**words)
        assert first.written
        assert not (await edit(**words)).written
        named = await edit(
            deprecated="Use another.", aliases=[{"name": "stable", "version": "1.0.0"}]
        )
        assert named.previous == first.cid
        await publish(dave, numbers(80), "edited")
        async with daemon(reference, "alice.pds1.test") as alice:
            found = await alice.resolver.dataset("@dave.pds2.test/edited@stable")
            assert found.release.record.version == "1.0.0"
            assert found.head is not None
            card = found.head.record
            assert (card.title, card.license, card.tags) == ("Edited", "MIT", ("numbers",))
            assert (card.deprecated, card.version) == ("Use another.", "1.2.0")
        await dave.publishing.unpublish("edited", Heard(), consent=True)


async def test_a_recipe_is_published_changed_carried_and_taken_back(
    reference: Network, daemon: Open
) -> None:
    value = {
        "name": "letters",
        "resources": {
            "raw": {"urls": ["https://data.example.org/x"], "size": 10, "sha256": "0" * 64}
        },
        "data": {"rows": {"kind": "csv", "of": "raw", "delimiter": ";"}},
    }
    first = body_of(from_value(value))
    second = body_of(from_value({**value, "title": "Letters"}))
    async with daemon(reference, "dave.pds2.test") as services:
        desk, finder = services.publishing.recipes, RecipeFinder(services.resolver)
        for said in (first, second):
            made = await desk.put(PutRecipe("letters", said, consent=True), Heard())
            found = await finder.find("@dave.pds2.test/letters")
            assert (str(found.recipe.cid), found.recipe.record.body) == (made["cid"], said)
        begun = await services.publishing.begin(Begin(name="carried", shard_size=65536))
        assert begun.id
        assert begun.staging
        pack(open_source(numbers(10)), begun.staging, begun.cuts)
        commit = Commit(consent=True, recipe=second)
        await services.publishing.commit(begun.id, commit, Heard())
        carried = await finder.find("@dave.pds2.test/carried")
        assert carried.recipe.uri.rkey == "carried:1.0.0"
        await desk.remove("letters", None, True, Heard())
        with pytest.raises(RecordAbsent):
            await finder.find("@dave.pds2.test/letters")
        await services.publishing.unpublish("carried", Heard(), consent=True)
        with pytest.raises(RecordAbsent):
            await services.resolver.record(carried.recipe.uri, refresh=True)


async def test_a_preview_is_a_blob_of_the_real_pds(reference: Network, daemon: Open) -> None:
    async with daemon(reference, "carol.pds2.test") as services:
        published = await publish(services, numbers(100), "seen", preview="full")
        assert published.warnings == ()
        resolved = await services.resolver.dataset("@carol.pds2.test/seen")
        blob = resolved.release.record.preview
        assert blob is not None
        assert blob.mime == "application/json"
        found = await services.previews.of(resolved)
        assert found.split("train").field("n").numbers["value"].high == 99
        again = await publish(services, numbers(100), "seen", preview="full")
        assert again.unchanged
        await services.publishing.unpublish("seen", Heard(), consent=True)
        async with services.pds.blob(resolved.identity, blob.cid) as reply:
            assert reply.status == 400, "it went with the release"
