"""A PLC directory whose operation logs are genuine: signed, chained, and named by their hash."""

from __future__ import annotations

from base64 import b32encode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from atd.protocol.cbor import Cid, encode
from atd.protocol.keys import PrivateKey
from atd.protocol.syntax import Did
from world.wire import Answer, Call, json_answer

if TYPE_CHECKING:
    from world.network import World


@dataclass
class Entry:
    """One operation in a log."""

    operation: dict[str, Any]
    created_at: str
    nullified: bool = False

    @property
    def cid(self) -> Cid:
        return Cid.of(encode(self.operation))


@dataclass
class PlcAccount:
    """What the directory knows of one DID."""

    did: Did
    rotation_key: PrivateKey | None
    log: list[Entry] = field(default_factory=list)

    @property
    def current(self) -> dict[str, Any]:
        """The operation that holds."""
        return next(e for e in reversed(self.log) if not e.nullified).operation

    @property
    def tombstoned(self) -> bool:
        return bool(self.current["type"] == "plc_tombstone")


class Plc:
    """The directory; a server of the world."""

    def __init__(self, world: World, url: str) -> None:
        self.url = url
        self._world = world
        self.accounts: dict[str, PlcAccount] = {}

    def create(self, key: PrivateKey, rotation_key: PrivateKey, handle: str, pds: str) -> Did:
        """Register a new DID."""
        operation = sign(
            {
                "type": "plc_operation",
                "rotationKeys": [rotation_key.public.to_did_key()],
                "verificationMethods": {"atproto": key.public.to_did_key()},
                "alsoKnownAs": [f"at://{handle}"],
                "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": pds}},
                "prev": None,
            },
            rotation_key,
        )
        return self.register(operation, rotation_key)

    def register(self, operation: dict[str, Any], rotation_key: PrivateKey | None = None) -> Did:
        """Register the DID that a first operation makes, whatever it says."""
        name = b32encode(sha256(encode(operation)).digest()).decode().lower()[:24]
        did = Did.parse(f"did:plc:{name}")
        self.accounts[did] = PlcAccount(did, rotation_key, [self._entry(operation)])
        return did

    def update(self, did: Did, **changes: Any) -> None:
        """Append an operation with some fields changed."""
        account = self.accounts[did]
        assert account.rotation_key is not None
        unsigned = {k: v for k, v in account.current.items() if k != "sig"} | changes
        unsigned["prev"] = str(account.log[-1].cid)
        account.log.append(self._entry(sign(unsigned, account.rotation_key)))

    def tombstone(self, did: Did) -> None:
        """Deactivate the DID for ever."""
        account = self.accounts[did]
        assert account.rotation_key is not None
        unsigned = {"type": "plc_tombstone", "prev": str(account.log[-1].cid)}
        account.log.append(self._entry(sign(unsigned, account.rotation_key)))

    def _entry(self, operation: dict[str, Any]) -> Entry:
        when = datetime.fromtimestamp(self._world.now(), UTC)
        return Entry(operation, when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z")

    async def __call__(self, call: Call) -> Answer:
        did, _, rest = call.path.lstrip("/").partition("/")
        account = self.accounts.get(did)
        if account is None:
            return json_answer({"message": f"DID not registered: {did}"}, 404)
        if rest == "log/audit":
            return _list_answer([_audit(did, entry) for entry in account.log])
        if rest:
            return json_answer({"message": "not found"}, 404)
        if account.tombstoned:
            return json_answer({"message": f"DID not available: {did}"}, 410)
        document = json_answer(document_of(did, account.current))
        return Answer(200, {"content-type": "application/did+ld+json"}, document.body)


def sign(operation: dict[str, Any], key: PrivateKey) -> dict[str, Any]:
    """The operation with its signature, as the PLC method defines it."""
    signature = urlsafe_b64encode(key.sign(encode(operation))).decode().rstrip("=")
    return {**operation, "sig": signature}


def document_of(did: str, operation: dict[str, Any]) -> dict[str, Any]:
    """The DID document that a PLC operation stands for."""
    return {
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "alsoKnownAs": operation["alsoKnownAs"],
        "verificationMethod": [
            {
                "id": f"{did}#{name}",
                "type": "Multikey",
                "controller": did,
                "publicKeyMultibase": key.removeprefix("did:key:"),
            }
            for name, key in operation["verificationMethods"].items()
        ],
        "service": [
            {"id": f"#{name}", "type": service["type"], "serviceEndpoint": service["endpoint"]}
            for name, service in operation["services"].items()
        ],
    }


def _audit(did: str, entry: Entry) -> dict[str, Any]:
    return {
        "did": did,
        "operation": entry.operation,
        "cid": str(entry.cid),
        "nullified": entry.nullified,
        "createdAt": entry.created_at,
    }


def _list_answer(rows: list[dict[str, Any]]) -> Answer:
    wrapped = json_answer({"rows": rows})
    return Answer(200, wrapped.headers, wrapped.body[len(b'{"rows": ') : -1])
