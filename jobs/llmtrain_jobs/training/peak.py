"""Peak speed of one worker: given by the plan, or measured where the worker is a CPU."""

import time

import torch

SIZE, REPEATS = 512, 8


def measured_flops(device: torch.device) -> float:
    """FLOP/s of the best of some fp32 matrix products on this device: the peak that its MFU is measured against."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=generator).to(device) for _ in range(2))
    best = min(_seconds(a, b) for _ in range(REPEATS))
    return float(2 * SIZE**3 / best)


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    started = time.perf_counter()
    torch.mm(a, b)
    return time.perf_counter() - started
