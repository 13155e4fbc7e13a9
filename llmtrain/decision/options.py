"""What an option costs: before its use begins, and in every month of it.

Present values at the beginning of use. What is built is paid evenly over the months before and carries its interest;
all options serve the same tokens in the same months. Owned machines are bought when building begins and sold at the end;
what they cannot do is rented.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from llmtrain.cost.chips import Chip
from llmtrain.cost.energy import owned_kilowatts
from llmtrain.cost.owned import (
    HOURS_PER_MONTH,
    OwnedInputs,
    available_hours_month,
    camel,
    discounted_months,
    owned_cost,
)
from llmtrain.cost.physics import accelerator_hours
from llmtrain.cost.rent_or_own import Rent
from llmtrain.cost.tables import chip
from llmtrain.decision.document import Kind
from llmtrain.decision.figures import Figure

Values = Mapping[str, float]
MILLION = 1e6
SERVING_CHIP = "H100-SXM-80GB"


@dataclass(frozen=True)
class Option:
    """One way to get the answers, with all its numbers."""

    name: str
    kind: Kind
    months: int
    parameters: float
    tokens: float
    accelerator: Chip | None
    figures: Mapping[str, Figure]

    @cached_property
    def values(self) -> Values:
        """The numbers as they are believed to be."""
        return {name: figure.value for name, figure in self.figures.items()}

    def costs(self, values: Values | None = None) -> "Costs":
        """What it costs with these numbers; with its own where none are given."""
        v = self.values if values is None else values
        return _api(self, v) if self.accelerator is None else _model(self, v, self.accelerator)


@dataclass(frozen=True)
class Serving:
    """US dollars a month of serving, as a function of the tokens."""

    usd_per_token_share: float = 0.0
    """API: of all tokens of the use."""
    hours: float = 0.0
    """Own model: accelerator-hours that all tokens of the use take in a month."""
    least_hours: float = 0.0
    hour_usd: float = 0.0
    owned_hours: float = 0.0
    owned_hour_usd: float = 0.0

    def usd(self, scale: float) -> float:
        """A month's, at so many times the use."""
        hours = max(self.least_hours, scale * self.hours)
        own = min(hours, self.owned_hours)
        return scale * self.usd_per_token_share + own * self.owned_hour_usd + (hours - own) * self.hour_usd

    def bends(self) -> list[float]:
        """Multiples of the use where another token begins to cost more or less."""
        if self.hours <= 0:
            return []
        return [hours / self.hours for hours in (self.least_hours, self.owned_hours) if hours > 0]


@dataclass(frozen=True)
class Costs:
    """US dollars; present values at the beginning of use."""

    months: int
    rate: float
    serving_rate: float
    built: Mapping[str, float]
    """By component: people, data, training, evaluation."""
    keepers_month: float
    serving: Serving
    training_hours: float = 0.0
    final_run_usd: float = 0.0
    owned: OwnedInputs | None = None
    build_months: int = 0

    def npv(self, scale: float = 1.0) -> float:
        """Present value of all costs at so many times the use."""
        return self.until(self.months, scale)

    def until(self, month: int, scale: float = 1.0) -> float:
        """What it has cost by the end of a month; the machines are sold then."""
        kept = discounted_months(self.rate, month) * self.keepers_month
        served = discounted_months(self.serving_rate, month) * self.serving.usd(scale)
        return sum(self.built.values()) + self.hardware(month) + kept + served

    def hardware(self, month: int) -> float:
        """Machines until then: capital, colocation, upkeep, staff and idle power less resale."""
        if self.owned is None:
            return 0.0
        life = max(1, self.build_months + month)
        fixed = owned_cost(replace(self.owned, useful_life_months=life)).fixed_npv
        return float(fixed * (1 + self.rate) ** (self.build_months / 12))

    def components(self) -> dict[str, float]:
        """Parts of the present value; their sum is `npv()`."""
        kept = discounted_months(self.rate, self.months) * self.keepers_month
        parts = {**self.built, "hardware": self.hardware(self.months)}
        parts["people"] += kept
        parts["serving"] = discounted_months(self.serving_rate, self.months) * self.serving.usd(1.0)
        return parts

    @property
    def energy_kwh(self) -> float:
        """Electricity of training on owned machines, the building's losses included."""
        owned = self.owned
        return 0.0 if owned is None else self.training_hours * owned_kilowatts(owned)


def interest(rate: float, months: float) -> float:
    """What a dollar paid evenly at the ends of the months before the use has become at its beginning."""
    yearly = math.log1p(rate)
    monthly = math.expm1(yearly / 12)
    if months <= 1 or not monthly:
        return 1.0
    return math.expm1(yearly * months / 12) / (months * monthly)


def _api(option: Option, v: Values) -> Costs:
    rate, built = v["discountRatePerYear"], interest(v["discountRatePerYear"], v["buildMonths"])
    tokens = (
        v["inputTokensPerMonth"] * v["inputUsdPerMillionTokens"]
        + v["outputTokensPerMonth"] * v["outputUsdPerMillionTokens"]
    )
    return Costs(
        months=option.months,
        rate=rate,
        serving_rate=(1 + rate) / (1 - v["priceFallPerYear"]) - 1,
        built={
            "people": _building(v) * built,
            "data": v["dataUsd"] * built,
            "training": 0.0,
            "evaluation": v["evaluationPasses"] * v["evaluationUsdPerPass"] * built,
        },
        keepers_month=v["keepers"] * v["personYearUsd"] / 12,
        serving=Serving(usd_per_token_share=tokens / MILLION),
        build_months=round(v["buildMonths"]),
    )


def _building(v: Values) -> float:
    return v["builders"] * v["personYearUsd"] / 12 * v["buildMonths"]


def _model(option: Option, v: Values, accelerator: Chip) -> Costs:
    rate, built = v["discountRatePerYear"], interest(v["discountRatePerYear"], v["buildMonths"])
    build_months = round(v["buildMonths"])
    owned = _owned(v, rate, build_months + option.months) if option.kind is Kind.PRETRAIN_OWNED else None
    hour = Rent(v["rentHourUsd"], v["rentExtraShare"]).hour_usd()
    final = final_hours(option, v, accelerator)
    training, evaluation = final * v["developmentMultiplier"], v["evaluationPasses"] * v["evaluationHoursPerPass"]
    compute = _Compute(hour, owned, build_months)
    return Costs(
        months=option.months,
        rate=rate,
        serving_rate=rate,
        built={
            "people": _building(v) * built,
            "data": _data(option, v) * built,
            "training": compute.usd(training) * built,
            "evaluation": (compute.usd(training + evaluation) - compute.usd(training)) * built,
        },
        keepers_month=v["keepers"] * v["personYearUsd"] / 12,
        serving=_serving(option, v, accelerator, compute),
        training_hours=training,
        final_run_usd=final * (hour if owned is None else compute.owned_hour_usd),
        owned=owned,
        build_months=build_months,
    )


def final_hours(option: Option, v: Values, accelerator: Chip) -> float:
    """Accelerator-hours of the final run: given, or 6 N D over peak and MFU."""
    if "acceleratorHours" in v:
        return v["acceleratorHours"]
    return accelerator_hours(6 * option.parameters * option.tokens, accelerator.peak_flops, v["mfu"])


@dataclass(frozen=True)
class _Compute:
    """What hours cost: those of owned machines their power, the others rent."""

    hour_usd: float
    owned: OwnedInputs | None
    build_months: int

    @cached_property
    def owned_hour_usd(self) -> float:
        """Power of an hour of work, beyond idling."""
        return 0.0 if self.owned is None else owned_cost(self.owned).marginal_hour

    @cached_property
    def hours_a_month(self) -> float:
        """Of owned machines that are up."""
        return 0.0 if self.owned is None else available_hours_month(self.owned)

    def usd(self, hours: float) -> float:
        """Of hours while building."""
        own = min(hours, self.hours_a_month * self.build_months)
        return own * self.owned_hour_usd + (hours - own) * self.hour_usd


def _data(option: Option, v: Values) -> float:
    if option.kind is Kind.FINE_TUNE:
        return v["dataUsd"] + v["examples"] * v["exampleUsd"]
    curation = option.tokens / 1e9 * v["curationCoreHours"] * v["cpuHourUsd"]
    return v["dataUsd"] + curation


def _serving(option: Option, v: Values, accelerator: Chip, compute: _Compute) -> Serving:
    speed = accelerator.peak_flops / chip(SERVING_CHIP).peak_flops / (option.parameters / 1e9)
    seconds = (
        v["inputTokensPerMonth"] / v["inputTokenRate"] + v["outputTokensPerMonth"] / v["outputTokenRate"]
    ) / speed
    return Serving(
        hours=seconds / 3600 / v["servingLoadShare"],
        least_hours=v["servingReplicas"] * v["acceleratorsPerReplica"] * HOURS_PER_MONTH,
        hour_usd=compute.hour_usd,
        owned_hours=compute.hours_a_month,
        owned_hour_usd=compute.owned_hour_usd,
    )


def _owned(v: Values, rate: float, life: int) -> OwnedInputs:
    # The life, the rate and the use are the decision's; the hours that are used are counted one by one.
    elsewhere: dict[str, Any] = {
        "accelerators": round(v["accelerators"]),
        "useful_life_months": max(1, life),
        "discount_rate_per_year": rate,
        "utilization": 1.0,
    }
    values: dict[str, Any] = {
        field.name: v[camel(field.name)] for field in fields(OwnedInputs) if field.name not in elsewhere
    }
    return OwnedInputs(**values, **elsewhere)
