"""How the values of settings are written: each parser takes a string (environment) or a TOML value,
gives the value as code uses it, and raises ValueError for anything else. Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

URL_FORM: Final = "an http(s) URL such as https://plc.directory"
ADDRESS_FORM: Final = "host:port, such as 127.0.0.1:5353"
SECONDS_FORM: Final = "seconds, from 10 to 604800"
BYTES_FORM: Final = "a number of bytes such as 500MB or 2TB"

_BYTES: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?:([KMGTPkmgtp])?[Bb]?)")


def split_host_port(text: str) -> tuple[str, int]:
    """The host (no brackets) and port of a ``host:port``; ValueError where it is not one."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", text)
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError(text)
    return (match[1] or match[2]).lower(), int(match[3])


def host_port(value: Any) -> str:
    """A ``host:port``, lower case, an IPv6 address in brackets."""
    if not isinstance(value, str):
        raise ValueError(value)
    host, port = split_host_port(value.strip())
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_ports(value: Any) -> frozenset[str]:
    """A list of ``host:port``; in text with commas between them."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(value)
    return frozenset(host_port(part) for part in value)


def origin_url(value: Any) -> str:
    """An http(s) URL without query, fragment or user, and without a slash at its end."""
    if not isinstance(value, str):
        raise ValueError(value)
    url = value.strip().rstrip("/")
    parts = urlsplit(url)
    bad = parts.query or parts.fragment or parts.username is not None or not parts.hostname
    if parts.scheme not in ("http", "https") or bad or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(value)
    _ = parts.port  # urlsplit checks the range only when asked
    return url


def seconds(value: Any) -> int:
    """A whole number of seconds, from 10 seconds to a week."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}", value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 10 <= value <= 604_800:
        raise ValueError(value)
    return int(value)


def origins(value: Any) -> tuple[str, ...]:
    """Bare origins of servers, in their order."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(value)
    found = tuple(origin_url(part).lower() for part in value)
    if any(urlsplit(url).path for url in found):
        raise ValueError(value)
    return found


def flag(value: Any) -> bool:
    """Yes or no."""
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    if not isinstance(value, str) or value.strip().lower() not in words:
        raise ValueError(value)
    return words[value.strip().lower()]


def parse_bytes(value: Any) -> int:
    """A number of bytes: an integer, or text such as ``500 MB`` (powers of 1,000)."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return int(value)
    match = _BYTES.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(value)
    return round(float(match[1]) * 1000.0 ** " KMGTP".index((match[2] or " ").upper()))


def log_format(value: Any) -> str:
    """``text`` or ``json``."""
    if value not in ("text", "json"):
        raise ValueError(value)
    return str(value)
