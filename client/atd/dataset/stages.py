"""What happens to each sample on its way: map and filter, in the order written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Map:
    """Replace a sample by what ``function`` makes of it: length and order stay."""

    function: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """What a saved state remembers of it."""
        return f"map {_name(self.function)}"


@dataclass(frozen=True)
class Filter:
    """Keep a sample where ``function`` says so: the length is not known beforehand."""

    function: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """What a saved state remembers of it."""
        return f"filter {_name(self.function)}"


Stage = Map | Filter

DROPPED = object()
"""What `through` gives for a sample that a filter did not keep."""


def through(stages: Iterable[Stage], sample: Any) -> Any:
    """``sample`` after ``stages``, or `DROPPED`."""
    for stage in stages:
        if isinstance(stage, Map):
            sample = stage.function(sample)
        elif not stage.function(sample):
            return DROPPED
    return sample


def _name(function: Callable[..., Any]) -> str:
    """Module and qualified name: enough to notice another pipeline, not another body."""
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"
