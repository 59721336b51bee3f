"""Reading a request against its lexicon: what a handler gets is typed and within bounds."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from atd import api
from atd.errors import InvalidSyntax, LexiconError, TooLarge
from atd.lexicon_files import catalog
from atd.protocol.syntax import quote

MAX_BODY_BYTES = 1024 * 1024


async def read_input(request: web.Request, endpoint: api.Endpoint) -> dict[str, Any]:
    """The parameters of a query or the body of a procedure.

    Raises:
        InvalidSyntax: a parameter or the body is not what the lexicon describes.
        TooLarge: the body is larger than a request to the daemon can be.
    """
    try:
        if endpoint.kind == "query":
            return _text_only(catalog().read_params(request.query.items(), endpoint.nsid))
        body = _text_only(await _body(request))
        catalog().validate_input(body, endpoint.nsid)
    except LexiconError as error:
        # What is wrong is what the caller sent, not what somebody published.
        raise InvalidSyntax(f"{endpoint.nsid}: {error.message}") from None
    return body


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is an empty object."""
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(f"expected a request of at most {MAX_BODY_BYTES} bytes") from None
    if request.content_type != api.JSON and data:
        raise InvalidSyntax(f"expected a body of {api.JSON}, got {quote(request.content_type)}")
    try:
        value = json.loads(data, parse_constant=_no_constant) if data else {}
    except (ValueError, RecursionError):
        raise InvalidSyntax("expected a body of JSON, got something that does not parse") from None
    if not isinstance(value, dict):
        raise InvalidSyntax("expected a JSON object as the body")
    return value


def _text_only(value: dict[str, Any]) -> dict[str, Any]:
    """``value``, if its strings are text: half a surrogate pair can be neither stored nor sent."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidSyntax("expected text, got half of a surrogate pair") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's
