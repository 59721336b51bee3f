"""Following publishers: what a program asks of the local daemon so that its index stays true.

As in `atd.service`, each function is one question; ``connection`` is the daemon to ask, or the one
that the environment names where it is None. All raise what the daemon raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atd import api
from atd.connection import Connection
from atd.refs import parse_authority
from atd.service import OnProgress, finish


def follow(
    actor: str,
    *,
    wait: bool = True,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Follow ``actor`` (a handle or a DID): index all of it, and keep it up to date from now on.

    Args:
        wait: return when its repository was indexed, or when that could not be done; else at once.

    Returns:
        ``publisher`` (as `following` gives them), ``new`` and ``datasets``. A publisher whose
        repository could not be had is followed all the same: its ``error`` says why not, and it is
        tried again.

    Raises:
        AtdError: HandleAbsent, DidAbsent, IdentityMismatch, Unreachable: nobody is followed.
    """
    question = {"actor": str(parse_authority(actor)), "wait": wait}
    return finish((connection or Connection()).stream(api.FOLLOW, question), on_progress)


def unfollow(
    actor: str, *, forget: bool = False, connection: Connection | None = None
) -> Mapping[str, Any]:
    """Follow ``actor`` no more: ``followed`` says whether it was, ``records`` what is kept of it.

    Args:
        forget: also drop its records, proofs and history. The next `follow` brings them again.
    """
    question = {"actor": str(parse_authority(actor)), "forget": forget}
    return (connection or Connection()).call(api.UNFOLLOW, input=question)


def following(*, connection: Connection | None = None) -> Mapping[str, Any]:
    """Who is followed and how far: ``publishers`` and ``hosts``, as ``listFollowing`` has them."""
    return (connection or Connection()).call(api.LIST_FOLLOWING)


def discover(
    origin: str,
    *,
    relay: bool = False,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
    connection: Connection | None = None,
) -> Mapping[str, Any]:
    """Ask the PDS at ``origin`` (``https://…``) who may publish data sets: ``publishers``, hints.

    Args:
        relay: ``origin`` is a relay, which is asked for publishers by collection.
        limit: stop after so many.

    Raises:
        AtdError: Unreachable, RateLimited: the server did not answer, or keeps no such list.
    """
    question: dict[str, Any] = {"origin": origin, "relay": relay}
    if limit is not None:
        question["limit"] = limit
    return finish((connection or Connection()).stream(api.DISCOVER, question), on_progress)
