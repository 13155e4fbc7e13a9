"""Where a token stands: rotary angles, sinusoids, ALiBi's slopes. Pure functions of the config and positions.

They are computed in each forward pass rather than kept as buffers: what is no parameter then needs no place in a
checkpoint and no care on the meta device.
"""

import math

import torch
from torch import Tensor

from llmtrain.api.dimensions import Rope
from llmtrain.api.model import RopeScalingKind

SINUSOID_BASE = 10000.0


def frequencies(rope: Rope, width: int, device: torch.device) -> Tensor:
    """Radians per position of each pair of a head's dimensions: (K/2,)."""
    steps = torch.arange(0, width, 2, dtype=torch.int64, device=device).float() / width
    plain = 1.0 / rope.theta**steps
    if rope.scaling is None:
        return plain
    if rope.scaling is RopeScalingKind.LINEAR:
        return plain / rope.factor
    if rope.scaling is RopeScalingKind.LLAMA3:
        return _llama3(plain, rope)
    return _yarn(plain, rope, width)


def _llama3(plain: Tensor, rope: Rope) -> Tensor:
    """Long wavelengths are stretched, short ones stay, those between are blended (Grattafiori et al. 2024)."""
    rotations = rope.original_context * plain / (2 * math.pi)
    share = (rotations - rope.low_frequency_factor) / (rope.high_frequency_factor - rope.low_frequency_factor)
    kept = share.clamp(0.0, 1.0)
    return (1 - kept) * plain / rope.factor + kept * plain


def _yarn(plain: Tensor, rope: Rope, width: int) -> Tensor:
    """A linear ramp over the dimensions between `beta_fast` and `beta_slow` rotations (Peng et al. 2023)."""
    low, high = yarn_ramp(rope, width)
    index = torch.arange(width // 2, dtype=torch.float32, device=plain.device)
    stretched = ((index - low) / max(high - low, 0.001)).clamp(0.0, 1.0)
    return stretched * plain / rope.factor + (1 - stretched) * plain


def yarn_ramp(rope: Rope, width: int) -> tuple[int, int]:
    """Dimensions between which frequencies are blended."""
    low, high = (_dimension(beta, rope, width) for beta in (rope.beta_fast, rope.beta_slow))
    return max(math.floor(low), 0), min(math.ceil(high), width - 1)


def _dimension(rotations: float, rope: Rope, width: int) -> float:
    """The dimension that turns this often over the original context."""
    return width * math.log(rope.original_context / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))


def magnitude(rope: Rope) -> float:
    """YaRN's temperature, on queries and keys alike: 0.1 ln s + 1."""
    return 0.1 * math.log(rope.factor) + 1.0 if rope.scaling is RopeScalingKind.YARN and rope.factor > 1 else 1.0


def rotation(rope: Rope, width: int, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines for positions (..., T): each (..., T, K), the halves alike; at least in float32."""
    dtype = torch.promote_types(dtype, torch.float32)
    angles = positions.to(dtype).unsqueeze(-1) * frequencies(rope, width, positions.device).to(dtype)
    angles = torch.cat((angles, angles), dim=-1)
    scale = magnitude(rope)
    return angles.cos() * scale, angles.sin() * scale


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn (..., T, K): dimension i together with i + K/2, as GPT-NeoX and transformers do."""
    wide = x.to(cos.dtype)
    first, second = wide.chunk(2, dim=-1)
    turned = wide * cos + torch.cat((-second, first), dim=-1) * sin
    return turned.to(x.dtype)


def sinusoids(positions: Tensor, embedding: int, dtype: torch.dtype) -> Tensor:
    """Vaswani et al. 2017: sines in even, cosines in odd dimensions; (..., T) -> (..., T, D)."""
    steps = torch.arange(0, embedding, 2, dtype=torch.float32, device=positions.device) / embedding
    angles = positions.float().unsqueeze(-1) * SINUSOID_BASE**-steps
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2).to(dtype)


def slopes(heads: int, device: torch.device) -> Tensor:
    """ALiBi's slope of each head (Press et al. 2022): a geometric sequence from 2^(-8/n); (H,).

    Where n is no power of two, the sequence of the next lower one, then every other value of twice that one.
    """
    lower = 2 ** math.floor(math.log2(heads))
    base = [2.0 ** (-8.0 * i / lower) for i in range(1, lower + 1)]
    finer = [2.0 ** (-4.0 * i / lower) for i in range(1, 2 * (heads - lower), 2)]
    return torch.tensor(base + finer, dtype=torch.float32, device=device)
