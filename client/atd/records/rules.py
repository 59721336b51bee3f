"""What every record of ours must satisfy, beyond what it says itself.

Belongs here: the lexicon check on the way in and on the way out, and the rules about where a
reference may point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atd.errors import LexiconError, LocalError
from atd.lexicon_files import catalog
from atd.protocol.syntax import AtUri, Did, quote
from atd.records.references import StrongRef


def validate(value: Mapping[str, Any], nsid: str | None = None) -> None:
    """Check a record (data model: CIDs as `Cid`, bytes as bytes) against our lexicon.

    Args:
        nsid: the collection; taken from ``$type`` if not given.

    Raises:
        LexiconError: it does not satisfy the lexicon; the message begins with the path.
    """
    name = value.get("$type") if nsid is None else nsid
    if not isinstance(name, str):
        raise LexiconError(f"$type: expected the collection of a record, found {quote(name)}")
    catalog().validate_record(value, name)


def leaving(value: dict[str, Any]) -> dict[str, Any]:
    """``value``, checked before it leaves: what does not satisfy the lexicon is our own fault."""
    try:
        validate(value)
    except LexiconError as error:
        raise LocalError(f"the {value['$type']} record cannot be written: {error}") from error
    return value


def must_be_in(repo: Did | None, collection: str, reference: StrongRef, path: str) -> None:
    """Refuse a reference to another collection, or out of ``repo`` (None: any repository)."""
    if reference.uri.collection != collection:
        raise LexiconError(f"{path}.uri: expected a {collection}, found {reference.uri}")
    if repo is not None and reference.uri.did != repo:
        raise LexiconError(f"{path}.uri: expected a record of {repo}, found {reference.uri}")


def check_key(uri: AtUri, expected: str) -> None:
    """Refuse a record whose key is not what its content says."""
    if uri.rkey != expected:
        raise LexiconError(f"rkey: expected {expected} by the record's content, found {uri.rkey}")
