"""Published architectures by name. Pure data: the estimate, the operator and the jobs read the same table."""

from dataclasses import dataclass

from llmtrain.api.model import (
    Activation,
    ActivationKind,
    Architecture,
    Biases,
    Initialization,
    InitializationKind,
    Norm,
    NormKind,
    PositionKind,
    Positions,
    Preset,
    RopeScaling,
    RopeScalingKind,
)


@dataclass(frozen=True)
class Published:
    """An architecture, with the vocabulary and context that it was published with."""

    architecture: Architecture
    vocabulary: int
    context: int


def _gpt2(layers: int, heads: int, embedding: int) -> Published:
    """Radford et al. 2019, Table 2; heads from the released models."""
    return Published(Architecture(layers=layers, heads=heads, embedding=embedding), 50257, 1024)


def _llama(
    layers: int, heads: int, groups: int, embedding: int, feed_forward: int, epsilon: str, positions: Positions
) -> Architecture:
    return Architecture(
        layers=layers,
        heads=heads,
        key_value_heads=groups,
        embedding=embedding,
        feed_forward=feed_forward,
        norm=Norm(kind=NormKind.RMS_NORM, epsilon=epsilon),
        activation=Activation(kind=ActivationKind.SILU, gated=True),
        positions=positions,
        biases=Biases.NONE,
        tied_embeddings=False,
    )


def _llama2(layers: int, heads: int, groups: int, embedding: int, feed_forward: int) -> Published:
    """Touvron et al. 2023, released configurations."""
    rope = Positions(kind=PositionKind.ROPE)
    return Published(_llama(layers, heads, groups, embedding, feed_forward, "1e-5", rope), 32000, 4096)


def _llama3(
    layers: int, heads: int, embedding: int, feed_forward: int, positions: Positions, context: int
) -> Published:
    """Grattafiori et al. 2024, Table 3."""
    return Published(_llama(layers, heads, 8, embedding, feed_forward, "1e-5", positions), 128256, context)


_LLAMA3_ROPE = Positions(kind=PositionKind.ROPE, rope_theta="500000")
_LLAMA31_ROPE = Positions(
    kind=PositionKind.ROPE,
    rope_theta="500000",
    rope_scaling=RopeScaling(kind=RopeScalingKind.LLAMA3, factor="8", original_context=8192),
)

# Wu et al. 2023, Table 4: ALiBi, norm of the embedding, first weights after Smith et al. 2022.
_BLOOMBERG = Architecture(
    layers=70,
    heads=40,
    embedding=7680,
    feed_forward=30720,
    positions=Positions(kind=PositionKind.ALIBI),
    embedding_norm=True,
    initialization=Initialization(kind=InitializationKind.WIDTH_DEPTH_SCALED),
)

PRESETS: dict[Preset, Published] = {
    Preset.TINY: Published(Architecture(layers=4, heads=4, embedding=128), 8192, 512),
    Preset.GPT2: _gpt2(12, 12, 768),
    Preset.GPT2_MEDIUM: _gpt2(24, 16, 1024),
    Preset.GPT2_LARGE: _gpt2(36, 20, 1280),
    Preset.GPT2_XL: _gpt2(48, 25, 1600),
    Preset.LLAMA2_7B: _llama2(32, 32, 32, 4096, 11008),
    Preset.LLAMA2_13B: _llama2(40, 40, 40, 5120, 13824),
    Preset.LLAMA2_70B: _llama2(80, 64, 8, 8192, 28672),
    Preset.LLAMA3_8B: _llama3(32, 32, 4096, 14336, _LLAMA3_ROPE, 8192),
    Preset.LLAMA3_70B: _llama3(80, 64, 8192, 28672, _LLAMA3_ROPE, 8192),
    Preset.LLAMA3_405B: _llama3(126, 128, 16384, 53248, _LLAMA31_ROPE, 131072),
    Preset.BLOOMBERGGPT_50B: Published(_BLOOMBERG, 131072, 2048),
}
"""Every preset but `auto`, which `llmtrain.api.sizing` makes."""
