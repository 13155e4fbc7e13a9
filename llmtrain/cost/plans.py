"""A plan as the estimate sees it: prices and billing rules, an accelerator, and how certain its hours are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from llmtrain.cost.chips import Chip
from llmtrain.cost.money import MICRO, amount_micro_usd, billed_seconds, micro_usd
from llmtrain.cost.owned import OwnedInputs, owned_cost
from llmtrain.cost.ranges import Range
from llmtrain.cost.storage import StoragePrices

RESERVED = "Reserved"
"""The commitment that is paid for whether or not it is used."""


@dataclass(frozen=True)
class Quote:
    """Who says what an hour costs, and when; empty where the manifest does not say."""

    name: str = ""
    date: str = ""


@dataclass(frozen=True)
class Plan:
    """One way to get compute. `accelerator_hour_usd` of an owned plan is its levelised price."""

    name: str
    tenure: str
    accelerator_hour_usd: Decimal
    commitment: str = ""
    cpu_hour_usd: Decimal = Decimal(0)
    memory_gib_hour_usd: Decimal = Decimal(0)
    increment_seconds: int = 1
    minimum_seconds: int = 0
    preemptions_per_accelerator_hour: float = 0.0
    chip: Chip | None = None
    per_node: int = 8
    owned: OwnedInputs | None = None
    other_annual_hours: float = 0.0
    quote: Quote = field(default_factory=Quote)
    stale_after_days: int = 90
    storage: StoragePrices | None = None

    @property
    def prices_cores(self) -> bool:
        """Whether it says what pods without accelerators cost; elsewhere cores come with the accelerators."""
        stated = self.cpu_hour_usd > 0 or self.memory_gib_hour_usd > 0
        return self.owned is None and (self.chip is None or stated)

    @property
    def marginal_hour_usd(self) -> float:
        """What one more accelerator-hour takes out of the purse: nothing where it is reserved, energy where owned."""
        if self.owned is not None:
            return owned_cost(self.owned).marginal_hour
        return 0.0 if self.commitment == RESERVED else float(self.accelerator_hour_usd)


@dataclass(frozen=True)
class Pods:
    """Pods of one size."""

    count: int
    cpu: Decimal
    memory_gib: Decimal
    accelerators: int = 0

    def micro_usd_per_hour(self, plan: Plan) -> int:
        """Of one of them."""
        hour = self.accelerators * plan.accelerator_hour_usd
        return micro_usd(hour + self.cpu * plan.cpu_hour_usd + self.memory_gib * plan.memory_gib_hour_usd)


def bill_usd(plan: Plan, groups: Sequence[Pods], hours: float) -> float:
    """US dollars for all pods alive for so long, by the plan's increments and minimums."""
    seconds = billed_seconds(round(hours * 3600), plan.increment_seconds, plan.minimum_seconds)
    return sum(g.count * amount_micro_usd(seconds, g.micro_usd_per_hour(plan)) for g in groups) / MICRO


def bill_range(plan: Plan, groups: Sequence[Pods], hours: Range) -> Range:
    """The same for hours that are not known exactly."""
    return hours.map(lambda value: bill_usd(plan, groups, value))
