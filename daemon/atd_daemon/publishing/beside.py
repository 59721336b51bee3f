"""The preview of a release: a blob beside the shards, at the publisher's PDS.

Belongs here: checking the staged document, uploading it, and asking for it as a stranger would.
Wherever the shards go, the preview is a blob of the repository, so that who finds the record finds
it. It is journaled like a shard. What goes wrong with it is told, and never stands in the way of
the data: the release is then published without one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from atd.errors import (
    AccountInactive,
    AtdError,
    LexiconError,
    LocalError,
    LoginRefused,
    Offline,
    RateLimited,
    RemoteError,
    StorageFault,
    TooLarge,
    Unreachable,
)
from atd.manifest import Manifest
from atd.protocol.cbor import RAW, Cid
from atd.protocol.identity import Identity
from atd.records import BlobRef
from atd.statistics.document import FILE_NAME, MAX_BYTES, MIME, Preview
from atd_daemon.network.fetch import host_of
from atd_daemon.publishing.patience import Listener, Patience
from atd_daemon.publishing.tools import Tools

_NOT_ITS_FAULT: Final = (AccountInactive, LoginRefused, Offline, RateLimited)
"""What would stop the records too."""


@dataclass
class Beside:
    """The preview of the publication ``id``, whose files are in ``folder``.

    Attributes:
        digest: of the document that is to be published; None: there is none.
        warnings: what went wrong.
    """

    tools: Tools
    identity: Identity
    id: str
    folder: Path
    patience: Patience
    listener: Listener
    digest: Cid | None = None
    warnings: list[str] = field(default_factory=list)

    async def look(self, manifest: Manifest) -> None:
        """Take the staged document, if there is one and it is of these shards."""
        try:
            data = await asyncio.to_thread(_staged, self.folder / FILE_NAME)
            if data is not None:
                Preview.from_bytes(data).check_of(manifest)
                self.digest = Cid.of(data, codec=RAW)
        except (LexiconError, StorageFault) as error:
            self._warn(f"published without a preview: {error.message}")

    async def place(self, *, anew: bool = False) -> BlobRef | None:
        """The document as a blob; None where there is none, or the PDS does not take it.

        Args:
            anew: send it again, whatever the journal remembers.
        """
        if self.digest is None:
            return None
        key = f"{self.identity.pds} {self.identity.did}"
        if anew:
            self.tools.journal.forget_uploads(key, [self.digest])
        known = self.tools.journal.uploaded(key, self.digest)
        if known is not None:
            return known
        try:
            value = await self.patience.harmless("uploading the preview", self._upload)
            blob = BlobRef.from_value(value)
        except _NOT_ITS_FAULT:
            raise
        except (LocalError, RemoteError, TooLarge, Unreachable) as error:
            self._warn(f"published without a preview: {error.message}")
            return None
        self.tools.checkpoint("sent the preview")
        # Under another name than the publication's, whose uploads are counted as its shards.
        self.tools.journal.remember_upload(key, f"{self.id} preview", blob)
        self.tools.checkpoint("placed the preview")
        return blob

    async def check(self, blob: BlobRef | None) -> None:
        """Ask for the blob that was published as a stranger would, and compare its digest."""
        if blob is None:
            if self.digest is not None and not self.warnings:
                self._warn("published without a preview: the PDS did not take it before")
            return
        try:
            await self.patience.harmless("asking for the preview", lambda: self._ask(blob))
        except Offline:
            raise
        except AtdError as error:
            self._warn(f"others cannot read the preview: {error.message}")

    async def _upload(self) -> dict[str, object]:
        assert self.digest is not None
        path = self.folder / FILE_NAME
        return dict(await self.tools.accounts.upload_blob(self.identity.did, path, MIME))

    async def _ask(self, blob: BlobRef) -> None:
        where = host_of(self.identity.pds)
        async with self.tools.makers.reader.blob(self.identity, blob.cid) as reply:
            if reply.status != 200:
                raise Unreachable(f"{where} answered {reply.status} for the blob {blob.cid}")
            data = b""
            async for chunk in reply.chunks:
                data += chunk
                if len(data) > blob.size:
                    break
        if Cid.of(data, codec=RAW) != blob.cid:
            raise RemoteError(f"{where} sent other bytes for the blob {blob.cid}")

    def _warn(self, what: str) -> None:
        self.warnings.append(what)
        self.listener.step(name="warning", detail=what)


def _staged(path: Path) -> bytes | None:
    """The staged document, which is not followed where it is a link."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StorageFault(f"cannot read {path}: {error.strerror}") from error
