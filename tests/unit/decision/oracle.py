"""A decision small enough to be worked out by hand, and its costs written out once more.

Nothing here uses the code that decides: every formula is that of docs/cost.md.
"""

from typing import Any

MONTHS, RATE, YEAR = 24, 1.10, 200_000.0
IN, OUT = 200e9, 40e9
HOURS_A, HOUR = 180_000.0, 1.5
"""Final run in A100-hours and the price of one."""
SERVED = (IN / (500_000 / 8) + OUT / (210_000 / 8)) / 3600 / 0.5
"""H100-hours a month that 8e9 parameters take at a load of half the peak."""
DECISION: dict[str, Any] = {
    "use": {"inputTokensPerMonth": IN, "outputTokensPerMonth": {"value": OUT, "low": OUT / 2, "high": OUT * 2}, "months": MONTHS},
    "figures": {"discountRatePerYear": 0.10, "personYearUsd": YEAR, "servingLoadShare": 0.5, "rentExtraShare": 0,
                "evaluationPasses": 0, "dataUsd": 50_000},
    "options": [
        {"name": "rented", "kind": "PretrainRented", "parameters": 8e9, "tokens": 2e12,
         "figures": {"acceleratorHours": HOURS_A, "rentHourUsd": {"value": HOUR, "low": 1, "high": 2},
                     "developmentMultiplier": 2, "builders": 5, "buildMonths": 12, "keepers": 2, "cpuHourUsd": 0,
                     "servingReplicas": 2}},
        {"name": "owned", "kind": "PretrainOwned", "parameters": 8e9, "tokens": 2e12,
         "figures": {"acceleratorHours": HOURS_A, "rentHourUsd": HOUR, "developmentMultiplier": 2, "builders": 6,
                     "buildMonths": 12, "keepers": 2, "cpuHourUsd": 0, "servingReplicas": 2, "accelerators": 30,
                     "serverPerAcceleratorUsd": 10_000, "powerKwPerAccelerator": 1.0}},
        {"name": "tuned", "kind": "FineTune", "parameters": 8e9, "tokens": 1e8,
         "figures": {"acceleratorHours": 100, "rentHourUsd": HOUR, "developmentMultiplier": 3, "builders": 2,
                     "buildMonths": 3, "keepers": 1, "examples": 10_000, "exampleUsd": 2, "servingReplicas": 2}},
        {"name": "called", "kind": "Api", "model": "gpt-5-mini",
         "figures": {"builders": 1, "buildMonths": 1, "keepers": 0.5, "dataUsd": 0}},
    ],
    "seed": 7, "draws": 200,
}  # fmt: skip
NAMES = ("rented", "owned", "tuned", "called")
BUILDERS = {"rented": 5.0, "owned": 6.0, "tuned": 2.0, "called": 1.0}
BUILD_MONTHS = {"rented": 12, "owned": 12, "tuned": 3, "called": 1}
KEEPERS = {"rented": 2.0, "owned": 2.0, "tuned": 1.0, "called": 0.5}
DATA = {"rented": 50_000.0, "owned": 50_000.0, "tuned": 50_000.0 + 20_000, "called": 0.0}
HOURS = {"rented": 2 * HOURS_A, "owned": 2 * HOURS_A, "tuned": 300.0, "called": 0.0}
AVAILABLE = 30 * 730 * 0.97
OWNED_HOUR = 1.0 * (0.75 - 0.30) * 1.25 * 0.0826


def months(last: int) -> float:
    """Present value of a dollar a month."""
    return float(sum(RATE ** (-month / 12) for month in range(1, last + 1)))


def before(last: int) -> float:
    """What a dollar paid evenly over the months before has become."""
    return float(sum(RATE ** (month / 12) for month in range(last)) / last)


def hours_usd(name: str, hours: float, available: float) -> float:
    own = min(hours, available) if name == "owned" else 0.0
    return own * OWNED_HOUR + (hours - own) * HOUR


def machines(last: int) -> float:
    """30 accelerators from 12 months before the use on, sold after `last` months of it; value at its beginning."""
    life = 12 + last
    bought = 30 * 10_000 * 1.03
    month = 30 * 1.10 * 184 + bought * 0.055 / 12 + 0.5 * 180_000 / 12 + 30 * 0.30 * 1.25 * 730 * 0.0826
    sold = bought * 10 ** (-0.14 * life / 12) * 0.85 * RATE ** (-life / 12)
    return float(bought / 0.81 * 1.08 + month * months(life) - sold) * RATE


def cost(name: str, last: int = MONTHS, scale: float = 1.0, builders: float | None = None) -> float:
    """US dollars at the beginning of use, by the end of a month, at so many times the use."""
    people = (BUILDERS[name] if builders is None else builders) * YEAR / 12 * BUILD_MONTHS[name]
    training = hours_usd(name, HOURS[name], AVAILABLE * 12)
    built = (people + DATA[name] + training) * before(BUILD_MONTHS[name])
    if name == "called":
        served = scale * (IN * 0.25 + OUT * 2.0) / 1e6
    else:
        served = hours_usd(name, max(2 * 730, scale * SERVED), AVAILABLE)
    bought = machines(last) if name == "owned" else 0.0
    return built + bought + months(last) * (KEEPERS[name] * YEAR / 12 + served)
