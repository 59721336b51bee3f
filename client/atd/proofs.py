"""Proof bundles as files: asking the daemon for one, keeping it, checking it without any daemon.

What belongs here: what `atd.bundles` does not do because it is pure, reading and writing the file.
`check` asks nobody: no daemon, no network.
"""

from __future__ import annotations

import time
from pathlib import Path

from atd import api
from atd.bundles import MAX_BUNDLE_BYTES, Checked, check_bundle
from atd.connection import Connection
from atd.disk import write_whole
from atd.errors import BadSource, ProofError


def prove(
    ref: str, file: str | Path | None = None, *, connection: Connection | None = None
) -> bytes:
    """A bundle with all that a third party needs to check a data set offline.

    The publisher is asked anew, so that it shows what is there now.

    Args:
        ref: ``@handle/name[@version]``, or the ``at://`` URI of one of its records.
        file: where to keep it as well; replaced in one go where it exists.
        connection: the daemon to ask; the one that the environment names where it is None.

    Raises:
        AtdError: whatever stands in the way of a proof.
        StorageFault: the file cannot be written.
    """
    daemon = connection or Connection()
    data = daemon.fetch(api.GET_PROOF, {"ref": ref}, max_bytes=MAX_BUNDLE_BYTES)
    check_bundle(data, now_s=time.time())
    if file is not None:
        write_whole(Path(file), data)
    return data


def check_proof(
    bundle: str | Path | bytes, *, allow_previous_key: bool = False, now_s: float | None = None
) -> Checked:
    """Check a bundle, offline and without a daemon.

    Args:
        bundle: the file, or its bytes.
        allow_previous_key: accept commits that only an earlier key of their DID signed.
        now_s: the time to compare revisions with, seconds since 1970; this machine's if None.

    Raises:
        ProofError: something in it does not hold; so do its kin, as `atd.bundles.check_bundle`.
        BadSource: there is no such file, or it cannot be read.
    """
    data = bundle if isinstance(bundle, bytes) else _read(Path(bundle))
    now = time.time() if now_s is None else now_s
    try:
        return check_bundle(data, now_s=now, allow_previous_key=allow_previous_key)
    except ProofError as error:
        if type(error) is ProofError:  # the file's fault, not the publisher's
            error.next_step = "it is damaged or forged; make one with: atd prove REF -o FILE"
        raise


def _read(file: Path) -> bytes:
    """The file, if it is no larger than a bundle can be."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise BadSource(
            f"cannot read the bundle {file}: {error.strerror}",
            next_step="make one with: atd prove REF -o FILE",
        ) from None
    if len(data) > MAX_BUNDLE_BYTES:
        raise ProofError(f"a bundle has at most {MAX_BUNDLE_BYTES} bytes, {file} has more")
    return data
