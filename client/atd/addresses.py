"""Which hosts and addresses may be contacted. Pure: no lookups happen here.

A DID document, a redirect or a record names a host that an attacker chose. Without care we
would fetch from the user's own machine, router or cloud metadata service. The rules:

1. Only https; plain http only for a ``host:port`` on the user's allow-list.
2. A host outside the allow-list is reached only at addresses that are globally routable, are not
   multicast, and do not carry a refused IPv4 address inside (NAT64, 6to4, Teredo, mapped). An IPv4
   address is written as four decimal numbers; the C library's other spellings are no host names.
3. The address that was checked is the address that is connected to: the transport resolves once,
   passes the answer through `admitted`, and pins it.

A ``host:port`` on the allow-list is admitted as the user wrote it, whatever it resolves to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from atd.errors import Unreachable
from atd.protocol.syntax import quote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = (
    ipaddress.IPv6Network("64:ff9b::/96"),  # RFC 6052
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215: for local use, refused outright
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out so far (RFC 4291, 2.4)
_NOT_ROUTED = (
    ipaddress.IPv6Network("3fff::/20"),  # documentation (RFC 9637), which older Pythons do not know
    ipaddress.IPv4Network("192.88.99.0/24"),  # the deprecated 6to4 relay: whoever is nearest
)
_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")
# A name that ends in a number is one more spelling of an IPv4 address to whoever asks the C library
# (127.1, 2130706433, 0177.0.0.1, 0x7f.1), and it may never be asked about by our resolver.
_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\]")
_PORTS = {"https": 443, "http": 80}
ALLOW_ADVICE = "if this is a server of yours, add {place} to ATD_ALLOW_HOSTS"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: scheme, host (lower case, IPv6 without brackets) and port."""

    scheme: str
    host: str
    port: int

    @property
    def host_port(self) -> str:
        """``host:port`` as the allow-list spells it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def label(self) -> str:
        """The host, with the port where it is not the scheme's own: for messages."""
        return self.origin.partition("://")[2]

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``, without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def place_of(url: str, allow_hosts: frozenset[str]) -> Place:
    """Where ``url`` leads, if it may be followed at all (rule 1; rule 2 for literal addresses).

    Raises:
        Unreachable: not http(s), malformed, carries credentials, is plain http to a host outside
            the allow-list, or names an address that is refused.
    """
    place = parse_url(url)
    if place.host_port in allow_hosts:
        return place
    if place.scheme != "https":
        raise Unreachable(
            f"expected an https URL, got {quote(url, 200)}",
            next_step=ALLOW_ADVICE.format(place=place.host_port),
        )
    literal = _literal(place.host)
    if literal is not None:
        admitted(place, [str(literal)], allow_hosts)
    return place


def admitted(place: Place, addresses: Iterable[str], allow_hosts: frozenset[str]) -> list[str]:
    """Those of ``addresses`` that may be connected to for ``place`` (rule 2).

    Raises:
        Unreachable: there are addresses, and every one of them is refused.
    """
    found = list(addresses)
    if place.host_port in allow_hosts:
        return found
    good = [text for text in found if is_public(ipaddress.ip_address(text.partition("%")[0]))]
    if found and not good:
        leads = "is" if found == [place.host] else f"leads to {', '.join(found)}:"
        raise Unreachable(
            f"{place.host} {leads} a private, loopback or reserved address, which is not contacted",
            next_step=ALLOW_ADVICE.format(place=place.host_port),
        )
    return good


def is_public(address: Address) -> bool:
    """True if ``address`` is a unicast address of the public internet (IANA registries)."""
    if isinstance(address, ipaddress.IPv6Address):
        if any(address in net for net in _NAT64[1:]):
            return False
        inner = _embedded(address)
        if inner is not None:
            # The prefixes themselves are registered as global or not for their own reasons; what
            # matters is where the packet ends.
            return is_public(inner)
        if address not in _UNICAST:  # fec0::/10 too, which Python holds for global
            return False
    if any(address in net for net in _NOT_ROUTED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translation mechanism would take out of ``address``, if any."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64[0] or int(address) >> 32 == 0:  # NAT64, and IPv4-compatible ::a.b.c.d
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def parse_url(url: str) -> Place:
    """The place of a syntactically plain http(s) URL, whether or not it may be followed.

    Raises:
        Unreachable: it is none.
    """
    if len(url) > 8192 or _FORBIDDEN.search(url):
        raise Unreachable(f"expected an https URL in plain ASCII, got {quote(url, 200)}")
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unreachable(f"not a URL that can be fetched: {quote(url, 200)} ({error})") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").removesuffix(".")
    if scheme not in _PORTS:
        raise Unreachable(f"expected an https URL, got {quote(url, 200)}")
    if "@" in parts.netloc:
        raise Unreachable(f"a URL with credentials inside is not fetched: {quote(host)}")
    if _literal(host) is None and (
        len(host) > 253 or not _HOST.fullmatch(host) or _NUMBER.fullmatch(host)
    ):
        raise Unreachable(f"not a host name that can be fetched: {quote(url, 200)}")
    if port == 0:
        raise Unreachable(f"not a port that can be fetched: {quote(url, 200)}")
    return Place(scheme, host, port or _PORTS[scheme])


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
