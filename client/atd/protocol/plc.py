"""Operation logs of did:plc: signed, chained, and named by their first entry. Pure.

The directory is trusted to say which operation holds now. It is not trusted about the past: a
previous signing key is believed only where the chain of operations proves it, from the first one,
whose hash is the DID, each signed by a rotation key of the one before. Nullified operations (undone
by a stronger rotation key within 72 hours) are left out.

Source: web.plc.directory/spec/v0.1/did-plc, including the legacy ``create`` operation.
"""

from __future__ import annotations

import re
from base64 import b32encode, urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from atd.errors import AtdError, IdentityMismatch, InvalidSyntax
from atd.protocol.cbor import Cid, encode, from_json
from atd.protocol.identity import Identity
from atd.protocol.keys import PublicKey
from atd.protocol.syntax import Did, quote

MAX_OPERATIONS: Final = 2_000
MAX_ROTATION_KEYS: Final = 10
"""The directory takes five, newer ones ten; each may have to be tried on the next operation."""
_PLC: Final = re.compile(r"did:plc:[a-z2-7]{24}")


def is_plc(did: Did) -> bool:
    """Whether ``did`` is a well-formed did:plc."""
    return _PLC.fullmatch(did) is not None


@dataclass(frozen=True)
class Operation:
    """One operation: its body as it was signed, with its signature, and the hash of all that."""

    cid: Cid
    body: Mapping[str, Any]

    @property
    def rotation_keys(self) -> list[PublicKey]:
        """The keys, strongest first, of which one must sign what comes next."""
        if self.body["type"] == "create":
            keys = [self.body["recoveryKey"], self.body["signingKey"]]
        else:
            keys = self.body.get("rotationKeys", [])
        if len(keys) > MAX_ROTATION_KEYS:
            raise InvalidSyntax(f"{len(keys)} rotation keys, at most {MAX_ROTATION_KEYS} are read")
        return [PublicKey.from_did_key(key) for key in keys]

    @property
    def signing_key(self) -> PublicKey | None:
        """The ``#atproto`` key that it sets; None for a tombstone or an account without one."""
        if self.body["type"] == "create":
            return PublicKey.from_did_key(self.body["signingKey"])
        methods = self.body.get("verificationMethods")
        key = methods.get("atproto") if isinstance(methods, dict) else None
        return None if key is None else PublicKey.from_did_key(key)

    def document(self, did: Did) -> dict[str, object]:
        """The DID document that it stands for, as far as `Identity` reads one."""
        body = self.body
        if body["type"] == "create":
            handle, service = str(body.get("handle", "")), str(body.get("service", ""))
            endpoint = service if service.startswith(("http://", "https://")) else ""
            body = {
                "alsoKnownAs": [f"at://{handle.removeprefix('at://')}"],
                "services": {
                    "atproto_pds": {
                        "type": "AtprotoPersonalDataServer",
                        "endpoint": endpoint or f"https://{service}",
                    }
                },
            }
        key = self.signing_key
        method = {
            "id": "#atproto",
            "type": "Multikey",
            "controller": did,
            "publicKeyMultibase": None if key is None else key.to_multikey(),
        }
        services = body.get("services")
        return {
            "id": did,
            "alsoKnownAs": body.get("alsoKnownAs"),
            "verificationMethod": [] if key is None else [method],
            "service": [
                {
                    "id": f"#{name}",
                    "type": service.get("type"),
                    "serviceEndpoint": service.get("endpoint"),
                }
                for name, service in (services.items() if isinstance(services, dict) else ())
                if isinstance(service, dict)
            ],
        }


@dataclass(frozen=True)
class History:
    """Operations of ``did`` that are proved to be a chain from its first; the last is the newest
    of them, which does not say that there is none after it. Made by `verify_operations`.
    """

    did: Did
    operations: tuple[Operation, ...]

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The ``#atproto`` keys that it ever had, newest first, each once."""
        keys = [operation.signing_key for operation in reversed(self.operations)]
        return tuple(dict.fromkeys(key for key in keys if key is not None))

    @property
    def identity(self) -> Identity:
        """What the newest operation says of the account; handles are claims.

        Raises:
            IdentityMismatch: it is a tombstone, or sets no signing key.
        """
        newest = self.operations[-1]
        if newest.body["type"] == "plc_tombstone":
            raise IdentityMismatch(f"{self.did} was deactivated for ever by {newest.cid}")
        return Identity.from_document(newest.document(self.did))


def signing_keys(did: Did, log: object) -> list[PublicKey]:
    """The ``#atproto`` keys that ``did`` ever had, newest (the current one) first, each once.

    Args:
        did: whose log it must be.
        log: the parsed answer of the directory's ``/{did}/log/audit``.

    Raises:
        IdentityMismatch: the log is not a proved chain of operations of this DID.
    """
    return list(verify_log(did, log).keys)


def verify_log(did: Did, log: object) -> History:
    """The operations in an audit log, nullified ones left out, proved.

    Raises:
        IdentityMismatch: as `signing_keys`.
    """
    return verify_operations(did, [entry["operation"] for entry in audited(did, log)])


def audited(did: Did, log: object) -> list[dict[str, Any]]:
    """The entries of an audit log that hold: hashes checked, nullified ones left out.

    Signatures are not looked at.

    Raises:
        IdentityMismatch: it is no audit log of ``did``.
    """
    if not isinstance(log, list) or not 0 < len(log) <= MAX_OPERATIONS:
        raise IdentityMismatch(f"expected the operations of {did}, got {quote(log)}")
    kept = [_read(did, entry) for entry in log if not _nullified(entry)]
    if not kept:
        raise IdentityMismatch(f"every operation of {did} is nullified")
    return kept


def verify_operations(did: Did, bodies: Sequence[Mapping[str, Any]]) -> History:
    """Prove a chain of operations, each as it was signed, with its ``sig``, oldest first.

    Raises:
        IdentityMismatch: it does not begin with the operation that ``did`` is the hash of, has a
            gap, or one of them is not signed by a rotation key of the one before.
    """
    if not 0 < len(bodies) <= MAX_OPERATIONS:
        raise IdentityMismatch(f"expected 1 to {MAX_OPERATIONS} operations, got {len(bodies)}")
    try:
        operations = tuple(_operation(did, body) for body in bodies)
        _check_chain(did, operations)
        history = History(did, operations)
        _ = history.keys  # all of them must be keys
    except (InvalidSyntax, KeyError, TypeError, AttributeError) as error:
        raise IdentityMismatch(f"the operation log of {did} cannot be read: {error}") from error
    return history


def _nullified(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("nullified") is True


def _read(did: Did, entry: Any) -> dict[str, Any]:
    """An entry whose hash is what it says, its operation in the data model."""
    if not isinstance(entry, dict) or entry.get("did") != did:
        raise IdentityMismatch(f"expected an operation of {did}, got {quote(entry)}")
    try:
        body = from_json(entry.get("operation"))
        cid = Cid.of(encode(body))
    except AtdError as error:
        raise IdentityMismatch(f"an operation of {did} cannot be read: {error}") from None
    if entry.get("cid") != str(cid):
        raise IdentityMismatch(
            f"an operation of {did} has the hash {cid}, its log says {quote(entry.get('cid'))}"
        )
    return {**entry, "operation": body}


def _operation(did: Did, body: Mapping[str, Any]) -> Operation:
    if body.get("type") not in ("plc_operation", "plc_tombstone", "create"):
        raise IdentityMismatch(f"unknown operation {quote(body.get('type'))} in the log of {did}")
    return Operation(Cid.of(encode(dict(body))), body)


def _check_chain(did: Did, operations: Sequence[Operation]) -> None:
    """The first operation makes the DID; each later one follows and is signed by the one before."""
    first = operations[0]
    name = b32encode(sha256(encode(dict(first.body))).digest()).decode("ascii").lower()[:24]
    if did != f"did:plc:{name}" or first.body.get("prev") is not None:
        raise IdentityMismatch(f"the log of {did} does not begin with its first operation")
    for before, operation in zip([first, *operations], operations, strict=False):
        if operation is not first and operation.body.get("prev") != str(before.cid):
            raise IdentityMismatch(f"the log of {did} has a gap before {operation.cid}")
        if operation is not first and operation.body["type"] == "create":
            raise IdentityMismatch(f"the log of {did} begins again with {operation.cid}")
        if not _signed(operation, before.rotation_keys):
            raise IdentityMismatch(
                f"operation {operation.cid} of {did} is not signed by a rotation key of its account"
            )


def _signed(operation: Operation, keys: list[PublicKey]) -> bool:
    text = operation.body.get("sig")
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]{86}", text):
        return False
    signature = urlsafe_b64decode(text + "==")
    message = encode({name: value for name, value in operation.body.items() if name != "sig"})
    return any(key.verify(signature, message) for key in keys)
