"""What is minimised: summed cross-entropy and z-loss, with logits in memory for a chunk of positions at a time.

Sums, not means: every process divides by the valid tokens of the whole step, so that the number of processes, uneven
shares and masked targets change nothing. z-loss: Chowdhery et al. 2022 (PaLM), section 5, log^2 Z.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from llmtrain_jobs.model.sight import packed
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.stream import IGNORED


class Objective(nn.Module):
    """A language model together with its loss, so that what wraps the module sees one forward pass."""

    def __init__(self, model: Transformer, chunk_tokens: int, z_weight: float) -> None:
        """`chunk_tokens` 0: the logits of all positions at once. `z_weight` 0: no z-loss."""
        super().__init__()
        self.model, self._chunk, self._z_weight = model, chunk_tokens, z_weight

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor, segments_BS: Tensor | None = None) -> Tensor:
        """(2,): summed cross-entropy in nats, and the summed loss that is minimised; `segments_BS` of whole sequences."""
        own = self.model.share.own(tokens_BT.shape[1])
        where = packed(segments_BS, own) if segments_BS is not None else (None, None)
        return self.of_hidden(self.model.hidden(tokens_BT, None, *where), targets_BT)

    def of_hidden(self, x_BTD: Tensor, targets_BT: Tensor) -> Tensor:
        """The same from the model's last hidden states."""
        x_ND, targets_N = x_BTD.flatten(0, 1), targets_BT.flatten()
        if not self._chunk or len(targets_N) <= self._chunk:
            return self._sums(x_ND, targets_N)
        total = x_ND.new_zeros(2, dtype=_exact(x_ND.dtype))
        for x_CD, targets_C in zip(torch.split(x_ND, self._chunk), torch.split(targets_N, self._chunk), strict=True):
            part: Tensor = checkpoint(self._sums, x_CD, targets_C, use_reentrant=False)
            total = total + part
        return total

    def _sums(self, x_ND: Tensor, targets_N: Tensor) -> Tensor:
        return sums_of_logits(self.model.head(x_ND), targets_N, self._z_weight)


def sums_of_logits(logits_NV: Tensor, targets_N: Tensor, z_weight: float) -> Tensor:
    """(2,): summed cross-entropy in nats, and with the z-loss added; softmax in fp32 at least."""
    logits_NV = logits_NV.to(_exact(logits_NV.dtype))
    nats = functional.cross_entropy(logits_NV, targets_N, reduction="sum", ignore_index=IGNORED)
    if not z_weight:
        return torch.stack([nats, nats])
    log_z_N = torch.logsumexp(logits_NV, dim=-1)
    squares = (log_z_N.square() * (targets_N != IGNORED)).sum()
    return torch.stack([nats, nats + z_weight * squares])


def _exact(dtype: torch.dtype) -> torch.dtype:
    """The type that softmax is computed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32
