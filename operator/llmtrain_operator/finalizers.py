"""Finalizers, a list that an object's owners share: each adds and removes its own, and what others did since it was read stays.

One request where nobody has touched the list meanwhile, which is nearly always.
"""

from collections.abc import Callable, Mapping
from typing import Any

from llmtrain_operator.client import ApiError, Cluster

TRIES = 5
CHANGED = (409, 422)
"""The precondition did not hold, or the apiserver gave up after conflicts of its own."""


async def add_finalizer(
    cluster: Cluster, resource: str, seen: Mapping[str, Any], finalizer: str
) -> Mapping[str, Any] | None:
    """Put a finalizer on an object that was read; the object then, None where it is gone. ApiError where it is refused."""
    return await _change(cluster, resource, seen, lambda names: [*names, *({finalizer} - set(names))])


async def remove_finalizer(
    cluster: Cluster, resource: str, seen: Mapping[str, Any], finalizer: str
) -> Mapping[str, Any] | None:
    """Take a finalizer off an object that was read; the object then, None where it is gone. ApiError where it is refused."""
    return await _change(cluster, resource, seen, lambda names: [name for name in names if name != finalizer])


async def _change(
    cluster: Cluster, resource: str, seen: Mapping[str, Any], change: Callable[[list[str]], list[str]]
) -> Mapping[str, Any] | None:
    """Read again where somebody has changed the list; ApiError 409 where that goes on."""
    uid, now = seen["metadata"]["uid"], seen
    for _ in range(TRIES):
        before: list[str] = now["metadata"].get("finalizers") or []
        after = change(before)
        if after == before:
            return now
        try:
            return await cluster.replace_finalizers(resource, now, after)
        except ApiError as error:
            if error.code not in CHANGED:
                raise
            refused = error
        fresh = await cluster.get(resource, now["metadata"].get("namespace", ""), now["metadata"]["name"])
        if fresh is None or fresh["metadata"]["uid"] != uid:
            return None
        if refused.code == 422 and (fresh["metadata"].get("finalizers") or []) == before:
            # It was not the precondition: the object is refused for what it is.
            raise refused
        now = fresh
    raise ApiError(409, "Conflict", f"the finalizers of {seen['metadata']['name']} kept changing")
