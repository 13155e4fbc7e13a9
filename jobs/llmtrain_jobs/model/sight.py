"""What a block knows beside its input: how positions turn queries and keys, and which positions a position sees."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llmtrain.api.model import PositionKind
from llmtrain_jobs.model.cache import Cache
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.model.positions import rotation, slopes
from llmtrain_jobs.model.share import WHOLE, Share


@dataclass(frozen=True)
class Sight:
    """Made once a forward pass and shared by all blocks.

    `positions` (T,) or (B, T) count from each row's first token. `rotation` are rotary cosines and sines.
    `mask` broadcasts to (B, H, T, S): true where a query may look, or ALiBi's additive bias; None where plain causal
    attention says it all (`causal`), or where a single new position sees everything. `share` of the sequence is what
    the queries are of; keys are of all of it.
    """

    positions: Tensor
    rotation: tuple[Tensor, Tensor] | None
    mask: Tensor | None
    causal: bool
    cache: Cache | None
    share: Share


def look(
    config: ModelConfig,
    length: int,
    like: Tensor,
    cache: Cache | None = None,
    positions_BS: Tensor | None = None,
    mask_BTS: Tensor | None = None,
    heads: slice = slice(None),
    share: Share = WHOLE,
) -> Sight:
    """The sight of `length` new positions behind those of the cache. `like` has the parameters' device and type.

    `positions_BS` and `mask_BTS` (true: may be seen) stand in for counting and causality where rows are packed;
    together, and without a cache. `heads` are those of this rank where tensor parallelism splits them, `share` is its
    part of the sequence where context parallelism does.
    """
    if (mask_BTS is None) != (positions_BS is None):
        raise ValueError("positions_BS and mask_BTS go together")
    own = share.own(length)
    if mask_BTS is not None and positions_BS is not None:
        query, key = positions_BS[:, own], positions_BS
        mask: Tensor | None = _windowed(mask_BTS, query, key, config.sliding_window).unsqueeze(1)
    else:
        start = cache.length if cache else own.start
        end = start + length if cache else share.count * length
        padding_B = cache.padding if cache else None
        query, key = torch.arange(start, start + length, device=like.device), torch.arange(end, device=like.device)
        mask = _causal(query, key, start, padding_B, config.sliding_window)
        if padding_B is not None:
            query, key = ((part - padding_B.unsqueeze(1)).clamp(min=0) for part in (query, key))
    if config.positions is PositionKind.ALIBI:
        mask = _alibi(query, key, mask, slopes(config.heads, like.device)[heads], like.dtype)
    return Sight(query, _rotation(config, query, like.dtype), mask, causal=mask is None and length > 1, cache=cache,
                 share=share)  # fmt: skip


def packed(documents_BS: Tensor, own: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Positions and mask of rows in which documents lie one after the other, by the number of each token's document.

    (B, S), rising along a row -> (B, S) positions that start anew with each document, (B, T, S) true within a document
    and backwards, for the T queries at `own`.
    """
    place_S = torch.arange(documents_BS.shape[1], device=documents_BS.device)
    start_BS = torch.searchsorted(documents_BS, documents_BS)
    same_BTS = documents_BS[:, own].unsqueeze(2) == documents_BS.unsqueeze(1)
    return place_S - start_BS, same_BTS & (place_S <= place_S[own].unsqueeze(1))


def _causal(query_T: Tensor, key_S: Tensor, start: int, padding_B: Tensor | None, window: int) -> Tensor | None:
    """What each new position sees, the first of which is number `start`: (T, S) or (B, 1, T, S). None: all before it."""
    length, end = len(query_T), len(key_S)
    last = start + length == end
    if padding_B is None and not 0 < window < end and last and length in (1, end):
        return None
    mask = _windowed(key_S <= query_T.unsqueeze(1), query_T, key_S, window)
    if padding_B is None:
        return mask
    # Padding sees itself, so that no row of the softmax is empty.
    return (mask & (key_S >= padding_B.view(-1, 1, 1, 1))) | (key_S == query_T.unsqueeze(1))


def _windowed(mask: Tensor, query: Tensor, key: Tensor, window: int) -> Tensor:
    """Nothing further back than the window: (..., T, S)."""
    return mask & (key.unsqueeze(-2) > query.unsqueeze(-1) - window) if window else mask


def _rotation(config: ModelConfig, query: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines that broadcast to (B, H, T, K)."""
    if config.positions is not PositionKind.ROPE:
        return None
    cos, sin = rotation(config.rope, config.width, query, dtype)
    return (cos, sin) if query.dim() == 1 else (cos.unsqueeze(1), sin.unsqueeze(1))


def _alibi(query: Tensor, key: Tensor, mask: Tensor | None, slope_H: Tensor, dtype: torch.dtype) -> Tensor:
    """Minus slope times distance; minus infinity where nothing may be seen: (H, T, S) or (B, H, T, S)."""
    distance = key.unsqueeze(-2) - query.unsqueeze(-1)
    visible = distance <= 0 if mask is None else mask
    if distance.dim() == 3:
        distance = distance.unsqueeze(1)
    return (slope_H.view(-1, 1, 1) * distance).to(dtype).masked_fill(~visible, float("-inf"))
