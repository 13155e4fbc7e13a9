"""Follows the jobs: begins the loop of each that there is, and tells it of the job's changes. It decides nothing.

What it could not follow it lists: the operator may be there before its CRDs, these may go and come back, and etcd may be
restored from a backup. A watch that begins ahead of what the apiserver has would be silent for good, so where it begins is
asked for each time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from llmtrain.api import API_VERSION
from llmtrain_operator.client import ApiError, Object, is_older
from llmtrain_operator.guard import Guard, Loop

log = logging.getLogger("llmtrain.operator")
JOBS = f"apis/{API_VERSION}/llmtrainingjobs"
GONE = 410
PAUSE_SECONDS, ABSENT_SECONDS = 0.5, 5.0
"""Between two watches; and between two tries where jobs cannot even be listed."""
Key = tuple[str, str]


class Followed(Protocol):
    """What following jobs needs of the client."""

    async def newest_version(self, resource: str, namespace: str) -> str:
        """The resourceVersion of a collection now."""

    async def list_metadata(self, resource: str, namespace: str, selector: str) -> list[Object]:
        """The metadata of all objects, in all namespaces where none is given."""

    def watch_objects(self, resource: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Type and object of every change after `version`."""


@dataclass
class JobWatch:
    """Runs until it is cancelled.

    `ensure` takes namespace and name of a job that is there, its resourceVersion, and the job where it is at hand;
    `gone` the same of one that is not.
    """

    cluster: Followed
    namespaces: Sequence[str]
    ensure: Callable[[str, str, str, Object | None], None]
    gone: Callable[[str, str, str], None]
    guard: Guard = field(default_factory=lambda: Guard(Loop.JOB_WATCH))

    async def run(self) -> None:
        """One watch for all namespaces, or one for each that was named; each begins anew by itself."""
        follow = [partial(self._follow, namespace) for namespace in self.namespaces or [""]]
        await asyncio.gather(*(self.guard.keep_running(each) for each in follow))

    async def _follow(self, namespace: str) -> None:
        version, known = "", set[Key]()
        while True:
            pause = PAUSE_SECONDS
            try:
                version = await self._begin(namespace, version, known)
                async for kind, raw in self.cluster.watch_objects(JOBS, namespace, version):
                    version = str(raw["metadata"].get("resourceVersion") or version)
                    if kind != "BOOKMARK":
                        with self.guard.each(f"job {raw['metadata'].get('namespace')}/{raw['metadata'].get('name')}"):
                            self._tell(kind, raw, known)
            except ApiError as error:
                # Of a connection that was cut the next watch goes on; after any other answer everything is listed again.
                version = version if error.code == 0 else ""
                pause = PAUSE_SECONDS if error.code == GONE else ABSENT_SECONDS
                log.log(logging.INFO if error.code == GONE else logging.WARNING, "watch of jobs: %s", error)
            await asyncio.sleep(pause)

    async def _begin(self, namespace: str, version: str, known: set[Key]) -> str:
        """Where to go on from: where it was, unless that lies ahead of what there is; then, and at first, all jobs are told of."""
        newest = await self.cluster.newest_version(JOBS, namespace)
        if version and not is_older(newest, version):
            return version
        there = set[Key]()
        for job in await self.cluster.list_metadata(JOBS, namespace, ""):
            meta = job["metadata"]
            with self.guard.each(f"job {meta.get('namespace')}/{meta.get('name')}"):
                there.add((meta["namespace"], meta["name"]))
                self.ensure(meta["namespace"], meta["name"], meta["resourceVersion"], None)
        for space, name in known - there:
            self.gone(space, name, newest)
        known.clear()
        known |= there
        return newest

    def _tell(self, kind: str, raw: Object, known: set[Key]) -> None:
        meta = raw["metadata"]
        key, version = (meta["namespace"], meta["name"]), str(meta.get("resourceVersion", ""))
        if kind == "DELETED":
            known.discard(key)
            self.gone(*key, version)
        else:
            known.add(key)
            self.ensure(*key, version, raw)
