"""Dimensions of the transformer, and the published ones by name."""

from dataclasses import dataclass

from llmtrain.api.model import ModelSpec, Preset


@dataclass(frozen=True)
class ModelConfig:
    """B batch, T positions, D embedding, H heads, F feed-forward, V vocabulary, L layers."""

    layers: int
    heads: int
    embedding: int
    feed_forward: int
    context: int
    vocabulary: int


PRESETS = {
    Preset.TINY: (4, 4, 128),
    Preset.GPT2: (12, 12, 768),
    Preset.GPT2_XL: (48, 25, 1600),
}
"""Layers, heads, embedding; GPT-2 after Radford et al. 2019, Table 2."""


def resolve(spec: ModelSpec, vocabulary: int) -> ModelConfig:
    """Dimensions of the job's model."""
    if spec.architecture is not None:
        given = spec.architecture
        width = given.feed_forward or 4 * given.embedding
        return ModelConfig(given.layers, given.heads, given.embedding, width, spec.context_length, vocabulary)
    layers, heads, embedding = PRESETS[spec.preset or Preset.TINY]
    return ModelConfig(layers, heads, embedding, 4 * embedding, spec.context_length, vocabulary)
