"""Which URLs and addresses may be contacted."""

from __future__ import annotations

import ipaddress

import pytest

from atd.addresses import admitted, is_public, place_of
from atd.errors import Unreachable

NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # cloud metadata
        "100.64.0.1",  # shared address space: not "private", not global
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::808:808",  # local-use NAT64
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:c0a8:101::1",
        "2001:0:5ef5:79fd:0:0:80ff:fffe",  # Teredo of 127.0.0.1
        "fec0::1",  # site-local: deprecated, still routed inside, and global to Python
        "::ffff:0:7f00:1",  # IPv4-translated
        "3fff::1",
        "5f00::1",
        "192.88.99.1",
    ],
)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://pds.example.com/",
        "ftp://pds.example.com/",
        "file:///etc/passwd",
        "https:///path",
        "https://user:secret@pds.example.com/",
        "https://pds.example.com@127.0.0.1/",
        "https://pds.example.com\\@127.0.0.1/",
        "https://pds.example.com:0/",
        "https://pds.example.com:99999/",
        "https://pds.example.com/a b",
        "https://pds.example.com/\r\nHost: x",
        "https://pds\u3002example\u3002com/",  # an ideographic full stop becomes a dot in IDNA
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://127.0.0.1/",
        "https://[::1]:8443/",
        "https://10.0.0.1/",
        "https://127.1/",  # the C library's other spellings of an IPv4 address
        "https://127.0.0.1./",
        "https://2130706433/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://0X7F.0.0.0x1./",
        "https://0/",
        "https://a.1/",
        "https://-x.example.com/",
        "https://a..b/",
        "x" * 10_000,
    ],
)
def test_a_url_that_is_not_for_us_is_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        place_of(url, NOBODY)


def test_plain_http_and_loopback_are_for_hosts_on_the_list() -> None:
    allowed = frozenset({"localhost:2583", "127.0.0.1:80", "[::1]:8080"})
    assert place_of("http://localhost:2583/x", allowed).host_port == "localhost:2583"
    assert place_of("http://127.0.0.1/x", allowed).origin == "http://127.0.0.1"
    assert place_of("http://[::1]:8080/", allowed).origin == "http://[::1]:8080"
    for url in ("http://localhost:2584/", "http://127.0.0.1:81/", "https://127.0.0.1/"):
        with pytest.raises(Unreachable):
            place_of(url, allowed)


def test_a_refusal_says_how_to_allow_a_server_of_ones_own() -> None:
    with pytest.raises(Unreachable) as caught:
        place_of("https://192.168.1.5:8443/x", NOBODY)
    assert "192.168.1.5" in caught.value.message
    assert "192.168.1.5:8443 to ATD_ALLOW_HOSTS" in caught.value.next_step


def test_only_the_public_addresses_of_a_name_are_used() -> None:
    place = place_of("https://pds.example.com/", NOBODY)
    assert admitted(place, ["10.0.0.1", "93.184.215.14"], NOBODY) == ["93.184.215.14"]
    with pytest.raises(Unreachable, match=r"leads to 10\.0\.0\.1, ::1"):
        admitted(place, ["10.0.0.1", "::1"], NOBODY)


def test_a_host_on_the_list_may_be_anywhere() -> None:
    allowed = frozenset({"pds.example.com:443"})
    place = place_of("https://pds.example.com/", allowed)
    assert admitted(place, ["10.0.0.1"], allowed) == ["10.0.0.1"]


def test_the_case_and_the_last_dot_of_a_host_do_not_count() -> None:
    assert place_of("https://PDS.Example.COM./x", NOBODY).host == "pds.example.com"
