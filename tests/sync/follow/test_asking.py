"""What one host can bring about, however many publishers it talks of: questions, and memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atd.protocol.frames import MAX_BLOCKS_BYTES, SyncMessage
from atd.protocol.syntax import Did, Tid
from atd_daemon.catalog import Catalog
from atd_daemon.sync.follow.board import CLAIM_EVERY_S, CLAIMS, Board
from atd_daemon.sync.follow.repo import MAX_HOST_HELD_BYTES, Held, Need, Repo
from atd_daemon.sync.follow.states import State
from following import HandTime
from world import World

LIAR, HONEST = "https://liar.example", "https://honest.example"


@pytest.fixture
def board(tmp_path: Path, world: World) -> Iterator[Board]:
    catalog = Catalog(tmp_path / "index.sqlite")
    board = Board(catalog, HandTime(world))
    for number in range(2000):
        did = Did(f"did:web:p{number}.example")
        board.repos[did] = Repo(did, State.SYNCHRONIZED)
    yield board
    board.close()
    catalog.close()


def told(board: Board, origin: str) -> None:
    """A host tells something of every publisher."""
    for repo in board.repos.values():
        board.need_again(repo, Need.IDENTITY, 10.0, origin)


def asked(board: Board) -> int:
    """Ask what is due; how many that were."""
    now, count = board.time.now(), 0
    for repo in board.due():
        while (need := repo.take_due(now)) is not None:
            repo.asked_at[need] = now
            count += 1
    return count


def test_a_host_that_talks_of_everybody_makes_us_ask_little_at_a_time(
    board: Board, world: World
) -> None:
    told(board, LIAR)
    assert CLAIMS - 1 <= asked(board) <= CLAIMS
    total = 0
    for _ in range(60):  # an hour of lies about everybody, every minute
        world.pass_time(60)
        told(board, LIAR)
        total += asked(board)
    assert total <= 3600 / CLAIM_EVERY_S + CLAIMS


def test_what_is_told_once_is_asked_in_the_end(board: Board, world: World) -> None:
    told(board, LIAR)
    total = asked(board)
    while total < len(board.repos):
        world.pass_time(10)
        count = asked(board)
        assert count, "everybody's turn comes"
        total += count
    assert asked(board) == 0


def test_one_host_does_not_use_up_what_another_may(board: Board) -> None:
    told(board, LIAR)
    asked(board)
    repo = Repo(Did("did:web:new.example"), State.SYNCHRONIZED)
    board.repos[repo.did] = repo
    board.need_again(repo, Need.STATUS, 10.0, HONEST)
    assert asked(board) == 1


def test_a_host_that_fills_the_memory_with_events_leaves_room_for_the_others(board: Board) -> None:
    rev = Tid("3kzyxwvutsr23")
    repos = list(board.repos.values())

    def event(repo: Repo, origin: str) -> Held:
        return Held(origin, SyncMessage(1, repo.did, rev, bytes(MAX_BLOCKS_BYTES), "2026"))

    for repo in repos[:50]:
        while board.has_room(repo, one := event(repo, LIAR)):
            board.hold(repo, one)
    assert MAX_HOST_HELD_BYTES - 2 * MAX_BLOCKS_BYTES < board.held_bytes <= MAX_HOST_HELD_BYTES
    assert board.has_room(repos[-1], event(repos[-1], HONEST))
    for repo in repos[:50]:
        board.drop_held(repo)
    assert board.has_room(repos[0], event(repos[0], LIAR))
