"""A whole ATProto network in memory, which can be told to lie.

::

    world = World()
    alice = world.pds("pds1").account("alice.test")     # real keys, a real signed tree
    alice.put("network.atd.dataset", "flowers", {...})
    directory = Directory(world.fetcher, world.txt, world.config(), ...)
    world.lie(status(500), path="sync.getRecord")       # and from now on it does

Names, a PLC directory with genuine signed operation logs, PDSes that answer the XRPC methods atd
uses, web sites with ranges. Everything is served under `atd_daemon.network.fetch.HttpFetcher`: the
policy is the real one, only the wire is not. Nothing is patched; a lie is told on the wire.
"""

from world.account import Account, Strong
from world.lies import (
    body,
    car,
    drop,
    endless,
    hang,
    html,
    json_field,
    redirect,
    redirect_loop,
    same_as,
    status,
    trickle,
    truncated,
)
from world.network import World
from world.pds import Pds
from world.wire import Answer, Call, Site

__all__ = [
    "Account",
    "Answer",
    "Call",
    "Pds",
    "Site",
    "Strong",
    "World",
    "body",
    "car",
    "drop",
    "endless",
    "hang",
    "html",
    "json_field",
    "redirect",
    "redirect_loop",
    "same_as",
    "status",
    "trickle",
    "truncated",
]
