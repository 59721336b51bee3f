"""S3-compatible buckets: the only importer of botocore, which signs and does nothing else.

Requests go through the daemon's own `Fetcher`, under all its limits. Credentials are what botocore
finds in the environment and in ``~/.aws``; its providers that would ask the network (instance
metadata, single sign-on, assumed roles) are taken out, for the network is not theirs to use.
Uploads are signed over the SHA-256 of the file (AWS Signature Version 4), so the bucket itself
refuses other bytes.

Reached through `importlib` by whoever needs it: botocore is an extra and takes its time to load.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote as percent
from urllib.parse import urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.exceptions
import botocore.session

from atd.errors import BadSettings, InvalidSyntax, LoginRefused, StorageFault, TooLarge, Unreachable
from atd.protocol.syntax import quote
from atd_daemon.network.fetch import Body, Fetcher, Reply

MAX_PUT_BYTES: Final = 5 * 1024**3
"""The largest object of one PUT request (Amazon S3 User Guide, "Uploading objects")."""

_CHUNK_BYTES: Final = 1024 * 1024
_REPLY_BYTES: Final = 1024 * 1024
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NETWORKED: Final = (
    *("assume-role", "assume-role-with-web-identity", "sso", "login"),
    *("container-role", "iam-role"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a prefix in it: empty, or with a slash at its end."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """From ``s3://bucket/prefix``.

        Raises:
            InvalidSyntax: it is not one.
        """
        parts = urlsplit(url)
        bucket, prefix = parts.netloc, parts.path.strip("/")
        plain = bucket.replace("-", "").replace(".", "")
        named = 3 <= len(bucket) <= 63 and plain.isalnum() and bucket.isascii()
        bad = parts.scheme != "s3" or not named or bucket != bucket.lower()
        if bad or parts.query or parts.fragment or ".." in prefix.split("/"):
            raise InvalidSyntax(
                f"expected s3://BUCKET/PREFIX, found {quote(url)}",
                next_step="bucket names have 3 to 63 of a-z 0-9 - .",
            )
        return cls(bucket, f"{prefix}/" if prefix else "")


class Bucket:
    """Writing to one place in a bucket.

    Args:
        endpoint: the server of another provider, addressed as ``endpoint/bucket/key``; Amazon's
            own where it is None.

    Raises:
        LoginRefused: there are no credentials. Reads files: make it in a thread.
    """

    def __init__(self, fetcher: Fetcher, place: Place, endpoint: str | None = None) -> None:
        session = botocore.session.Session()
        resolver = session.get_component("credential_provider")
        for provider in _NETWORKED:
            resolver.remove(provider)
        try:
            found = session.get_credentials()
            region = session.get_config_variable("region") or "us-east-1"
        except botocore.exceptions.BotoCoreError as error:
            raise BadSettings(f"the AWS configuration cannot be read: {error}") from error
        if found is None:
            raise LoginRefused(
                f"no credentials for s3://{place.bucket}",
                next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or fill in "
                "~/.aws/credentials, then: atd daemon stop",
            )
        self._fetcher = fetcher
        self._place = place
        self._credentials = found.get_frozen_credentials()
        self._region: str = region
        self._root = _root(place.bucket, region, endpoint)

    @property
    def public_base(self) -> str:
        """The URL that keys are appended to, for everyone who may read."""
        return f"{self._root}/{percent(self._place.prefix)}"

    async def size(self, key: str) -> int | None:
        """The size of the object in bytes, or None where there is none."""
        reply = await self._send("HEAD", key, _EMPTY)
        if reply.status == 404:
            return None
        if reply.status != 200:
            raise self._refused(reply, key)
        length = reply.headers.get("content-length", "")
        return int(length) if length.isdecimal() else None

    async def put(self, key: str, path: Path, sha256: str) -> None:
        """Upload a file whose SHA-256, in hex, is known; the bucket refuses any other bytes.

        Raises:
            TooLarge: more than one request can carry.
            LoginRefused: the credentials are wrong, or not for this.
            Unreachable: no answer, or one that says nothing.
        """
        size = path.stat().st_size
        if size > MAX_PUT_BYTES:
            raise TooLarge(f"{path.name} has {size} bytes; one upload takes {MAX_PUT_BYTES}")
        headers = {"content-length": str(size), "content-type": "application/x-tar"}
        reply = await self._send("PUT", key, sha256, headers, _chunks(path))
        if reply.status not in (200, 201, 204):
            raise self._refused(reply, key)

    async def _send(
        self,
        method: str,
        key: str,
        sha256: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Reply:
        url = f"{self._root}/{percent(self._place.prefix + key)}"
        signed = self._signed(method, url, sha256, headers or {})
        return await self._fetcher.request(
            method, url, headers=signed, body=body, max_bytes=_REPLY_BYTES, timeout_s=3600.0
        )

    def _signed(
        self, method: str, url: str, sha256: str, headers: Mapping[str, str]
    ) -> dict[str, str]:
        """``headers`` with what proves to the bucket who asks."""
        request = botocore.awsrequest.AWSRequest(method=method, url=url, headers=dict(headers))
        _Signer(self._credentials, self._region, sha256).add_auth(request)
        return {name.lower(): str(value) for name, value in request.headers.items()}

    def _refused(self, reply: Reply, key: str) -> Exception:
        said = quote(reply.body[:200].decode("utf-8", "replace"), 200)
        what = f"the bucket {self._place.bucket} answered {reply.status} for {key}: {said}"
        if reply.status in (401, 403):
            return LoginRefused(what, next_step="check the credentials and the bucket's policy")
        if reply.status == 404:
            return BadSettings(what, next_step="make the bucket first, or correct its name")
        if reply.status == 413:
            return TooLarge(what)
        return Unreachable(what)


class _Signer(botocore.auth.S3SigV4Auth):  # type: ignore[misc]
    """Signature Version 4 over a body whose hash is known already."""

    def __init__(self, credentials: Any, region: str, sha256: str) -> None:
        super().__init__(credentials, "s3", region)
        self._sha256 = sha256

    def payload(self, request: Any) -> str:
        """What is signed for the body."""
        return self._sha256


def _root(bucket: str, region: str, endpoint: str | None) -> str:
    if endpoint is not None:
        return f"{endpoint.rstrip('/')}/{bucket}"
    if "." in bucket:  # such a name does not fit Amazon's wildcard certificate
        return f"https://s3.{region}.amazonaws.com/{bucket}"
    return f"https://{bucket}.s3.{region}.amazonaws.com"


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    try:
        with open(path, "rb") as file:  # noqa: ASYNC230 - the reads below are threaded
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise StorageFault(f"cannot read {path}: {error.strerror}") from error
