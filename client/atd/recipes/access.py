"""What a run of a recipe may do: whom it may ask, and how much disk it may take.

What belongs here: `Access`, which is made once for each data set that is prepared, and tells a
recipe of this machine from one that a stranger published. The rules themselves are in `fetching`
(addresses) and where bytes are written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote as percent
from urllib.parse import urlencode

from atd.errors import RecipeError, TooLarge
from atd.recipes.model import Resource
from atd.settings import Settings

BLOB: Final = "/xrpc/com.atproto.sync.getBlob"

Locate = Callable[[str], str]
"""From a DID to the origin of its PDS."""
Lookup = Callable[[str, int], list[str]]
"""From a host and a port to its addresses."""


class Allowance:
    """How many bytes may still be written to the disk, by several threads at once.

    Args:
        limit: in all; None: as many as there is room for.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._left = 0 if limit is None else limit
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Note ``count`` bytes that are about to be written; or, below 0, that were removed.

        Raises:
            TooLarge: more would be there than may be.
        """
        if self.limit is None:
            return
        with self._lock:
            self._left -= count
            if count > 0 and self._left < 0:
                raise TooLarge(
                    f"it takes more than the {self.limit:,} bytes of disk that it may",
                    next_step="if it is meant to: --max-bytes, or the setting recipe_max_bytes",
                )


def _nowhere(did: str) -> str:
    raise RecipeError(
        f"nothing here knows where the repository of {did} is",
        next_step="prepare the data set by its name",
    )


@dataclass(frozen=True)
class Access:
    """Under which rules one data set is prepared.

    Args:
        settings: of this process: hosts that may be asked by plain http, whether to ask at all.
        stranger: the recipe was published by somebody: its addresses are theirs.
        locate: where the repository of a DID is, proved; asked when a blob of it is fetched.
        allowance: what may be written.
        lookup: how hosts are looked up where a stranger named them; None: as this machine does.
    """

    settings: Settings
    stranger: bool = False
    locate: Locate = _nowhere
    allowance: Allowance = field(default_factory=Allowance)
    lookup: Lookup | None = None

    def of(self, one: Resource) -> Access:
        """The rules for the download ``one``: where a blob is, its account's DID document says, and
        never the user, so it is asked as strangers' addresses are, whoever wrote the recipe."""
        return replace(self, stranger=True) if one.kind == "blob" else self

    def addresses(self, one: Resource) -> tuple[str, ...]:
        """Where the download ``one`` can be had, in the order in which these are asked.

        Raises:
            AtdError: whose PDS has a blob could not be found out.
        """
        if one.kind == "hf":
            path, revision = percent(one.path or ""), one.key or "main"
            return (f"{self.settings.hf_endpoint}/datasets/{one.target}/resolve/{revision}/{path}",)
        if one.kind == "blob":
            did = one.target or ""
            asked = urlencode({"did": did, "cid": one.key or ""})
            return (f"{self.locate(did)}{BLOB}?{asked}",)
        return one.urls
