"""The only importer of botocore: S3 addresses, and requests signed by Signature Version 4.

What belongs here: from ``s3://bucket/key`` to an ``https://`` URL, and the credentials that the
user's own environment gives (variables and profiles: botocore finds them). It signs; it sends
nothing. Reading needs botocore only where there are credentials to sign with.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from atd.errors import InvalidSyntax, LocalError

EXPIRES_S: Final = 3600
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
_INSTALL: Final = "install it with: pip install 'atd-catalog[s3]'"


def split_address(address: str) -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``.

    Raises:
        InvalidSyntax: it is no such address.
    """
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in address:
        raise InvalidSyntax(f"expected s3://BUCKET/KEY, got {address!a}")
    return parts.netloc, parts.path.lstrip("/")


def https_url(address: str, endpoint: str | None) -> str:
    """The plain URL of ``address``: at ``endpoint`` (path style) where one is set, else at AWS."""
    bucket, key = split_address(address)
    path = quote(key, safe="/~-._")
    if endpoint is not None:
        return f"{endpoint.rstrip('/')}/{bucket}/{path}"
    return f"https://{bucket}.s3.amazonaws.com/{path}"


def signed_get(address: str, endpoint: str | None) -> str:
    """A URL to read ``address`` with: presigned where there are credentials, else the plain one."""
    url = https_url(address, endpoint)
    try:
        session = _session()
    except LocalError:
        return url
    credentials = session.get_credentials()
    if credentials is None:
        return url
    request = _botocore("awsrequest").AWSRequest(method="GET", url=url)
    region = session.get_config_variable("region") or "us-east-1"
    signer = _botocore("auth").S3SigV4QueryAuth(credentials, "s3", region, expires=EXPIRES_S)
    signer.add_auth(request)
    return str(request.url)


def signed_headers(
    method: str, url: str, headers: Mapping[str, str], payload_sha256: str = UNSIGNED_PAYLOAD
) -> dict[str, str]:
    """``headers`` with the signature of a request by the user's own credentials.

    Args:
        payload_sha256: the hash of the body in hex, so that S3 refuses any other body.

    Raises:
        LocalError: botocore is not installed, or it finds no credentials.
    """
    session = _session()
    credentials = session.get_credentials()
    if credentials is None:
        raise LocalError(
            "no S3 credentials were found",
            next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    signed = {**headers, "X-Amz-Content-SHA256": payload_sha256}
    request = _botocore("awsrequest").AWSRequest(method=method, url=url, headers=signed)
    region = session.get_config_variable("region") or "us-east-1"
    signer = _botocore("auth").S3SigV4Auth(credentials, "s3", region)
    # Left to itself it would hash the body, which is not here, and sign the hash of nothing.
    signer.payload = lambda _: payload_sha256
    signer.add_auth(request)
    return {str(name): str(value) for name, value in request.headers.items()}


def _session() -> Any:
    """A session that finds credentials on this machine alone: variables and profiles.

    The others ask a service over the network (an instance's or a container's metadata), past the
    daemon's rules for addresses and past ATD_OFFLINE.
    """
    session = _botocore("session").get_session()
    providers = session.get_component("credential_provider")
    for name in ("container-role", "iam-role"):
        providers.remove(name)
    return session


def _botocore(module: str) -> Any:
    """A module of botocore, which is an extra and heavy: loaded when something is to be signed."""
    try:
        return importlib.import_module(f"botocore.{module}")
    except ModuleNotFoundError:
        raise LocalError("S3 needs the package botocore", next_step=_INSTALL) from None
