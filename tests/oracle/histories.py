"""Random histories: what honest people, failing hosts and liars do, step by step from a seed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from atd.names import DATASET
from atd.protocol.car import read_car, write_car
from oracle.stage import ALL_LIES, Stage
from world import Account, body, drop, endless, hang, status
from world.firehose import Firehose
from world.frame_lies import NOTE, card

Step = Callable[[Stage, Account], Awaitable[None]]
STEPS: dict[str, Step] = {}


def step(do: Step) -> Step:
    """Register something that may happen."""
    STEPS[do.__name__.replace("_", " ")] = do
    return do


@dataclass(frozen=True)
class History:
    """A seeded story: which steps happen, one after the other."""

    seed: int
    length: int

    async def play(self, stage: Stage) -> None:
        """Let it happen; every lie is checked when it is told."""
        dice = stage.liar.dice
        for _ in range(self.length):
            account = dice.choice(stage.people)
            if dice.random() < 0.45:
                name = dice.choice(ALL_LIES)
                print(account.handle, name)  # shown where it fails
                await stage.settle()
                if account.status == "active":
                    await stage.lie(name, account)
            else:
                name = dice.choice(sorted(STEPS))
                print(account.handle, name)
                await STEPS[name](stage, account)
                if dice.random() < 0.5:
                    await stage.daemon.quiet()
        stage.world.honest()  # whoever looks afterwards is not to be lied to
        for account in stage.people:
            if account.status != "active":
                account.become("active")
        await stage.settle()


# --- what honest people do ------------------------------------------------------------------------


@step
async def some_writes(stage: Stage, account: Account) -> None:
    for _ in range(stage.liar.dice.randrange(1, 5)):
        stage.liar.write(account, stage.liar.dice.randrange(1, 4))


@step
async def changes_and_deletes_in_one_commit(stage: Stage, account: Account) -> None:
    dice = stage.liar.dice
    records = dict(account.head.records)
    for path in [path for path in records if dice.random() < 0.3]:
        if dice.random() < 0.5:
            del records[path]
        elif path.startswith(DATASET):
            name = path.partition("/")[2]
            value = {"$type": DATASET, **card(account, name, f"changed {dice.random()}")}
            records[path] = account.store(value)  # type: ignore[arg-type]
    account.replace(records)


@step
async def everything_is_deleted(stage: Stage, account: Account) -> None:
    account.replace({})


@step
async def a_commit_that_changes_nothing(stage: Stage, account: Account) -> None:
    account.commit()


@step
async def an_import_too_large_for_a_frame(stage: Stage, account: Account) -> None:
    account.put_many((NOTE, f"import-{number}", {"n": number}) for number in range(201))
    stage.liar.write(account)


@step
async def a_new_key(stage: Stage, account: Account) -> None:
    account.rotate_key(commit=True)


@step
async def a_pause(stage: Stage, account: Account) -> None:
    account.become("deactivated")
    stage.liar.write(account)
    if stage.liar.dice.random() < 0.7:
        await stage.settle()
    account.become("active")


@step
async def a_migration(stage: Stage, account: Account) -> None:
    here, dice = account.pds, stage.liar.dice
    elsewhere = dice.choice([pds for pds in stage.world.pdses if pds is not here])
    if sum(one.pds is here for one in stage.people) > 1:  # somebody has to stay for the liars
        account.migrate(elsewhere)
        account.commit()


# --- what fails -----------------------------------------------------------------------------------


@step
async def a_broken_connection(stage: Stage, account: Account) -> None:
    stage.liar.write(account)
    account.pds.firehose.disconnect()
    stage.liar.write(account)


@step
async def an_outage_with_deletes(stage: Stage, account: Account) -> None:
    pds = account.pds
    stage.world.unplug(pds.url)
    pds.firehose.disconnect()
    await changes_and_deletes_in_one_commit(stage, account)
    await stage.daemon.pass_time(30.0, 10.0)
    if stage.liar.dice.random() < 0.5:
        pds.firehose.forget(keep=stage.liar.dice.randrange(3))
    stage.world.serve(pds.url, pds)


@step
async def a_host_that_counts_anew(stage: Stage, account: Account) -> None:
    """Its database was lost, and with it the numbers of its events."""
    before = account.pds.firehose
    account.pds.firehose = Firehose(stage.world)
    before.disconnect()
    stage.liar.write(account)


@step
async def a_repository_served_badly_for_a_while(stage: Stage, account: Account) -> None:
    dice = stage.liar.dice

    def boundary(data: bytes) -> bytes:
        car = read_car(data)
        blocks = list(car.blocks.items())
        return write_car(car.roots[0], blocks[: dice.randrange(len(blocks))])

    tell = dice.choice(
        [status(500), drop(), drop(200), endless(), hang(), body(boundary), body(lambda d: d[:-1])]
    )
    host = account.pds.url.removeprefix("https://")
    stage.world.lie(tell, host=host, path="sync.getRepo", times=dice.randrange(1, 3))
    with account.pds.firehose.muted():
        stage.liar.write(account)
    stage.liar.write(account)


@step
async def a_host_that_does_not_answer_for_a_while(stage: Stage, account: Account) -> None:
    host = account.pds.url.removeprefix("https://")
    stage.world.lie(status(503), host=host, times=stage.liar.dice.randrange(1, 6))
    account.pds.firehose.disconnect()
    stage.liar.write(account)


@step
async def a_host_that_is_silent(stage: Stage, account: Account) -> None:
    """It takes the connection and never answers: it is tried again later."""
    host = account.pds.url.removeprefix("https://")
    stage.world.lie(hang(), host=host, path="subscribeRepos", times=1)
    account.pds.firehose.disconnect()
    stage.liar.write(account)


@step
async def a_flood_about_strangers(stage: Stage, account: Account) -> None:
    for number in range(300):
        did = f"did:plc:{number:024d}".replace("0", "a").replace("1", "b").replace("8", "c")
        account.pds.firehose.put("#identity", {"did": did.replace("9", "d"), "handle": "x.test"})
    stage.liar.write(account)


@step
async def a_restart_of_the_daemon(stage: Stage, account: Account) -> None:
    stage.liar.write(account)
    await stage.restart()
    stage.liar.write(account)
