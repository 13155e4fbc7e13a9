"""Names of activations in a Hugging Face config."""

from llmtrain.api.model import ActivationKind
from llmtrain_jobs.errors import bad_input

TO_NAME = {
    ActivationKind.GELU: "gelu",
    ActivationKind.GELU_TANH: "gelu_pytorch_tanh",
    ActivationKind.RELU_SQUARED: "relu2",
    ActivationKind.SILU: "silu",
}
FROM_NAME = {name: kind for kind, name in TO_NAME.items()} | {
    "gelu_new": ActivationKind.GELU_TANH,
    "gelu_fast": ActivationKind.GELU_TANH,
    "swish": ActivationKind.SILU,
}


def activation(name: str) -> ActivationKind:
    """Ours by their name; BadInput for those that ours cannot express."""
    if name not in FROM_NAME:
        raise bad_input(f"config.json: activation {name!r} is not supported; there are {', '.join(sorted(FROM_NAME))}")
    return FROM_NAME[name]
