"""One thin function per endpoint: takes typed input, calls a service, gives the answer.

Three kinds, by what they answer with: a JSON object, a stream of events that ends in a result, or
a file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from atd import api
from atd_daemon.server.handlers import (
    accounts,
    cache,
    catalog,
    daemon,
    following,
    health,
    history,
    host,
    keeping,
    mirrors,
    previews,
    proofs,
    publishing,
    recipes,
    search,
    store,
)
from atd_daemon.server.streams import Events
from atd_daemon.services import Services

Input = dict[str, Any]
Answer = Callable[[Services, Input], Awaitable[dict[str, Any]]]
Stream = Callable[[Services, Input, Events], Awaitable[dict[str, Any]]]
File = Callable[[Services, Input, web.Request], Awaitable[web.StreamResponse]]

ANSWERS: Final[Mapping[api.Endpoint, Answer]] = {
    api.GET_STATUS: daemon.get_status,
    api.GET_HEALTH: health.get_health,
    api.STOP: daemon.stop,
    api.LOGIN: accounts.login,
    api.LOGOUT: accounts.logout,
    api.LIST_ACCOUNTS: accounts.list_accounts,
    api.LIST_DATASETS: catalog.list_datasets,
    api.SEARCH_DATASETS: search.search_datasets,
    api.RESOLVE_NAME: search.resolve_name,
    api.GET_HISTORY: history.get_history,
    api.LIST_LOG: history.list_log,
    api.SEARCH_AT: mirrors.search_at,
    api.GET_DATASET: catalog.get_dataset,
    api.GET_RELEASE: catalog.get_release,
    api.GET_RECIPE: recipes.get_recipe,
    api.SEARCH_RECIPES: recipes.search_recipes,
    api.LOCATE_REPO: recipes.locate_repo,
    api.GET_PREVIEW: previews.get_preview,
    api.LOCATE_SHARD: store.locate_shard,
    api.LIST_CACHE: cache.list_cache,
    api.PRUNE_CACHE: cache.prune,
    api.PIN: cache.pin,
    api.UNPIN: cache.unpin,
    api.REMOVE_CACHED: cache.remove,
    api.GET_KEPT: keeping.get_dataset,
    api.LIST_OUTDATED: keeping.list_outdated,
    api.REMOVE: keeping.remove,
    api.UNTRACK: keeping.untrack,
    api.COLLECT: keeping.collect,
    api.UNFOLLOW: following.unfollow,
    api.LIST_FOLLOWING: following.list_following,
    api.BEGIN: publishing.begin,
    api.COMPARE: publishing.compare,
    api.ABANDON: publishing.abandon,
    api.HOST_INIT: host.init,
    api.HOST_STATUS: host.get_status,
    api.HOST_BACKUP: host.backup,
}

STREAMS: Final[Mapping[api.Endpoint, Stream]] = {
    api.VERIFY: proofs.verify,
    api.PULL: store.pull,
    api.FETCH_SHARD: store.fetch_shard,
    api.VERIFY_CACHE: cache.verify,
    api.FOLLOW: following.follow,
    api.DISCOVER: following.discover,
    api.COMMIT: publishing.commit,
    api.UNPUBLISH: publishing.unpublish,
    api.PUT_RECIPE: recipes.put_recipe,
    api.REMOVE_RECIPE: recipes.remove_recipe,
    api.EDIT: publishing.edit,
}

FILES: Final[Mapping[api.Endpoint, File]] = {
    api.GET_SHARD: store.get_shard,
    api.GET_PROOF: proofs.get_proof,
}
