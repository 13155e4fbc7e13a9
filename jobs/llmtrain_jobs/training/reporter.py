"""Rank 0's reports: each step to the driver, all losses to storage with each checkpoint."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from llmtrain.storage.store import artifact_folder
from llmtrain_jobs.training.build import Job
from llmtrain_jobs.training.checkpoints import Checkpoint
from llmtrain_jobs.training.ledger import write_ledger
from llmtrain_jobs.training.loop import Step
from llmtrain_jobs.training.stability import SkipLedger
from llmtrain_jobs.training.trackers import TensorBoard, Tracker, services

TRACKED = ("loss", "gradient_norm", "learning_rate", "tokens_per_second", "mfu", "tokens", "data_seconds")


@dataclass(frozen=True)
class Speed:
    """FLOP of one token, peak FLOP/s of all processes together, and where that peak comes from."""

    flops_per_token: int
    peak_flops: float
    source: str


class Reporter:
    """The loop's listener under Ray."""

    def __init__(self, control: Any, job: Job, speed: Speed, rank: int, world: int) -> None:
        """Only the first process says anything, but that its pod is taken away, which each says for itself."""
        self._control, self._job, self._speed = control, job, speed
        self._is_first, self._world = rank == 0, world
        name = f"loss/attempt-{job.attempt:04d}-{int(time.time())}.jsonl"
        self._name = f"{artifact_folder('training', job.key)}/{name}"
        self._lines: list[str] = []
        self._answer: Any = None
        self._roll_backs = 0
        self._trackers = list(self._open_trackers()) if self._is_first else []

    def start(self, ledger: SkipLedger) -> None:
        """The workers stand ready."""
        self._roll_backs = len(ledger.roll_backs)
        if self._is_first:
            tell(self._control.join.remote(self._roll_backs, self._world))

    def stop(self) -> bool:
        """What the driver answered to the last report that it had time to answer."""
        import ray

        if self._answer is None:
            return False
        ready, _ = ray.wait([self._answer], timeout=0)
        return bool(ready and ray.get(self._answer))

    def on_step(self, step: Step) -> None:
        """Report without waiting."""
        if not self._is_first:
            return
        line = {"step": step.number, "tokens": step.tokens, "loss": step.loss, "time": time.time()}
        self._lines.append(json.dumps(line | ({"reaction": step.reaction.value} if step.reaction else {})))
        facts = self._facts(step)
        self._answer = self._control.step.remote(facts)
        for tracker in self._trackers:
            tracker.log(step.number, {name: float(facts[name]) for name in TRACKED})

    def on_reaction(self, ledger: SkipLedger) -> None:
        """Write the ledger before anybody goes on."""
        self._roll_backs = len(ledger.roll_backs)
        if self._is_first:
            write_ledger(self._job.store, self._job.key, ledger)

    def on_evaluation(self, step: int, loss: float) -> None:
        """Loss on held-out text."""
        if not self._is_first:
            return
        self._control.evaluated.remote(loss)
        for tracker in self._trackers:
            tracker.log(step, {"validation_loss": loss})

    def on_save(self, stall_seconds: float) -> None:
        """Time that the steps stood still."""
        if self._is_first:
            self._control.stalled.remote(stall_seconds)

    def on_leaving(self) -> None:
        """The driver must not count on this pod any more."""
        import ray

        tell(self._control.leave.remote(ray.get_runtime_context().get_node_id()))

    def on_complete(self, checkpoint: Checkpoint, seconds: float) -> None:
        """A checkpoint is complete; called in the thread that wrote it."""
        lines = list(self._lines)
        self._job.store.write(self._name, ("\n".join(lines) + "\n").encode())
        self._control.saved.remote(checkpoint.step, checkpoint.folder)
        self._control.took.remote(seconds)
        for tracker in self._trackers:
            tracker.flush()

    def _open_trackers(self) -> Iterator[Tracker]:
        job = self._job
        attempt = f"attempt-{job.attempt:04d}-{int(time.time())}"
        yield TensorBoard(job.store, f"{artifact_folder('training', job.key)}/tensorboard", job.local.parent / attempt)
        config = {"artifact": job.key, "data": job.data, "seed": str(job.spec.seed), "tokens": str(job.training.tokens)}
        yield from services(f"{job.key}-{attempt}", config)

    def _facts(self, step: Step) -> dict[str, Any]:
        speed = step.step_tokens / step.seconds
        return {
            "step": step.number,
            "tokens": step.tokens,
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "learning_rate": step.learning_rate_factor * float(self._job.training.optimizer.peak_learning_rate),
            "seconds": step.seconds,
            "data_seconds": step.data_seconds,
            "tokens_per_second": speed,
            "mfu": speed * self._speed.flops_per_token / self._speed.peak_flops,
            "peak": self._speed.source,
            "skipped": step.reaction is not None,
            "roll_backs": self._roll_backs,
            "memory": memory_bytes(),
        }


def memory_bytes() -> int:
    """Peak memory of this process: of its accelerator, or resident."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tell(reference: Any, seconds: float = 30) -> Any:
    """Wait until the driver knows; what it answers."""
    import ray

    return ray.get(reference, timeout=seconds)
