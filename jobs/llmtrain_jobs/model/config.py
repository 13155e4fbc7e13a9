"""Dimensions of the job's model; what cannot be built is refused with the field's name."""

from llmtrain.api.dimensions import ModelConfig, Rope, dimensions, problems
from llmtrain.api.model import ModelSpec
from llmtrain.api.sizing import model_config
from llmtrain_jobs.errors import bad_input

__all__ = ["ModelConfig", "Rope", "check", "dimensions", "resolve"]


def resolve(spec: ModelSpec, vocabulary: int, tokens: int = 0) -> ModelConfig:
    """Dimensions of the job's model. `tokens` of the training decide the size of `preset: auto`."""
    try:
        config = model_config(spec, vocabulary, tokens)
    except ValueError as error:
        raise bad_input(str(error)) from error
    check(config)
    return config


def check(config: ModelConfig) -> None:
    """The model can be built, or BadInput with everything that is wrong."""
    wrong = problems(config)
    if wrong:
        raise bad_input(f"`spec.model.architecture`: {'; '.join(wrong)}")
