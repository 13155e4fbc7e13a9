"""The optimizer: AdamW (Loshchilov and Hutter 2019), or Muon (Jordan et al. 2024, torch's own) for the blocks' matrices."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llmtrain.api.training import OptimizerName
from llmtrain_jobs.training.names import clean

RATE_KEY = "peak"


@dataclass(frozen=True)
class OptimizerPlan:
    """The spec's numbers."""

    name: OptimizerName = OptimizerName.ADAMW
    peak_learning_rate: float = 6e-4
    muon_learning_rate: float = 0.02
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    gradient_clip: float = 1.0


class Optimizers:
    """One or two optimizers that step together; their rates are a common factor of their own peaks."""

    def __init__(self, modules: list[nn.Module], plan: OptimizerPlan) -> None:
        """State is made at once, so that a checkpoint can be read into it."""
        named = [(clean(name), p) for module in modules for name, p in module.named_parameters() if p.requires_grad]
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in named}
        self.parts = list(make(dict(named), plan))
        for part in self.parts:
            prime(part)

    @property
    def parameters(self) -> list[Tensor]:
        """All trained parameters."""
        return list(self.names)

    def step(self, factor: float) -> None:
        """One update at `factor` of the peak rates."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group[RATE_KEY] * factor
            part.step()

    def zero(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """State tensors by `parameter/entry`; the same objects that the optimizer works on."""
        for part in self.parts:
            for parameter, entries in part.state.items():
                for entry, value in entries.items():
                    yield f"{self.names[parameter]}/{entry}", value


def decays(name: str, parameter: Tensor) -> bool:
    """Matrices decay; biases, norms, embeddings and positions do not. A tied head is its embedding."""
    return parameter.dim() >= 2 and not is_embedding(name)


def is_embedding(name: str) -> bool:
    """Whether a parameter is looked up rather than multiplied."""
    return name.startswith("embedding.")


def make(named: dict[str, nn.Parameter], plan: OptimizerPlan) -> Iterator[torch.optim.Optimizer]:
    """The optimizers of some parameters."""
    hidden = {name: p for name, p in named.items() if p.dim() == 2 and name.startswith("blocks.")}
    if plan.name is OptimizerName.MUON and hidden:
        rate = plan.muon_learning_rate
        groups = [{"params": list(hidden.values()), RATE_KEY: rate}]
        yield torch.optim.Muon(groups, lr=rate, weight_decay=plan.weight_decay)
        named = {name: p for name, p in named.items() if name not in hidden}
    decayed = [p for name, p in named.items() if decays(name, p)]
    rest = [p for name, p in named.items() if not decays(name, p)]
    rate = plan.peak_learning_rate
    adam = [
        {"params": parameters, "weight_decay": decay, RATE_KEY: rate}
        for parameters, decay in ((decayed, plan.weight_decay), (rest, 0.0))
        if parameters
    ]
    if adam:
        yield torch.optim.AdamW(adam, lr=rate, betas=(plan.beta1, plan.beta2), eps=plan.epsilon)


def prime(optimizer: torch.optim.Optimizer) -> None:
    """Make the state that the first step would make: both optimizers start from zeros."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if isinstance(optimizer, torch.optim.Muon):
                state["momentum_buffer"] = torch.zeros_like(parameter)
                continue
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
