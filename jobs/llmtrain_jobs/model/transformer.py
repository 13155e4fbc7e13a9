"""A decoder-only transformer. `ModelConfig` chooses among the parts; this file is all there is to read.

Suffixes of tensors are their shapes: B batch, T new positions, S all positions, D embedding, H heads, G heads of keys
and values, K head width, F feed-forward, V vocabulary. Where tensor parallelism splits heads or F, H, G and F are the
rank's own, and T where context parallelism splits the sequence: sizes are read from the tensors, never from the config.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from llmtrain.api.model import ActivationKind, NormKind, NormPlacement, PositionKind, QueryKeyNorm
from llmtrain_jobs.model.cache import Cache
from llmtrain_jobs.model.config import ModelConfig, check
from llmtrain_jobs.model.initialise import initialise
from llmtrain_jobs.model.positions import rotate, sinusoids
from llmtrain_jobs.model.share import WHOLE
from llmtrain_jobs.model.sight import Sight, look


def _gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def _relu_squared(x: Tensor) -> Tensor:
    return functional.relu(x).square()


ACTIVATIONS: dict[ActivationKind, Callable[[Tensor], Tensor]] = {
    ActivationKind.GELU: functional.gelu,
    ActivationKind.GELU_TANH: _gelu_tanh,
    ActivationKind.RELU_SQUARED: _relu_squared,
    ActivationKind.SILU: functional.silu,
}


class RMSNorm(nn.RMSNorm):
    """torch's, with the weight in the type of the input: mixed types would miss the fused kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        assert self.weight is not None
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def make_norm(config: ModelConfig, width: int) -> nn.Module:
    """LayerNorm or RMSNorm over the last dimension."""
    if config.norm is NormKind.RMS_NORM:
        return RMSNorm(width, eps=config.norm_epsilon)
    return nn.LayerNorm(width, eps=config.norm_epsilon, bias=config.norm_bias)


class Attention(nn.Module):
    """Causal self-attention; G < H: heads share keys and values in groups."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        """Four projections, and norms of queries and keys where asked for."""
        super().__init__()
        self.layer, self.width, self.dropout = layer, config.width, config.dropout
        heads, groups = config.heads * config.width, config.groups * config.width
        self.query = nn.Linear(config.embedding, heads, bias=config.query_bias)
        self.key = nn.Linear(config.embedding, groups, bias=config.query_bias)
        self.value = nn.Linear(config.embedding, groups, bias=config.query_bias)
        self.output = nn.Linear(heads, config.embedding, bias=config.output_bias)
        self.by_head = config.query_key_norm is not QueryKeyNorm.WIDTH
        self.query_norm: nn.Module = nn.Identity()
        self.key_norm: nn.Module = nn.Identity()
        if config.query_key_norm is not QueryKeyNorm.NONE:
            self.query_norm = RMSNorm(config.width if self.by_head else heads, eps=config.norm_epsilon)
            self.key_norm = RMSNorm(config.width if self.by_head else groups, eps=config.norm_epsilon)

    def forward(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        q_BHTK = self._heads(self.query(x_BTD), self.query_norm)
        k_BGTK = self._heads(self.key(x_BTD), self.key_norm)
        v_BGTK = self._split(self.value(x_BTD))
        if sight.rotation is not None:
            q_BHTK, k_BGTK = rotate(q_BHTK, *sight.rotation), rotate(k_BGTK, *sight.rotation)
        k_BGSK, v_BGSK = sight.share.whole(k_BGTK), sight.share.whole(v_BGTK)
        if sight.cache is not None:
            k_BGSK, v_BGSK = sight.cache.extend(self.layer, k_BGTK, v_BGTK)
        y_BHTK = self._attend(q_BHTK, k_BGSK, v_BGSK, sight)
        mixed: Tensor = self.output(y_BHTK.transpose(1, 2).flatten(2))
        return functional.dropout(mixed, self.dropout, self.training)

    def _attend(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, sight: Sight) -> Tensor:
        mask = sight.mask
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q_BHTK.dtype)
        return functional.scaled_dot_product_attention(
            q_BHTK,
            k_BGSK,
            v_BGSK,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=sight.causal,
            enable_gqa=q_BHTK.shape[1] != k_BGSK.shape[1],
        )

    def _heads(self, x_BTX: Tensor, norm: nn.Module) -> Tensor:
        """Normalised and split into heads: (B, T, H K) -> (B, H, T, K)."""
        if self.by_head:
            normed: Tensor = norm(self._split(x_BTX))
            return normed
        return self._split(norm(x_BTX))

    def _split(self, x_BTX: Tensor) -> Tensor:
        b, t, _ = x_BTX.shape
        return x_BTX.view(b, t, -1, self.width).transpose(1, 2)


class FeedForward(nn.Module):
    """down(act(up x)), or down(act(gate x) * up x)."""

    def __init__(self, config: ModelConfig) -> None:
        """Two matrices, or three."""
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.dropout = config.dropout
        d, f, bias = config.embedding, config.feed_forward, config.feed_forward_bias
        self.up = nn.Linear(d, f, bias=bias)
        self.gate = nn.Linear(d, f, bias=bias) if config.gated else None
        self.down = nn.Linear(f, d, bias=bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x_BTF = self.up(x_BTD)
        x_BTF = self.activation(x_BTF) if self.gate is None else self.activation(self.gate(x_BTD)) * x_BTF
        return functional.dropout(self.down(x_BTF), self.dropout, self.training)


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream; `placement` says where the norms are."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        """One layer. A norm that the placement does not have is the identity."""
        super().__init__()
        before = config.placement in (NormPlacement.PRE, NormPlacement.SANDWICH)
        behind = config.placement in (NormPlacement.OUTPUT, NormPlacement.SANDWICH)

        def norm(present: bool) -> nn.Module:
            return make_norm(config, config.embedding) if present else nn.Identity()

        self.attention_norm = norm(before)
        self.attention = Attention(config, layer)
        self.attention_output_norm = norm(behind)
        self.attention_residual_norm = norm(config.placement is NormPlacement.POST)
        self.feed_forward_norm = norm(before)
        self.feed_forward = FeedForward(config)
        self.feed_forward_output_norm = norm(behind)
        self.feed_forward_residual_norm = norm(config.placement is NormPlacement.POST)

    def forward(self, x_BTD: Tensor, sight: Sight) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        mixed_BTD = self.attention_output_norm(self.attention(self.attention_norm(x_BTD), sight))
        x_BTD = self.attention_residual_norm(x_BTD + mixed_BTD)
        changed_BTD = self.feed_forward_output_norm(self.feed_forward(self.feed_forward_norm(x_BTD)))
        out_BTD: Tensor = self.feed_forward_residual_norm(x_BTD + changed_BTD)
        return out_BTD


class Embedding(nn.Module):
    """Tokens as vectors, with their positions where these are added."""

    def __init__(self, config: ModelConfig) -> None:
        """Learned positions have one row for each of `context` positions."""
        super().__init__()
        self.kind, self.context, self.dropout = config.positions, config.context, config.dropout
        self.tokens = nn.Embedding(config.vocabulary, config.embedding)
        learned = config.positions is PositionKind.LEARNED
        self.positions = nn.Embedding(config.context, config.embedding) if learned else None
        self.norm = make_norm(config, config.embedding) if config.embedding_norm else nn.Identity()

    def forward(self, tokens_BT: Tensor, positions: Tensor) -> Tensor:
        """(B, T) and (T,) or (B, T) -> (B, T, D)."""
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            x_BTD = x_BTD + self.positions(positions)
        elif self.kind is PositionKind.SINUSOIDAL:
            x_BTD = x_BTD + sinusoids(positions, x_BTD.shape[-1], x_BTD.dtype)
        return functional.dropout(self.norm(x_BTD), self.dropout, self.training)


class Transformer(nn.Module):
    """Embedding, blocks, norm, output. A pipeline stage lacks some of them; see `cut`."""

    def __init__(self, config: ModelConfig) -> None:
        """First weights come from torch's seed (`torch.manual_seed`) and each parameter's name."""
        check(config)
        super().__init__()
        self.config = config
        self.heads, self.share = slice(None), WHOLE
        self.embedding: Embedding | None = Embedding(config)
        self.blocks = nn.ModuleDict({str(layer): Block(config, layer) for layer in range(config.layers)})
        final = make_norm(config, config.embedding) if config.final_norm else nn.Identity()
        self.norm: nn.Module | None = final
        self.output = None if config.tied else nn.Linear(config.embedding, config.vocabulary, bias=False)
        initialise(self, config, torch.initial_seed())

    def forward(
        self,
        inputs: Tensor,
        cache: Cache | None = None,
        positions_BS: Tensor | None = None,
        mask_BTS: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V) of tokens (B, T); a pipeline stage takes and gives (B, T, D) at its open ends.

        With a cache the tokens follow those that it holds, and it holds them too afterwards. Packed rows bring the
        position of each token and what each may see (true), both at once. With a `share` the tokens are a part of
        each sequence, and the positions are those of all of it.
        """
        x_BTD = self.hidden(inputs, cache, positions_BS, mask_BTS)
        return x_BTD if self.norm is None else self.head(x_BTD)

    def hidden(
        self,
        inputs: Tensor,
        cache: Cache | None = None,
        positions_BS: Tensor | None = None,
        mask_BTS: Tensor | None = None,
    ) -> Tensor:
        """What the blocks make of the tokens, after the last norm: (B, T) -> (B, T, D)."""
        self._check_positions(inputs.shape[1] * self.share.count + (cache.length if cache else 0), positions_BS)
        like = next(self.parameters())
        sight = look(self.config, inputs.shape[1], like, cache, positions_BS, mask_BTS, self.heads, self.share)
        x_BTD = inputs if self.embedding is None else self.embedding(inputs, sight.positions)
        for block in self.blocks.values():
            x_BTD = block(x_BTD, sight)
        if cache is not None:
            cache.length += inputs.shape[1]
        return x_BTD if self.norm is None else self.norm(x_BTD)

    def head(self, x_BTD: Tensor) -> Tensor:
        """Logits of hidden states: (..., D) -> (..., V)."""
        if self.output is not None:
            logits_BTV: Tensor = self.output(x_BTD)
        else:
            assert self.embedding is not None, "a tied model cannot be cut"
            logits_BTV = functional.linear(x_BTD, self.embedding.tokens.weight)
        cap = self.config.logit_soft_cap
        return cap * torch.tanh(logits_BTV / cap) if cap else logits_BTV

    def _check_positions(self, length: int, positions_BS: Tensor | None) -> None:
        limit = self.config.context
        if length <= limit or self.config.positions is not PositionKind.LEARNED:
            return
        length = length if positions_BS is None else int(positions_BS.max()) + 1
        if length > limit:
            raise ValueError(f"{length} positions, but learned positions end at `spec.model.contextLength` {limit}")


def cut(model: Transformer, blocks: range) -> Transformer:
    """In place, the pipeline stage that has these blocks: the embedding goes with the first, the output with the last.

    ValueError where the output is tied to an embedding that another stage would hold.
    """
    whole = len(blocks) == model.config.layers
    if model.config.tied and not whole:
        raise ValueError("`tiedEmbeddings: true` cannot be split into pipeline stages; set it to false")
    for name in [name for name in model.blocks if int(name) not in blocks]:
        del model.blocks[name]
    if 0 not in blocks:
        model.embedding = None
    if model.config.layers - 1 not in blocks:
        model.norm, model.output = None, None
    return model


def loss_sum(model: nn.Module, tokens_BT1: Tensor) -> Tensor:
    """Summed cross-entropy in nats of predicting each token from those before: (B, T+1) -> scalar."""
    logits_BTV = model(tokens_BT1[:, :-1])
    wide_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    return functional.cross_entropy(wide_BTV.flatten(0, 1), tokens_BT1[:, 1:].flatten(), reduction="sum")
