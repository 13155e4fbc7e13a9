"""One pass of the model over rows that are trees: a shared beginning is computed once for all that follows it.

Suffixes of tensors are their shapes: G rows, L tokens of a row, H heads.
"""

import torch
from torch import Tensor

from llmtrain.api.model import PositionKind
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.positions import rotation, slopes
from llmtrain_jobs.model.sight import Sight
from llmtrain_jobs.model.transformer import Transformer


def tree_mask(ends_GL: Tensor) -> Tensor:
    """A token sees what stands before it and has it in its subtree: (G, L) -> (G, L, L), query by key."""
    at_L = torch.arange(ends_GL.shape[1], device=ends_GL.device)
    before_LL = at_L.unsqueeze(0) <= at_L.unsqueeze(1)
    within_GLL = at_L.view(1, -1, 1) < ends_GL.unsqueeze(1)
    return before_LL & within_GLL


def hidden_of_trees(model: Transformer, tokens_GL: Tensor, positions_GL: Tensor, ends_GL: Tensor) -> Tensor:
    """Hidden states after the last norm: (G, L) -> (G, L, D). Positions count along each branch."""
    if model.embedding is None or model.norm is None:
        raise ValueError("a pipeline stage cannot be evaluated")
    sight = tree_sight(model.config, next(model.parameters()), positions_GL, tree_mask(ends_GL))
    x_GLD = model.embedding(tokens_GL, positions_GL)
    for block in model.blocks.values():
        x_GLD = block(x_GLD, sight)
    found: Tensor = model.norm(x_GLD)
    return found


def tree_sight(config: ModelConfig, like: Tensor, positions_GL: Tensor, mask_GLL: Tensor) -> Sight:
    """What each token sees. Distances are those along the branch, not those in the row."""
    distance_GLL = positions_GL.unsqueeze(1) - positions_GL.unsqueeze(2)
    if config.sliding_window:
        mask_GLL = mask_GLL & (distance_GLL > -config.sliding_window)
    turned = None
    if config.positions is PositionKind.ROPE:
        cosines, sines = rotation(config.rope, config.width, positions_GL, like.dtype)
        turned = (cosines.unsqueeze(1), sines.unsqueeze(1))
    mask = mask_GLL.unsqueeze(1)
    if config.positions is PositionKind.ALIBI:
        bias_GHLL = slopes(config.heads, like.device).view(-1, 1, 1) * distance_GLL.unsqueeze(1)
        mask = bias_GHLL.to(like.dtype).masked_fill(~mask, float("-inf"))
    return Sight(positions_GL, turned, mask, causal=False, cache=None)
