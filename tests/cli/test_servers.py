"""Servers that are down, broken, parked, silent, lost or busy, seen by somebody who reads."""

from __future__ import annotations

import pytest

from atd.errors import AtdError, Offline, RateLimited, Unreachable
from cli import front
from cli.conftest import Town
from cli.front import Answer
from cli.stage import Person, finished

MOODS: dict[str, tuple[Answer, type[AtdError], str]] = {
    "broken": (front.broken, Unreachable, "answered 500"),
    "parked": (front.html, Unreachable, "'text/html'"),
    "in circles": (front.circle, Unreachable, "redirects more than"),
    "busy": (front.later("7"), RateLimited, "wait for 7 s"),
}


def stored(person: Person) -> list[str]:
    """The shards in somebody's store that can be read."""
    return [name for name in person.files("cache", "shards") if name.endswith(".tar")]


@pytest.mark.parametrize("command", ["ls", "pull"])
@pytest.mark.parametrize("mood", MOODS)
def test_a_pds_that_misbehaves_is_named_with_what_it_did(
    town: Town, mood: str, command: str
) -> None:
    answer, error, words = MOODS[mood]
    town.front.will(answer)
    ref = "@alice.test" if command == "ls" else "@alice.test/plants"
    town.bob.run(command, ref).refused(error, town.front.domain, words)


@pytest.mark.parametrize("mood", MOODS)
def test_a_did_document_from_a_server_that_misbehaves(
    town: Town, stranger: Person, mood: str
) -> None:
    answer, error, _ = MOODS[mood]
    town.front.will(answer, "/.well-known/")
    result = stranger.run("ls", "@alice.test")
    # A page in place of the document is a claim that is wrong, not a server that is away.
    assert result.code in (error.exit_code, 34, 35), result
    assert town.front.domain in result.message


def test_a_server_that_says_wait_says_until_when_it_is_to_be_asked_again(town: Town) -> None:
    town.front.will(front.later("5400"))
    result = town.bob.run("show", "@alice.test/plants")
    result.refused(RateLimited, "wait for 5400 s", advice="run the same command again after 20")


@pytest.mark.parametrize("when", ["99999999999", "Fri, 31 Dec 9999 23:59:59 -1200", "soon", "-1"])
def test_a_wait_that_no_calendar_holds_is_no_defect(town: Town, when: str) -> None:
    town.front.will(front.later(when))
    town.bob.run("show", "@alice.test/plants").refused(RateLimited, "tells us to wait")


def test_what_a_server_says_cannot_reach_the_terminal(town: Town) -> None:
    town.front.will(front.rude)
    result = town.bob.run("show", "@alice.test/plants")
    result.refused(Unreachable, "answered 500")
    assert "\x1b" not in result.err


def test_a_download_that_fails_keeps_nothing_visible_and_is_done_later(
    town: Town, stranger: Person
) -> None:
    town.front.will(town.front.cut_off, "getBlob")
    result = stranger.run("pull", "@alice.test/plants")
    result.refused(Unreachable, town.front.domain)
    assert stored(stranger) == []
    town.front.behave()
    assert "1 shard" in stranger.run("pull", "@alice.test/plants").done().out
    assert len(stored(stranger)) == 1


def test_offline_is_said_where_the_network_is_needed_and_the_store_still_serves(
    town: Town, stranger: Person
) -> None:
    offline = stranger.having(ATD_OFFLINE="1")
    offline.run("ls", "@alice.test").refused(Offline, advice="ATD_OFFLINE")
    offline.run("pull", "@alice.test/plants").refused(Offline)
    stranger.run("pull", "@alice.test/plants").done()
    asked = len(town.front.asked)
    assert offline.run("preview", "@alice.test/plants", "-n", "1").done().out
    assert "nothing fetched" in offline.run("pull", "@alice.test/plants").done().out
    assert len(town.front.asked) == asked


def test_a_pds_that_never_answers_is_given_up(town: Town) -> None:
    finished(town.unanswered).refused(Unreachable, "localhost:", "did not answer within 30 s")


def test_a_pds_that_is_down(town: Town) -> None:
    town.front.shut()
    try:
        result = town.bob.run("show", "@alice.test/plants")
    finally:
        town.front.open()
    result.refused(Unreachable, f"cannot connect to {town.front.domain}", "refused", advice="again")
    town.bob.run("show", "@alice.test/plants").done()
