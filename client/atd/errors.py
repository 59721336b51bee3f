"""Every exception of atd, as one tree that answers: me, them, not there, or unknown?

::

    AtdError                        exit
    ├── LocalError                   10   you asked for something that cannot be
    │   ├── InvalidSyntax            11   not a handle, DID, AT-URI, data set name …
    │   ├── SchemaMismatch           12   a sample or a class does not fit the schema
    │   ├── BadSource                13   the data to publish cannot be read as samples
    │   ├── LoginRefused             14   not logged in, or the PDS refused the password
    │   ├── StorageFault             15   disk full, folder not writable, database damaged
    │   ├── Busy                     16   another process is doing this right now
    │   ├── NeedsConsent             17   the step must be agreed to first
    │   ├── TooLarge                 18   larger than the receiving side takes
    │   ├── Conflict                 19   what is published changed, or the version exists
    │   ├── BadSettings              20   a setting has a value that cannot be used
    │   ├── AmbiguousName            21   a name alone, which several publishers use
    │   ├── RecipeError              22   a recipe cannot be read, or needs what is not there
    │   └── EngineFault              23   an engine is not there, or its workers fail at a task
    ├── RemoteError                  30   what someone published is wrong: never retried
    │   ├── ProofError               31   a record, tree, commit or signature does not prove
    │   │   ├── PreviousKey          32   signed by an earlier key of this DID
    │   │   └── FrameRefused         38   a message of an event stream breaks a rule
    │   ├── StaleRevision            33   older than what was already proved, or from the future
    │   ├── IdentityMismatch         34   a handle, DID document or claim contradicts another
    │   ├── LexiconError             35   a record or a reply does not satisfy its lexicon
    │   ├── DigestMismatch           36   bytes do not have the digest or size that was signed
    │   ├── ShardError               37   a shard is not what its release says
    │   └── PinMismatch              39   what is published is not what a lockfile pins
    ├── Absent                       40   we asked, and the answer is no
    │   ├── HandleAbsent             41
    │   ├── DidAbsent                42
    │   ├── RecordAbsent             43   proved: the signed tree has no such record
    │   └── AccountInactive          44   deactivated, suspended, taken down or deleted
    ├── Unreachable                  50   we could not find out: may be tried again
    │   ├── RateLimited              51   told to wait
    │   └── Offline                  52   the network was needed, and is switched off
    └── DaemonError                  60   the local daemon did not do its part
        ├── DaemonAway               61   not running and could not be started
        └── DaemonMismatch           62   another version, or started with other settings

Exit code 1 is a defect in atd itself, 2 a command line that does not parse, 130 an interrupt, 141 a
reader of stdout that went away.

An error carries a message (what was expected, what came, where it came from) and a next step. It
crosses the daemon's socket by the name of its class and comes out as the same class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class AtdError(Exception):
    """Root of every error that atd raises on purpose.

    Args:
        message: one sentence: what was expected, what came, and where it came from.
        next_step: what the reader can do about it; overrides the class's own advice.
    """

    exit_code: ClassVar[int] = 9
    advice: ClassVar[str] = ""

    def __init__(self, message: str, *, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = self.advice if next_step is None else next_step

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self).__name__, self.message, self.next_step)

    def to_wire(self) -> dict[str, str]:
        """The XRPC error object for this error: ``{"error", "message", "nextStep"}``."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "nextStep": self.next_step,
        }


class LocalError(AtdError):
    """You asked for something that cannot be."""

    exit_code = 10


class InvalidSyntax(LocalError, ValueError):
    """A string is not the handle, DID, NSID, record key, AT-URI or name that it should be."""

    exit_code = 11


class SchemaMismatch(LocalError):
    """A sample does not fit the schema, or a class cannot read what was published."""

    exit_code = 12
    advice = "see what the data set has with: atd schema show REF"


class BadSource(LocalError):
    """The data to publish cannot be read as samples."""

    exit_code = 13
    advice = "see what can be published with: atd publish --help"


class LoginRefused(LocalError):
    """No account is logged in, or the PDS refused its password or session."""

    exit_code = 14
    advice = "log in with: atd login HANDLE"


class StorageFault(LocalError):
    """The disk is full, a folder is not writable, or a local database is damaged."""

    exit_code = 15
    advice = "free space or choose another folder with ATD_HOME, then run the same command again"


class Busy(LocalError):
    """Another process is doing this right now."""

    exit_code = 16
    advice = "wait for the other one to finish, then run the same command again"


class NeedsConsent(LocalError):
    """The step is irreversible or public and must be agreed to first."""

    exit_code = 17
    advice = "read what it says, then answer yes or pass --yes (in Python: yes=True)"


class TooLarge(LocalError):
    """A blob, record or request is larger than the receiving side takes."""

    exit_code = 18
    advice = "make smaller shards with --shard-size, or put them elsewhere with --store"


class Conflict(LocalError):
    """What is published changed under us, or the version already exists with other content.

    ``reason`` is the XRPC error that a PDS gave where the error was raised (``InvalidSwap``,
    ``BlobNotFound``), else empty; it does not cross the daemon's socket.
    """

    exit_code = 19
    advice = "look at what is published with: atd show REF; then run the same command again"

    def __init__(self, message: str, *, reason: str = "", next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.reason = reason


class BadSettings(LocalError):
    """A setting has a value that cannot be used."""

    exit_code = 20
    advice = "see where it comes from with: atd config"


class AmbiguousName(LocalError):
    """Several publishers have a data set of this name, and nothing decides between them."""

    exit_code = 21
    advice = "say which one is meant: @HANDLE/NAME"


class RecipeError(LocalError):
    """A recipe cannot be read, contradicts itself, or needs something that is not there."""

    exit_code = 22
    advice = "see how recipes are written in docs/recipes.md"


class EngineFault(LocalError):
    """An engine is not there or cannot be started, or its workers failed at a task each time."""

    exit_code = 23
    advice = "run the same command again: what is done already is not done twice"


class RemoteError(AtdError):
    """What someone published is wrong. Never retried, always shown."""

    exit_code = 30
    advice = "tell the publisher; nothing was stored or loaded"


class ProofError(RemoteError):
    """A record, tree, commit or signature does not prove."""

    exit_code = 31


class PreviousKey(ProofError):
    """The commit is signed by an earlier key of this DID, not by the current one."""

    exit_code = 32
    advice = (
        "it may follow a compromise: ask the publisher to write once, or pass --allow-previous-key"
    )


class FrameRefused(ProofError):
    """A message of a host's event stream breaks a rule of the message checklist.

    ``reason`` is the rule, a member of `atd.protocol.rejects.Reject`; ``did`` whose repository the
    message speaks of and ``seq`` its number in the stream, where it could be read so far. They do
    not cross the daemon's socket.
    """

    exit_code = 38

    def __init__(
        self,
        message: str,
        *,
        reason: str = "bad_frame",
        did: str | None = None,
        seq: int | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.reason = reason
        self.did = did
        self.seq = seq


class StaleRevision(RemoteError):
    """The revision is older than one already proved for this DID, or lies in the future."""

    exit_code = 33


class IdentityMismatch(RemoteError):
    """A handle, a DID document or a claim contradicts another."""

    exit_code = 34


class LexiconError(RemoteError):
    """A record or a reply does not satisfy its lexicon."""

    exit_code = 35


class DigestMismatch(RemoteError):
    """Bytes do not have the digest or the size that was signed."""

    exit_code = 36


class ShardError(RemoteError):
    """A shard is not what its release says: names the shard, the key and the field."""

    exit_code = 37


class PinMismatch(RemoteError):
    """What is published, or was asked for, is not what a lockfile pins."""

    exit_code = 39
    advice = "see what changed with: atd lock --check"


class Absent(AtdError):
    """We asked, and the answer is no."""

    exit_code = 40


class HandleAbsent(Absent):
    """No DID answers for the handle, by DNS or by HTTPS."""

    exit_code = 41
    advice = "check the spelling; the owner may not have set the handle up yet"


class DidAbsent(Absent):
    """The directory does not know the DID, or it was deactivated for ever."""

    exit_code = 42
    advice = "check the spelling; the account may be gone for ever"


class RecordAbsent(Absent):
    """The signed tree has no such record.

    ``proof`` is the `atd.protocol.proof.VerifiedAbsence` where the error was raised; it does not
    cross the daemon's socket.
    """

    exit_code = 43
    advice = "see what the publisher has with: atd ls @HANDLE"

    def __init__(self, message: str, *, proof: object = None, next_step: str | None = None) -> None:
        super().__init__(message, next_step=next_step)
        self.proof = proof


class AccountInactive(Absent):
    """The account is deactivated, suspended, taken down or deleted at its PDS."""

    exit_code = 44
    advice = "the owner may come back; what was fetched before is still in the store"


class Unreachable(AtdError):
    """We could not find out: no answer, a timeout, a 5xx, or an answer that is not one."""

    exit_code = 50
    advice = "try again in a while"


class RateLimited(Unreachable):
    """A server told us to wait. ``retry_after_s`` is how long, in seconds, where it said so."""

    exit_code = 51

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.retry_after_s = retry_after_s


class Offline(Unreachable):
    """The network was needed, and ATD_OFFLINE switched it off."""

    exit_code = 52
    advice = "unset ATD_OFFLINE, or use what is in the store"


class DaemonError(AtdError):
    """The local daemon did not do its part."""

    exit_code = 60
    advice = "see: atd daemon logs"


class DaemonAway(DaemonError):
    """The daemon is not running and could not be started."""

    exit_code = 61


class DaemonMismatch(DaemonError):
    """The running daemon is of another version, or was started with other settings."""

    exit_code = 62
    advice = "restart it with: atd daemon stop (the next command starts it again)"


def tree(root: type[AtdError] = AtdError) -> Iterator[type[AtdError]]:
    """Every class of the tree, root first, depth first."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def rebuild(name: str, message: str, next_step: str | None = None) -> AtdError:
    """The error that went over the wire or a pickle as ``name``; unknown names are DaemonError."""
    classes = {cls.__name__: cls for cls in tree()}
    return classes.get(name, DaemonError)(message, next_step=next_step)
