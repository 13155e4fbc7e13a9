"""Storage and egress where a plan prices them: what a training keeps while it runs, and what is taken away at its end.

They are estimated from the manifest. Nobody measures them, and they are in no bill: it is made of pods.
"""

from dataclasses import dataclass

from llmtrain.cost.owned import HOURS_PER_MONTH
from llmtrain.cost.ranges import Range

GIB = 2**30
CHECKPOINT_BYTES_PER_PARAMETER = 12
"""Weights and both moments of the optimizer, in 32 bits each: 0.84 TB at 70e9 parameters."""


@dataclass(frozen=True)
class StoragePrices:
    """US dollars for a GiB kept for a month of 730 hours, and for one that leaves."""

    gib_month_usd: float
    egress_gib_usd: float


@dataclass(frozen=True)
class Files:
    """What a training keeps, GiB: a checkpoint, how many of them on average, and its tokens."""

    checkpoint_gib: float
    checkpoints: float
    tokens_gib: float

    @property
    def kept_gib(self) -> float:
        """On average over the training."""
        return self.checkpoint_gib * self.checkpoints + self.tokens_gib


@dataclass(frozen=True)
class StorageCost:
    """`kept_gib` for the hours of the work, US dollars; one checkpoint that is taken away at the end."""

    prices: StoragePrices
    files: Files

    def usd(self, hours: Range) -> Range:
        """Both, if the files are kept for so long."""
        month = self.files.kept_gib * self.prices.gib_month_usd
        return hours.map(lambda value: month * value / HOURS_PER_MONTH + self.egress_usd)

    @property
    def egress_usd(self) -> float:
        """Of the last checkpoint."""
        return self.files.checkpoint_gib * self.prices.egress_gib_usd


def training_files(parameters: float, tokens: float, token_bytes: int, kept: int, for_good: float) -> Files:
    """`kept`: newest checkpoints that are kept; `for_good`: further ones by the end, half of them on average."""
    checkpoint = parameters * CHECKPOINT_BYTES_PER_PARAMETER / GIB
    return Files(checkpoint, kept + for_good / 2, tokens * token_bytes / GIB)
