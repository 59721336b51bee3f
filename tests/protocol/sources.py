"""Published repositories to attack, by four makers: our own code with either curve, the reference
PDS, and arroba. What is true of a proof must be true of everyone's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import arroba.server
import arroba.xrpc_sync
from arroba.repo import Repo
from arroba.storage import MemoryStorage
from arroba.util import Action, Write
from cryptography.hazmat.primitives.asymmetric import ec

from atd.errors import RecordAbsent
from atd.protocol.identity import Identity
from atd.protocol.keys import Curve
from atd.protocol.proof import VerifiedAbsence, verify_record
from atd.protocol.syntax import AtUri
from protocol.making import COLLECTION, Author, thing
from reference.client import Session, get_document
from reference.network import Network

NAMES = ("ours k256", "ours p256", "reference PDS", "arroba")
PRESENT, OTHER, ABSENT, REMOVED = "one", "two", "none", "removed"
RECORDS = {name: thing(index, text="x" * 50) for index, name in enumerate((PRESENT, OTHER))}
STRANGERS = {name: thing(100 + index) for index, name in enumerate((PRESENT, OTHER))}
FILLER = {f"filler{index:02}": thing(index) for index in range(20)}


@dataclass(frozen=True)
class Published:
    """What two publishers published, and the proofs that a server gives of it.

    ``stranger`` has another record under the same collection and key.
    """

    identity: Identity
    stranger: Identity
    present: bytes
    other: bytes
    absent: bytes
    repo: bytes
    strangers: bytes

    def uri(self, rkey: str) -> AtUri:
        """The URI of a record of `COLLECTION`."""
        return AtUri.parse(f"at://{self.identity.did}/{COLLECTION}/{rkey}")


def publish(name: str, reference: Network | None) -> Published:
    """The publication of that name; ``reference`` for the reference PDS."""
    if name == "arroba":
        return _by_arroba()
    if reference is not None:
        return _by_reference(reference)
    return _by_us("p256" if name.endswith("p256") else "k256")


def _by_us(curve: Curve) -> Published:
    made: list[Any] = []
    for name, records in (("alice", RECORDS), ("mallory", STRANGERS)):
        author = Author.named(name, curve)
        paths = {f"{COLLECTION}/{rkey}": value for rkey, value in (records | FILLER).items()}
        made += [author.identity, author.repo(paths)]
    return _from_repos(*made)


def _by_reference(network: Network) -> Published:
    sessions = alice, carol = [
        Session(network.account(handle)) for handle in ("alice.pds1.test", "carol.pds2.test")
    ]
    for session, records in ((alice, RECORDS), (carol, STRANGERS)):
        for rkey, value in (records | FILLER | {REMOVED: thing(9)}).items():
            session.put(COLLECTION, rkey, dict(value))
        session.delete(COLLECTION, REMOVED)
    identity, stranger = (
        Identity.from_document(get_document(network.plc_url, session.account.did))
        for session in sessions
    )
    return Published(
        identity=identity,
        stranger=stranger,
        present=alice.proof(COLLECTION, PRESENT),
        other=alice.proof(COLLECTION, OTHER),
        absent=alice.proof(COLLECTION, ABSENT),
        repo=alice.repo(),
        strangers=carol.proof(COLLECTION, PRESENT),
    )


def _by_arroba() -> Published:
    """Two repositories of arroba, one for each curve, as its getRepo gives them."""
    storage = MemoryStorage()
    arroba.server.storage = storage
    curves: dict[Curve, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "k256": ec.SECP256K1()}
    made: list[Any] = []
    makers = zip(curves.items(), ("alice", "mallory"), (RECORDS, STRANGERS), strict=True)
    for (curve, kind), name, records in makers:
        author = Author.named(f"{name} of arroba", curve)
        key = ec.derive_private_key(int.from_bytes(author.key.to_bytes()), kind)
        repo = Repo.create(storage, str(author.did), handle=f"{name}.test", signing_key=key)
        writes = [
            Write(Action.CREATE, COLLECTION, rkey, dict(value))
            for rkey, value in (records | FILLER).items()
        ]
        storage.commit(repo, writes)
        made += [author.identity, arroba.xrpc_sync.get_repo({}, did=str(author.did))]
    return _from_repos(*made)


def _from_repos(identity: Identity, repo: bytes, stranger: Identity, theirs: bytes) -> Published:
    """Proofs cut out of whole repositories, as small as they can be."""
    whole = Published(identity, stranger, repo, repo, repo, repo, theirs)
    at_strangers = AtUri.parse(f"at://{stranger.did}/{COLLECTION}/{PRESENT}")
    return Published(
        identity=identity,
        stranger=stranger,
        present=verify_record(repo, identity, whole.uri(PRESENT)).proof,
        other=verify_record(repo, identity, whole.uri(OTHER)).proof,
        absent=proof_of_absence(repo, identity, whole.uri(ABSENT)),
        repo=repo,
        strangers=verify_record(theirs, stranger, at_strangers).proof,
    )


def proof_of_absence(car: bytes, identity: Identity, uri: AtUri) -> bytes:
    """The smallest proof that ``uri`` is not there, out of a larger one."""
    try:
        verify_record(car, identity, uri)
    except RecordAbsent as absent:
        proof = absent.proof
    else:
        raise AssertionError(f"{uri} is there")
    assert isinstance(proof, VerifiedAbsence)
    return proof.proof
