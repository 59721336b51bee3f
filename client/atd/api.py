"""The daemon's HTTP contract as data: both sides of the socket import it.

What belongs here: the table of endpoints, the headers that every request and answer carries, the
table from error class to HTTP status, and the form of an error on the wire. No I/O. The inputs and
outputs themselves are described by the lexicons of the same names (``lexicons/network/atd/``).

An endpoint is served at ``/xrpc/NSID``: a *query* by GET with parameters, a *procedure* by POST
with a JSON body. A streaming procedure answers ``application/jsonl``, one event a line::

    {"progress": {…}}      how far it is (throttled; lines may be dropped)
    {"step": {…}}          something that happened, once, in order
    {"result": {…}}        the last line of a success
    {"error": …, "message": …, "nextStep": …}     the last line of a failure

An empty line says only that the daemon is still at it. A stream that ends without a result or an
error was cut off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from atd import errors

PREFIX: Final = "/xrpc/"
JSON: Final = "application/json"
JSONL: Final = "application/jsonl"
SHARD: Final = "application/x-tar"
CAR: Final = "application/vnd.ipld.car"

VERSION_HEADER: Final = "Atd-Version"
SETTINGS_HEADER: Final = "Atd-Settings"
OFFLINE_HEADER: Final = "Atd-Offline"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One query or procedure.

    ``output`` is the media type of a success. ``any_version`` marks those that answer a client of
    another version or other settings: what is needed to see and stop such a daemon. ``repeatable``
    marks procedures that a client may ask again when the answer was lost, as it may any query.
    """

    nsid: str
    kind: Literal["query", "procedure"]
    output: str = JSON
    any_version: bool = False
    repeatable: bool = False

    @property
    def streaming(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.output == JSONL

    @property
    def path(self) -> str:
        """The path below the server's root."""
        return PREFIX + self.nsid


GET_STATUS: Final = Endpoint("network.atd.daemon.getStatus", "query", any_version=True)
GET_HEALTH: Final = Endpoint("network.atd.daemon.getHealth", "query", any_version=True)
STOP: Final = Endpoint("network.atd.daemon.stop", "procedure", any_version=True)

LOGIN: Final = Endpoint("network.atd.account.login", "procedure")
LOGOUT: Final = Endpoint("network.atd.account.logout", "procedure")
LIST_ACCOUNTS: Final = Endpoint("network.atd.account.list", "query")

LIST_DATASETS: Final = Endpoint("network.atd.catalog.listDatasets", "query")
SEARCH_DATASETS: Final = Endpoint("network.atd.catalog.searchDatasets", "query")
SEARCH_AT: Final = Endpoint("network.atd.catalog.searchAt", "query")
GET_DATASET: Final = Endpoint("network.atd.catalog.getDataset", "query")
RESOLVE_NAME: Final = Endpoint("network.atd.catalog.resolveName", "query")
GET_HISTORY: Final = Endpoint("network.atd.catalog.getHistory", "query")
LIST_LOG: Final = Endpoint("network.atd.catalog.listLog", "query")
GET_RELEASE: Final = Endpoint("network.atd.catalog.getRelease", "query")
GET_RECIPE: Final = Endpoint("network.atd.catalog.getRecipe", "query")
SEARCH_RECIPES: Final = Endpoint("network.atd.catalog.searchRecipes", "query")
LOCATE_REPO: Final = Endpoint("network.atd.catalog.locateRepo", "query")
GET_PREVIEW: Final = Endpoint("network.atd.catalog.getPreview", "query")
GET_PROOF: Final = Endpoint("network.atd.catalog.getProof", "query", CAR)
VERIFY: Final = Endpoint("network.atd.catalog.verify", "procedure", JSONL)

PULL: Final = Endpoint("network.atd.store.pull", "procedure", JSONL)
LOCATE_SHARD: Final = Endpoint("network.atd.store.locateShard", "procedure", repeatable=True)
FETCH_SHARD: Final = Endpoint("network.atd.store.fetchShard", "procedure", JSONL)
GET_SHARD: Final = Endpoint("network.atd.store.getShard", "query", SHARD)

FOLLOW: Final = Endpoint("network.atd.sync.follow", "procedure", JSONL)
UNFOLLOW: Final = Endpoint("network.atd.sync.unfollow", "procedure", repeatable=True)
LIST_FOLLOWING: Final = Endpoint("network.atd.sync.listFollowing", "query")
DISCOVER: Final = Endpoint("network.atd.sync.discover", "procedure", JSONL)

LIST_CACHE: Final = Endpoint("network.atd.cache.list", "query")
PRUNE_CACHE: Final = Endpoint("network.atd.cache.prune", "procedure", repeatable=True)
VERIFY_CACHE: Final = Endpoint("network.atd.cache.verify", "procedure", JSONL)
PIN: Final = Endpoint("network.atd.cache.pin", "procedure", repeatable=True)
UNPIN: Final = Endpoint("network.atd.cache.unpin", "procedure", repeatable=True)
REMOVE_CACHED: Final = Endpoint("network.atd.cache.remove", "procedure", repeatable=True)

GET_KEPT: Final = Endpoint("network.atd.keeping.getDataset", "query")
LIST_OUTDATED: Final = Endpoint("network.atd.keeping.listOutdated", "query")
REMOVE: Final = Endpoint("network.atd.keeping.remove", "procedure")
UNTRACK: Final = Endpoint("network.atd.keeping.untrack", "procedure")
COLLECT: Final = Endpoint("network.atd.keeping.collect", "procedure", repeatable=True)

BEGIN: Final = Endpoint("network.atd.publishing.begin", "procedure")
COMPARE: Final = Endpoint("network.atd.publishing.compare", "procedure", repeatable=True)
COMMIT: Final = Endpoint("network.atd.publishing.commit", "procedure", JSONL)
ABANDON: Final = Endpoint("network.atd.publishing.abandon", "procedure")
UNPUBLISH: Final = Endpoint("network.atd.publishing.unpublish", "procedure", JSONL)
PUT_RECIPE: Final = Endpoint("network.atd.publishing.putRecipe", "procedure", JSONL)
REMOVE_RECIPE: Final = Endpoint("network.atd.publishing.removeRecipe", "procedure", JSONL)
EDIT: Final = Endpoint("network.atd.publishing.edit", "procedure", JSONL)

HOST_INIT: Final = Endpoint("network.atd.host.init", "procedure")
HOST_STATUS: Final = Endpoint("network.atd.host.getStatus", "query")
HOST_BACKUP: Final = Endpoint("network.atd.host.backup", "procedure")

ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    endpoint.nsid: endpoint
    for endpoint in (
        GET_STATUS,
        GET_HEALTH,
        STOP,
        LOGIN,
        LOGOUT,
        LIST_ACCOUNTS,
        LIST_DATASETS,
        SEARCH_DATASETS,
        SEARCH_AT,
        GET_DATASET,
        RESOLVE_NAME,
        GET_HISTORY,
        LIST_LOG,
        GET_RELEASE,
        GET_RECIPE,
        SEARCH_RECIPES,
        LOCATE_REPO,
        GET_PREVIEW,
        GET_PROOF,
        VERIFY,
        PULL,
        LOCATE_SHARD,
        FETCH_SHARD,
        GET_SHARD,
        LIST_CACHE,
        PRUNE_CACHE,
        VERIFY_CACHE,
        PIN,
        UNPIN,
        REMOVE_CACHED,
        GET_KEPT,
        LIST_OUTDATED,
        REMOVE,
        UNTRACK,
        COLLECT,
        FOLLOW,
        UNFOLLOW,
        LIST_FOLLOWING,
        DISCOVER,
        BEGIN,
        COMPARE,
        COMMIT,
        ABANDON,
        UNPUBLISH,
        PUT_RECIPE,
        REMOVE_RECIPE,
        EDIT,
        HOST_INIT,
        HOST_STATUS,
        HOST_BACKUP,
    )
}

STATUSES: Final[Mapping[type[errors.AtdError], int]] = {
    errors.AtdError: 500,
    errors.LocalError: 400,
    errors.LoginRefused: 401,
    errors.StorageFault: 507,
    errors.Busy: 409,
    errors.NeedsConsent: 428,
    errors.TooLarge: 413,
    errors.Conflict: 409,
    errors.BadSettings: 500,
    errors.RemoteError: 502,
    errors.Absent: 404,
    errors.AccountInactive: 410,
    errors.Unreachable: 504,
    errors.RateLimited: 429,
    errors.Offline: 503,
    errors.DaemonError: 500,
    errors.DaemonMismatch: 409,
}


def status_of(error: errors.AtdError) -> int:
    """The HTTP status of ``error``: that of its nearest class in `STATUSES`."""
    return next(STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES)


def error_to_wire(error: errors.AtdError) -> dict[str, Any]:
    """The XRPC error object of ``error``, with ``retryAfter`` (seconds) where it is known."""
    wire: dict[str, Any] = dict(error.to_wire())
    if isinstance(error, errors.RateLimited) and error.retry_after_s is not None:
        wire["retryAfter"] = round(error.retry_after_s)
    return wire


def error_from_wire(value: Mapping[str, Any]) -> errors.AtdError:
    """The error that came over the wire; a name that is not of the tree gives DaemonError."""
    step = value.get("nextStep")
    found = errors.rebuild(
        str(value.get("error", "")),
        str(value.get("message", "the daemon gave no reason")),
        step if isinstance(step, str) and step else None,
    )
    wait = value.get("retryAfter")
    if isinstance(found, errors.RateLimited) and isinstance(wait, int):
        found.retry_after_s = float(wait)
    return found
