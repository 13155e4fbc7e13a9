"""Names of activations in a Hugging Face config."""

from llmtrain.api.model import ActivationKind
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.model.huggingface.family import Config, shown

TO_NAME = {
    ActivationKind.GELU: "gelu",
    ActivationKind.GELU_TANH: "gelu_pytorch_tanh",
    ActivationKind.RELU_SQUARED: "relu2",
    ActivationKind.SILU: "silu",
}
FROM_NAME = {name: kind for kind, name in TO_NAME.items()} | {
    "gelu_new": ActivationKind.GELU_TANH,
    "gelu_fast": ActivationKind.GELU_TANH,
    "gelu_accurate": ActivationKind.GELU_TANH,
    "gelu_python_tanh": ActivationKind.GELU_TANH,
    "gelu_python": ActivationKind.GELU,
    "swish": ActivationKind.SILU,
}


def activation(given: Config, key: str) -> ActivationKind:
    """Ours by their name; BadInput for those that ours cannot express."""
    name = given.get(key)
    if not isinstance(name, str) or name not in FROM_NAME:
        there = ", ".join(sorted(FROM_NAME))
        raise bad_input(f"config.json: `{key}`: activation {shown(name)} is not supported; there are {there}")
    return FROM_NAME[name]
