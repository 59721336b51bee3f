"""``atd.stats``: the statistics of a published release, or of a folder of shards.

Belongs here: asking. Of a release the daemon is asked, which proves the record and checks the
blob's digest against it: no shard is fetched. Of a folder they are computed, after each shard was
hashed against ``atd.json``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atd import api
from atd.connection import Connection, Param
from atd.errors import LexiconError, LocalError
from atd.manifest import Manifest, hash_shard
from atd.refs import FolderRef, parse_name, parse_ref
from atd.service import OnProgress, resolved
from atd.statistics.document import Preview
from atd.statistics.hostile import Part
from atd.statistics.values import SplitStatistics


@dataclass(frozen=True)
class ReleaseStatistics:
    """Statistics of a release or of a folder.

    Args:
        what: names the data: ``@handle/name``, ``did:…/name`` or a folder.
        version: of the release; None for a folder.
        uri, cid: of the record ``network.atd.release``; None for a folder.
        preview: what the document says, samples included.
        raw: the same as JSON, with what the daemon said of the release.
    """

    what: str
    version: str | None
    uri: str | None
    cid: str | None
    preview: Preview
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def splits(self) -> tuple[SplitStatistics, ...]:
        """The statistics of each split, in the order of the release."""
        return self.preview.splits

    def split(self, name: str | None = None) -> SplitStatistics:
        """The split ``name``; the only one, where it is None.

        Raises:
            LocalError: there is no such split, or several.
        """
        names = [one.name for one in self.splits]
        if name is None and len(names) == 1:
            return self.splits[0]
        if name not in names:
            asked = "no split was named" if name is None else f"no split {name!a}"
            raise LocalError(f"{self.what}: {asked}; it has {', '.join(names)}")
        return self.splits[names.index(name)]


def stats(
    ref: str,
    *,
    allow_previous_key: bool = False,
    refresh: bool = False,
    connection: Connection | None = None,
    on_progress: OnProgress | None = None,
) -> ReleaseStatistics:
    """The statistics of ``@handle/name[@version]``, without fetching a shard.

    Example:
        >>> atd.stats("@alice.example.com/flowers").split("train").field("label").counts["value"]

    Args:
        ref: as `atd.load` takes it; or a folder of shards, whose statistics are computed now.
        allow_previous_key: accept records signed by an earlier key of the publisher.
        refresh: also ask again who the publisher is.
        connection: the daemon to ask; the one that the environment names where it is None.
        on_progress: told how far the computing of a folder's is.

    Raises:
        RecordAbsent: there is no such data set, proved; or its release has no preview.
        DigestMismatch: the publisher's server has other bytes than the record says.
        LexiconError: what the publisher wrote is no preview.
    """
    place = parse_ref(ref)
    if isinstance(place, FolderRef) and (Path(place.path).exists() or parse_name(ref) is None):
        return _of_folder(Path(place.path).expanduser(), on_progress)
    question: dict[str, Param] = {
        "ref": str(resolved(ref, connection)),
        "refresh": refresh,
        "allowPreviousKey": allow_previous_key,
    }
    return from_answer((connection or Connection()).call(api.GET_PREVIEW, question))


def from_answer(answer: Mapping[str, Any]) -> ReleaseStatistics:
    """From the answer of ``network.atd.catalog.getPreview``; raises `LexiconError`."""
    owner = f"@{answer['handle']}" if "handle" in answer else answer["did"]
    document = answer.get("preview")
    if not isinstance(document, dict):
        raise LexiconError("expected a preview from the daemon, found none")
    return ReleaseStatistics(
        what=f"{owner}/{answer['name']}",
        version=answer["version"],
        uri=answer["uri"],
        cid=answer["cid"],
        preview=Preview.read(Part(document, "the preview")),
        raw=answer,
    )


def _of_folder(folder: Path, on_progress: OnProgress | None) -> ReleaseStatistics:
    manifest = Manifest.load(folder)
    for shard in manifest.shards:
        hash_shard(folder / shard.name, shard.digest, shard.size)

    def tell(what: str, done: int, total: int | None) -> None:
        if on_progress is not None:
            state = {"name": what, "done": done, "total": total or 0, "unit": "samples"}
            on_progress({"progress": state})

    # By name: who asks about a release does not need numpy.
    making = importlib.import_module("atd.statistics.making")
    preview: Preview = making.preview_of(manifest, folder, progress=tell)
    raw = {"folder": str(folder), "preview": preview.to_json()}
    return ReleaseStatistics(str(folder), None, None, None, preview, raw)
