"""One step's gradients, without a pipeline: micro-batches one after the other, sums over all of them."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.group import Group
from llmtrain_jobs.training.objective import Objective
from llmtrain_jobs.training.stream import Batch
from llmtrain_jobs.training.wrap import ComputePlan, exchange_gradients, is_sharded, wrapped


class Engine(Protocol):
    """What computes gradients."""

    modules: list[nn.Module]
    """What this process holds of the model."""

    def accumulate(self, batch: Batch, valid: int, micro_batches: int) -> Tensor:
        """Gradients of this process's share, of a loss summed over everybody and divided by `valid` tokens.

        Returns this process's part (2,) of the mean cross-entropy and of the mean loss; parts add up over all processes.
        """


class DataEngine:
    """The whole depth of the model in each process."""

    def __init__(self, model: Transformer, group: Group, plan: ComputePlan) -> None:
        """Wraps the model for the group."""
        self._group, self._plan = group, plan
        self._module = wrapped(Objective(model, plan.loss_chunk_tokens, plan.z_loss), group, plan)
        self.modules = [self._module]
        # Both wrappers take the mean over the processes that compute a part of the loss; it is a mean over all already.
        self._scale = float(group.layout.parts)

    def accumulate(self, batch: Batch, valid: int, micro_batches: int) -> Tensor:
        """See `Engine`."""
        total = torch.zeros(2, dtype=torch.float64, device=self._group.device)
        rows = self._plan.rows(batch.tokens.shape[1])
        for number in range(micro_batches):
            part = batch.part(number * rows, rows)
            exchange_gradients(self._module, number == micro_batches - 1)
            with precision(self._plan, self._group):
                sums = self._module(*on_device(part, self._group.device)) / valid
            (sums[1] * self._scale).backward()
            total += sums.detach()
        # Processes that share matrices compute the same loss.
        return total / self._group.layout.tensor


def micro_batches_of(sequences: int, processes: int, rows: int) -> int:
    """Micro-batches of a step: as many as the process with most sequences needs."""
    return math.ceil(math.ceil(sequences / processes) / rows)


def precision(plan: ComputePlan, group: Group) -> AbstractContextManager[Any]:
    """bf16 products from fp32 parameters, where nothing shards them (FSDP2 casts by itself)."""
    if not plan.bf16 or is_sharded(group):
        return nullcontext()
    return torch.autocast(group.device.type, dtype=torch.bfloat16)


def on_device(batch: Batch, device: torch.device) -> Iterator[Tensor]:
    """Tokens, targets and, where documents are masked, segments."""
    yield _moved(batch.tokens, device)
    yield _moved(batch.targets, device)
    if batch.segments is not None:
        yield _moved(batch.segments, device)


def _moved(array: NDArray[np.int64], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
