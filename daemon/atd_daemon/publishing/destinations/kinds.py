"""Which kind of destination a ``--store`` means, and making it.

Belongs here: reading ``pds``, a folder, ``s3://…`` and ``https://…``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from atd.errors import InvalidSyntax
from atd.manifest import Manifest
from atd.names import check_url
from atd.protocol.identity import Identity
from atd.protocol.syntax import quote
from atd_daemon.network.account import Accounts
from atd_daemon.network.fetch import Fetcher
from atd_daemon.network.pds import PdsReader
from atd_daemon.network.s3 import MAX_PUT_BYTES, Bucket, Place
from atd_daemon.publishing.destinations.base import Destination
from atd_daemon.publishing.destinations.blobs import DEFAULT_LIMIT, Blobs
from atd_daemon.publishing.destinations.bucket import Objects
from atd_daemon.publishing.destinations.folder import Folder
from atd_daemon.publishing.destinations.web import Web

PDS: Final = "pds"


@dataclass(frozen=True, slots=True)
class Spec:
    """What ``--store`` and ``--base-url`` say, checked.

    ``where`` is the folder, the ``s3://`` URL or the base URL; empty for the PDS.
    """

    kind: Literal["pds", "folder", "bucket", "web"]
    where: str = ""
    base_url: str | None = None

    @property
    def reachable(self) -> bool:
        """Whether others can fetch what is there: all but a folder that nobody serves."""
        return self.kind != "folder" or self.base_url is not None

    @classmethod
    def parse(cls, store: str | None, base_url: str | None) -> Self:
        """From the words of a user; None is the PDS.

        Raises:
            InvalidSyntax: no kind of destination, or a base URL where none belongs.
        """
        if store in (None, PDS):
            spec = cls("pds")
        elif store is not None and store.startswith("s3://"):
            Place.parse(store)
            return cls("bucket", store, base_url)
        elif store is not None and "://" in store:
            url = store if store.endswith("/") else f"{store}/"
            spec = cls("web", check_url(url, base=True))
        elif store is not None and Path(store).is_absolute():
            return cls("folder", store, base_url)
        else:
            raise InvalidSyntax(
                f"expected pds, a folder with its whole path, s3://… or https://…, "
                f"found {quote(store)}"
            )
        if base_url is not None:
            raise InvalidSyntax(
                "a base URL belongs to a folder or a bucket only",
                next_step="leave out --base-url, or give --store DIR or --store s3://…",
            )
        return spec


@dataclass(frozen=True)
class Makers:
    """What destinations are made of. ``s3_endpoint``: another provider than Amazon."""

    accounts: Accounts
    reader: PdsReader
    fetcher: Fetcher
    s3_endpoint: str | None = None

    async def limit(self, spec: Spec, identity: Identity) -> int | None:
        """The largest shard, in bytes, that the destination takes; None: no limit known."""
        if spec.kind == "bucket":
            return MAX_PUT_BYTES
        if spec.kind != "pds":
            return None
        described = await self.reader.describe_server(identity.pds)
        return described.blob_limit or DEFAULT_LIMIT

    async def make(
        self, spec: Spec, identity: Identity, name: str, manifest: Manifest
    ) -> Destination:
        """The destination of one publication.

        Raises:
            AtdError: the PDS could not be asked for its limit.
        """
        limit = await self.limit(spec, identity)
        if spec.kind == "bucket":
            bucket = Bucket(self.fetcher, Place.parse(spec.where), self.s3_endpoint)
            return Objects(self.fetcher, bucket, name, spec.base_url)
        if spec.kind == "folder":
            return Folder(self.fetcher, Path(spec.where), name, spec.base_url, manifest)
        if spec.kind == "web":
            return Web(self.fetcher, spec.where)
        return Blobs(self.accounts, self.reader, identity, limit or DEFAULT_LIMIT)
