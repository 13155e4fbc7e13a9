"""The model as plain numbers: what the spec says once presets, defaults and the vocabulary are filled in."""

from dataclasses import dataclass

from llmtrain.api.model import (
    ActivationKind,
    Architecture,
    Biases,
    InitializationKind,
    NormKind,
    NormPlacement,
    PositionKind,
    QueryKeyNorm,
    RopeScalingKind,
)

FEED_FORWARD_MULTIPLE = 64
"""A gated feed-forward block is rounded up to this, so that matrices stay aligned."""


@dataclass(frozen=True)
class Rope:
    """Rotary positions. `scaling` is None where frequencies are not stretched."""

    theta: float = 10000.0
    scaling: RopeScalingKind | None = None
    factor: float = 1.0
    original_context: int = 8192
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """B batch, T positions, D embedding, H heads, G key-value heads, K head width, F feed-forward, V vocabulary.

    The defaults are GPT-2's. Zero `key_value_heads` means `heads`, zero `head_width` means embedding / heads:
    read `groups` and `width`.
    """

    layers: int
    heads: int
    embedding: int
    feed_forward: int
    context: int
    vocabulary: int
    key_value_heads: int = 0
    head_width: int = 0
    norm: NormKind = NormKind.LAYER_NORM
    placement: NormPlacement = NormPlacement.PRE
    norm_epsilon: float = 1e-5
    activation: ActivationKind = ActivationKind.GELU_TANH
    gated: bool = False
    positions: PositionKind = PositionKind.LEARNED
    rope: Rope = Rope()
    query_key_norm: QueryKeyNorm = QueryKeyNorm.NONE
    sliding_window: int = 0
    embedding_norm: bool = False
    biases: Biases = Biases.ALL
    tied: bool = True
    dropout: float = 0.0
    initialization: InitializationKind = InitializationKind.DEPTH_SCALED
    initial_std: float = 0.02
    logit_soft_cap: float = 0.0

    @property
    def width(self) -> int:
        """K, width of a head."""
        return self.head_width or self.embedding // self.heads

    @property
    def groups(self) -> int:
        """G, heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def query_bias(self) -> bool:
        """Whether the projections of queries, keys and values have biases."""
        return self.biases is not Biases.NONE

    @property
    def output_bias(self) -> bool:
        """Whether attention's output projection has a bias."""
        return self.biases in (Biases.ATTENTION, Biases.ALL)

    @property
    def feed_forward_bias(self) -> bool:
        """Whether the feed-forward block has biases."""
        return self.biases is Biases.ALL

    @property
    def norm_bias(self) -> bool:
        """Whether norms have biases; RMSNorm has none."""
        return self.biases is Biases.ALL and self.norm is NormKind.LAYER_NORM

    @property
    def block_norms(self) -> int:
        """Norms of the residual stream in one block."""
        return 4 if self.placement is NormPlacement.SANDWICH else 2

    @property
    def final_norm(self) -> bool:
        """Whether the last block's output is normalised once more; post-norm has done so already."""
        return self.placement is not NormPlacement.POST


def feed_forward_width(architecture: Architecture) -> int:
    """F: as given, else 4 D, or 8/3 D rounded up where the block is gated, which costs the same (Shazeer 2020)."""
    if architecture.feed_forward:
        return architecture.feed_forward
    if not architecture.activation.gated:
        return 4 * architecture.embedding
    return -(-8 * architecture.embedding // (3 * FEED_FORWARD_MULTIPLE)) * FEED_FORWARD_MULTIPLE


def dimensions(architecture: Architecture, context: int, vocabulary: int) -> ModelConfig:
    """An architecture of the API as numbers."""
    return ModelConfig(
        layers=architecture.layers,
        heads=architecture.heads,
        embedding=architecture.embedding,
        feed_forward=feed_forward_width(architecture),
        context=context,
        vocabulary=vocabulary,
        key_value_heads=architecture.key_value_heads,
        head_width=architecture.head_width,
        norm=architecture.norm.kind,
        placement=architecture.norm.placement,
        norm_epsilon=float(architecture.norm.epsilon),
        activation=architecture.activation.kind,
        gated=architecture.activation.gated,
        positions=architecture.positions.kind,
        rope=_rope(architecture),
        query_key_norm=architecture.query_key_norm,
        sliding_window=architecture.sliding_window,
        embedding_norm=architecture.embedding_norm,
        biases=architecture.biases,
        tied=architecture.tied_embeddings,
        dropout=float(architecture.dropout),
        initialization=architecture.initialization.kind,
        initial_std=float(architecture.initialization.std),
        logit_soft_cap=float(architecture.logit_soft_cap),
    )


def _rope(architecture: Architecture) -> Rope:
    theta, scaling = float(architecture.positions.rope_theta), architecture.positions.rope_scaling
    if scaling is None:
        return Rope(theta)
    return Rope(
        theta,
        scaling.kind,
        float(scaling.factor),
        scaling.original_context,
        float(scaling.low_frequency_factor),
        float(scaling.high_frequency_factor),
        float(scaling.beta_fast),
        float(scaling.beta_slow),
    )


def problems(config: ModelConfig) -> list[str]:
    """What does not divide or fit, by field of `spec.model.architecture`; empty: the model can be built."""
    found = {
        "`embedding` must be a multiple of `heads` unless `headWidth` is set": not config.head_width
        and config.embedding % config.heads > 0,
        "`heads` must be a multiple of `keyValueHeads`": config.heads % config.groups > 0,
        "`positions.kind: Rope` needs an even width of a head": config.positions is PositionKind.ROPE
        and config.width % 2 > 0,
        "`positions.kind: Sinusoidal` needs an even `embedding`": config.positions is PositionKind.SINUSOIDAL
        and config.embedding % 2 > 0,
        "`dropout` must be below 1": not 0 <= config.dropout < 1,
        "the vocabulary must have at least 2 entries": config.vocabulary < 2,
    }
    sizes = (config.embedding, config.heads, config.width, config.layers)
    return [message for message, wrong in found.items() if wrong] + [
        f"({name} is {value})" for name, value in zip(("embedding", "heads", "head width", "layers"), sizes, strict=True)
        if any(found.values())
    ]  # fmt: skip
