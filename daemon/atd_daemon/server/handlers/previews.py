"""``network.atd.catalog.getPreview``: statistics and samples of a release, without its shards."""

from __future__ import annotations

from typing import Any

from atd.refs import parse_dataset_ref
from atd_daemon.server import views
from atd_daemon.services import Services
from atd_daemon.sync.found import ResolvedDataset
from atd_daemon.sync.previews import Previews


async def get_preview(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.catalog.getPreview``."""
    ref = parse_dataset_ref(given["ref"])
    if given.get("refresh", False):
        await services.resolver.identity(ref.authority, refresh=True)
    resolved = await services.resolver.dataset(
        ref, splits=(), allow_previous_key=given.get("allowPreviousKey", False)
    )
    return await answer(services.previews, resolved)


async def answer(previews: Previews, resolved: ResolvedDataset) -> dict[str, Any]:
    """What is answered of one release, whose shard lists need not be known."""
    preview = await previews.of(resolved)
    blob = resolved.release.record.preview
    assert blob is not None, "its preview was read"
    return {
        **views.release_summary(resolved),
        "digest": str(blob.cid),
        "size": blob.size,
        "preview": preview.to_json(),
        "proof": views.proof_of(resolved.release, resolved.identity.handle),
    }
