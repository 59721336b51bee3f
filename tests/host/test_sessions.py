"""Logging in and staying so: tokens that last, rotate, end, and cannot be made by others."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atd_daemon.host.limits import HostLimits
from host.serving import Client, Served, answered, refused

HOUR = 3600.0


class Now:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def served(tmp_path: Path, now: Now) -> Iterator[Served]:
    with Served(tmp_path / "host", clock=now, limits=HostLimits(failed_logins=5)) as running:
        yield running


def session(client: Client, token: str | None = None) -> Any:
    token = client.tokens["accessJwt"] if token is None else token
    return client.http.get(
        f"{client.served.origin}/xrpc/com.atproto.server.getSession",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )


def refresh(client: Client, token: str) -> Any:
    return client.post(
        "com.atproto.server.refreshSession", headers={"Authorization": f"Bearer {token}"}
    )


def test_a_session_says_whose_it_is(client: Client) -> None:
    said = answered(session(client))
    assert (said["did"], said["handle"], said["active"]) == (client.did, "alice.test", True)
    assert said["didDoc"]["id"] == client.did
    assert "accessJwt" not in said


def test_login_is_by_handle_or_did_in_any_case_and_by_nothing_else(client: Client) -> None:
    login = "com.atproto.server.createSession"
    password = client.account.password
    for name in ("alice.test", "Alice.TEST", "@alice.test", client.did):
        answered(client.post(login, {"identifier": name, "password": password}))
    for name, secret in (
        ("bob.test", password),
        ("alice.test", password + "x"),
        ("alice.test", ""),
    ):
        answer = client.post(login, {"identifier": name, "password": secret})
        assert answer.status_code in (400, 401)
        assert "accessJwt" not in answer.text


def test_an_access_token_expires_after_two_hours(client: Client, now: Now) -> None:
    now.s += 2 * HOUR - 1
    answered(session(client))
    now.s += 2
    assert refused(session(client)) == (400, "ExpiredToken")


def test_a_refresh_token_is_good_once_and_again_only_for_a_lost_answer(
    client: Client, now: Now
) -> None:
    first = client.tokens["refreshJwt"]
    second = answered(refresh(client, first))
    again = answered(refresh(client, first))  # the answer got lost: the same successor
    assert again["refreshJwt"] == second["refreshJwt"]
    third = answered(refresh(client, second["refreshJwt"]))
    answered(session(client, third["accessJwt"]))


def test_a_stolen_refresh_token_ends_the_session_when_it_is_used_late(
    client: Client, now: Now
) -> None:
    first = client.tokens["refreshJwt"]
    second = answered(refresh(client, first))
    now.s += 2 * HOUR + 1
    assert refused(refresh(client, first)) == (400, "ExpiredToken")
    assert refused(refresh(client, second["refreshJwt"])) == (400, "ExpiredToken")


def test_a_refresh_token_two_generations_old_ends_the_session(client: Client) -> None:
    first = client.tokens["refreshJwt"]
    second = answered(refresh(client, first))["refreshJwt"]
    third = answered(refresh(client, second))
    assert refused(refresh(client, first)) == (400, "ExpiredToken")
    assert refused(session(client, third["accessJwt"])) == (400, "ExpiredToken")


def test_two_refreshes_at_once_agree(client: Client) -> None:
    answers: list[Any] = []
    first = client.tokens["refreshJwt"]
    threads = [
        threading.Thread(target=lambda: answers.append(answered(refresh(client, first))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer["refreshJwt"] for answer in answers}) == 1


def test_logging_out_ends_both_tokens(client: Client) -> None:
    token = client.tokens["refreshJwt"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.post("com.atproto.server.deleteSession", headers=headers).status_code == 200
    assert refused(session(client)) == (400, "ExpiredToken")
    assert refused(refresh(client, token)) == (400, "ExpiredToken")


def test_tokens_are_not_interchangeable(client: Client) -> None:
    assert refused(session(client, client.tokens["refreshJwt"])) == (400, "InvalidToken")
    assert refused(refresh(client, client.tokens["accessJwt"])) == (400, "InvalidToken")


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def forgeries(token: str) -> Iterator[str]:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    none = part({"typ": "at+jwt", "alg": "none"})
    yield f"{none}.{payload}."
    yield f"{none}.{payload}.{signature}"
    yield f"{header}.{part({**claims, 'exp': 2**40})}.{signature}"
    yield f"{header}.{payload}."
    yield f"{header}.{payload}.{signature[:-2]}"
    yield f"{header}.{payload}.{signature}="
    yield f"{header}.{payload}"
    yield "..."
    yield "x" * 100_000
    yield "ä.ö.ü".encode().decode("latin-1")
    for index in range(0, len(token), 7):
        yield token[:index] + ("A" if token[index] != "A" else "B") + token[index + 1 :]


def test_no_altered_token_is_accepted(client: Client) -> None:
    check = client.inside.sessions.check
    token = client.tokens["accessJwt"]
    check(token)
    for forged in forgeries(token):
        with pytest.raises(Exception, match="InvalidToken"):
            check(forged)


def test_a_token_of_another_account_of_the_same_host_is_refused(served: Served) -> None:
    alice = served.client(served.make())
    bob = served.host.init(f"bob.localhost:{served.port}", "bob.test")
    answer = alice.post(
        "com.atproto.repo.createRecord",
        {"repo": bob.did, "collection": "org.example.thing", "record": {}},
        headers={"Host": bob.domain},
    )
    assert refused(answer) == (400, "InvalidToken")


def test_guessing_is_slowed_down_for_the_guesser_alone(client: Client, now: Now) -> None:
    login = "com.atproto.server.createSession"
    wrong = {"identifier": "alice.test", "password": "guess-guess"}
    guesser = {"X-Forwarded-For": "1.2.3.4, 203.0.113.9"}
    for _ in range(5):
        assert refused(client.post(login, wrong, headers=guesser)) == (
            401,
            "AuthenticationRequired",
        )
    right = {"identifier": "alice.test", "password": client.account.password}
    answer = client.post(login, right, headers=guesser)
    assert refused(answer) == (429, "RateLimitExceeded")
    assert int(answer.headers["Retry-After"]) == 300
    client.login()  # from elsewhere
    now.s += 301
    answered(client.post(login, right, headers=guesser))


def test_a_guesser_with_a_whole_network_of_addresses_is_one_guesser(client: Client) -> None:
    login = "com.atproto.server.createSession"
    wrong = {"identifier": "alice.test", "password": "guess-guess"}
    for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:9::", "2001:db8::4"):
        client.post(login, wrong, headers={"X-Forwarded-For": address})
    client.post(login, wrong, headers={"X-Forwarded-For": "2001:db8::5"})
    for address, status in (("2001:db8::6", 429), ("2001:db8:0:1::6", 401), ("192.0.2.6", 401)):
        answer = client.post(login, wrong, headers={"X-Forwarded-For": address})
        assert answer.status_code == status


def test_a_guesser_behind_a_proxy_that_adds_a_line_is_one_guesser(client: Client) -> None:
    """HAProxy adds a line of its own, after that of the client."""
    body = json.dumps({"identifier": "alice.test", "password": "guess-guess"}).encode()
    codes = []
    for number in range(6):
        line = http.client.HTTPConnection("127.0.0.1", client.served.port, timeout=30)
        line.putrequest("POST", "/xrpc/com.atproto.server.createSession", skip_host=True)
        line.putheader("Host", client.served.domain)
        line.putheader("X-Forwarded-For", f"192.0.2.{number}")
        line.putheader("X-Forwarded-For", "203.0.113.9")
        line.putheader("Content-Type", "application/json")
        line.putheader("Content-Length", str(len(body)))
        line.endheaders(body)
        codes.append(line.getresponse().status)
        line.close()
    assert codes == [401] * 5 + [429]


def test_logging_in_often_is_no_guessing(client: Client) -> None:
    for _ in range(8):
        client.login()


def test_the_password_is_nowhere_in_clear_and_a_new_one_ends_all_sessions(client: Client) -> None:
    folder = client.inside.folder
    secret = client.account.password.encode()
    for path in folder.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes()
    fresh = client.served.host.new_password(client.account.domain)
    assert refused(session(client)) == (400, "ExpiredToken")
    login = "com.atproto.server.createSession"
    old = {"identifier": "alice.test", "password": client.account.password}
    assert refused(client.post(login, old)) == (401, "AuthenticationRequired")
    answered(client.post(login, {"identifier": "alice.test", "password": fresh}))
