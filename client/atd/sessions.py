"""Who publishes from here: ``atd.login``, ``atd.logout``, ``atd.accounts``.

What belongs here: the three questions about sessions. The daemon has the tokens, and gives none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atd import api
from atd.connection import Connection
from atd.refs import parse_authority


def login(
    handle: str, password: str, *, pds: str | None = None, connection: Connection | None = None
) -> Mapping[str, Any]:
    """Log in with an app password, which is used once and not kept; gives ``did``, ``pds`` …"""
    question = {"handle": str(parse_authority(handle)), "password": password}
    if pds is not None:
        question["pds"] = pds
    account: Mapping[str, Any] = (connection or Connection()).call(api.LOGIN, input=question)[
        "account"
    ]
    return account


def logout(account: str, *, connection: Connection | None = None) -> Mapping[str, Any]:
    """End the session of a handle or a DID and forget its tokens."""
    question = {"account": str(parse_authority(account))}
    gone: Mapping[str, Any] = (connection or Connection()).call(api.LOGOUT, input=question)[
        "account"
    ]
    return gone


def accounts(*, connection: Connection | None = None) -> list[Mapping[str, Any]]:
    """The accounts that are logged in, each with ``did``, ``handle`` and ``pds``."""
    return list((connection or Connection()).call(api.LIST_ACCOUNTS)["accounts"])
