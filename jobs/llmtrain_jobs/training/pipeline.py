"""Pipeline parallelism: the blocks are divided into stages, micro-batches run through them one behind the other.

The orders are torch's: one forward, one backward (Narayanan et al. 2019), and interleaved with several stages in each
process (Narayanan et al. 2021). Embeddings and output are not tied: they live in different processes.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from llmtrain.api.training import PipelineSchedule
from llmtrain_jobs.model.transformer import Transformer, cut
from llmtrain_jobs.training.engine import on_device, precision
from llmtrain_jobs.training.group import PIPELINE, Group
from llmtrain_jobs.training.layout import Layout
from llmtrain_jobs.training.objective import sums_of_logits
from llmtrain_jobs.training.stream import Batch
from llmtrain_jobs.training.wrap import ComputePlan, wrapped


class Part(nn.Module):
    """One stage of the model."""

    def __init__(self, model: Transformer) -> None:
        """`model` is cut already."""
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (B, T) or hidden states (B, T, D) in; hidden states or, of the last stage, logits (B, T, V) out."""
        out: Tensor = self.model(inputs)
        return out


class PipelineEngine:
    """One or more stages in each process. Logits of a micro-batch are in memory whole: `lossChunkTokens` is not used."""

    def __init__(self, model: Transformer, group: Group, plan: ComputePlan) -> None:
        """Keeps this process's stages of the model."""
        self._group, self._plan, self._layout = group, plan, group.layout
        ranges = stages_of(model.config.layers, group.layout)
        self._places = [group.place(PIPELINE) + lap * group.layout.pipeline for lap in range(group.layout.virtual)]
        parts = [Part(cut(copy.deepcopy(model), ranges[place])) for place in self._places]
        self.modules = [wrapped(part, group, plan) for part in parts]
        self._schedules: dict[tuple[int, ...], Any] = {}
        self._sums: list[Tensor] = []
        self._valid = 1

    def accumulate(self, batch: Batch, valid: int, micro_batches: int) -> Tensor:
        """See `Engine`; the layout says how many micro-batches there are, and only the last stage knows a loss."""
        del micro_batches
        self._sums, self._valid = [], valid
        tokens_BT, targets_BT = on_device(batch, self._group.device)
        inputs = (tokens_BT,) if 0 in self._places else ()
        target = targets_BT if self._layout.stages - 1 in self._places else None
        with precision(self._plan, self._group):
            self._schedule(tokens_BT).step(*inputs, target=target)
        # Before its first step a schedule tries the loss on uninitialised memory, to learn shapes.
        total = torch.zeros(2, dtype=torch.float64, device=self._group.device)
        for sums in self._sums[-self._layout.micro_batches :]:
            total += sums
        return total / self._layout.tensor

    def _schedule(self, tokens_BT: Tensor) -> Any:
        """One a shape: the stages agree on the shapes that they exchange once."""
        shape = tuple(tokens_BT.shape)
        if shape not in self._schedules:
            self._schedules[shape] = self._make_schedule()
        return self._schedules[shape]

    def _make_schedule(self) -> Any:
        assert self._group.mesh is not None, "a pipeline has several processes"
        group, layout = self._group.mesh.get_group(PIPELINE), self._layout
        stages: list[Any] = [PipelineStage(module, place, layout.stages, self._group.device, group=group)
                  for module, place in zip(self.modules, self._places, strict=True)]  # fmt: skip
        # The loss is a sum already; torch would take the mean over micro-batches.
        options: dict[str, Any] = {"loss_fn": self._loss, "scale_grads": False}
        if layout.schedule is PipelineSchedule.INTERLEAVED:
            return ScheduleInterleaved1F1B(stages, layout.micro_batches, **options)
        return Schedule1F1B(stages[0], layout.micro_batches, **options)

    def _loss(self, logits_BTV: Tensor, targets_BT: Tensor) -> Tensor:
        sums = sums_of_logits(logits_BTV.flatten(0, 1), targets_BT.flatten(), self._plan.z_loss) / self._valid
        self._sums.append(sums.detach())
        # The wrapper takes the mean over data-parallel processes; the loss is a mean over all of them already.
        return sums[1] * self._layout.data


def stages_of(layers: int, layout: Layout) -> list[range]:
    """Blocks of each stage, as even as can be; earlier stages get what is left over."""
    size, rest = divmod(layers, layout.stages)
    ends = [(index + 1) * size + min(index + 1, rest) for index in range(layout.stages)]
    return [range(first, last) for first, last in zip([0, *ends], ends, strict=False)]
