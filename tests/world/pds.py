"""A PDS: the XRPC methods that atd calls, answered as the reference implementation answers them.

Status codes, error names and quirks were read off @atproto/pds: an absent record is a 200 with a
proof of absence, a blob cannot be had before a record refers to it, createRecord on an existing
key is a 500, getBlob ignores Range.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from atd.errors import InvalidSyntax
from atd.protocol.cbor import RAW, Cid, Value, from_json, to_json
from atd.protocol.syntax import Did
from world.account import Account
from world.firehose import Firehose
from world.wire import Answer, Call, Refusal, Site, json_answer

if TYPE_CHECKING:
    from world.network import World

POINTS = {"create": 3, "update": 2, "delete": 1}
CAR = {"content-type": "application/vnd.ipld.car"}
_INACTIVE = {"deactivated": "RepoDeactivated", "takendown": "RepoTakendown"}


class Pds:
    """A PDS with its accounts and sessions.

    ``blob_limit`` is the largest blob in bytes; ``points`` the writes it still accepts before it
    answers 429 with a reset ``reset_s`` later (None: no limit).
    """

    def __init__(
        self,
        world: World,
        url: str,
        *,
        blob_limit: int = 5 * 1024 * 1024,
        points: int | None = None,
        reset_s: float = 120.0,
    ) -> None:
        self.world = world
        self.url = url
        self.blob_limit = blob_limit
        self.points = points
        self.reset_s = reset_s
        self.accounts: dict[Did, Account] = {}
        self.site = Site()
        self.firehose = Firehose(world)
        self.page = 1000
        self._access: dict[str, Did] = {}
        self._refresh: dict[str, Did] = {}
        self._expired: set[str] = set()
        self._tokens = 0
        self._methods = self._table()

    def account(self, handle: str = "alice.test", **values: Any) -> Account:
        """The account with this handle, made on first use with the handle in DNS."""
        for account in self.accounts.values():
            if account.handle == handle:
                return account
        account = Account(self, handle, **values)
        self.accounts[account.did] = account
        self.firehose.identity(account)
        self.firehose.account(account)
        self.firehose.commit(account)
        self.world.name(account.handle, account.did)
        if account.did.method == "web":
            account.serve_document()
        return account

    def expire_access(self) -> None:
        """Let every access token expire, as two hours do."""
        self._expired |= set(self._access)

    def revoke(self) -> None:
        """Forget every session, as a change of the app password does."""
        self._expired |= set(self._access)
        self._refresh.clear()

    def _table(self) -> dict[str, Callable[[Call], Answer | Awaitable[Answer]]]:
        return {
            "com.atproto.sync.getRecord": self._get_record_proof,
            "com.atproto.sync.getRepo": self._get_repo,
            "com.atproto.sync.getBlob": self._get_blob,
            "com.atproto.sync.getLatestCommit": self._get_latest_commit,
            "com.atproto.sync.getRepoStatus": self._get_repo_status,
            "com.atproto.sync.listBlobs": self._list_blobs,
            "com.atproto.sync.listRepos": self._list_repos,
            "com.atproto.sync.subscribeRepos": self._subscribe_repos,
            "com.atproto.repo.getRecord": self._get_record,
            "com.atproto.repo.listRecords": self._list_records,
            "com.atproto.repo.describeRepo": self._describe_repo,
            "com.atproto.server.describeServer": self._describe_server,
            "com.atproto.server.createSession": self._create_session,
            "com.atproto.server.refreshSession": self._refresh_session,
            "com.atproto.server.getSession": self._get_session,
            "com.atproto.server.deleteSession": self._delete_session,
            "com.atproto.repo.uploadBlob": self._upload_blob,
            "com.atproto.repo.applyWrites": self._apply_writes,
            "com.atproto.repo.createRecord": self._create_record,
            "com.atproto.repo.putRecord": self._put_record,
            "com.atproto.repo.deleteRecord": self._delete_record,
        }

    async def __call__(self, call: Call) -> Answer:
        if not call.path.startswith("/xrpc/"):
            return await self.site(call)
        handler = self._methods.get(call.path.removeprefix("/xrpc/"))
        if handler is None:
            return json_answer({"error": "MethodNotImplemented", "message": "no"}, 501)
        try:
            answer = handler(call)
            return answer if isinstance(answer, Answer) else await answer
        except Refusal as refusal:
            return refusal.answer
        except InvalidSyntax as error:
            return Refusal(400, "InvalidRequest", str(error)).answer

    # --- reading ---------------------------------------------------------------------------------

    def _repo(self, call: Call, name: str = "did", *, any_status: bool = False) -> Account:
        asked = call.params.get(name, "")
        for account in self.accounts.values():
            if asked in (account.did, account.handle):
                break
        else:
            raise Refusal(400, "RepoNotFound", f"Could not find repo for DID: {asked}")
        if account.status != "active" and not any_status:
            error = _INACTIVE.get(account.status, "RepoSuspended")
            raise Refusal(400, error, f"Repo has been {account.status}: {asked}")
        return account

    def _get_record_proof(self, call: Call) -> Answer:
        account, params = self._repo(call), call.params
        return Answer(200, CAR, account.head.record_car(f"{params['collection']}/{params['rkey']}"))

    def _get_repo(self, call: Call) -> Answer:
        return Answer(200, CAR, self._repo(call).head.repo_car())

    def _get_blob(self, call: Call) -> Answer:
        account = self._repo(call)
        cid = Cid.parse(call.params["cid"])
        if cid not in _referenced(account):
            raise Refusal(400, "InvalidRequest", "Blob not found")
        data, mime = account.blobs[cid]
        headers = {"content-type": mime, "content-length": str(len(data))}
        return Answer(200, headers, data)

    def _get_latest_commit(self, call: Call) -> Answer:
        commit = self._repo(call).head.commit
        return json_answer({"cid": str(commit.cid), "rev": commit.rev})

    def _get_repo_status(self, call: Call) -> Answer:
        account = self._repo(call, any_status=True)
        if account.status == "active":
            rev = account.head.commit.rev
            return json_answer({"did": account.did, "active": True, "rev": rev})
        return json_answer({"did": account.did, "active": False, "status": account.status})

    def _list_repos(self, call: Call) -> Answer:
        limit = min(int(call.params.get("limit", "500")), self.page)
        cursor = call.params.get("cursor", "")
        dids = sorted(did for did in self.accounts if did > cursor)
        reply: dict[str, Any] = {"repos": [_hosted(self.accounts[did]) for did in dids[:limit]]}
        if len(dids) > limit:
            reply["cursor"] = dids[limit - 1]
        return json_answer(reply)

    def _subscribe_repos(self, call: Call) -> Answer:
        cursor = call.params.get("cursor")
        number = None if cursor is None else int(cursor)
        return Answer(101, stream=lambda: self.firehose.follow(number))

    def _list_blobs(self, call: Call) -> Answer:
        account = self._repo(call)
        return json_answer({"cids": sorted(str(cid) for cid in _referenced(account))})

    def _get_record(self, call: Call) -> Answer:
        account, params = self._repo(call, "repo"), call.params
        key = f"{params['collection']}/{params['rkey']}"
        if key not in account.head.records:
            raise Refusal(400, "RecordNotFound", f"Could not locate record: {key}")
        return json_answer(_listed(account, key))

    def _list_records(self, call: Call) -> Answer:
        account, params = self._repo(call, "repo"), call.params
        prefix, limit = f"{params['collection']}/", int(params.get("limit", "50"))
        keys = sorted((k for k in account.head.records if k.startswith(prefix)), reverse=True)
        cursor = params.get("cursor")
        keys = [key for key in keys if cursor is None or key < prefix + cursor]
        reply: dict[str, Any] = {"records": [_listed(account, key) for key in keys[:limit]]}
        if len(keys) > limit:
            reply["cursor"] = keys[limit - 1].removeprefix(prefix)
        return json_answer(reply)

    def _describe_repo(self, call: Call) -> Answer:
        account = self._repo(call, "repo")
        collections = sorted({key.partition("/")[0] for key in account.head.records})
        return json_answer(
            {
                "handle": account.handle,
                "did": account.did,
                "didDoc": account.document,
                "collections": collections,
                "handleIsCorrect": True,
            }
        )

    def _describe_server(self, call: Call) -> Answer:
        host = self.url.partition("://")[2].replace(":", "%3A")
        return json_answer(
            {
                "did": f"did:web:{host}",
                "availableUserDomains": [".test"],
                "inviteCodeRequired": False,
                "blobUploadLimit": self.blob_limit,
                "links": {},
                "contact": {},
            }
        )

    # --- sessions --------------------------------------------------------------------------------

    def _session(self, account: Account) -> dict[str, Any]:
        self._tokens += 1
        access, refresh = f"access-{self._tokens}", f"refresh-{self._tokens}"
        self._access[access] = self._refresh[refresh] = account.did
        return {
            "accessJwt": access,
            "refreshJwt": refresh,
            "did": account.did,
            "didDoc": account.document,
            "handle": account.handle,
            "active": account.status == "active",
        }

    def _create_session(self, call: Call) -> Answer:
        asked = call.json()
        for account in self.accounts.values():
            named = asked["identifier"] in (account.did, account.handle)
            if named and asked["password"] == account.password:
                return json_answer(self._session(account))
        raise Refusal(401, "AuthenticationRequired", "Invalid identifier or password")

    def _refresh_session(self, call: Call) -> Answer:
        did = self._refresh.pop(_bearer(call), None)
        if did is None:
            raise Refusal(400, "ExpiredToken", "Token has been revoked")
        return json_answer(self._session(self.accounts[did]))

    def _get_session(self, call: Call) -> Answer:
        account = self._signed_in(call)
        return json_answer({"did": account.did, "handle": account.handle, "active": True})

    def _delete_session(self, call: Call) -> Answer:
        self._refresh.pop(_bearer(call), None)
        return Answer(200)

    def _signed_in(self, call: Call) -> Account:
        token = _bearer(call)
        if token in self._expired:
            raise Refusal(400, "ExpiredToken", "Token has expired")
        if token not in self._access:
            raise Refusal(400, "InvalidToken", "Token could not be verified")
        account = self.accounts[self._access[token]]
        if account.status != "active":
            raise Refusal(403, "AccountDeactivated", "Account is deactivated")
        return account

    # --- writing ---------------------------------------------------------------------------------

    def _upload_blob(self, call: Call) -> Answer:
        account = self._signed_in(call)
        if len(call.body) > self.blob_limit:
            raise Refusal(413, "PayloadTooLarge", "request entity too large")
        mime = call.headers.get("content-type", "application/octet-stream")
        return json_answer({"blob": to_json(account.blob(call.body, mime))})

    def _apply_writes(self, call: Call) -> Answer:
        account, asked = self._signed_in(call), call.json()
        writes = asked["writes"]
        if len(writes) > 200:
            raise Refusal(400, "InvalidRequest", "Too many writes. Max: 200")
        if len(call.body) > 1_000_000:
            raise Refusal(413, "PayloadTooLarge", "request entity too large")
        self._spend(write["$type"].rpartition("#")[2] for write in writes)
        results = self._write(account, writes, asked.get("swapCommit"))
        return json_answer({"commit": _commit_meta(account), "results": results})

    def _create_record(self, call: Call) -> Answer:
        asked = call.json()
        return self._one(call, "create", asked.get("rkey") or self.world.tid(), asked["record"])

    def _put_record(self, call: Call) -> Answer:
        account, asked = self._signed_in(call), call.json()
        key = f"{asked['collection']}/{asked['rkey']}"
        found = account.head.records.get(key)
        if "swapRecord" in asked:
            expected = asked["swapRecord"]
            if (None if found is None else str(found)) != expected:
                raise Refusal(400, "InvalidSwap", f"Record was at {found}")
        action = "create" if found is None else "update"
        return self._one(call, action, asked["rkey"], asked["record"])

    def _delete_record(self, call: Call) -> Answer:
        account, asked = self._signed_in(call), call.json()
        if f"{asked['collection']}/{asked['rkey']}" not in account.head.records:
            return json_answer({})
        return self._one(call, "delete", asked["rkey"], None)

    def _one(self, call: Call, action: str, rkey: str, record: Any) -> Answer:
        account, asked = self._signed_in(call), call.json()
        write = {
            "$type": f"com.atproto.repo.applyWrites#{action}",
            "collection": asked["collection"],
            "rkey": rkey,
            "value": record,
        }
        self._spend([action])
        result = self._write(account, [write], asked.get("swapCommit"))[0]
        return json_answer({**result, "commit": _commit_meta(account)})

    def _write(
        self, account: Account, writes: list[dict[str, Any]], swap_commit: str | None
    ) -> list[dict[str, Any]]:
        if swap_commit not in (None, str(account.head.commit.cid)):
            raise Refusal(400, "InvalidSwap", f"Commit was at {account.head.commit.cid}")
        records, results = dict(account.head.records), []
        for write in writes:
            action = write["$type"].rpartition("#")[2]
            rkey = write.get("rkey") or str(self.world.tid())
            key = f"{write['collection']}/{rkey}"
            if (action == "create") == (key in records):
                raise Refusal(500, "InternalServerError", "Internal Server Error")
            if action == "delete":
                del records[key]
                results.append({"$type": "com.atproto.repo.applyWrites#deleteResult"})
                continue
            value = from_json({"$type": write["collection"], **write["value"]})
            for cid in _blobs_in(value):
                if cid not in account.blobs:
                    raise Refusal(400, "BlobNotFound", f"Could not find blob: {cid}")
            records[key] = account.store(value)
            results.append(
                {
                    "$type": f"com.atproto.repo.applyWrites#{action}Result",
                    "uri": f"at://{account.did}/{key}",
                    "cid": str(records[key]),
                    "validationStatus": "unknown",
                }
            )
        account.replace(records)
        return results

    def _spend(self, actions: Iterable[str]) -> None:
        if self.points is None:
            return
        self.points -= sum(POINTS[action] for action in actions)
        if self.points < 0:
            reset = str(int(self.world.now() + self.reset_s))
            headers = {"ratelimit-limit": "5000", "ratelimit-remaining": "0"}
            raise Refusal(
                429,
                "RateLimitExceeded",
                "Rate Limit Exceeded",
                **headers,
                **{"ratelimit-reset": reset},
            )


def _bearer(call: Call) -> str:
    header = call.headers.get("authorization", "")
    if not header.startswith("Bearer "):
        raise Refusal(401, "AuthMissing", "Authentication Required")
    return header.removeprefix("Bearer ")


def _commit_meta(account: Account) -> dict[str, str]:
    commit = account.head.commit
    return {"cid": str(commit.cid), "rev": commit.rev}


def _hosted(account: Account) -> dict[str, Any]:
    active = account.status == "active"
    about = {"did": account.did, **_head(account), "active": active}
    return about if active else {**about, "status": account.status}


def _head(account: Account) -> dict[str, str]:
    commit = account.head.commit
    return {"head": str(commit.cid), "rev": commit.rev}


def _listed(account: Account, key: str) -> dict[str, Any]:
    cid = account.head.records[key]
    value = to_json(account.value(cid))
    return {"uri": f"at://{account.did}/{key}", "cid": str(cid), "value": value}


def _referenced(account: Account) -> set[Cid]:
    """The blobs that some record refers to."""
    found: set[Cid] = set()
    for cid in account.head.records.values():
        found |= set(_blobs_in(account.value(cid)))
    return found & set(account.blobs)


def _blobs_in(value: Value) -> Iterable[Cid]:
    if isinstance(value, Mapping):
        ref = value.get("ref")
        if value.get("$type") == "blob" and isinstance(ref, Cid) and ref.codec == RAW:
            yield ref
            return
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _blobs_in(item)
