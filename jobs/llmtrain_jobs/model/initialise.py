"""First weights. Each parameter's come from the seed and its own name.

So they are the same whatever the layout: a pipeline stage that builds only its own blocks, or a rank that makes one
parameter after the other and keeps its shard, ends up with what one process would have.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from llmtrain.api.model import InitializationKind
from llmtrain_jobs.model.config import ModelConfig

RESIDUAL = ("attention.output.weight", "feed_forward.down.weight")
DEPTH_SCALED = (InitializationKind.DEPTH_SCALED, InitializationKind.WIDTH_DEPTH_SCALED)


def initialise(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Fill all parameters in place; those on the meta device have no place to be filled."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.device.type != "meta":
                first_value(name, parameter, config, seed)


def first_value(name: str, parameter: Tensor, config: ModelConfig, seed: int) -> None:
    """Fill one parameter in place. `name` is its name in the whole model."""
    if name.endswith(".bias"):
        parameter.zero_()
    elif parameter.dim() == 1:
        parameter.fill_(1.0)
    else:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator = torch.Generator(parameter.device).manual_seed(int.from_bytes(digest[:7], "big"))
        parameter.normal_(0.0, deviation(name, parameter.shape[1], config), generator=generator)


def deviation(name: str, inputs: int, config: ModelConfig) -> float:
    """Standard deviation of a matrix with so many inputs."""
    kind = config.initialization
    std = config.initial_std
    if kind is InitializationKind.WIDTH_DEPTH_SCALED:
        std = 1 / math.sqrt(3 * config.embedding)
    if kind is InitializationKind.FAN_IN and not name.startswith("embedding."):
        std = 1 / math.sqrt(inputs)
    if kind in DEPTH_SCALED and name.endswith(RESIDUAL):
        std /= math.sqrt(2 * config.layers)
    return std
