"""``network.atd.account.*``: sessions with PDSes."""

from __future__ import annotations

from typing import Any

from atd_daemon.server import views
from atd_daemon.services import Services


async def login(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.account.login``."""
    made = await services.accounts.login(given["handle"], given["password"], given.get("pds"))
    return {"account": views.account(made)}


async def logout(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.account.logout``."""
    return {"account": views.account(await services.accounts.logout(given["account"]))}


async def list_accounts(services: Services, given: dict[str, Any]) -> dict[str, Any]:
    """Answer ``network.atd.account.list``."""
    return {"accounts": [views.account(known) for known in services.accounts.list()]}
