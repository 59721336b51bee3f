"""``network.atd.host.*``: a PDS of one's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from atd.errors import AtdError, InvalidSyntax
from atd.protocol.syntax import quote
from atd_daemon.server import views
from atd_daemon.services import Services


async def init(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.host.init``: make the account, serve it, and log in to it.

    The login needs the account to be reached at its public name. Where there is no proxy yet that
    cannot be, and the account is there all the same: so it is said, not raised.
    """
    host = services.host.host
    made = await asyncio.to_thread(
        host.init, given["domain"], given.get("handle"), given.get("password")
    )
    await services.host.start()
    problem = services.host.problem
    logged_in = False
    try:
        await services.accounts.login(made.did, made.password)
        logged_in = True
    except AtdError as error:
        problem = problem or f"not logged in: {error.message}"
    return views.present(
        domain=made.domain,
        did=made.did,
        handle=made.handle,
        pds=made.pds,
        listen=services.host.listen,
        password=None if "password" in given else made.password,
        keyFile=made.key_file,
        running=services.host.running,
        loggedIn=logged_in,
        problem=problem,
    )


async def get_status(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.host.getStatus``."""
    listener = services.host
    known = await asyncio.to_thread(listener.host.status)
    return {
        "hosts": [
            views.present(
                domain=one.domain,
                did=one.did,
                handle=one.handle,
                listen=listener.listen,
                rev=one.rev,
                records=one.records,
                blobs=one.blobs,
                size=one.blob_bytes + one.block_bytes,
                running=listener.running,
                problem=listener.problem,
            )
            for one in known
        ]
    }


async def backup(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.host.backup``."""
    if not os.path.isabs(given["path"]):
        raise InvalidSyntax(f"expected an absolute path, got {quote(given['path'])}")
    host = services.host.host
    made = await asyncio.to_thread(host.backup, Path(given["path"]), given.get("domain"))
    return {"path": made.path, "did": made.did, "files": made.files, "size": made.size}
