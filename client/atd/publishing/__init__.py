"""Publishing: from anything to shards, and through the daemon into the publisher's repository.

::

    sources ──▶ Source ── packing ──▶ shards + atd.json ── publication ──▶ daemon: upload, proof
                  └────── planning ──▶ what would be (``--dry-run``)

Packing runs in this process, where the user's generator lives; credentials, journal and network
are the daemon's. Light on purpose: the names below load what they need on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from atd.comparing import Amount, Changes, KeyCounts
    from atd.publishing.client import plan, publish
    from atd.publishing.diffing import SchemaDiff, schema_diff
    from atd.publishing.packing import LEFT_OUT, pack, pack_folder
    from atd.publishing.planning import Plan
    from atd.publishing.released import PublishedRelease
    from atd.publishing.sources.opening import open_source
    from atd.publishing.sources.source import Source
    from atd.publishing.tasks.verifying import Verified, verify_folder
    from atd.publishing.writing import Writer, writer

__all__ = [
    "LEFT_OUT",
    "Amount",
    "Changes",
    "KeyCounts",
    "Plan",
    "PublishedRelease",
    "SchemaDiff",
    "Source",
    "Verified",
    "Writer",
    "open_source",
    "pack",
    "pack_folder",
    "plan",
    "publish",
    "schema_diff",
    "verify_folder",
    "writer",
]

_WHERE: Final = {
    "Amount": "atd.comparing",
    "Changes": "atd.comparing",
    "KeyCounts": "atd.comparing",
    "LEFT_OUT": "atd.publishing.packing",
    "Plan": "atd.publishing.planning",
    "PublishedRelease": "atd.publishing.released",
    "SchemaDiff": "atd.publishing.diffing",
    "Source": "atd.publishing.sources.source",
    "Verified": "atd.publishing.tasks.verifying",
    "Writer": "atd.publishing.writing",
    "open_source": "atd.publishing.sources.opening",
    "pack": "atd.publishing.packing",
    "pack_folder": "atd.publishing.packing",
    "plan": "atd.publishing.client",
    "publish": "atd.publishing.client",
    "schema_diff": "atd.publishing.diffing",
    "verify_folder": "atd.publishing.tasks.verifying",
    "writer": "atd.publishing.writing",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its module (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
