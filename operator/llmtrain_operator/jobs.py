"""One task a job: wake or resync, one turn, look ahead. Nothing here decides anything."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from llmtrain_operator.client import ApiError
from llmtrain_operator.metrics import OperatorMetrics, Snapshots
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import Memory, Outlook, Reconciler

log = logging.getLogger("llmtrain.operator")
LONGEST_ERROR_PAUSE = 60.0
Key = tuple[str, str]


@dataclass
class Loop:
    """The running task of one job."""

    wake: asyncio.Event
    task: "asyncio.Task[None] | None" = None


@dataclass
class Jobs:
    """All job loops of this operator."""

    reconciler: Reconciler
    snapshots: Snapshots
    metrics: OperatorMetrics
    progress: ProgressReader
    monotonic: Callable[[], float]
    loops: dict[Key, Loop] = field(default_factory=dict)

    def wake(self, namespace: str, name: str) -> None:
        """Make a job's loop look now."""
        if loop := self.loops.get((namespace, name)):
            loop.wake.set()

    def ensure(self, namespace: str, name: str) -> None:
        """Start a job's loop if it has none, and wake it."""
        key = (namespace, name)
        loop = self.loops.setdefault(key, Loop(asyncio.Event()))
        loop.wake.set()
        if loop.task is None or loop.task.done():
            loop.task = asyncio.create_task(self._run(key, loop), name=f"job {namespace}/{name}")

    async def close(self) -> None:
        """End all loops; what they were doing is done again after the restart."""
        tasks = [loop.task for loop in self.loops.values() if loop.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.progress.close()

    async def _run(self, key: Key, loop: Loop) -> None:
        memory, failures = Memory(), 0
        while True:
            loop.wake.clear()
            try:
                outlook = await self._turn(key, memory)
                failures = 0
            except ApiError as error:
                failures += error.code != 409
                outlook = Outlook(min(2.0**failures, LONGEST_ERROR_PAUSE) if error.code != 409 else 0.1)
                log.warning("job %s/%s: %s", *key, error)
            if outlook.gone:
                self._forget(key)
                return
            if outlook.head is not None:
                self.progress.ask(outlook.head, memory)
            await _wait(loop.wake, outlook.seconds)

    async def _turn(self, key: Key, memory: Memory) -> Outlook:
        started, ok = self.monotonic(), False
        try:
            outlook = await self.reconciler.turn(*key, memory)
            ok = True
        finally:
            self.metrics.observe_turn(self.monotonic() - started, ok)
        if outlook.status is not None:
            self.snapshots.put(key, outlook.status)
        return outlook

    def _forget(self, key: Key) -> None:
        self.loops.pop(key, None)
        self.snapshots.drop(key)


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(wake.wait(), seconds)
    except TimeoutError:
        return
