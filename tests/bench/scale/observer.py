"""When pods came and went, by a watch of their metadata alone: cheap enough not to disturb what it measures."""

import asyncio
import time

from tests.kwok.plane import Admin, follow, until

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class Observer:
    """Follows all pods of all namespaces; call `close` when done."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self.born: dict[str, dict[str, float]] = {}
        self.alive: dict[str, set[str]] = {}
        self.last_gone: dict[str, float] = {}

    async def start(self) -> None:
        """Nothing is there yet, so the watch begins at the beginning."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in follow(self._admin, "/api/v1/pods", "0", METADATA):
            self._take(event["type"], event["object"]["metadata"], time.monotonic())

    def _take(self, kind: str, meta: dict[str, str], now: float) -> None:
        namespace, uid = meta["namespace"], meta["uid"]
        alive = self.alive.setdefault(namespace, set())
        if kind == "DELETED":
            alive.discard(uid)
            self.last_gone[namespace] = now
        elif kind == "ADDED":
            alive.add(uid)
            self.born.setdefault(namespace, {})[uid] = now

    def count(self, namespace: str) -> int:
        """Pods that are there."""
        return len(self.alive.get(namespace, ()))

    async def reach(self, namespace: str, pods: int, seconds: float) -> float:
        """Wait until so many pods are there; when the last of them was seen."""

        async def there() -> bool:
            if self._task.done():
                self._task.result()
            return self.count(namespace) == pods

        await until(f"{pods} pods in {namespace} (there are {self.count(namespace)})", there, seconds, every=0.02)
        born = self.born.get(namespace, {})
        return max(born[uid] for uid in self.alive[namespace]) if pods else self.last_gone.get(namespace, 0.0)
