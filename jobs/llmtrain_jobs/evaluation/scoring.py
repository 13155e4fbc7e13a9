"""What a worker does with a batch: one pass through the model, answers read where the plan says.

Suffixes of tensors are their shapes: G rows, L tokens of a row, N places that are read, D width, V vocabulary.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from llmtrain_jobs.evaluation.plan import Batch
from llmtrain_jobs.evaluation.tree import tree_mask
from llmtrain_jobs.model.transformer import Transformer

LOGITS_AT_ONCE = 1 << 25
"""Elements of the largest block of logits: 128 MiB of fp32."""

Answer = tuple[float, bool]
"""Log-likelihood in nats, and whether every token was the likeliest one."""


@torch.inference_mode()
def score(model: Transformer, batch: Batch, device: torch.device) -> list[Answer]:
    """Answers of the batch's requests, in the order of `batch.requests`."""
    tokens_GL = torch.from_numpy(batch.tokens_GL).to(device)
    hidden_GLD = _hidden(model, tokens_GL, batch)
    rows_N, columns_N = torch.from_numpy(batch.rows_N).to(device), torch.from_numpy(batch.columns_N).to(device)
    targets_N = torch.from_numpy(batch.targets_N).to(device)
    logs_N, greedy_N = _read(model, hidden_GLD[rows_N, columns_N], targets_N)
    return _by_request(logs_N, greedy_N, batch)


def _hidden(model: Transformer, tokens_GL: Tensor, batch: Batch) -> Tensor:
    if batch.ends_GL is None:
        return model.hidden(tokens_GL)
    positions_GL = torch.from_numpy(batch.positions_GL).to(tokens_GL.device)
    ends_GL = torch.from_numpy(batch.ends_GL).to(tokens_GL.device)
    return model.hidden(tokens_GL, positions_BS=positions_GL, mask_BTS=tree_mask(ends_GL))


def _read(model: Transformer, hidden_ND: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and whether it is the argmax; the head runs on the places read alone."""
    logs: list[Tensor] = []
    greedy: list[Tensor] = []
    step = max(1, LOGITS_AT_ONCE // model.config.vocabulary)
    for start in range(0, len(targets_N), step):
        logits_NV = model.head(hidden_ND[start : start + step]).float()
        part_N = targets_N[start : start + step]
        logs.append(-functional.cross_entropy(logits_NV, part_N, reduction="none"))
        greedy.append(logits_NV.argmax(dim=-1) == part_N)
    return torch.cat(logs).double().cpu(), torch.cat(greedy).cpu()


def _by_request(logs_N: Tensor, greedy_N: Tensor, batch: Batch) -> list[Answer]:
    bounds = batch.offsets.tolist()
    spans: list[Any] = list(pairwise(bounds))
    return [(float(logs_N[a:b].sum()), bool(greedy_N[a:b].all())) for a, b in spans]
