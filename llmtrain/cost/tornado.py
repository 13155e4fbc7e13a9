"""Which inputs the verdict hangs on: each moved over its sourced range, the others kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmtrain.cost.owned import OwnedInputs
from llmtrain.cost.rent_or_own import Rent, verdict


@dataclass(frozen=True)
class Swing:
    """Range of one input: absolute values, or factors of the plan's own value where `relative`."""

    field: str
    low: float
    high: float
    relative: bool
    source: str


SWINGS: Sequence[Swing] = (
    Swing("server_per_accelerator_usd", 28750 / 32000, 41000 / 32000, True, "in-server quotes of an H100, $28,750-41,000, 2024-2025"),
    Swing("useful_life_months", 36, 72, False, "depreciation of 3 to 6 years, filings 2025-26"),
    Swing("staff_fte", 0.5, 3.0, True, "0.25 to 1.5 people for 64 accelerators; Lenovo TCO 2026 0.5-1.5"),
    Swing("colocation_kw_month_usd", 110, 300, False, "asking rates 2026-01"),
    Swing("discount_rate_per_year", 0.06, 0.17, False, "GPU-backed debt, investment grade to private credit, 2025-26"),
    Swing("maintenance_share_per_year", 0.02, 0.10, False, "assumption: no primary source found"),
    Swing("resale_decay_oom_per_year", 0.10, 0.25, False, "Epoch 0.14 (0.10-0.20); 3-year life 0.25"),
    Swing("network_share", 0.13, 0.25, False, "Epoch 2024: 0.19 (0.13-0.25)"),
    Swing("availability", 0.92, 0.99, False, "Llama 3 over 90 % effective; assumption"),
    Swing("kwh_usd", 0.05, 0.16, False, "EIA industrial and commercial 2025"),
    Swing("pue", 1.1, 1.54, False, "hyperscaler 1.1; Uptime Institute 2025 mean 1.54"),
)  # fmt: skip
RENT_LOW, RENT_HIGH = 1.70 / 2.35, 3.99 / 2.35
RENT_SOURCE = "H100 between 2025-10 and 2026-03: $1.70 a year's contract to $3.99 on demand"


@dataclass(frozen=True)
class Bar:
    """Break-even use at both ends of one input's range; None: owning is never the cheaper."""

    field: str
    low: float
    high: float
    at_low: float | None
    at_high: float | None
    source: str

    @property
    def spread(self) -> float:
        """How far the verdict moves; endless where owning never pays at one end."""
        if self.at_low is None or self.at_high is None:
            return float("inf")
        return abs(self.at_high - self.at_low)


def tornado(owned: OwnedInputs, rent: Rent) -> list[Bar]:
    """Bars of all inputs and the rent, the widest first."""
    bars = [_bar(owned, rent, swing) for swing in SWINGS]
    price = rent.accelerator_hour_usd
    ends = [replace(rent, accelerator_hour_usd=price * factor) for factor in (RENT_LOW, RENT_HIGH)]
    at_low, at_high = (verdict(owned, end).utilization_uncapped for end in ends)
    bars.append(Bar("rent_accelerator_hour_usd", price * RENT_LOW, price * RENT_HIGH, at_low, at_high, RENT_SOURCE))
    return sorted(bars, key=lambda bar: -bar.spread)


def _bar(owned: OwnedInputs, rent: Rent, swing: Swing) -> Bar:
    own = getattr(owned, swing.field)
    low, high = (value * own if swing.relative else value for value in (swing.low, swing.high))
    at_low, at_high = (verdict(_with(owned, swing.field, value), rent).utilization_uncapped for value in (low, high))
    return Bar(swing.field, low, high, at_low, at_high, swing.source)


def _with(owned: OwnedInputs, field: str, value: float) -> OwnedInputs:
    whole = isinstance(getattr(owned, field), int)
    changes: dict[str, Any] = {field: round(value) if whole else value}
    return replace(owned, **changes)
