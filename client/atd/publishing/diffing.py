"""How two schemas differ: ``atd.schema_diff`` and ``atd schema diff``.

Belongs here: what each side can be, finding its schema, and the answer as a value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atd import errors
from atd.comparing import differences, schema_step
from atd.connection import Connection
from atd.errors import LocalError, RecordAbsent
from atd.publishing.sources.opening import open_source
from atd.refs import DatasetRef, parse_name, parse_ref
from atd.schema.classes import schema_of
from atd.schema.differences import Difference
from atd.schema.fields import Schema
from atd.service import resolved, show
from atd.versions import Step

Side = str | os.PathLike[str] | type[Any] | Schema


@dataclass(frozen=True)
class SchemaDiff:
    """The difference between two schemas.

    Args:
        old, new: what was compared, in words.
        step: ``none``, ``minor`` (readers of the old one read the new one) or ``major``.
        differences: field by field, a line each: ``+ field mask: image``.
    """

    old: str
    new: str
    step: str
    differences: tuple[str, ...]
    details: tuple[Difference, ...]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.details)

    def to_json(self) -> dict[str, Any]:
        """As ``atd schema diff --json`` prints it."""
        return {
            "old": self.old,
            "new": self.new,
            "step": self.step,
            "differences": [one.to_json() for one in self.details],
        }


def schema_diff(
    old: Side, new: Side | None = None, *, connection: Connection | None = None
) -> SchemaDiff:
    """How the schema of ``new`` differs from that of ``old``, field by field.

    Example:
        >>> atd.schema_diff("@alice.example.com/flowers@1.0.0", "./flowers").step

    Args:
        old, new: ``@handle/name[@version]``; a file or folder that could be published, or a folder
            of shards; a class; a schema. With ``old`` alone, a data set: its latest version, or the
            one that is named, is compared with the one before.
        connection: the daemon to use; that of the environment where it is None.

    Raises:
        RecordAbsent: there is no such version, or none before it.
        BadSource: a file or folder cannot be read as samples.
    """
    daemon = connection or Connection()
    if new is None:
        before, after = _before(old, daemon)
        return schema_diff(before, after, connection=daemon)
    (one, first), (two, second) = (_side(side, daemon) for side in (old, new))
    step = schema_step(first, second)
    found = differences(first, second)
    lines = tuple(difference.line for difference in found)
    return SchemaDiff(one, two, _word(step), lines, found)


def _word(step: Step | None) -> str:
    return "none" if step is None else step.name.lower()


def _side(side: Side, daemon: Connection) -> tuple[str, Schema]:
    """What a side is in words, and its schema."""
    if isinstance(side, Schema):
        return "a schema", side
    if isinstance(side, type):
        return side.__name__, schema_of(side)
    text = os.fspath(side)
    if not isinstance(side, str) or _is_local(text):
        return text, open_source(Path(text).expanduser()).schema
    return _published(str(resolved(text, daemon)), daemon)


def _is_local(text: str) -> bool:
    """Whether it is a path rather than a data set: a name alone is one only where nothing is."""
    if isinstance(parse_ref(text), DatasetRef):
        return False
    return parse_name(text) is None or Path(text).exists()


def _published(ref: str, daemon: Connection) -> tuple[str, Schema]:
    detail = show(ref, connection=daemon)
    found, release = detail.raw.get("schema"), detail.raw.get("release")
    if found is None or release is None:
        problem = next(iter(detail.raw["problems"]), {"error": "RecordAbsent", "reason": ""})
        reason = problem["reason"] or f"the schema of {ref} is not known"
        raise errors.rebuild(problem["error"], reason)
    words = f"{detail.info.ref}@{release['version']}"
    return words, Schema.from_value(found["fields"])


def _before(side: Side, daemon: Connection) -> tuple[str, str]:
    """A version of a data set, and the one before it."""
    if not isinstance(side, str) or _is_local(side):
        raise LocalError(
            "expected a published data set where only one side is given",
            next_step="give both sides: atd schema diff OLD NEW",
        )
    ref = resolved(side, daemon)
    detail = show(str(ref), connection=daemon)
    owner = f"{detail.info.did}/{detail.info.name}"
    asked = detail.raw.get("release", {}).get("version", detail.info.version)
    if asked not in detail.releases:
        raise RecordAbsent(f"no release of {side} is known")
    older = detail.releases[detail.releases.index(asked) + 1 :]
    if not older:
        raise RecordAbsent(
            f"{side} has no version before {asked}", next_step="give both sides to compare"
        )
    return f"{owner}@{older[0]}", f"{owner}@{asked}"
