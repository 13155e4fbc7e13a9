"""The job's model by its size and work; `llmtrain.api.counts` counts."""

from llmtrain.api.counts import Convention, flops_per_token, multiplying_parameters, parameters
from llmtrain.api.dimensions import problems
from llmtrain.api.model import ModelSpec
from llmtrain.api.sizing import model_config
from llmtrain.cost.errors import InputError
from llmtrain.cost.physics import ModelSize


def model_size(spec: ModelSpec, vocabulary: int, tokens: int) -> ModelSize:
    """Of the architecture, the preset, or what `auto` makes of the training's tokens. InputError where the model cannot be built."""
    config = model_config(spec, vocabulary, tokens)
    wrong = problems(config)
    if wrong:
        raise InputError("spec.model", "; ".join(wrong))
    return ModelSize(
        parameters=parameters(config),
        multiplying_parameters=multiplying_parameters(config),
        flops_per_token=flops_per_token(config, Convention.CAUSAL),
        layers=config.layers,
        embedding=config.embedding,
        heads=config.heads,
        context=config.context,
    )
