"""Parameters, FLOPs and memory of a decoder-only transformer, from its dimensions.

Conventions: one multiply-add is two FLOPs; training costs three forward passes. Attention is causal unless said
otherwise, which halves PaLM's 12 L d s [2204.02311, appendix B]. Recomputation is no model FLOP.
"""

from dataclasses import dataclass
from enum import Enum

GIB = 2**30
STATE_BYTES = 16
"""bf16 weights and gradients, fp32 master weights and two Adam moments: 2 + 2 + 4 + 4 + 4 bytes a parameter."""


class Attention(Enum):
    """FLOPs per token of training, in units of layers x width x sequence."""

    CAUSAL = 6
    FULL = 12


class Recompute(Enum):
    """What the backward pass computes again. Selective is also what fused attention amounts to."""

    NONE = "none"
    SELECTIVE = "selective"
    FULL = "full"


@dataclass(frozen=True)
class Transformer:
    """Dimensions; `kv_heads` and `head_size` of 0 mean as many as heads, and embedding / heads."""

    layers: int
    embedding: int
    heads: int
    feed_forward: int
    vocabulary: int
    context: int
    kv_heads: int = 0
    head_size: int = 0
    gated: bool = False
    tied: bool = True
    learned_positions: bool = False
    biases: bool = False
    experts: int = 1
    active_experts: int = 1

    @property
    def attention_width(self) -> int:
        """Heads times their size."""
        return self.heads * (self.head_size or self.embedding // self.heads)


def _attention_weights(model: Transformer) -> int:
    keys_and_values = 2 * (model.kv_heads or model.heads) * (model.attention_width // model.heads)
    return model.embedding * (2 * model.attention_width + keys_and_values)


def _expert_weights(model: Transformer) -> int:
    return (3 if model.gated else 2) * model.embedding * model.feed_forward


def _block_weights(model: Transformer, experts: int) -> int:
    router = model.embedding * model.experts if model.experts > 1 else 0
    return _attention_weights(model) + experts * _expert_weights(model) + router


def _vectors(model: Transformer) -> int:
    """Norms, and biases where the model has them."""
    norms = (2 * model.layers + 1) * model.embedding
    if not model.biases:
        return norms
    qkv = model.attention_width + 2 * (model.kv_heads or model.heads) * (model.attention_width // model.heads)
    return 2 * norms + model.layers * (qkv + 2 * model.embedding + model.feed_forward)


def parameters(model: Transformer) -> int:
    """All parameters; of a mixture, of all experts."""
    tables = model.vocabulary * model.embedding * (1 if model.tied else 2)
    positions = model.context * model.embedding if model.learned_positions else 0
    return tables + positions + model.layers * _block_weights(model, model.experts) + _vectors(model)


def multiplying_parameters(model: Transformer) -> int:
    """Parameters that a token is multiplied with: active experts and the output head, not the embedding lookup."""
    head = model.vocabulary * model.embedding
    return model.layers * _block_weights(model, model.active_experts) + head


def attention_flops_per_token(model: Transformer, attention: Attention = Attention.CAUSAL) -> int:
    """FLOPs of training that depend on the sequence's length."""
    return attention.value * model.layers * model.attention_width * model.context


def train_flops_per_token(model: Transformer, attention: Attention = Attention.CAUSAL) -> int:
    """Model FLOPs of forward and backward pass per token."""
    return 6 * multiplying_parameters(model) + attention_flops_per_token(model, attention)


def utilisation(tokens_per_second: float, flops_per_token: float, peak_flops: float) -> float:
    """Model FLOPs utilisation, 0 to 1."""
    return tokens_per_second * flops_per_token / peak_flops


def accelerator_hours(flops: float, peak_flops: float, mfu: float) -> float:
    """Hours of one accelerator of this peak (FLOP/s) at this utilisation."""
    return flops / (peak_flops * mfu * 3600)


@dataclass(frozen=True)
class ModelSize:
    """A model as far as its cost goes; `flops_per_token` of forward and backward, causal attention."""

    parameters: int
    multiplying_parameters: int
    flops_per_token: float
    layers: int
    embedding: int
    heads: int
    context: int


def size_of(model: Transformer) -> ModelSize:
    """From the dimensions."""
    return ModelSize(
        parameters=parameters(model),
        multiplying_parameters=multiplying_parameters(model),
        flops_per_token=train_flops_per_token(model),
        layers=model.layers,
        embedding=model.embedding,
        heads=model.heads,
        context=model.context,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes that one accelerator needs."""

    states: float
    activations: float

    @property
    def gib(self) -> float:
        """Both, GiB."""
        return (self.states + self.activations) / GIB


def memory_per_accelerator(model: ModelSize, shards: int, sequences: float, recompute: Recompute) -> Memory:
    """States over `shards` accelerators and the activations of `sequences` at once [2205.05198, table 2]."""
    token_layers = model.context * sequences * model.embedding * model.layers
    scores = 5 * model.heads * model.context / model.embedding
    per_unit = {Recompute.NONE: 34 + scores, Recompute.SELECTIVE: 34.0, Recompute.FULL: 2.0}[recompute]
    return Memory(STATE_BYTES * model.parameters / shards, token_layers * per_unit)
