"""Proof bundles: one file with all that a third party needs to check a data set, offline.

::

    manifest   what a bundle says, and who says it: values to and from one block
    check      every rule that a bundle must satisfy; what comes out is proved
    make       from proofs and key evidence to the bytes of a bundle
    report     what is proved and what is only said, as JSON and as lines

Rules. Everything here is pure: bytes in, values out; no network, no files, no clock. A bundle is
hostile until `check_bundle` returns. What a signature proves and what whoever made the bundle only
testifies (answers of the DNS, of a directory, times) are kept in different values all the way out,
and never told in one breath. docs/proof-bundles.md describes the file.
"""

from __future__ import annotations

from atd.bundles.check import Checked, CheckedRecord, Keys, check_bundle
from atd.bundles.make import make_bundle
from atd.bundles.manifest import (
    MAX_BUNDLE_BYTES,
    Claim,
    Evidence,
    HandleAnswer,
    Manifest,
    Noted,
)

__all__ = [
    "MAX_BUNDLE_BYTES",
    "Checked",
    "CheckedRecord",
    "Claim",
    "Evidence",
    "HandleAnswer",
    "Keys",
    "Manifest",
    "Noted",
    "check_bundle",
    "make_bundle",
]
