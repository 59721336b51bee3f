"""What a bundle says of itself: the block at its root, as values.

::

    {"format": "atd-proof", "version": 1,
     "made": {"at": "2026-11-21T17:06:11.000Z", "by": "atd 0.1.0"},
     "subject": {"uri": "at://did:plc:…/network.atd.dataset/flowers", "cid": CID},
     "identities": [{"did": "did:plc:…", "at": "2026-…", "from": "https://plc.directory",
                     "operations": [{"operation": CID, "createdAt": "2024-…"}, …],
                     "handle": {"name": "alice.example.com", "at": "2026-…"}}],
     "records": [{"uri": "at://…", "cid": CID, "commit": CID, "at": "2026-…"}, …]}

A did:web has ``document`` (its JSON text, as it was served) in the place of ``operations``. Exactly
these keys: one that this version does not know is refused, because what is not understood cannot be
said to be proved or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from atd.errors import AtdError, ProofError
from atd.protocol.cbor import DAG_CBOR, Cid, Value, decode, encode
from atd.protocol.identity import parse_origin
from atd.protocol.plc import MAX_OPERATIONS
from atd.protocol.syntax import AtUri, Datetime, Did, Handle, quote

FORMAT: Final = "atd-proof"
VERSION: Final = 1

MAX_BUNDLE_BYTES: Final = 256 * 2**20
MAX_RECORDS: Final = 100_000
MAX_COMMITS: Final = 16
MAX_IDENTITIES: Final = 16
MAX_DOCUMENT_BYTES: Final = 64 * 1024
_MAX_DEPTH: Final = 6
_MAX_MAKER: Final = 64


@dataclass(frozen=True)
class Noted:
    """Something with the moment at which somebody noted it, by their own clock."""

    what: Cid
    at: Datetime


@dataclass(frozen=True)
class HandleAnswer:
    """``name`` led to the DID, by DNS or HTTPS, when it was asked for at ``at``."""

    name: Handle
    at: Datetime


@dataclass(frozen=True)
class Evidence:
    """Who an account is said to be: operations of a did:plc, or the document of a did:web.

    Args:
        did: whose.
        at: when it was fetched.
        source: from where, an origin.
        operations: of a did:plc, oldest first; blocks of the bundle, each with the moment at which
            the directory says that it came.
        document: of a did:web, the JSON text.
        handle: what its handle led to.
    """

    did: Did
    at: Datetime
    source: str
    operations: tuple[Noted, ...] = ()
    document: str | None = None
    handle: HandleAnswer | None = None


@dataclass(frozen=True)
class Claim:
    """There is ``cid`` at ``uri`` in ``commit``; checked by whoever made the bundle at ``at``."""

    uri: AtUri
    cid: Cid
    commit: Cid
    at: Datetime


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says; ``subject`` is the first of ``records``."""

    made_at: Datetime
    made_by: str
    identities: tuple[Evidence, ...]
    records: tuple[Claim, ...]

    @property
    def subject(self) -> Claim:
        """What the bundle is about."""
        return self.records[0]

    def encode(self) -> bytes:
        """The block at the root of the bundle."""
        value: dict[str, Value] = {
            "format": FORMAT,
            "version": VERSION,
            "made": {"at": self.made_at, "by": self.made_by},
            "subject": {"uri": str(self.subject.uri), "cid": self.subject.cid},
            "identities": [_evidence_value(one) for one in self.identities],
            "records": [
                {"uri": str(one.uri), "cid": one.cid, "commit": one.commit, "at": one.at}
                for one in self.records
            ],
        }
        return encode(value)

    @classmethod
    def decode(cls, block: bytes) -> Manifest:
        """Read the block at the root of a bundle.

        Raises:
            ProofError: it is not a manifest that this version knows, in its one encoding.
        """
        try:
            return _manifest(decode(block, max_depth=_MAX_DEPTH))
        except AtdError as error:
            raise ProofError(f"the manifest of the bundle: {error.message}") from None


def _evidence_value(one: Evidence) -> dict[str, Value]:
    value: dict[str, Value] = {"did": str(one.did), "at": one.at, "from": one.source}
    if one.document is not None:
        value["document"] = one.document
    else:
        value["operations"] = [
            {"operation": each.what, "createdAt": each.at} for each in one.operations
        ]
    if one.handle is not None:
        value["handle"] = {"name": str(one.handle.name), "at": one.handle.at}
    return value


# ---- reading


def _manifest(value: object) -> Manifest:
    keys = {"format", "version", "made", "subject", "identities", "records"}
    if isinstance(value, dict) and value.get("format") == FORMAT and value.get("version") != 1:
        raise ProofError(
            f"expected version {VERSION} of a bundle, got {quote(value.get('version'))}",
            next_step="a newer atd may know it",
        )
    top = _map(value, keys, "a bundle")
    if top["format"] != FORMAT or top["version"] is True:
        raise ProofError(f"expected the format {FORMAT}, got {quote(top['format'])}")
    made = _map(top["made"], {"at", "by"}, "made")
    maker = _text(made["by"], "made.by", _MAX_MAKER)
    identities = _list(top["identities"], "identities", MAX_IDENTITIES)
    records = _list(top["records"], "records", MAX_RECORDS)
    found = Manifest(
        Datetime.parse(made["at"]),
        maker,
        tuple(_evidence(each) for each in identities),
        tuple(_claim(each) for each in records),
    )
    subject = _map(top["subject"], {"uri", "cid"}, "subject")
    if subject != {"uri": str(found.subject.uri), "cid": found.subject.cid}:
        raise ProofError("expected the subject to be the first record")
    _once([str(each.did) for each in found.identities], "identity")
    _once([str(each.uri) for each in found.records], "record")
    if len({each.commit for each in found.records}) > MAX_COMMITS:
        raise ProofError(f"expected records of at most {MAX_COMMITS} commits")
    return found


def _evidence(value: object) -> Evidence:
    if not isinstance(value, dict):
        raise ProofError(f"expected an identity, got {quote(value)}")
    did = Did.parse(value.get("did"))  # type: ignore[arg-type]
    kind = "operations" if did.method == "plc" else "document"
    optional = {"handle"} & value.keys()
    entry = _map(value, {"did", "at", "from", kind} | optional, f"the identity of {did}")
    handle = None
    if optional:
        answer = _map(entry["handle"], {"name", "at"}, "handle")
        handle = HandleAnswer(Handle.parse(answer["name"]), Datetime.parse(answer["at"]))
    document: str | None = None
    operations: tuple[Noted, ...] = ()
    if kind == "document":
        document = _text(entry["document"], "document", MAX_DOCUMENT_BYTES)
    else:
        operations = tuple(
            _noted(each) for each in _list(entry["operations"], "operations", MAX_OPERATIONS)
        )
    source = parse_origin(entry["from"])
    return Evidence(did, Datetime.parse(entry["at"]), source, operations, document, handle)


def _noted(value: object) -> Noted:
    entry = _map(value, {"operation", "createdAt"}, "operation")
    return Noted(_cid(entry["operation"], "operation"), Datetime.parse(entry["createdAt"]))


def _claim(value: object) -> Claim:
    entry = _map(value, {"uri", "cid", "commit", "at"}, "record")
    uri = AtUri.parse(entry["uri"])
    if not isinstance(uri.authority, Did) or uri.rkey is None or str(uri) != entry["uri"]:
        raise ProofError(f"expected the URI of one record by DID, got {quote(entry['uri'])}")
    cid, commit = _cid(entry["cid"], "cid"), _cid(entry["commit"], "commit")
    return Claim(uri, cid, commit, Datetime.parse(entry["at"]))


def _map(value: object, keys: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise ProofError(f"expected {what} to have exactly {', '.join(sorted(keys))}")
    return value


def _list(value: object, what: str, most: int) -> list[object]:
    if not isinstance(value, list) or not 0 < len(value) <= most:
        raise ProofError(f"expected 1 to {most} {what}")
    return value


def _text(value: object, what: str, most: int) -> str:
    if not isinstance(value, str) or not value or len(value.encode()) > most:
        raise ProofError(f"expected {what} to be a text of at most {most} bytes")
    return value


def _cid(value: object, what: str) -> Cid:
    if not isinstance(value, Cid) or value.codec != DAG_CBOR:
        raise ProofError(f"expected {what} to name a block, got {quote(value)}")
    return value


def _once(names: Sequence[str], what: str) -> None:
    if len(set(names)) < len(names):
        raise ProofError(f"expected each {what} once")
