"""The job's model as numbers, and `preset: auto`: the compute-optimal size for a number of tokens or of FLOPs.

By `llmtrain.scaling.law` with the constants that Besiroglu et al. 2024 (arXiv 2404.10102) fitted to Chinchilla's runs:
17 to 23 tokens a parameter between 1e20 and 1e25 FLOPs. N counts all parameters, as in Hoffmann et al. 2022.
"""

import math

from llmtrain.api.counts import parameters
from llmtrain.api.dimensions import ModelConfig, dimensions
from llmtrain.api.model import (
    Activation,
    ActivationKind,
    Architecture,
    Biases,
    ModelSpec,
    Norm,
    NormKind,
    PositionKind,
    Positions,
    Preset,
)
from llmtrain.api.presets import PRESETS
from llmtrain.scaling.law import BESIROGLU

SMALLEST_WIDTH, LARGEST_WIDTH = 64, 32768
MOST_LAYERS = 256
NARROW_HEAD, WIDE_HEAD, WIDE_FROM = 64, 128, 2048
SHAPE_MATTERS = 0.1
"""A shape twice as slender as it should be counts as much as a size that is 7 % off."""
TIED_BELOW = 4_000_000_000
"""Above, tying saves little and stands in the way of pipeline stages; Qwen 3 draws the line there too."""


def optimal_parameters(tokens: float) -> float:
    """N whose optimal number of tokens is this."""
    return BESIROGLU.parameters_for(tokens)


def optimal_tokens(flops: float) -> float:
    """D of the least loss that 6 N D = `flops` can buy."""
    return BESIROGLU.best_split(flops)[1]


def aspect(count: float) -> float:
    """Width per layer: 64 at 125 M parameters to 128 at 13 B, as GPT-3's (Brown et al. 2020, Table 2.1).

    The loss is flat around it: within 3 % for aspects from 10 to 500 (Kaplan et al. 2020, figure 5).
    """
    return min(128.0, max(64.0, 64.0 * math.pow(count / 125e6, 0.15)))


def automatic(count: float, context: int, vocabulary: int) -> Architecture:
    """The architecture nearest to `count` parameters: Llama's, with a width that is a multiple of a head."""

    def distance(shape: Architecture) -> float:
        size = parameters(dimensions(shape, context, vocabulary))
        slender = shape.embedding / shape.layers / aspect(count)
        return abs(math.log(size / count)) + SHAPE_MATTERS * abs(math.log(slender))

    middles = [(width, round(width / aspect(count))) for width in _widths()]
    choices = [
        (width, layers)
        for width, middle in middles
        for layers in range(middle - 1, middle + 2)
        if 1 < layers <= MOST_LAYERS
    ]
    return min((_shape(width, layers, count) for width, layers in choices), key=distance)


def _widths() -> list[int]:
    narrow = range(SMALLEST_WIDTH, WIDE_FROM, NARROW_HEAD)
    return [*narrow, *range(WIDE_FROM, LARGEST_WIDTH + 1, WIDE_HEAD)]


def _shape(width: int, layers: int, count: float) -> Architecture:
    return Architecture(
        layers=layers,
        heads=width // (WIDE_HEAD if width >= WIDE_FROM else NARROW_HEAD),
        embedding=width,
        norm=Norm(kind=NormKind.RMS_NORM),
        activation=Activation(kind=ActivationKind.SILU, gated=True),
        positions=Positions(kind=PositionKind.ROPE),
        biases=Biases.NONE,
        tied_embeddings=count < TIED_BELOW,
    )


def budget_tokens(spec: ModelSpec, tokens: int) -> float:
    """Tokens that `auto` sizes for: of `sizeFor`, else those of the training."""
    if spec.size_for is None:
        return float(tokens)
    if spec.size_for.tokens is not None:
        return float(spec.size_for.tokens)
    return optimal_tokens(float(spec.size_for.flops or "0"))


def architecture_of(spec: ModelSpec, vocabulary: int, tokens: int) -> Architecture:
    """The job's architecture. `tokens` are those of the training, which `auto` goes by; ValueError without any."""
    if spec.architecture is not None:
        return spec.architecture
    if spec.preset is not Preset.AUTO:
        return PRESETS[spec.preset or Preset.TINY].architecture
    budget = budget_tokens(spec, tokens)
    if budget <= 0:
        raise ValueError("`spec.model.preset: auto` needs a number of tokens or FLOPs above zero")
    return automatic(optimal_parameters(budget), spec.context_length, vocabulary)


def model_config(spec: ModelSpec, vocabulary: int, tokens: int) -> ModelConfig:
    """The job's model as numbers."""
    return dimensions(architecture_of(spec, vocabulary, tokens), spec.context_length, vocabulary)
