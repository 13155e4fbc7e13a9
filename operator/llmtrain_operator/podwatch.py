"""Wakes a job's loop when somebody else changes one of its pods. It decides nothing, and keeps nothing but where it is.

The metadata of a pod says whose it is, a fraction of the pod's size. Whatever happened in a gap that the watch could
not bridge, the live reads of the woken loops find it: after such a gap all of them are woken.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from llmtrain_operator.client import ApiError, Object, is_older
from llmtrain_operator.guard import Guard, Loop
from llmtrain_operator.names import FINALIZER_POD, LABEL_JOB
from llmtrain_operator.observation import Tale

log = logging.getLogger("llmtrain.operator")
PODS = "api/v1/pods"
GONE = 410
PAUSE_SECONDS = 0.5
"""Between two watches, so that a server that ends each at once is not asked hot."""


class Watched(Protocol):
    """What a watch needs of the client."""

    async def newest_version(self, resource: str, namespace: str) -> str:
        """The resourceVersion of a collection now."""

    def watch_metadata(
        self, resource: str, namespace: str, selector: str, version: str
    ) -> AsyncIterator[tuple[str, Object]]:
        """Type and metadata of every change after `version`."""

    def is_own(self, version: str) -> bool:
        """Whether the operator itself made this change."""

    def forget_own(self) -> None:
        """Versions are given anew: none that is known tells whose a change is."""


def _nobody(_: str) -> None:
    """Nobody asks whether the watch works."""


def _nothing() -> None:
    """Nobody keeps resourceVersions."""


def _kept(_: Object) -> None:
    """Nobody looks after pods that should have gone."""


def _forgotten(_: str) -> None:
    """Nobody looks after them, so nobody is to be told that one has gone."""


@dataclass
class PodWatch:
    """Runs until it is cancelled. `tell` takes namespace and job, uid and resourceVersion of the pod, and what is told."""

    cluster: Watched
    namespaces: Sequence[str]
    tell: Callable[[str, str, str, str, Tale], None]
    wake_all: Callable[[], None]
    heard: Callable[[str], None] = _nobody
    """Is told, by its namespace, of each sign that a watch works."""
    guard: Guard = field(default_factory=lambda: Guard(Loop.POD_WATCH))
    restored: Callable[[], None] = _nothing
    """Is called where resourceVersions have gone back."""
    leaving: Callable[[Object], None] = _kept
    """Is given the metadata of each pod that somebody deletes, or takes our label off, while our finalizer holds it."""
    left: Callable[[str], None] = _forgotten
    """Is told the uid of each pod that has gone: nobody need ask the apiserver for it."""

    async def run(self) -> None:
        """One watch for all namespaces, or one for each that was named; each begins anew by itself."""
        follow = [partial(self._follow, namespace) for namespace in self.namespaces or [""]]
        await asyncio.gather(*(self.guard.keep_running(each) for each in follow))

    async def _follow(self, namespace: str) -> None:
        version = ""
        while True:
            pause = PAUSE_SECONDS
            try:
                version = await self._begin(namespace, version)
                async for kind, meta in self.cluster.watch_metadata(PODS, namespace, LABEL_JOB, version):
                    version = str(meta.get("resourceVersion") or version)
                    self.heard(namespace)
                    if kind != "BOOKMARK":
                        with self.guard.each(f"pod {meta.get('namespace')}/{meta.get('name')}"):
                            self._tell(kind, meta)
            except ApiError as error:
                version, pause = "" if error.code == GONE else version, max(PAUSE_SECONDS, error.retry_after)
                log.log(logging.INFO if error.code == GONE else logging.WARNING, "watch of pods: %s", error)
            await asyncio.sleep(pause)

    def _tell(self, kind: str, meta: Object) -> None:
        """Of a pod whose bill is written and whose finalizer is off, all that is left to hear is that it has gone."""
        if kind != "DELETED" and (self.cluster.is_own(meta["resourceVersion"]) or _is_released(meta)):
            return
        # Somebody takes the label off: to a watch that asks for it, that is a deletion. Of a true one the time is noted before,
        # and our finalizer is off.
        held = FINALIZER_POD in meta.get("finalizers", [])
        if kind == "DELETED" and not held:
            self.left(meta["uid"])
        elif (kind == "DELETED") != ("deletionTimestamp" in meta):
            self.leaving(meta)
        changed = Tale.ENDED if meta.get("deletionGracePeriodSeconds") == 0 else Tale.CHANGED
        tale = Tale.GONE if kind == "DELETED" else changed
        self.tell(meta["namespace"], meta["labels"][LABEL_JOB], meta["uid"], meta["resourceVersion"], tale)

    async def _begin(self, namespace: str, version: str) -> str:
        """Go on where it was. From now on at first, and where that lies ahead of what there is, for etcd was restored from a
        backup: a watch would be silent until then. What was before is for the loops to see.
        """
        newest = await self.cluster.newest_version(PODS, namespace)
        if version and not is_older(newest, version):
            return version
        if version:
            log.warning("watch of pods: resourceVersions went back from %s to %s: etcd was restored", version, newest)
            self.cluster.forget_own()
            self.restored()
        self.wake_all()
        return newest


def _is_released(meta: Object) -> bool:
    return "deletionTimestamp" in meta and FINALIZER_POD not in meta.get("finalizers", [])
