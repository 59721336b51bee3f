"""What every endpoint has in common: its lexicon, its errors, its limits."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from atd import __version__, api, errors
from atd.lexicon_files import catalog
from atd.names import GROUP
from atd_daemon.server.handlers import ANSWERS, FILES, STREAMS
from atd_daemon.server.inputs import MAX_BODY_BYTES
from serving import Client

LEXICONS = [
    nsid
    for nsid in catalog().nsids
    if nsid.startswith(f"{GROUP}.") and catalog().definition(nsid)["type"] != "record"
]


def test_every_endpoint_has_a_lexicon_and_every_lexicon_an_endpoint() -> None:
    assert sorted(api.ENDPOINTS) == sorted(LEXICONS)
    assert catalog().unresolved() == set()


@pytest.mark.parametrize("endpoint", api.ENDPOINTS.values(), ids=str)
def test_the_table_says_what_the_lexicon_says(endpoint: api.Endpoint) -> None:
    definition = catalog().definition(endpoint.nsid)
    assert definition["type"] == endpoint.kind
    assert definition["output"]["encoding"] == endpoint.output
    if endpoint.streaming:
        properties = definition["output"]["schema"]["properties"]
        assert set(properties) <= {"step", "progress", "result"}
        assert "result" in properties


def test_every_endpoint_has_exactly_one_handler() -> None:
    handled = [*ANSWERS, *STREAMS, *FILES]
    assert sorted(endpoint.nsid for endpoint in handled) == sorted(api.ENDPOINTS)
    assert all(endpoint.streaming for endpoint in STREAMS)
    assert not any(endpoint.streaming for endpoint in ANSWERS)


@pytest.mark.parametrize("cls", list(errors.tree()), ids=lambda cls: cls.__name__)
def test_every_error_crosses_the_socket_as_itself(cls: type[errors.AtdError]) -> None:
    error = cls("what happened", next_step="what to do")
    assert 400 <= api.status_of(error) < 600
    again = api.error_from_wire(json.loads(json.dumps(api.error_to_wire(error))))
    assert type(again) is cls
    assert (again.message, again.next_step) == ("what happened", "what to do")


def test_how_long_to_wait_crosses_too() -> None:
    again = api.error_from_wire(api.error_to_wire(errors.RateLimited("wait", retry_after_s=61.4)))
    assert isinstance(again, errors.RateLimited)
    assert again.retry_after_s == 61


def test_an_error_that_is_not_of_the_tree_is_the_daemons() -> None:
    wire = {"error": "SystemExit", "message": "x"}
    assert type(api.error_from_wire(wire)) is errors.DaemonError
    assert type(api.error_from_wire({})) is errors.DaemonError


# ---- requests that are not right


async def refused(client: Client, method: str, path: str, **more: Any) -> tuple[int, str, str]:
    """Status, error and message of a request that should not succeed."""
    async with client.http() as http, http.request(method, path, **more) as reply:
        assert reply.content_type == "application/json"
        assert reply.headers[api.VERSION_HEADER] == __version__
        body = await reply.json()
        return reply.status, body["error"], body["message"]


PULL = api.PULL.path
SEARCH = api.SEARCH_DATASETS.path


@pytest.mark.parametrize("nsid", ["network.atd.nothing.here", "com.atproto.sync.getRepo", "x"])
async def test_an_unknown_endpoint_is_not_implemented(client: Client, nsid: str) -> None:
    code, error, _ = await refused(client, "GET", f"/xrpc/{nsid}")
    assert (code, error) == (501, "MethodNotImplemented")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/xrpc/",
        "/index.html",
        "/xrpc/../../etc/passwd",
        "/xrpc/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/xrpc/network.atd.store.getShard/../../../etc/passwd",
        "//etc/passwd",
    ],
)
async def test_no_path_leads_to_a_file(client: Client, path: str) -> None:
    async with client.http() as http:
        url = aiohttp.client.URL(f"http://localhost{path}", encoded=True)
        async with http.get(url) as reply:
            assert reply.status in (404, 501)
            assert reply.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", SEARCH), ("GET", PULL), ("PUT", PULL), ("DELETE", SEARCH), ("OPTIONS", PULL)],
)
async def test_the_wrong_method_is_refused(client: Client, method: str, path: str) -> None:
    code, error, _ = await refused(client, method, path)
    assert (code, error) == (405, "InvalidRequest")


@pytest.mark.parametrize(
    "query",
    [
        "?sort=best",
        "?minSamples=-1",
        "?since=soon",
        "?q=name~(",
        "?q=a&limit=0",
        "?q=a&limit=101",
        "?q=a&limit=many",
        "?q=a&limit=1.5",
        "?q=a&q=b",
        "?q=a&limit=" + "9" * 5000,
        "?q=" + "x" * 1001,
        "?q=a&cursor=nonsense",
    ],
)
async def test_parameters_are_read_by_the_lexicon(client: Client, query: str) -> None:
    code, error, message = await refused(client, "GET", SEARCH + query)
    assert (code, error) == (400, "InvalidSyntax")
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"not json", "application/json"),
        (b"[]", "application/json"),
        (b'"text"', "application/json"),
        (b"null", "application/json"),
        (b'{"ref": NaN}', "application/json"),
        (b'{"ref": 1}', "application/json"),
        (b'{"ref": "@a.test/b", "splits": "train"}', "application/json"),
        (b"{}", "application/json"),
        (b"", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 50_000, "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"ref": "@a.test/b"}', "text/plain"),
        (b"ref=%40a.test%2Fb", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_is_read_by_the_lexicon(client: Client, body: bytes, kind: str) -> None:
    headers = {"Content-Type": kind}
    code, error, _ = await refused(client, "POST", PULL, data=body, headers=headers)
    assert (code, error) == (400, "InvalidSyntax")


@pytest.mark.parametrize("text", ["%FF", "%ED%A0%80", "%00", "a%0Ab", "%E2%80%AE", "%F0%9F%98%80"])
async def test_any_text_can_be_searched_for(client: Client, text: str) -> None:
    async with client.http() as http:
        url = aiohttp.client.URL(f"http://localhost{SEARCH}?q={text}", encoded=True)
        async with http.get(url) as reply:
            assert reply.status in (200, 400), await reply.text()


@pytest.mark.parametrize("text", ["\\ud800", "\\u0000", "\\u202e", "a" * 5000])
@pytest.mark.parametrize(
    ("endpoint", "name"),
    [(api.PULL, "ref"), (api.LOCATE_SHARD, "digest"), (api.LOGOUT, "account"), (api.ABANDON, "id")],
)
async def test_odd_text_is_refused_as_the_callers_fault(
    client: Client, endpoint: api.Endpoint, name: str, text: str
) -> None:
    data = f'{{"{name}": "{text}"}}'.encode()
    headers = {"Content-Type": "application/json"}
    async with client.http() as http, http.post(endpoint.path, data=data, headers=headers) as reply:
        said = [json.loads(line) for line in (await reply.text()).splitlines()]
    assert issubclass(getattr(errors, said[-1]["error"]), errors.LocalError), said


async def test_an_oversize_body_is_refused(client: Client) -> None:
    body = json.dumps({"ref": "x" * MAX_BODY_BYTES}).encode()
    headers = {"Content-Type": "application/json"}
    code, error, _ = await refused(client, "POST", PULL, data=body, headers=headers)
    assert (code, error) == (413, "TooLarge")


async def test_a_caller_of_another_version_is_refused_before_anything_is_done(
    client: Client,
) -> None:
    headers = {api.VERSION_HEADER: "0.0.9", "Content-Type": "application/json"}
    data = b'{"handle": "alice.test", "password": "hunter2"}'
    code, error, message = await refused(client, "POST", api.LOGIN.path, headers=headers, data=data)
    assert (code, error) == (409, "DaemonMismatch")
    assert "0.0.9" in message
    assert client.services.accounts.list() == ()


async def test_a_caller_that_does_not_say_is_taken_as_it_is(client: Client) -> None:
    async with client.http() as http, http.get(SEARCH, params={"q": "x"}) as reply:
        assert reply.status == 200
        assert await reply.json() == {"datasets": []}


async def test_a_defect_says_so_and_not_what_it_was(client: Client) -> None:
    """Only its class crosses the socket; what it was is in the log."""
    client.services.catalog.close()
    async with client.http() as http, http.get(SEARCH, params={"q": "x"}) as reply:
        body = await reply.json()
        assert reply.status in (500, 507)
        assert "Traceback" not in json.dumps(body)
        assert body["nextStep"]


async def test_status_says_what_there_is(client: Client) -> None:
    status = await client.call(api.GET_STATUS)
    assert status["version"] == __version__
    assert status["memory"] > 1_000_000
    assert status["accounts"] == []
    assert status["index"]["datasets"] == 0
    assert status["index"]["size"] > 0
    assert not status["offline"]


async def test_stop_answers_before_it_stops(client: Client) -> None:
    assert (await client.call(api.STOP))["pid"]
    assert client.services.stop.is_set()
