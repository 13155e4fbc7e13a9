"""Which tokens of a row that is a tree see which: each its own branch and what the branch grew from.

Suffixes of tensors are their shapes: G rows, L tokens of a row.
"""

import torch
from torch import Tensor


def tree_mask(ends_GL: Tensor) -> Tensor:
    """A token sees what stands before it and has it in its subtree: (G, L) -> (G, L, L), query by key."""
    at_L = torch.arange(ends_GL.shape[1], device=ends_GL.device)
    before_LL = at_L.unsqueeze(0) <= at_L.unsqueeze(1)
    within_GLL = at_L.view(1, -1, 1) < ends_GL.unsqueeze(1)
    return before_LL & within_GLL
