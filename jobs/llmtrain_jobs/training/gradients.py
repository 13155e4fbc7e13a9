"""Norm and clipping of gradients that are spread over a mesh, each value counted once."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from llmtrain_jobs.training.layout import Layout

CLIP_EPSILON = 1e-6  # as torch.nn.utils.clip_grad_norm_


def settle(parameters: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(parameter, gradient as this process holds it); gradients laid out as their parameters are."""
    found: list[tuple[Tensor, Tensor]] = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if isinstance(parameter, DTensor) and isinstance(gradient, DTensor):
            if gradient.placements != parameter.placements:
                gradient = gradient.redistribute(placements=parameter.placements)
                parameter.grad = gradient
            found.append((parameter, gradient.to_local()))
        else:
            found.append((parameter, gradient))
    return found


def holders(parameter: Tensor, layout: Layout) -> int:
    """Processes that hold the same values as this one, of those with its part of the depth."""
    together = layout.parts * layout.tensor
    if not isinstance(parameter, DTensor):
        return together
    divided = 1
    for dimension, placement in enumerate(parameter.placements):
        if not placement.is_replicate():
            divided *= parameter.device_mesh.size(dimension)
    return together // divided


def squared_norm(gradients: list[tuple[Tensor, Tensor]], layout: Layout) -> Tensor:
    """This process's part of the squared norm of all gradients, (): parts add up over all processes."""
    shared: dict[int, list[Tensor]] = {}
    for parameter, gradient in gradients:
        shared.setdefault(holders(parameter, layout), []).append(gradient)
    device = gradients[0][1].device if gradients else torch.device("cpu")
    total = torch.zeros((), dtype=torch.float64, device=device)
    for count, tensors in sorted(shared.items()):
        norms = torch.stack(torch._foreach_norm(tensors)).to(torch.float64)
        total += norms.square().sum() / count
    return total


def clip(gradients: list[tuple[Tensor, Tensor]], norm: float, bound: float) -> None:
    """Scale all gradients so that their norm is at most `bound`; 0: no bound."""
    if not bound or not gradients:
        return
    factor = bound / (norm + CLIP_EPSILON)
    if factor < 1.0:
        torch._foreach_mul_([gradient for _, gradient in gradients], factor)
