"""The table of states, walked in full."""

from __future__ import annotations

from itertools import product

import pytest

from atd_daemon.sync.follow.states import TRANSITIONS, Event, State, after

PAIRS = list(product(State, Event))
OVERTAKEN = set(State) - {State.INACTIVE, State.SYNCING, State.SYNCHRONIZED}


def test_every_event_is_answered_in_every_state() -> None:
    assert sorted(TRANSITIONS) == sorted(PAIRS)
    assert set(TRANSITIONS.values()) <= set(State)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_only_a_finished_resync_makes_synchronized(state: State, event: Event) -> None:
    if after(state, event) is State.SYNCHRONIZED and state is not State.SYNCHRONIZED:
        assert (state, event) == (State.SYNCING, Event.CAUGHT_UP)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_only_a_confirmed_return_ends_inactivity(state: State, event: Event) -> None:
    if state is State.INACTIVE and after(state, event) is not State.INACTIVE:
        assert (event, after(state, event)) == (Event.RETURNED, State.DESYNCHRONIZED)


@pytest.mark.parametrize("state", State)
def test_leaving_is_possible_from_everywhere(state: State) -> None:
    assert after(state, Event.LEFT) is State.INACTIVE


@pytest.mark.parametrize("state", State)
def test_a_gap_never_leaves_anything_synchronized(state: State) -> None:
    assert after(state, Event.GAP) not in (State.SYNCHRONIZED, State.SYNCING)


@pytest.mark.parametrize("state", sorted(set(State) - {State.INACTIVE}))
def test_a_resync_may_begin_in_every_state_of_an_active_account(state: State) -> None:
    assert after(state, Event.BEGUN) is State.SYNCING


@pytest.mark.parametrize("state", sorted(OVERTAKEN))
def test_a_resync_that_was_overtaken_does_not_count_as_caught_up(state: State) -> None:
    assert after(state, Event.CAUGHT_UP) is state


def test_every_state_can_be_reached_and_left() -> None:
    reached = {State.DESYNCHRONIZED}
    while more := {after(state, event) for state in reached for event in Event} - reached:
        reached |= more
    assert reached == set(State)
    for state in State:
        assert {after(state, event) for event in Event} - {state}
