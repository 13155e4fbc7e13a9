"""Elastic training: one group of workers after the other, each as large as the workers that are there allow.

The head and the workers that stay are never started anew: only Ray Train's processes are. A group ends when a worker is
lost, when one is about to be taken away (everybody has saved then), or when it was asked to save because more workers
are there. What runs is always pinned to the workers of the lowest indices, so that operator and driver mean the same
ones when some are left over.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from ray.train import TrainingFailedError

from llmtrain.api.elastic import Sizes
from llmtrain.api.stageconfig import WORKERS_MISSING
from llmtrain_jobs.cluster import Worker, workers_alive
from llmtrain_jobs.context import Context
from llmtrain_jobs.errors import unavailable
from llmtrain_jobs.training.elastic import Patience, Running, Verdict, keep_or_grow, ranges, start_or_wait
from llmtrain_jobs.training.telemetry import eta_seconds
from llmtrain_jobs.training.trainer import make_trainer

POLL_SECONDS = 0.5
LOOK_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""A worker that does not run a trivial task within this is not there, whatever Ray's control store still says."""
AGAIN_SECONDS = 60.0
"""After that it is asked again: it may have been slow, not dead."""
PATIENCE_SECONDS = 300.0
"""For an answer of the actor beside the driver, on a machine that is starved."""
LONGEST_LINE = 1024
"""Of the status."""
RESTART_SECONDS = 60.0
"""From a group's start to its first step, before that was measured."""


@dataclass
class Groups:
    """The groups of one attempt. `run` is the driver's main thread, `look` is called by its watcher."""

    context: Context
    ray: Any
    control: Any
    key: str
    sizes: Sizes
    number: int = 0
    members: list[Worker] = field(default_factory=list)
    """Of the group that runs, or ran last."""
    runs: bool = False
    began: float = 0.0
    restart_seconds: float = RESTART_SECONDS
    expected: int = 0
    _idle_since: float | None = None
    _looked: float = 0.0
    _grows: bool = False
    _fruitless: int = 0
    _said: str = ""

    def run(self) -> None:
        """Until all is trained, somebody asks to stop, or it cannot go on (StageError, TrainingFailedError)."""
        self.expected = self.context.config.workers
        lost: TrainingFailedError | None = None
        while not self._is_over():
            members = self._gather(lost is not None)
            if not members:
                return
            lost = self._train(members)
            if lost and self._fruitless > self.context.config.spec.retry.limit:
                raise lost

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.ray.get(self.control.state.remote(), timeout=PATIENCE_SECONDS)
        return state

    def _is_over(self) -> bool:
        state = self._state()
        done = state["failure"] or state["model"] is not None
        return bool(done or state["stopping"] or self.context.stop.is_set())

    def _there(self, state: dict[str, Any]) -> list[Worker]:
        """Workers that are there to stay, by index."""
        left = set(state["left"])
        return [worker for worker in workers_alive(self.ray) if worker.node not in left]

    def _gather(self, doubtful: bool) -> list[Worker]:
        """The workers of the next group; none: somebody asked to stop. `doubtful`: one was just lost without notice."""
        config, since = self.context.config, time.monotonic()
        patience = Patience(config.spec.training.cluster.workers.elastic_wait_seconds, config.wait_for_workers_seconds)
        silent: dict[str, float] = {}
        while not self._is_over():
            state, now = self._state(), time.monotonic()
            there = [worker for worker in self._there(state) if silent.get(worker.node, now) <= now]
            choice = start_or_wait(self.sizes, len(there), self.expected, now - since, patience)
            if choice.verdict is Verdict.GIVE_UP:
                raise unavailable(
                    f"{len(there)} of {self.sizes.least} workers are there after {patience.for_enough:.0f} s",
                    WORKERS_MISSING,
                )
            if choice.verdict is Verdict.START:
                members = there[: choice.workers]
                quiet = self._silent(members) if doubtful else set()
                if not quiet:
                    return members
                silent |= dict.fromkeys(quiet, time.monotonic() + AGAIN_SECONDS)
            self._tell(state, len(there))
            time.sleep(POLL_SECONDS)
        return []

    def _silent(self, workers: list[Worker]) -> set[str]:
        """Those of the workers that do not answer."""
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        ask = self.ray.remote(num_cpus=0, max_retries=0)(answer)
        asked = {ask.options(scheduling_strategy=strategy(w.node, soft=False)).remote(): w.node for w in workers}
        done, waiting = self.ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
        return {asked[one] for one in waiting} | {asked[one] for one in done if not self._answered(one)}

    def _answered(self, reference: Any) -> bool:
        try:
            return bool(self.ray.get(reference, timeout=1))
        except self.ray.exceptions.RayError:
            return False

    def _train(self, members: list[Worker]) -> TrainingFailedError | None:
        """Run one group to its end; the error where a worker was lost without notice or failed."""
        before = self._state()
        self.ray.get(self.control.begin.remote(), timeout=PATIENCE_SECONDS)
        self.number, self.began, self.members, self.runs = self.number + 1, time.monotonic(), members, True
        self._idle_since, self._grows = None, False
        self._say(before, f"{len(members)} workers train")
        error: TrainingFailedError | None = None
        try:
            make_trainer(self.context, self.key, self.control, self.number, members).fit()
        except TrainingFailedError as failed:
            error = failed
        finally:
            self.runs = False
        state = self._state()
        there, noticed = self._there(state), len(set(state["left"]) - set(before["left"]))
        lost = [worker for worker in members if worker not in there and worker.node not in state["left"]]
        self.expected = len({worker.index for worker in [*there, *lost]})
        fruitful = noticed or state["accounts"]["highest"] > before["accounts"]["highest"]
        self._fruitless = 0 if error is None or fruitful else self._fruitless + 1
        return None if noticed else error

    def look(self, state: dict[str, Any], now: float) -> None:
        """Ask the group that runs to save and end where more workers are there and a larger one pays."""
        if self.runs and state["fresh"]:
            self.restart_seconds = now - self.began
        members = self.members
        if not self.runs or state["fresh"] or now - self._looked < LOOK_SECONDS:
            return
        self._looked, alive = now, len(self._there(state))
        if self.sizes.fitting(alive) <= len(members):
            self._idle_since = None
            return
        self._idle_since = now if self._idle_since is None else self._idle_since
        choice = keep_or_grow(self.sizes, self._running(state, now - self._idle_since), alive)
        if choice.verdict is Verdict.GROW and not self._grows:
            self.ray.get(self.control.pause.remote(), timeout=10)
            self._grows = True
            self._say(state, f"save, then go on with {choice.workers} workers instead of {len(members)}")

    def _running(self, state: dict[str, Any], idle: float) -> Running:
        left = eta_seconds(state["last"], self.context.config.spec.training.tokens)
        return Running(len(self.members), left, idle, self.restart_seconds + float(state["save_seconds"]))

    def progress(self) -> dict[str, Any]:
        """What the status says beside the steps: which workers train, or trained last, and what is waited for."""
        group = ranges([worker.index for worker in self.members])
        short = group if len(group) <= LONGEST_LINE else group[:LONGEST_LINE].rpartition(",")[0]
        return {"group": short} | ({} if self.runs else {"detail": self._said})

    def _tell(self, state: dict[str, Any], there: int) -> None:
        """While no group runs. Before the first step the watcher has nothing to tell."""
        self._said = f"waiting for workers: {there} of {self.expected} are there"
        if not state["last"]:
            self.context.tell(there, self.expected, "workers", self._said)

    def _say(self, state: dict[str, Any], what: str) -> None:
        """One line in the log."""
        step = state["last"].get("step", 0)
        print(
            json.dumps({"elastic": what, "step": step, "restart_seconds": round(self.restart_seconds, 1)}), flush=True
        )


def answer() -> bool:
    """A trivial task."""
    return True
