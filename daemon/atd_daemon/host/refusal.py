"""What the host says no with: an XRPC error, by the name that the protocol gives it.

This is what a server answers to a stranger's request, so it is not one of `atd.errors`, which say
what went wrong to the user of atd. The names are those of the com.atproto lexicons and, where the
lexicons have none, of the reference PDS. The room above (`xrpc`) gives each its HTTP status.
"""

from __future__ import annotations


class Refusal(Exception):
    """A request that is refused.

    Args:
        name: the XRPC error name, such as ``InvalidSwap``.
        message: what was expected and what came; goes to the client as it is.
        retry_after_s: how long to wait before asking again, where waiting helps.
    """

    def __init__(self, name: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.retry_after_s = retry_after_s


def invalid(message: str) -> Refusal:
    """The request itself is malformed: ``InvalidRequest``."""
    return Refusal("InvalidRequest", message)
