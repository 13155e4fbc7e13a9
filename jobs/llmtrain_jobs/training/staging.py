"""The copy from which a checkpoint is written while training goes on: made into buffers that are kept."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions


class Staging:
    """One copy at a time; the next overwrites it."""

    def __init__(self) -> None:
        """Pinned memory where there is CUDA."""
        pinned = torch.cuda.is_available()
        self._stager = DefaultStager(StagingOptions(
            use_pinned_memory=pinned, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=pinned
        ))  # fmt: skip

    def copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A copy on the CPU that later steps do not change."""
        staged = self._stager.stage(dict(tensors))
        assert isinstance(staged, dict), "staging in this thread gives no future"
        return staged
