"""One task a job: wake or resync, one turn, look ahead. Nothing here decides anything."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.gate import Gate
from llmtrain_operator.guard import Loop as GuardLoop
from llmtrain_operator.guard import LostError
from llmtrain_operator.health import Health
from llmtrain_operator.memory import Memory
from llmtrain_operator.metrics import OperatorMetrics
from llmtrain_operator.observation import Tale
from llmtrain_operator.progress import ProgressReader
from llmtrain_operator.reconcile import Outlook, Reconciler
from llmtrain_operator.rest import Crowd
from llmtrain_operator.snapshots import Snapshots

log = logging.getLogger("llmtrain.operator")
LONGEST_ERROR_PAUSE = 60.0
SHORTEST_GAP, LONGEST_GAP = 0.1, 1.0
"""Seconds that a woken loop rests: as long as its last turn took, so that no large job has all turns.

Pods of a cluster start and end in a swarm of changes; one look at many of them costs as much as a look at one.
"""
CONFLICT = 409
TOLD_AFTER = 10.0
"""Seconds for which turns fail before the job's owner is told."""
Key = tuple[str, str]
ALL = ""
"""What the one watch of all namespaces goes by."""


@dataclass
class Loop:
    """The running task of one job."""

    wake: asyncio.Event
    task: "asyncio.Task[None] | None" = None
    woken: float | None = None
    turning: bool = False
    crashes: int = 0
    fault: BaseException | None = None
    """What the loop last ended in, until a turn comes to its end."""
    memory: Memory = field(default_factory=Memory)

    def rests(self) -> bool:
        """Nobody has touched the job or its pods since its last turn, and nothing followed from that."""
        return self.memory.rest.still and not self.wake.is_set()


@dataclass
class Failing:
    """Turns in a row that ended in an error of the API: nothing of such a turn is written."""

    times: int = 0
    due: float | None = None
    """When its owner is told at the earliest; None: none has failed yet."""
    told: str = ""
    """The error that the job's status tells of."""

    def pause(self, error: ApiError) -> float:
        """Seconds until the next turn. A conflict is over: somebody else was faster."""
        self.times += error.code != CONFLICT
        return max(min(2.0**self.times, LONGEST_ERROR_PAUSE), error.retry_after) if error.code != CONFLICT else 0.1

    def is_to_be_told(self, error: ApiError, now: float) -> bool:
        """Whether it has repeated for a while, and the job's status does not tell of this error."""
        self.due = now + TOLD_AFTER if self.due is None else self.due
        return self.times >= 2 and now >= self.due and self.told != str(error)

    def note(self, error: ApiError, now: float, told: bool) -> None:
        """Somebody has tried to tell of it."""
        self.due, self.told = now + LONGEST_ERROR_PAUSE, str(error) if told else self.told


@dataclass
class Jobs:
    """All job loops of this operator."""

    reconciler: Reconciler
    snapshots: Snapshots
    metrics: OperatorMetrics
    progress: ProgressReader
    monotonic: Callable[[], float]
    health: Health
    loops: dict[Key, Loop] = field(default_factory=dict)
    _heard: dict[str, datetime] = field(default_factory=dict)
    """When the watch of pods last said anything, by the namespace that it watches."""
    _gate: Gate = field(default_factory=Gate)
    _closed: bool = False
    """All loops are to end."""

    def job_gone(self, namespace: str, name: str, version: str) -> None:
        """Make a job's loop look for itself."""
        if loop := self.loops.get((namespace, name)):
            loop.memory.job.hear(version, None)
            self._wake(loop)

    def wake_all(self) -> None:
        """Make every loop look now: nobody told of what has happened."""
        for loop in self.loops.values():
            loop.memory.pods.gap = True
            self._wake(loop)

    def pods_heard(self, namespace: str) -> None:
        """The watch of a namespace's pods, of all where it is empty, works."""
        self._heard[namespace] = self.reconciler.clock()

    def forget_versions(self) -> None:
        """etcd was restored from a backup: no resourceVersion that is known means anything any more."""
        self.reconciler.recent.forget_all_budgets()
        for loop in self.loops.values():
            loop.memory.forget_versions()

    def pod_told(self, namespace: str, name: str, uid: str, version: str, tale: Tale) -> None:
        """Make a job's loop look now, unless its last look had this change of a pod in it, or it waits for more."""
        loop = self.loops.get((namespace, name))
        if loop is not None and loop.memory.pods.hear(uid, version, tale):
            self._wake(loop)

    def _wake(self, loop: Loop) -> None:
        if not loop.wake.is_set():
            loop.woken = self.monotonic()
        loop.wake.set()
        self._gate.admit()

    def _wake_if_told(self, loop: Loop) -> None:
        """Unless what was told of the job, if anything, is what it is known to be."""
        if loop.memory.job.has_news():
            self._wake(loop)

    def waiting(self) -> int:
        """Jobs woken whose turn has not begun."""
        return sum(loop.wake.is_set() for loop in self.loops.values())

    def ensure(self, namespace: str, name: str, version: str, raw: Object | None = None) -> None:
        """Start a job's loop if it has none, and wake it, unless this version of the job is its own work. `raw`: the job, if at hand.

        Its own work is often told of before the apiserver has answered: a turn under way says at its end whose it was.
        """
        key = (namespace, name)
        loop = self.loops.setdefault(key, Loop(asyncio.Event()))
        loop.memory.job.hear(version, raw)
        if not loop.turning:
            self._wake_if_told(loop)
        if loop.task is None:
            self._start(key, loop)

    def _start(self, key: Key, loop: Loop) -> None:
        self.health.turned(key)
        # A context of its own: that of kopf's handler, who asks for this, holds the whole event for as long as the task lives.
        loop.task = asyncio.create_task(self._run(key, loop), name=f"job {'/'.join(key)}", context=Context())
        loop.task.add_done_callback(partial(self._ended, key, loop))

    def _ended(self, key: Key, loop: Loop, task: "asyncio.Task[None]") -> None:
        """A loop that ends in a bug is started anew, ever more slowly: its pods are still being paid for."""
        if self._closed or not (task.cancelled() or task.exception()):
            return
        loop.crashes, loop.fault = loop.crashes + 1, LostError() if task.cancelled() else task.exception()
        self.metrics.count_crash(GuardLoop.JOB.value)
        log.error("job %s/%s: its loop ended in a bug", *key, exc_info=loop.fault)
        pause = min(2.0**loop.crashes, LONGEST_ERROR_PAUSE)
        asyncio.get_running_loop().call_later(pause, self._restart, key, loop)

    def _restart(self, key: Key, loop: Loop) -> None:
        if self.loops.get(key) is loop:
            self._start(key, loop)

    async def close(self) -> None:
        """End all loops; what they were doing is done again after the restart."""
        self._closed = True
        tasks = [loop.task for loop in self.loops.values() if loop.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.progress.close()

    async def _run(self, key: Key, loop: Loop) -> None:
        memory, failing = Memory(), Failing()
        loop.memory = memory
        if loop.fault is not None:
            await self.reconciler.tell_crash(*key, loop.fault)
        while True:
            began = self.monotonic()
            glance = None if loop.wake.is_set() else self.reconciler.glance(memory, self._crowd(key[0]))
            try:
                outlook = glance or await self._turn(key, loop)
                failing, loop.crashes, loop.fault = Failing(), 0, None
            except ApiError as error:
                log.warning("job %s/%s: %s", *key, error)
                outlook = Outlook(failing.pause(error))
                if failing.is_to_be_told(error, self.monotonic()):
                    failing.note(error, self.monotonic(), await self.reconciler.tell_crash(*key, error))
            if outlook.gone:
                self._forget(key)
                if outlook.anew or loop.wake.is_set():
                    # What was told of meanwhile may be the next job of that name, of which nobody tells again.
                    self._start(key, self.loops.setdefault(key, Loop(asyncio.Event())))
                return
            if outlook.head is not None and self.reconciler.hears(memory, self._crowd(key[0]), outlook.seconds):
                self.progress.ask(outlook.head, memory)
            # A resync is not hurried, and a wake-up waits while others have their turn.
            shortest = SHORTEST_GAP if outlook.seconds else 0.0
            await asyncio.sleep(min(max(self.monotonic() - began, shortest), LONGEST_GAP))
            await _wait(loop.wake, outlook.seconds)

    async def _turn(self, key: Key, loop: Loop) -> Outlook:
        async with self._gate.place(loop.rests):
            self._begin(loop)
            started, ok, loop.turning = self.monotonic(), False, True
            try:
                rested = await self.reconciler.rested_turn(loop.memory, self._crowd(key[0]))
                outlook = rested or await self.reconciler.turn(*key, loop.memory)
                ok = not outlook.failed
            finally:
                self.metrics.observe_turn(self.monotonic() - started, ok)
                self.health.turned(key)
                loop.turning = False
                self._wake_if_told(loop)
        if outlook.status is not None:
            self.snapshots.put(key, outlook.status, outlook.uid, outlook.created)
        return outlook

    def _crowd(self, namespace: str) -> Crowd:
        return Crowd(len(self.loops), self._heard.get(namespace) or self._heard.get(ALL))

    def _begin(self, loop: Loop) -> None:
        """What woke the loop before this is seen by the turn that begins now."""
        loop.memory.woken = loop.wake.is_set()
        loop.wake.clear()
        if loop.woken is not None:
            self.metrics.observe_wait(self.monotonic() - loop.woken)
            loop.woken = None

    def _forget(self, key: Key) -> None:
        self.loops.pop(key, None)
        self.health.forget(key)
        self.snapshots.drop(key)


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(wake.wait(), seconds)
    except TimeoutError:
        return
