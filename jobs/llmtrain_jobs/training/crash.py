"""What a process of the training that raised has to say. An exception is no lost worker: the next try may raise it as well."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

from llmtrain.api.job import JobSpec
from llmtrain.api.training import Recompute
from llmtrain.storage.errors import StorageError
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.training.loop import Stopped, Trainer
from llmtrain_jobs.training.refusals import processes_of, uses_accelerators
from llmtrain_jobs.training.streams import behind
from llmtrain_jobs.training.wrap import ComputePlan

CRASHES = (Exception, CheckpointException)
"""The second is the checkpoint library's, a BaseException."""
BUILDING = 0
"""The step of what goes wrong before there are steps."""
MOST_TEXT = 400
"""Characters of an exception's text that are told: allocators add a page of statistics."""
OUT_OF_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|STATUS_ALLOC_FAILED", re.IGNORECASE)
"""In the words of CUDA, NCCL, cuBLAS, cuDNN and torch's allocator for CPUs."""
GLOO = re.compile(r"\bgloo\b", re.IGNORECASE)
"""gloo raises plain RuntimeErrors, with the file of its own that they come from."""


class AtStep(Exception):
    """Its cause was raised at this step, counted from 1."""

    def __init__(self, step: int) -> None:
        """Raised from the cause."""
        super().__init__(f"step {step}")
        self.step = step


@contextmanager
def at_step(trainer: Trainer) -> Iterator[None]:
    """Say of what is raised within at which step it was; what has words of its own says so itself."""
    try:
        yield
    except (StageError, StorageError, Stopped):
        raise
    except CRASHES as error:
        raise AtStep(trainer.step + 1) from error


@dataclass(frozen=True)
class Crash:
    """An exception of one process. `step` counts from 1; BUILDING: before the first."""

    step: int
    reason: str
    message: str
    out_of_memory: bool
    """Of the accelerator, or of the pod where it computes on CPUs."""
    of_others: bool
    """It says that another process, or what carries messages, is gone."""


def crash_of(error: BaseException, spec: JobSpec) -> Crash:
    """What an exception means."""
    step, cause = (error.step, error.__cause__ or error) if isinstance(error, AtStep) else (BUILDING, error)
    text = f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:MOST_TEXT]
    where = f"step {step}" if step != BUILDING else "before the first step"
    reason = re.sub(r"[^A-Za-z0-9]", "", type(cause).__name__) or "Exception"
    if any(_is_out_of_memory(one) for one in behind(cause)):
        return Crash(step, "OutOfMemory", f"{where}: out of memory: {knob(spec, step)} ({text})", True, False)
    return Crash(step, reason, f"{where}: {text}", False, any(_is_of_others(one) for one in behind(cause)))


def knob(spec: JobSpec, step: int) -> str:
    """What to change in the manifest for less memory, the cheapest first."""
    training = spec.training
    if not uses_accelerators(training):
        return "raise `training.cluster.workers.memory`, or lower `training.compute.microBatchSequences`"
    share = "share the model among more processes (`training.parallelism`, `training.cluster.workers`)"
    if step == BUILDING:
        return share
    if training.parallelism.pipeline > 1:
        parts = training.parallelism.micro_batches or 2 * training.parallelism.pipeline
        return f"raise `training.parallelism.microBatches` (it is {parts})"
    rows = _rows(spec)
    if rows > 1:
        return f"lower `training.compute.microBatchSequences` to {rows // 2} ({rows} sequences are computed at once)"
    if training.compute.recompute is not Recompute.FULL:
        return "set `training.compute.recompute` to Full"
    return share


def _rows(spec: JobSpec) -> int:
    """Sequences that a process computes at once, by the plan and by what its share of the largest batch is."""
    training, mesh = spec.training, spec.training.parallelism
    replicas = max(1, processes_of(training) // (mesh.tensor * mesh.pipeline * mesh.context))
    batch = max([training.global_batch_tokens, *(step.global_batch_tokens for step in training.batch_ramp)])
    mine = math.ceil(batch / spec.model.context_length / replicas)
    plan = ComputePlan(micro_batch_sequences=training.compute.micro_batch_sequences)
    return min(mine, plan.rows(spec.model.context_length // mesh.context))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(OUT_OF_MEMORY.search(str(error)))


def _is_of_others(error: BaseException) -> bool:
    """Of torch.distributed, of gloo, of Ray, or of a connection."""
    from ray.exceptions import RayError

    if isinstance(error, dist.DistError | RayError | ConnectionError):
        return True
    return isinstance(error, RuntimeError) and bool(GLOO.search(str(error)))
