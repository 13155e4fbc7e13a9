"""Elastic training groups: what one whole replica of the model is, and which numbers of workers can train together.

Driver and operator both ask here, so that they mean the same workers: a group takes those of the lowest indices.
"""

from collections.abc import Callable
from math import ceil, gcd

from llmtrain.api.job import JobSpec
from llmtrain.api.training import Device, Parallelism, Sharding, Training


def processes_per_worker(training: Training) -> int:
    """Training processes of a worker: one an accelerator, or one where there is none."""
    accelerators = training.cluster.workers.accelerators_per_worker
    return accelerators if training.device is Device.AUTO and accelerators else 1


def replica_processes(parallelism: Parallelism) -> int:
    """Processes that one replica of the model, or with Hsdp one copy of its state, is spread over."""
    shard = parallelism.shard_size if parallelism.sharding is Sharding.HSDP else 1
    return parallelism.tensor * parallelism.pipeline * parallelism.context * max(1, shard)


def replica_workers(training: Training) -> int:
    """Fewest workers whose processes are whole replicas; groups are multiples of it.

    2 with one accelerator a worker and tensor 2; 1 with eight.
    """
    replica = replica_processes(training.parallelism)
    return replica // gcd(replica, processes_per_worker(training))


def batches_of(training: Training, context: int) -> list[int]:
    """Sequences of a step, each size of the ramp."""
    tokens = [training.global_batch_tokens, *(step.global_batch_tokens for step in training.batch_ramp)]
    return [size // context for size in tokens]


def busiest_rows(training: Training, context: int, workers: int) -> int | None:
    """Sequences that the busiest process of so many workers has in the largest step; None: they cannot train together.

    Data-parallel shares may differ by one sequence; each micro-batch of a pipeline is divided without rest.
    """
    if workers % replica_workers(training):
        return None
    spec, batches = training.parallelism, batches_of(training, context)
    data = workers * processes_per_worker(training) // (spec.tensor * spec.pipeline * spec.context)
    together = data * (spec.micro_batches or 2 * spec.pipeline) if spec.pipeline > 1 else 1
    one_copy = spec.sharding is Sharding.HSDP and data == spec.shard_size
    if min(batches) < data or one_copy or any(size % together for size in batches):
        return None
    return ceil(max(batches) / data)


class Sizes:
    """Numbers of workers that a group can have. Of two with the same speed the smaller one counts."""

    def __init__(self, least: int, rows: Callable[[int], int | None]) -> None:
        """`least` workers are needed; `rows` says how many sequences the busiest process of so many has, None: no group."""
        self.least, self._rows, self._known = least, rows, {0: (0, 0)}

    def rows(self, workers: int) -> int:
        """Of a size that fits."""
        return self._known[workers][1]

    def fitting(self, alive: int) -> int:
        """The fastest group of at most so many workers; 0: they are too few."""
        for size in range(len(self._known), alive + 1):
            best, fewest = self._known[size - 1]
            mine = self._rows(size) if size >= self.least else None
            faster = mine is not None and (not best or mine < fewest)
            self._known[size] = (size, mine) if faster and mine is not None else (best, fewest)
        return self._known[alive][0]

    def time_ratio(self, workers: int, instead_of: int) -> float:
        """Seconds of a step with so many workers, relative to another size."""
        return self.rows(workers) / self.rows(instead_of)


def sizes_of(spec: JobSpec) -> Sizes:
    """Of a job's training."""
    training, context = spec.training, spec.model.context_length
    return Sizes(training.cluster.workers.least, lambda workers: busiest_rows(training, context, workers))
