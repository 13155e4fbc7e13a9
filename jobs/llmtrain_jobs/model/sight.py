"""What a block knows beside its input: how positions turn queries and keys, and which positions a position sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmtrain.api.model import PositionKind
from llmtrain_jobs.model.cache import Cache
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.positions import rotation, slopes


@dataclass(frozen=True)
class Sight:
    """Made once a forward pass and shared by all blocks.

    `positions` (T,) or (B, T) count from each row's first token. `rotation` are rotary cosines and sines.
    `mask` broadcasts to (B, H, T, S): true where a query may look, or ALiBi's additive bias; None where plain causal
    attention says it all (`causal`), or where a single new position sees everything.
    """

    positions: Tensor
    rotation: tuple[Tensor, Tensor] | None
    mask: Tensor | None
    causal: bool
    cache: Cache | None


def look(
    config: ModelConfig,
    length: int,
    like: Tensor,
    cache: Cache | None = None,
    documents_BT: Tensor | None = None,
    heads: slice = slice(None),
) -> Sight:
    """The sight of `length` new positions behind those of the cache. `like` has the parameters' device and type.

    `documents_BT` numbers the documents of packed rows: a token sees its own document only.
    `heads` are those of this rank where tensor parallelism splits them.
    """
    start = cache.length if cache else 0
    padding_B = cache.padding if cache else None
    positions = torch.arange(start, start + length, device=like.device)
    if padding_B is not None:
        positions = (positions - padding_B.unsqueeze(1)).clamp(min=0)
    turned = None
    if config.positions is PositionKind.ROPE:
        turned = rotation(config.rope, config.width, positions, like.dtype)
        # One more dimension for the heads, where rows have positions of their own.
        turned = turned if padding_B is None else (turned[0].unsqueeze(1), turned[1].unsqueeze(1))
    mask = _mask(config, start, length, like.device, padding_B, documents_BT)
    if config.positions is PositionKind.ALIBI:
        mask = _alibi(config, start, length, like, mask, heads)
    return Sight(positions, turned, mask, causal=mask is None and length > 1, cache=cache)


def _mask(
    config: ModelConfig,
    start: int,
    length: int,
    device: torch.device,
    padding_B: Tensor | None,
    documents_BT: Tensor | None,
) -> Tensor | None:
    """Which of the S = start + T positions each new one sees: (T, S) or (B, 1, T, S)."""
    end = start + length
    windowed = 0 < config.sliding_window < end
    if padding_B is None and documents_BT is None and not windowed and (start == 0 or length == 1):
        return None
    query_T1, key_S = torch.arange(start, end, device=device).unsqueeze(1), torch.arange(end, device=device)
    mask = key_S <= query_T1
    if windowed:
        mask = mask & (key_S > query_T1 - config.sliding_window)
    if padding_B is not None:
        mask = mask & (key_S >= padding_B.view(-1, 1, 1, 1))
    if documents_BT is not None:
        mask = mask & (documents_BT.unsqueeze(1) == documents_BT.unsqueeze(2)).unsqueeze(1)
    # Padding sees itself, so that no row of the softmax is empty.
    return mask | (key_S == query_T1)


def _alibi(config: ModelConfig, start: int, length: int, like: Tensor, mask: Tensor | None, heads: slice) -> Tensor:
    """Minus slope times distance; minus infinity where the mask is false: (H, T, S) or (B, H, T, S)."""
    end = start + length
    query_T1, key_S = torch.arange(start, end, device=like.device).unsqueeze(1), torch.arange(end, device=like.device)
    visible = key_S <= query_T1 if mask is None else mask
    slope_H11 = slopes(config.heads, like.device)[heads].view(-1, 1, 1)
    return (slope_H11 * (key_S - query_T1)).to(like.dtype).masked_fill(~visible, float("-inf"))
