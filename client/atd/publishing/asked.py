"""What a call of `atd.publish` or `atd.plan` asks for, in one value.

Belongs here: everything but the samples and the words of the card, and how the daemon is told of it
(``network.atd.publishing.begin``). What can be seen to be wrong without data is refused here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atd.names import check_name
from atd.publishing.previewing import chosen
from atd.publishing.sources.source import Source
from atd.refs import parse_authority

PDS: Final = "pds"


@dataclass(frozen=True)
class Asked:
    """Which release is to be made, and where; each as `atd.publish` takes it.

    Raises:
        InvalidSyntax: the name or the account is none, or the preview cannot be made.
    """

    name: str
    to: str | None = None
    store: str | os.PathLike[str] | None = None
    base_url: str | None = None
    version: str | None = None
    force_version: bool = False
    append: bool = False
    shard_size: int | None = None
    order: str | None = None
    preview: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.to is not None:
            parse_authority(self.to)
        self.choice()

    @property
    def begin(self) -> dict[str, Any]:
        """The input of ``network.atd.publishing.begin``."""
        given = {
            "name": self.name,
            "account": None if self.to is None else str(parse_authority(self.to)),
            "store": None if self.store is None else _place(os.fspath(self.store)),
            "baseUrl": self.base_url,
            "version": self.version,
            "shardSize": self.shard_size,
            "order": self.order,
            "append": self.append or None,
            "forceVersion": self.force_version or None,
        }
        return {key: value for key, value in given.items() if value is not None}

    @property
    def place(self) -> str:
        """Where the shards go, as the daemon is told."""
        return PDS if self.store is None else _place(os.fspath(self.store))

    @property
    def claim(self) -> str | None:
        """The version that must not say less than what changed."""
        return None if self.force_version else self.version

    def choice(self, *, reachable: bool = True) -> str:
        """Which preview is made; see `atd.publishing.previewing.chosen`."""
        return chosen(self.preview, reachable=reachable, append=self.append)

    def served(self, source: Source) -> Source:
        """``source``, whose shards go by the names that they have if they are served already."""
        if source.packed is None or not str(self.store).startswith(("http://", "https://")):
            return source
        return replace(source, packed=source.packed.served())


def _place(store: str) -> str:
    """A destination as the daemon takes it: its own folder is not the caller's."""
    if store == PDS or "://" in store:
        return store
    return str(Path(store).expanduser().absolute())
