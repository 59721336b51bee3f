"""Looking up DNS TXT records: the door of dnspython.

Absence and failure are kept apart: a name that has no TXT record gives an empty list, a server
that does not answer or answers with a failure raises Unreachable.
"""

from __future__ import annotations

from typing import Protocol


class TxtResolver(Protocol):
    """Answers TXT questions."""

    async def txt(self, name: str) -> list[str]:
        """The TXT records of ``name``, each as one string; empty if there are none.

        Raises:
            Unreachable: no answer, or an answer that says that the server could not find out.
            Offline: the network is switched off.
        """
        ...
