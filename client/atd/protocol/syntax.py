"""The identifiers of ATProto as types: what a string must look like, and nothing else.

Each type is a `str` that was checked: ``Did.parse(text)`` is how one comes into being, and a
function that takes a `Did` need not check it again. Calling the class itself (``Did("…")``) checks
nothing and is for constants. Every rule uses ``fullmatch``, because ``$`` lets a newline through.

Sources: atproto.com/specs/{did,handle,nsid,record-key,tid,at-uri-scheme,lexicon}.
"""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from atd.errors import InvalidSyntax

__all__ = [
    "AtUri",
    "CidText",
    "Datetime",
    "Did",
    "Handle",
    "Language",
    "Nsid",
    "RecordKey",
    "Tid",
    "Uri",
    "parse_actor",
    "parse_datetime",
    "quote",
    "spell_datetime",
]


_SHORT = reprlib.Repr()  # bounded in depth and width: what it shows may be hostile
_SHORT.maxstring = _SHORT.maxother = 60


def quote(value: object, limit: int = 120) -> str:
    """``value`` for an error message: printable ASCII, control characters escaped, cut short."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print huge ones
        return f"an integer of {value.bit_length()} bits"
    shown = repr(value[: limit + 1]) if isinstance(value, str | bytes) else _SHORT.repr(value)
    text = shown.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= limit else text[:limit] + "…"


class _Checked(str):
    """A string that satisfies ``_pattern`` and is at most ``_max`` characters long."""

    __slots__ = ()
    _pattern: ClassVar[re.Pattern[str]]
    _max: ClassVar[int]
    _what: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``.

        Raises:
            InvalidSyntax: it is not a string of this kind.
        """
        if not isinstance(text, str) or len(text) > cls._max or not cls._pattern.fullmatch(text):
            raise InvalidSyntax(f"expected {cls._what}, got {quote(text)}")
        return cls(text)


class Did(_Checked):
    """A decentralized identifier such as ``did:plc:7iza6de2dwap2sbkpav7c6c6``."""

    __slots__ = ()
    max_length: ClassVar[int] = 2048
    _pattern = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
    _max = max_length
    _what = "a DID such as did:plc:… or did:web:…"

    @property
    def method(self) -> str:
        """The part after ``did:``, such as ``plc`` or ``web``."""
        return self.split(":", 2)[1]


class Handle(_Checked):
    """A handle such as ``alice.example.com``: a domain name, kept in lower case."""

    __slots__ = ()
    _pattern = re.compile(
        r"([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    )
    _max = 253
    _what = "a handle such as alice.example.com"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text`` and put it in lower case.

        Raises:
            InvalidSyntax: it is not a handle.
        """
        return cls(super().parse(text).lower())


class Nsid(_Checked):
    """A namespaced identifier such as ``app.bsky.feed.post``: names a collection or a method."""

    __slots__ = ()
    _pattern = re.compile(
        r"[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
        r"(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+"
        r"\.[a-zA-Z][a-zA-Z0-9]{0,62}"
    )
    _max = 317
    _what = "an NSID such as com.example.thing"


class RecordKey(_Checked):
    """The last part of a record's URI: 1 to 512 of ``A-Za-z0-9.-_:~``, but not ``.`` or ``..``."""

    __slots__ = ()
    _pattern = re.compile(r"(?!\.\.?$)[a-zA-Z0-9_~.:-]{1,512}")
    _max = 512
    _what = "a record key (1 to 512 of A-Z a-z 0-9 . - _ : ~)"


_TID_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_TID_VALUES = {digit: value for value, digit in enumerate(_TID_DIGITS)}


class Tid(_Checked):
    """A timestamp identifier: 53 bits of microseconds and 10 of clock, as 13 sortable digits.

    Tids order as strings the way their times order.
    """

    __slots__ = ()
    _pattern = re.compile(r"[234567a-j][234567a-z]{12}")
    _max = 13
    _what = "a TID (13 digits of 2-7 a-z)"

    @classmethod
    def from_micros(cls, us: int, clock_id: int) -> Self:
        """The TID of ``us`` microseconds after 1970, written by clock ``clock_id`` (0 to 1023).

        Raises:
            InvalidSyntax: either number is out of range.
        """
        if not 0 <= us < 1 << 53 or not 0 <= clock_id < 1 << 10:
            raise InvalidSyntax(
                f"a TID holds 53 bits of microseconds and 10 of clock, got {us} and {clock_id}"
            )
        number = us << 10 | clock_id
        return cls("".join(_TID_DIGITS[number >> shift & 31] for shift in range(60, -1, -5)))

    @property
    def micros(self) -> int:
        """Microseconds after 1970-01-01T00:00:00Z."""
        return self._number >> 10

    @property
    def clock_id(self) -> int:
        """The clock that made it, 0 to 1023."""
        return self._number & 1023

    @property
    def _number(self) -> int:
        number = 0
        for digit in self:
            number = number << 5 | _TID_VALUES[digit]
        return number


class Uri(_Checked):
    """Any URI, loosely: a scheme, a colon, then at most 8 KiB without white space."""

    __slots__ = ()
    _pattern = re.compile(r"[a-z][a-z0-9.+-]{0,80}:[^\s\x00-\x1f]+")
    _max = 8192
    _what = "a URI such as https://example.com"


class CidText(_Checked):
    """A CID of any version-1 kind as text; `atd.protocol.cbor.Cid` is the kind that records use."""

    __slots__ = ()
    _pattern = re.compile(r"(?!Qmb)[a-zA-Z0-9+=]{8,256}")
    _max = 256
    _what = "a CID such as bafyrei…"


_PRIVATE = r"[xX](-[a-zA-Z0-9]{1,8})+"


class Language(_Checked):
    """A BCP 47 language tag such as ``pt-BR``; repeated variants or extensions are refused."""

    __slots__ = ()
    _pattern = re.compile(
        r"(?P<tag>[a-z]{2,3}(-[a-zA-Z]{3}){0,3}(-[a-zA-Z]{4})?(-([a-zA-Z]{2}|[0-9]{3}))?"
        r"(?P<variants>(-([a-zA-Z0-9]{5,8}|[0-9][a-zA-Z0-9]{3}))*)"
        r"(?P<extensions>(-[0-9a-wyzA-WYZ](-[a-zA-Z0-9]{2,8})+)*)"
        rf"(-{_PRIVATE})?)|{_PRIVATE}|"
        r"en-GB-oed|i-(ami|bnn|default|enochian|hak|klingon|lux|mingo|navajo|pwn|tao|tay|tsu)|"
        r"sgn-(BE-FR|BE-NL|CH-DE)"
    )
    _max = 128
    _what = "a language tag such as en or pt-BR"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``.

        Raises:
            InvalidSyntax: it is not a well-formed tag, or repeats a variant or an extension.
        """
        checked = super().parse(text)
        match = cls._pattern.fullmatch(checked)
        if match is not None and match["tag"] is not None:
            variants = match["variants"].lower().split("-")[1:]
            singletons = [part for part in match["extensions"].lower().split("-") if len(part) == 1]
            if len(set(variants)) < len(variants) or len(set(singletons)) < len(singletons):
                raise InvalidSyntax(f"language tag {quote(text)} repeats a variant or an extension")
        return checked


class Datetime(_Checked):
    """A date and time as records spell it: RFC 3339 and ISO 8601 at once, zone required.

    The text is kept as written, because a record's bytes are signed.
    """

    __slots__ = ()
    _pattern = re.compile(
        r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
        r"T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(\.(?P<part>[0-9]{1,20}))?"
        r"(Z|(?!-00:00)(?P<sign>[+-])(?P<zone_h>[01][0-9]|2[0-3]):(?P<zone_m>[0-5][0-9]))"
    )
    _max = 64
    _what = "a date and time such as 2025-01-31T23:59:59.000Z"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check ``text``; the year 0000 is allowed, as long as the moment is not before it.

        Raises:
            InvalidSyntax: not of this form, or no such day or hour.
        """
        checked = super().parse(text)
        moment = _moment(checked, shift_years=400)
        if moment.year < 400:
            raise InvalidSyntax(f"date {quote(text)} lies before the year 0000")
        return checked


def parse_datetime(text: str) -> datetime:
    """The moment that ``text`` names, in UTC; digits below a microsecond are cut off.

    Raises:
        InvalidSyntax: not a `Datetime`, or not within the years 1 to 9999.
    """
    return _moment(Datetime.parse(text), shift_years=0)


def spell_datetime(moment: datetime, *, exact: bool = False) -> str:
    """``moment``, which has a time zone, as a `Datetime` in UTC, to the millisecond.

    Args:
        exact: to the microsecond, if it has any.
    """
    digits = "microseconds" if exact and moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).isoformat(timespec=digits).replace("+00:00", "Z")


def _moment(text: str, *, shift_years: int) -> datetime:
    """``text`` (which matches) in UTC, moved by whole 400-year cycles so that year 0 exists."""
    match = Datetime._pattern.fullmatch(text)
    assert match is not None
    year, month, day, hour, minute, second = (int(match[index]) for index in range(1, 7))
    year += shift_years if year + shift_years <= 9999 else -shift_years
    micros = int((match["part"] or "")[:6].ljust(6, "0"))
    offset = timedelta(hours=int(match["zone_h"] or 0), minutes=int(match["zone_m"] or 0))
    try:
        local = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        return local + offset if match["sign"] == "-" else local - offset
    except (ValueError, OverflowError) as error:
        raise InvalidSyntax(f"no such date and time: {quote(text)} ({error})") from None


def parse_actor(text: str) -> Did | Handle:
    """A DID or a handle, whichever ``text`` is (an "at-identifier").

    Raises:
        InvalidSyntax: it is neither.
    """
    if isinstance(text, str) and text.startswith("did:"):
        return Did.parse(text)
    return Handle.parse(text)


@dataclass(frozen=True, slots=True)
class AtUri:
    """``at://authority[/collection[/rkey]]``; no query, no fragment, no trailing slash."""

    authority: Did | Handle
    collection: Nsid | None = None
    rkey: RecordKey | None = None

    @classmethod
    def parse(cls, text: str) -> AtUri:
        """Check ``text`` and take it apart.

        Raises:
            InvalidSyntax: it is not an AT-URI.
        """
        if not isinstance(text, str) or len(text) > 8192 or not text.startswith("at://"):
            raise InvalidSyntax(f"expected an AT-URI such as at://did:plc:…/…, got {quote(text)}")
        authority, *path = text[5:].split("/")
        if len(path) > 2:
            raise InvalidSyntax(f"an AT-URI has at most a collection and a key, got {quote(text)}")
        try:
            return cls(
                parse_actor(authority),
                Nsid.parse(path[0]) if path else None,
                RecordKey.parse(path[1]) if len(path) == 2 else None,
            )
        except InvalidSyntax as error:
            raise InvalidSyntax(f"bad AT-URI {quote(text)}: {error}") from None

    @property
    def did(self) -> Did:
        """The authority, which must be a DID.

        Raises:
            InvalidSyntax: it is a handle; resolve it first.
        """
        if not isinstance(self.authority, Did):
            raise InvalidSyntax(
                f"{self} names its owner by handle; the durable form names a DID",
                next_step="resolve the handle to its DID first",
            )
        return self.authority

    @property
    def path(self) -> str:
        """The key of a record in its repository's tree: ``collection/rkey``."""
        return f"{self.collection}/{self.rkey}"

    def __str__(self) -> str:
        return "at://" + "/".join(part for part in self._parts() if part is not None)

    def _parts(self) -> tuple[str | None, ...]:
        return self.authority, self.collection, self.rkey
