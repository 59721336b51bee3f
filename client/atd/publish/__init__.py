"""Publishing: from anything to shards, and through the daemon into the publisher's repository.

::

    sources ──▶ Source ── packing ──▶ shards + atd.json ── client ──▶ daemon: upload, records, proof
                  └────── planning ──▶ what would be (``--dry-run``)

Packing runs in this process, where the user's generator lives; credentials, journal and network
are the daemon's. Light on purpose: the names below load what they need on first use.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from atd.publish.client import PublishedRelease, plan, publish
    from atd.publish.packing import pack
    from atd.publish.planning import Plan
    from atd.publish.sources.opening import open_source
    from atd.publish.sources.source import Source

__all__ = ["Plan", "PublishedRelease", "Source", "open_source", "pack", "plan", "publish"]

_WHERE: Final = {
    "Plan": "atd.publish.planning",
    "PublishedRelease": "atd.publish.client",
    "Source": "atd.publish.sources.source",
    "open_source": "atd.publish.sources.opening",
    "pack": "atd.publish.packing",
    "plan": "atd.publish.client",
    "publish": "atd.publish.client",
}


def __getattr__(name: str) -> Any:
    """The public names, each from its module (PEP 562)."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Callable(ModuleType):
    """``atd.publish`` is this module as well as a function: whoever imported a module of this
    package can still call ``atd.publish(…)``. (The class of a module may be replaced:
    docs.python.org/3/reference/datamodel.html#customizing-module-attribute-access.)
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.publish(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
