"""Loss on held-out text in the middle of training: the same windows each time, shared out among the processes."""

import torch
from torch import Tensor

from llmtrain_jobs.training.engine import DataEngine, on_device, precision
from llmtrain_jobs.training.group import Group
from llmtrain_jobs.training.shards import Source
from llmtrain_jobs.training.stream import TokenStream
from llmtrain_jobs.training.timeline import StepShape
from llmtrain_jobs.training.wrap import ComputePlan

MOST_WINDOWS = 256


class HeldOut:
    """Evaluated every so many tokens."""

    def __init__(self, source: Source, context: int, every_tokens: int) -> None:
        """The first windows of the source's order, at most MOST_WINDOWS."""
        self._windows, self._context, self._every = min(MOST_WINDOWS, source.windows), context, every_tokens
        self._stream = TokenStream([source], [(1,)])

    def is_due(self, before: int, after: int) -> bool:
        """Whether a step from `before` to `after` tokens crosses a multiple."""
        return before // self._every != after // self._every

    def loss(self, engine: DataEngine, group: Group, plan: ComputePlan) -> float:
        """Mean cross-entropy in nats a token over all processes; gradients and dropout are off."""
        shape = StepShape(0, 0, self._windows, self._context, 0)
        chosen = [(0, cursor) for cursor in range(self._windows)]
        layout = group.layout
        batch = self._stream.share(chosen, shape, group.data_rank, layout.data).section(group.section, layout.context)
        rows = plan.rows(self._context // layout.context)
        module = engine.modules[0]
        module.eval()
        total = torch.zeros(1, dtype=torch.float64, device=group.device)
        most = -(-self._windows // layout.data)
        with torch.no_grad(), precision(plan, group):
            for start in range(0, most, rows):
                sums: Tensor = module(*on_device(batch.part(start, rows), group.device))
                total += sums[0]
        module.train()
        return float(group.add(total)[0]) / layout.tensor / (self._windows * self._context)
