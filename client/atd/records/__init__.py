"""Our records as typed values.

::

    Dataset ── latest ──▶ Release ── schema ──▶ SchemaRecord
    (the head, moves)       │  │
                            │  └── previous ──▶ Release
                            ├── recipe ──▶ RecipeRecord
                            └── splits ── parts ──▶ ShardPart ──▶ ShardEntry (digest, size, where)
                                                        └── parts ──▶ ShardPart …

`parse` is the way in: it takes a proved record and returns the typed value, or raises
`LexiconError` with the path of what is wrong. ``to_value()`` is the way out: it checks against
the same lexicon. The NSIDs and the rules for names, versions and URLs are in `atd.names`, and
given here again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from atd.errors import LexiconError
from atd.names import (
    COLLECTIONS,
    DATASET,
    RECIPE,
    RELEASE,
    SCHEMA,
    SHARDS,
    check_name,
    check_split,
    check_version,
    release_key,
    split_release_key,
    version_order,
)
from atd.protocol.cbor import decode
from atd.protocol.syntax import AtUri, quote
from atd.records.datasets import Alias, Creator, Dataset
from atd.records.recipes import RecipeRecord
from atd.records.references import (
    BlobRef,
    StrongRef,
    head_uri,
    recipe_uri,
    release_uri,
    schema_uri,
)
from atd.records.releases import CutParameters, Layout, Release, Split
from atd.records.rules import validate
from atd.records.schemas import SchemaRecord
from atd.records.shards import IndexFile, ShardEntry, ShardPart

if TYPE_CHECKING:
    from atd.protocol.proof import VerifiedRecord

__all__ = [
    "COLLECTIONS",
    "DATASET",
    "RECIPE",
    "RECORDS",
    "RELEASE",
    "SCHEMA",
    "SHARDS",
    "Alias",
    "BlobRef",
    "Creator",
    "CutParameters",
    "Dataset",
    "IndexFile",
    "Layout",
    "RecipeRecord",
    "Record",
    "Release",
    "SchemaRecord",
    "ShardEntry",
    "ShardPart",
    "Split",
    "StrongRef",
    "check_name",
    "check_split",
    "check_version",
    "head_uri",
    "parse",
    "parse_block",
    "parse_value",
    "recipe_uri",
    "release_key",
    "release_uri",
    "schema_uri",
    "split_release_key",
    "validate",
    "version_order",
]

Record: TypeAlias = SchemaRecord | ShardPart | RecipeRecord | Release | Dataset

RECORDS: Final = (SchemaRecord, ShardPart, RecipeRecord, Release, Dataset)
"""The class of each of our collections."""

_CLASSES: Mapping[
    str,
    type[SchemaRecord] | type[ShardPart] | type[RecipeRecord] | type[Release] | type[Dataset],
] = {cls.NSID: cls for cls in RECORDS}


def parse(verified: VerifiedRecord) -> Record:
    """The typed value of a proved record of one of our `COLLECTIONS`.

    Raises:
        LexiconError: it does not satisfy its lexicon, its key is not what its content says, a
            reference points to the wrong collection or repository, a URL or name is not allowed,
            or its numbers contradict each other.
    """
    return parse_value(verified.uri, verified.value)


def parse_value(uri: AtUri, value: Mapping[str, Any]) -> Record:
    """As `parse`, for a value of ``uri`` that comes with no proof of its own."""
    cls = _CLASSES.get(str(uri.collection))
    if cls is None:
        raise LexiconError(
            f"expected a record of {', '.join(COLLECTIONS)}, found {quote(str(uri))}"
        )
    validate(value, cls.NSID)
    try:
        record = cls.from_value(value, str(uri.rkey))
        record.check_place(uri)
    except LexiconError as error:
        raise LexiconError(f"{cls.NSID} {uri.rkey}: {error.message}") from error
    return record


def parse_block(uri: AtUri, block: bytes) -> Record:
    """As `parse`, for the bytes of a record that was proved when they were stored."""
    value = decode(block)
    assert isinstance(value, dict), "only records are proved"
    return parse_value(uri, value)
