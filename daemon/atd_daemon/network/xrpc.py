"""What XRPC adds to HTTP: where a method lives and how an error is spelt.

Source: atproto.com/specs/xrpc.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from atd.errors import Unreachable
from atd_daemon.network.fetch import Reply


def method_url(origin: str, nsid: str, params: Mapping[str, object] | None = None) -> str:
    """The URL of a method at a server, with its parameters."""
    query = urlencode({name: str(value) for name, value in (params or {}).items()})
    return f"{origin}/xrpc/{nsid}" + (f"?{query}" if query else "")


def error_of(reply: Reply) -> tuple[str, str]:
    """The name and the message of an XRPC error; empty where the reply has none."""
    try:
        value = reply.json()
    except Unreachable:
        return "", ""
    return str(value.get("error") or ""), str(value.get("message") or "")
