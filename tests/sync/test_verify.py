"""Proving everything again, aloud."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atd.errors import AtdError
from atd.protocol.syntax import Tid
from atd.refs import parse_dataset_ref
from atd_daemon.sync.verify import REVISION, STORED, Step, Verifier
from world import Account, World, body, html, status
from world.daemons import Reader
from world.datasets import Published

REF = "@alice.test/flowers"


async def proved(reader: Reader, ref: str = REF, **options: bool) -> tuple[Verifier, list[Step]]:
    """The verifier after its work, and every step."""
    verifier = Verifier(reader.directory, reader.pds, reader.resolver, reader.store, **options)
    return verifier, [step async for step in verifier.steps(parse_dataset_ref(ref))]


def another_repo(world: World) -> bytes:
    """The whole repository of somebody else."""
    mallory = world.account("mallory.test")
    mallory.commit()
    return mallory.head.repo_car()


def tomorrow(world: World) -> Tid:
    return Tid.from_micros(int((world.now() + 86_400) * 1e6), 1)


async def pull(reader: Reader) -> None:
    found = await reader.resolver.dataset(REF)
    for shard in found.shards:
        await reader.store.ensure(shard.want)


async def test_what_is_right_is_said_step_by_step(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    await pull(reader)
    verifier, steps = await proved(reader)
    assert verifier.failure is None
    assert verifier.resolved is not None
    assert all(step.holds for step in steps)
    assert [step.name[:2] for step in steps[:7]] == [f"{number}." for number in range(1, 8)]
    assert steps[0].found == alice.did
    assert len([step for step in steps if step.name.startswith("8.")]) == 5
    assert [step.found for step in steps if step.name == REVISION] == [
        f"rev {alice.head.commit.rev} at most"
    ]
    assert len([step for step in steps if STORED in step.name]) == len(flowers.shards)


async def test_nothing_is_taken_from_memory(
    world: World, reader: Reader, flowers: Published
) -> None:
    await pull(reader)
    world.calls.clear()
    world.questions.clear()
    await proved(reader)
    urls = " ".join(call.url for call in world.calls)
    assert world.questions[0] == "_atproto.alice.test"
    for asked in ("plc.world", "dataset&rkey=flowers", "release&rkey=", "schema&", "shards&"):
        assert asked in urls


async def test_shards_that_are_not_here_are_said_and_not_fetched(
    reader: Reader, flowers: Published
) -> None:
    verifier, steps = await proved(reader)
    assert verifier.failure is None
    assert [step.holds for step in steps[-3:]] == [None, None, None]


async def test_a_flipped_byte_in_a_stored_shard_is_found(
    reader: Reader, flowers: Published
) -> None:
    await pull(reader)
    digest = next(iter(flowers.shards))
    path = reader.store.path(digest)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(b"x" + path.read_bytes()[1:])
    verifier, steps = await proved(reader)
    shards = [step for step in steps if STORED in step.name]
    assert [step.holds for step in shards] == [False, True, True]
    assert shards[0].error == "DigestMismatch"
    assert str(digest) in shards[0].expected
    assert type(verifier.failure).__name__ == "DigestMismatch"


@pytest.mark.parametrize(
    ("break_it", "number", "error"),
    [
        (lambda w, a: w.name("alice.test"), "1.", "HandleAbsent"),
        (
            lambda w, a: w.name("alice.test", a.did, w.account("b.test").did),
            "1.",
            "IdentityMismatch",
        ),
        (lambda w, a: a.claim("other.test"), "2.", "IdentityMismatch"),
        (lambda w, a: w.plc.tombstone(a.did), "2.", "DidAbsent"),
        (lambda w, a: w.plc.update(a.did, services={}), "3.", "IdentityMismatch"),
        (lambda w, a: w.lie(html(), path="getRecord"), "4.", "Unreachable"),
        (lambda w, a: w.lie(status(500), path="getRecord"), "4.", "Unreachable"),
        (
            lambda w, a: w.lie(body(lambda d: d[:-9] + bytes(9)), path="getRecord"),
            "4.",
            "ProofError",
        ),
        (lambda w, a: w.lie(body(lambda _: another_repo(w)), path="getRecord"), "5.", "ProofError"),
        (lambda w, a: a.rotate_key(), "6.", "PreviousKey"),
        (lambda w, a: a.delete("network.atd.dataset", "flowers"), "7.", "RecordAbsent"),
        (lambda w, a: a.put("network.atd.dataset", "flowers", {}), "8.", "LexiconError"),
        (lambda w, a: a.delete("network.atd.release", "flowers:1.0.0"), "8.", "RecordAbsent"),
        (lambda w, a: a.replace(a.head.records, rev=tomorrow(w)), "9.", "StaleRevision"),
    ],
)
async def test_the_first_step_that_does_not_hold_is_the_last_one_said(
    world: World,
    reader: Reader,
    alice: Account,
    flowers: Published,
    break_it: Callable[[World, Account], object],
    number: str,
    error: str,
) -> None:
    break_it(world, alice)
    verifier, steps = await proved(reader)
    assert [step.holds for step in steps[:-1]] == [True] * (len(steps) - 1)
    assert steps[-1].name.startswith(number)
    assert (steps[-1].holds, steps[-1].error) == (False, error)
    assert isinstance(verifier.failure, AtdError)
    assert steps[-1].found == str(verifier.failure)
    assert verifier.resolved is None


async def test_a_previous_key_that_is_allowed_is_said(
    reader: Reader, alice: Account, flowers: Published
) -> None:
    alice.rotate_key()
    verifier, steps = await proved(reader, allow_previous_key=True)
    assert verifier.failure is None
    assert "previous key" in steps[5].found
    assert "previous key, as allowed" in steps[7].found


async def test_one_version_and_one_split_can_be_proved(reader: Reader, flowers: Published) -> None:
    verifier, steps = await proved(reader, f"{REF}@1.0.0:test")
    assert verifier.failure is None
    assert len([step for step in steps if STORED in step.name]) == 1
    assert "network.atd.release" in steps[6].expected


async def test_a_did_needs_no_handle(reader: Reader, alice: Account, flowers: Published) -> None:
    verifier, steps = await proved(reader, f"{alice.did}/flowers")
    assert verifier.failure is None
    assert steps[0].name.startswith("2.")
