"""What an accelerator is, as far as speed, memory, power and price go."""

from dataclasses import dataclass

FAST_TFLOPS = 500.0
"""Between Ampere and Hopper: above it the rest of the server feeds the arithmetic less well, and MFU is lower."""


@dataclass(frozen=True)
class Chip:
    """One accelerator. `peak_tflops`: dense bf16 (fp16 before Ampere). `server_kw`: its share of a whole server."""

    name: str
    peak_tflops: float
    memory_gb: float | None = None
    server_kw: float | None = None
    label: str = ""
    fp8: bool = False
    """Of NVIDIA's, those of compute capability 8.9 and above."""
    price_usd: float | None = None
    price_date: str = ""
    source: str = ""

    @property
    def peak_flops(self) -> float:
        """FLOP/s."""
        return self.peak_tflops * 1e12

    @property
    def fast(self) -> bool:
        """Of Hopper's class."""
        return self.peak_tflops >= FAST_TFLOPS
