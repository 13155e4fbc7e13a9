"""The job's model by its dimensions."""

from llmtrain.api.model import ModelSpec, Preset
from llmtrain.cost.physics import Transformer

PRESETS = {Preset.TINY: (4, 4, 128), Preset.GPT2: (12, 12, 768), Preset.GPT2_XL: (48, 25, 1600)}
"""Layers, heads, embedding; GPT-2 after Radford et al. 2019, table 2."""


def transformer_of(spec: ModelSpec, vocabulary: int) -> Transformer:
    """Dimensions with a vocabulary of this size."""
    if spec.architecture is not None:
        given = spec.architecture
        shape, width = (given.layers, given.heads, given.embedding), given.feed_forward or 4 * given.embedding
    else:
        shape = PRESETS[spec.preset or Preset.TINY]
        width = 4 * shape[2]
    layers, heads, embedding = shape
    return Transformer(
        layers=layers,
        heads=heads,
        embedding=embedding,
        feed_forward=width,
        vocabulary=vocabulary,
        context=spec.context_length,
        learned_positions=True,
        biases=True,
    )
