"""Which loaders there are, by the names that the command line and the tables use."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Final

from contract import Peer

BASE: Final = "webdataset-msgpack"
"""What all ratios are to."""
YARDSTICK: Final = "prototype"
OURS: Final = "atd"


@dataclass(frozen=True)
class Known:
    """Where a loader's class is, so that it is imported only where its library is installed.

    Args:
        module: in ``peers/``.
        cls: the class in it.
        environment: the environment it runs in; see `environments`.
        workloads: the letters it can do.
        keeps: whether opening leaves something on the disk that makes the next quicker.
    """

    module: str
    cls: str
    environment: str = "peers"
    workloads: str = "ABCDEF"
    keeps: bool = False

    def load(self) -> type[Peer]:
        """The class itself."""
        found: type[Peer] = getattr(importlib.import_module(f"peers.{self.module}"), self.cls)
        return found


LOADERS: Final[dict[str, Known]] = {
    BASE: Known("wds", "Msgpack"),
    "webdataset-members": Known("wds", "Members"),
    "atdata": Known("atdata_package", "Atdata", environment="atdata"),
    "mosaic": Known("mosaic", "Mosaic", environment="mosaic"),
    "litdata": Known("lit", "Litdata"),
    "grain": Known("grains", "Grain"),
    "hf-datasets": Known("hf", "HfDatasets"),
    "lance": Known("arrow", "Lance"),
    "arrow-ipc": Known("arrow", "ArrowIpc"),
    "npy-limit": Known("npy", "Npy", workloads="ABC"),
    YARDSTICK: Known("yardstick", "Yardstick", workloads="ABCD"),
    OURS: Known("ours", "Atd", keeps=True),
}
