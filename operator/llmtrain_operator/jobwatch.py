"""When the watch of jobs begins, and when it begins anew. It decides nothing, and what watches is kopf (handlers.py).

The operator may be there before its CRDs, these may go and come back, and etcd may be restored from a backup. kopf looks
for a resource once, when it starts; a watch of one that is not served, or that begins ahead of what the apiserver has, is
silent for good. So every few seconds somebody asks for the metadata of one job, and kopf is started anew where they
are served again, or where resourceVersions have gone back.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmtrain.api import API_VERSION
from llmtrain_operator.client import ApiError, is_older

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
NOT_SERVED = 404
ABSENT_SECONDS, SERVED_SECONDS = 5.0, 10.0
"""Between two looks where jobs are not served, and where they are."""
STOPPING_SECONDS = 10.0
"""kopf's watch ends within this once it is asked to; what takes longer is cancelled."""


class Served(Protocol):
    """What it needs of the client."""

    async def newest_version(self, resource: str, namespace: str) -> str:
        """The resourceVersion of a collection now."""


@dataclass
class JobWatch:
    """Runs until `follow`, which watches until its event is set, ends though nobody asked it to: then `over` is called."""

    cluster: Served
    namespaces: Sequence[str]
    follow: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
    over: Callable[[], None]

    async def run(self) -> None:
        """Raises what `follow` raises; whoever runs this begins it anew."""
        while True:
            versions = await self._served()
            stop = asyncio.Event()
            following = asyncio.create_task(self.follow(stop))
            watching = asyncio.create_task(self._until_lost(versions))
            try:
                await asyncio.wait({following, watching}, return_when=asyncio.FIRST_COMPLETED)
                asked = watching.done()
            finally:
                # Also where the process ends: kopf that is cancelled instead may wait for ever for tasks of its own that are.
                stop.set()
                await asyncio.wait({following}, timeout=STOPPING_SECONDS)
                for task in (following, watching):
                    task.cancel()
                await asyncio.gather(following, watching, return_exceptions=True)
            if not following.cancelled():
                following.result()
            if not asked:
                self.over()
                return

    async def _served(self) -> dict[str, str]:
        """Wait until jobs are served; the newest version by namespace."""
        while True:
            try:
                return {space: await self._newest(space) for space in self.namespaces or [""]}
            except ApiError as error:
                log.warning("watch of jobs: %s", error)
                await asyncio.sleep(max(ABSENT_SECONDS, error.retry_after))

    async def _until_lost(self, versions: dict[str, str]) -> None:
        """Return where the watch must begin anew. An apiserver that does not answer for a while is kopf's to wait for."""
        while True:
            await asyncio.sleep(SERVED_SECONDS)
            for space, before in versions.items():
                try:
                    newest = await self._newest(space)
                except ApiError as error:
                    if error.code == NOT_SERVED:
                        log.warning("watch of jobs: %s", error)
                        return
                    continue
                if is_older(newest, before):
                    log.warning("watch of jobs: resourceVersions went back from %s to %s", before, newest)
                    return
                versions[space] = newest

    async def _newest(self, namespace: str) -> str:
        return await self.cluster.newest_version(JOBS, namespace)
