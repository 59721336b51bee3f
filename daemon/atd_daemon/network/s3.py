"""S3-compatible buckets, for writing: requests signed by `atd.s3`, sent by the daemon's `Fetcher`.

Belongs here: the two requests that publishing needs, HEAD and PUT of an object. Uploads are signed
over the SHA-256 of the file (AWS Signature Version 4), so the bucket itself refuses other bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from atd import s3
from atd.errors import (
    AtdError,
    BadSettings,
    InvalidSyntax,
    LoginRefused,
    TooLarge,
    Unreachable,
)
from atd.protocol.syntax import quote
from atd_daemon.network.fetch import Body, Fetcher, Reply
from atd_daemon.network.outgoing import pieces

MAX_PUT_BYTES: Final = 5 * 1024**3
"""The largest object of one PUT request (Amazon S3 User Guide, "Uploading objects")."""

_REPLY_BYTES: Final = 1024 * 1024
_TIMEOUT_S: Final = 3600.0
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_BUCKET_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and a prefix in it: empty, or with a slash at its end."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, address: str) -> Self:
        """From ``s3://bucket/prefix``.

        Raises:
            InvalidSyntax: it is not one.
        """
        bucket, key = s3.split_address(address)
        if not 3 <= len(bucket) <= 63 or not _BUCKET_CHARACTERS.issuperset(bucket):
            raise InvalidSyntax(
                f"expected the name of a bucket, found {quote(bucket)}",
                next_step="write s3://BUCKET/PREFIX; bucket names have 3 to 63 of a-z 0-9 - .",
            )
        parts = [part for part in key.split("/") if part]
        if ".." in parts:
            raise InvalidSyntax(f"expected s3://BUCKET/PREFIX, found {quote(address)}")
        return cls(bucket, "".join(f"{part}/" for part in parts))

    def url(self, key: str, endpoint: str | None) -> str:
        """Where everyone who may read finds the object ``key`` below the prefix."""
        return s3.https_url(f"s3://{self.bucket}/{self.prefix}{key}", endpoint)


class Bucket:
    """Writing to one place in a bucket, with the credentials of the user's own environment.

    Args:
        endpoint: the server of another provider, addressed as ``endpoint/bucket/key``; Amazon's
            own where it is None.
    """

    def __init__(self, fetcher: Fetcher, place: Place, endpoint: str | None = None) -> None:
        self._fetcher = fetcher
        self._place = place
        self._endpoint = endpoint

    @property
    def public_base(self) -> str:
        """The URL that keys are appended to, for everyone who may read."""
        return self._place.url("", self._endpoint)

    async def size(self, key: str) -> int | None:
        """The size of the object in bytes, or None where there is none."""
        reply = await self._send("HEAD", key, _EMPTY, {})
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
            LocalError: there are no credentials, or botocore is not installed.
            Unreachable: no answer, or one that says nothing.
        """
        size = path.stat().st_size
        if size > MAX_PUT_BYTES:
            raise TooLarge(f"{path.name} has {size} bytes; one upload takes {MAX_PUT_BYTES}")
        headers = {"content-length": str(size), "content-type": "application/x-tar"}
        reply = await self._send("PUT", key, sha256, headers, pieces(path))
        if reply.status not in (200, 201, 204):
            raise self._refused(reply, key)

    async def _send(
        self, method: str, key: str, sha256: str, headers: Mapping[str, str], body: Body = None
    ) -> Reply:
        url = self._place.url(key, self._endpoint)
        # Finding the credentials reads files.
        signed = await asyncio.to_thread(s3.signed_headers, method, url, headers, sha256)
        return await self._fetcher.request(
            method,
            url,
            headers={name.lower(): value for name, value in signed.items()},
            body=body,
            max_bytes=_REPLY_BYTES,
            timeout_s=_TIMEOUT_S,
        )

    def _refused(self, reply: Reply, key: str) -> AtdError:
        said = quote(reply.body[:200].decode("utf-8", "replace"), 200)
        what = f"the bucket {self._place.bucket} answered {reply.status} for {key}: {said}"
        if reply.status in (401, 403):
            return LoginRefused(what, next_step="check the credentials and the bucket's policy")
        if reply.status == 404:
            return BadSettings(what, next_step="make the bucket first, or correct its name")
        if reply.status == 413:
            return TooLarge(what)
        return Unreachable(what)
