"""Changing the card of what is published, and naming its releases: what is written, what stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from atd.errors import (
    Busy,
    Conflict,
    InvalidSyntax,
    LexiconError,
    LocalError,
    LoginRefused,
    ProofError,
    RecordAbsent,
)
from atd.refs import parse_dataset_ref
from atd_daemon.publishing.edit import Edit, Edited
from atd_daemon.publishing.holders import Holder
from atd_daemon.sync.verify import Verifier
from publishing.desk import Checkpoints, Desk, Killed, calls, numbers, opened, record
from world import Account, World, lies
from world.daemons import Reader
from world.wire import Answer, Call

APPLY = "com.atproto.repo.applyWrites"
Truth = Callable[[], Awaitable[Answer]]


@pytest.fixture
async def flowers(desk: Desk, world: World) -> Desk:
    """A desk with two releases of ``numbers``."""
    await desk.publish(numbers(60), request={"card": {"title": "Numbers", "tags": ["a", "b"]}})
    await desk.publish(numbers(70))
    world.calls.clear()
    world.pass_time(60)
    return desk


async def edit(desk: Desk, **asked: Any) -> Edited:
    return await desk.publishing.edit(Edit.from_json({"name": "numbers", **asked}), desk.heard)


def head(alice: Account) -> Any:
    return record(alice, "dataset", "numbers")


def versions(alice: Account) -> dict[str, str]:
    """The aliases in the record, each with its version."""
    return {
        one["name"]: one["release"]["uri"].rpartition(":")[2]
        for one in head(alice).get("aliases", ())
    }


# ------------------------------------------------------------------ the card


async def test_an_edit_is_one_commit_of_one_record(
    alice: Account, flowers: Desk, world: World
) -> None:
    before, commits = head(alice), len(alice.history)
    done = await edit(flowers, card={"license": "MIT", "title": "More"}, addTags=["c"], clear=[])
    assert len(alice.history) == commits + 1
    assert len(calls(world, APPLY)) == 1
    after = head(alice)
    changed = {"license": "MIT", "title": "More", "tags": ["a", "b", "c"]}
    assert after == {**before, **changed, "updatedAt": after["updatedAt"]}
    assert after["updatedAt"] > before["updatedAt"]
    assert done.written
    assert str(done.cid) == str(alice.head.records["network.atd.dataset/numbers"])
    assert [f"{one.sign} {one.what}" for one in done.differences] == [
        "~ title",
        "+ licence",
        "+ tag",
    ]
    entry = flowers.reader.catalog.dataset(alice.identity.did, "numbers")
    assert entry is not None
    assert entry.title == "More"


async def test_fields_and_tags_go(alice: Account, flowers: Desk) -> None:
    await edit(flowers, clear=["title", "homepage"], removeTags=["a", "z"])
    assert "title" not in head(alice)
    assert head(alice)["tags"] == ["b"]
    await edit(flowers, clear=["tags"], addTags=["x"])
    assert head(alice)["tags"] == ["x"]
    await edit(flowers, removeTags=["x"])
    assert "tags" not in head(alice)


async def test_an_edit_that_changes_nothing_writes_nothing(alice: Account, flowers: Desk) -> None:
    commits = len(alice.history)
    done = await edit(flowers, card={"title": "Numbers"}, addTags=["b"], clear=["homepage"])
    assert (done.written, done.differences) == (False, [])
    assert len(alice.history) == commits


async def test_a_dry_run_says_what_would_change(alice: Account, flowers: Desk) -> None:
    commits = len(alice.history)
    done = await edit(flowers, card={"title": "More"}, dryRun=True)
    said = done.to_json()
    assert (said["written"], said["cid"]) == (False, said["previous"])
    assert said["changes"] == [{"sign": "~", "what": "title", "before": "Numbers", "after": "More"}]
    assert (said["before"]["title"], said["after"]["title"]) == ("Numbers", "More")
    assert len(alice.history) == commits


async def test_what_newer_programs_wrote_stays(alice: Account, flowers: Desk) -> None:
    newer = {
        **head(alice),
        "moderators": [{"name": "Bob", "since": 3}],
        "creators": [{"name": "Ada", "role": "curator"}, {"name": "Bob"}],
        "aliases": [
            {"name": "best", "release": head(alice)["latest"], "why": {"a": [1, None, b"x"]}}
        ],
    }
    alice.put("network.atd.dataset", "numbers", newer)
    await edit(flowers, card={"title": "More", "creators": [{"name": "Ada"}, {"name": "Cy"}]})
    after = head(alice)
    assert after["moderators"] == newer["moderators"]
    assert after["creators"] == [{"name": "Ada", "role": "curator"}, {"name": "Cy"}]
    assert after["aliases"] == newer["aliases"]
    await edit(flowers, aliases=[{"name": "best", "version": "1.0.0"}])
    assert head(alice)["aliases"][0]["why"] == newer["aliases"][0]["why"]
    await flowers.publish(numbers(80))
    again = head(alice)
    assert again["latest"]["uri"].endswith("1.2.0")
    for name in ("moderators", "creators"):
        assert again[name] == after[name]
    assert versions(alice) == {"best": "1.0.0"}


async def test_publishing_again_keeps_deprecation(alice: Account, flowers: Desk) -> None:
    await edit(flowers, deprecated="Use others.")
    await flowers.publish(numbers(80))
    assert head(alice)["deprecated"] == "Use others."
    await edit(flowers, clear=["deprecated"])
    assert "deprecated" not in head(alice)


IMPOSSIBLE: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"clear": ["latest"]}, InvalidSyntax),
    ({"aliases": [{"name": "latest", "version": "1.0.0"}]}, InvalidSyntax),
    ({"aliases": [{"name": "v1", "version": "1.0.0"}]}, InvalidSyntax),
    ({"aliases": [{"name": "Stable", "version": "1.0.0"}]}, InvalidSyntax),
    ({"aliases": [{"name": "stable", "version": "9.0.0"}]}, RecordAbsent),
    ({"aliases": [{"name": "stable"}]}, RecordAbsent),
    ({"card": {"homepage": "javascript:x"}}, LocalError),
    ({"card": {"title": "x" * 301}}, LocalError),
    ({"card": {"creators": [{"name": "x", "url": "file:///x"}]}}, LexiconError),
    ({"addTags": [f"t{n}" for n in range(50)]}, LocalError),
]


async def test_what_no_record_may_say_is_refused_before_anything_is_sent(
    alice: Account, flowers: Desk, world: World
) -> None:
    before = head(alice)
    for asked, error in IMPOSSIBLE:
        with pytest.raises(error):
            await edit(flowers, **asked)
    assert head(alice) == before
    assert not calls(world, APPLY)


async def test_what_is_not_published_cannot_be_edited(flowers: Desk, world: World) -> None:
    with pytest.raises(RecordAbsent, match=r"no data set others: at://did:plc:\S+ does not exist"):
        await flowers.publishing.edit(Edit("others", clear=("title",)), flowers.heard)
    with pytest.raises(LoginRefused):
        await edit(flowers, account="bob.test", card={"title": "x"})


async def test_a_card_that_cannot_be_read_is_left_as_it_is(alice: Account, flowers: Desk) -> None:
    broken = {**head(alice), "tags": "not a list"}
    alice.put("network.atd.dataset", "numbers", broken)
    with pytest.raises(LexiconError, match="not usable"):
        await edit(flowers, card={"title": "x"})
    assert head(alice) == broken


# ------------------------------------------------------------------ while things go wrong


def afterwards(lie: lies.Tell) -> lies.Tell:
    async def tell(call: Call, truth: Truth) -> Answer:
        await truth()
        return await lie(call, truth)

    return tell


@pytest.mark.parametrize("lie", [lies.status(500), lies.drop()])
@pytest.mark.parametrize("late", [False, True], ids=["lost request", "lost answer"])
async def test_an_answer_that_says_nothing_is_settled_by_proof(
    world: World, alice: Account, flowers: Desk, lie: lies.Tell, late: bool
) -> None:
    commits = len(alice.history)
    world.lie(afterwards(lie) if late else lie, path=APPLY, method="POST", times=1)
    done = await edit(flowers, card={"title": "More"})
    assert done.written
    assert head(alice)["title"] == "More"
    assert len(alice.history) == commits + 1
    assert len(calls(world, APPLY)) == (1 if late else 2)


async def accepted(world: World, alice: Account, desk: Desk) -> Answer:
    """What the PDS says to a write that it makes."""
    heard: list[Answer] = []

    async def tell(call: Call, truth: Truth) -> Answer:
        heard.append(await truth())
        return heard[-1]

    world.lie(tell, path=APPLY, times=1)
    await edit(desk, card={"title": "Numbers", "citation": "once"})
    return heard[0]


async def test_a_server_that_says_yes_and_writes_nothing_is_found_out(
    world: World, alice: Account, flowers: Desk
) -> None:
    real = await accepted(world, alice, flowers)
    world.lie(lies.same_as(real), path=APPLY, method="POST")
    with pytest.raises(ProofError, match="but read back"):
        await edit(flowers, card={"title": "More"})
    assert head(alice)["title"] == "Numbers"


async def test_another_program_that_edits_meanwhile_loses_nothing_and_nor_do_we(
    world: World, alice: Account, flowers: Desk
) -> None:
    async def tell(call: Call, truth: Truth) -> Answer:
        theirs = {**head(alice), "license": "MIT", "title": "Theirs"}
        alice.put("network.atd.dataset", "numbers", theirs)
        return await truth()

    world.lie(tell, path=APPLY, times=1)
    done = await edit(flowers, card={"title": "Ours"}, addTags=["c"])
    assert (head(alice)["license"], head(alice)["title"]) == ("MIT", "Ours")
    assert head(alice)["tags"] == ["a", "b", "c"]
    assert done.before.title == "Theirs"
    assert "changed meanwhile" in flowers.heard.names


async def test_whoever_saw_another_card_is_to_look_again(
    world: World, alice: Account, flowers: Desk
) -> None:
    seen = await edit(flowers, card={"title": "Ours"}, dryRun=True)
    theirs = {**head(alice), "title": "Theirs"}
    alice.put("network.atd.dataset", "numbers", theirs)
    with pytest.raises(Conflict, match="since it was looked at"):
        await edit(flowers, card={"title": "Ours"}, base=str(seen.cid))
    assert head(alice) == theirs

    async def tell(call: Call, truth: Truth) -> Answer:
        alice.put("network.atd.dataset", "numbers", {**theirs, "title": "Later"})
        return await truth()

    world.lie(tell, path=APPLY, times=1)
    now = await edit(flowers, card={"title": "Ours"}, dryRun=True)
    with pytest.raises(Conflict):
        await edit(flowers, card={"title": "Ours"}, base=str(now.cid))
    assert head(alice)["title"] == "Later"


async def test_somebody_who_edits_all_the_time_is_named(
    world: World, alice: Account, flowers: Desk
) -> None:
    async def tell(call: Call, truth: Truth) -> Answer:
        alice.put("network.atd.dataset", "numbers", {**head(alice), "citation": str(alice.tid())})
        return await truth()

    world.lie(tell, path=APPLY)
    with pytest.raises(Conflict, match="changed by another program"):
        await edit(flowers, card={"title": "More"})
    assert head(alice)["title"] == "Numbers"


async def test_killed_before_and_after_the_write_it_is_made_once(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    for kill_at in (1, 2):
        commits = len(alice.history)
        flowers.close()
        with (
            opened(world, tmp_path / "home", checkpoint=Checkpoints(kill_at)) as victim,
            pytest.raises(Killed),
        ):
            await edit(victim, card={"title": f"More {kill_at}"})
        with opened(world, tmp_path / "home") as again:
            done = await edit(again, card={"title": f"More {kill_at}"})
        assert done.written == (kill_at == 1)
        assert head(alice)["title"] == f"More {kill_at}"
        assert len(alice.history) == commits + 1


async def test_a_publication_under_way_is_not_disturbed(alice: Account, flowers: Desk) -> None:
    did = alice.identity.did
    entry = flowers.journal.begin(did, "numbers", {"store": "pds"}, Holder())
    await edit(flowers, card={"title": "While packing"})
    with flowers.journal.sending(entry.id), pytest.raises(Busy):
        await edit(flowers, card={"title": "While sending"})
    assert head(alice)["title"] == "While packing"


async def test_an_edit_between_packing_and_sending_is_kept(alice: Account, flowers: Desk) -> None:
    from_files = {"card": {"description": "New."}}
    begun = await flowers.begin("numbers")
    await edit(flowers, card={"title": "While packing"})
    assert begun.id
    await flowers.publish(numbers(80), request=from_files)
    assert (head(alice)["title"], head(alice)["description"]) == ("While packing", "New.")


# ------------------------------------------------------------------ names for releases


async def test_an_alias_means_the_release_that_it_pins(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    await edit(flowers, aliases=[{"name": "stable", "version": "1.0.0"}])
    await flowers.publish(numbers(80))
    assert versions(alice) == {"stable": "1.0.0"}
    bob = Reader.of(world, tmp_path / "bob")
    found = await bob.resolver.dataset("@alice.test/numbers@stable:train")
    assert found.release.record.version == "1.0.0"
    assert found.head is not None
    assert (await bob.resolver.dataset("@alice.test/numbers@latest")).release.record.version == (
        "1.2.0"
    )
    await edit(
        flowers,
        aliases=[{"name": "stable", "version": "1.1.0"}, {"name": "old-one", "version": "1.0.0"}],
    )
    assert versions(alice) == {"stable": "1.1.0", "old-one": "1.0.0"}
    found = await bob.resolver.dataset("@alice.test/numbers@stable")
    assert found.release.record.version == "1.1.0"
    await edit(flowers, aliases=[{"name": "old-one"}])
    assert versions(alice) == {"stable": "1.1.0"}


async def test_an_alias_that_is_not_there_is_proved_absent_and_no_fault_of_the_head(
    world: World, flowers: Desk, tmp_path: Path
) -> None:
    await edit(flowers, aliases=[{"name": "stable", "version": "1.0.0"}])
    bob = Reader.of(world, tmp_path / "bob")
    with pytest.raises(RecordAbsent, match=r"has no alias best .* it has stable"):
        await bob.resolver.dataset("@alice.test/numbers@best")
    assert bob.problems() == {}


async def test_a_release_that_was_replaced_under_its_alias_is_refused(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    await edit(flowers, aliases=[{"name": "stable", "version": "1.0.0"}])
    other = {**record(alice, "release", "numbers:1.0.0"), "notes": "another one"}
    alice.put("network.atd.release", "numbers:1.0.0", other)
    bob = Reader.of(world, tmp_path / "bob")
    with pytest.raises(ProofError, match=r"expected .* but the publisher has"):
        await bob.resolver.dataset("@alice.test/numbers@stable")


async def test_an_alias_leads_to_no_other_data_set(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    mallory = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/network.atd.release/numbers:1.0.0"
    own = f"{alice.did}/network.atd"
    good, bob = head(alice), Reader.of(world, tmp_path / "bob")
    for place in (mallory, f"{own}.release/others:1.0.0", f"{own}.dataset/numbers"):
        release = {"uri": f"at://{place}", "cid": good["latest"]["cid"]}
        aliases = [{"name": "stable", "release": release}]
        alice.put("network.atd.dataset", "numbers", {**good, "aliases": aliases})
        with pytest.raises(LexiconError, match=r"aliases\[0\]"):
            await bob.resolver.dataset("@alice.test/numbers")


async def test_a_head_with_names_that_none_may_have_is_refused(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    good, bob = head(alice), Reader.of(world, tmp_path / "bob")
    for names in (["stable", "stable"], ["latest"], ["v1.0.0"], ["a b"], [""]):
        aliases = [{"name": name, "release": good["latest"]} for name in names]
        alice.put("network.atd.dataset", "numbers", {**good, "aliases": aliases})
        with pytest.raises(LexiconError, match="alias"):
            await bob.resolver.dataset("@alice.test/numbers")


async def test_every_step_behind_an_alias_is_proved_aloud(
    world: World, alice: Account, flowers: Desk, tmp_path: Path
) -> None:
    await edit(flowers, aliases=[{"name": "stable", "version": "1.0.0"}])
    bob = Reader.of(world, tmp_path / "bob")
    verifier = Verifier(bob.directory, bob.pds, bob.resolver, bob.store)
    steps = [step async for step in verifier.steps(parse_dataset_ref("@alice.test/numbers@stable"))]
    assert verifier.failure is None
    release = alice.head.records["network.atd.release/numbers:1.0.0"]
    (said,) = [step for step in steps if "network.atd.release/numbers:1.0.0" in step.name]
    assert str(release) in said.expected


async def test_history_says_what_an_edit_changed(flowers: Desk) -> None:
    await edit(flowers, aliases=[{"name": "stable", "version": "1.0.0"}], card={"title": "More"})
    catalog = flowers.reader.catalog
    seen = catalog.history(flowers.accounts.get(None).did, "numbers", limit=1, below=None)
    assert seen[0].action == "update"
