"""What an hour of an owned accelerator costs, levelised over its life.

Capital, colocation, maintenance, insurance, staff and energy are discounted monthly; the resale value is taken off
at the end. Energy depends on the use u of the available hours: NPV = F + v K u, levelised = (F + v K u) / (K u).
"""

import math
from dataclasses import dataclass, fields, replace
from functools import cache

from llmtrain.cost.errors import InputError

HOURS_PER_MONTH = 730.0
ABOVE_ZERO = ("accelerators", "server_per_accelerator_usd", "useful_life_months", "power_kw_per_accelerator")
SHARES = (
    "network_share", "storage_share", "installation_share", "spares_share", "resale_haircut",
    "discount_rate_per_year", "load_share", "idle_share", "maintenance_share_per_year", "insurance_share_per_year",
)  # fmt: skip
SHARES_ABOVE_ZERO = ("availability", "utilization")


@dataclass(frozen=True)
class OwnedInputs:
    """Inputs; shares and rates as fractions, money in US dollars, power in kW. InputError where one makes no sense."""

    accelerators: int
    server_per_accelerator_usd: float
    network_share: float
    storage_share: float
    installation_share: float
    spares_share: float
    useful_life_months: int
    resale_decay_oom_per_year: float
    resale_haircut: float
    discount_rate_per_year: float
    colocation_kw_month_usd: float
    power_kw_per_accelerator: float
    reserved_power_margin: float
    load_share: float
    idle_share: float
    pue: float
    kwh_usd: float
    maintenance_share_per_year: float
    insurance_share_per_year: float
    staff_fte: float
    fte_year_usd: float
    availability: float
    utilization: float

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))


def _check(name: str, value: float) -> None:
    path = "spec.owned." + camel(name)
    if name in ABOVE_ZERO and not value > 0:
        raise InputError(path, f"must be above 0, not {value:g}")
    if name in SHARES_ABOVE_ZERO and not 0 < value <= 1:
        raise InputError(path, f"must be a share above 0 and up to 1, not {value:g}")
    if name in SHARES and not 0 <= value <= 1:
        raise InputError(path, f"must be a share from 0 to 1, not {value:g}")
    if name == "pue" and not value >= 1:
        raise InputError(path, f"must be 1 or more, not {value:g}")
    if not value >= 0:
        raise InputError(path, f"must not be negative, it is {value:g}")
    if name == "network_share" and value > 0.95:
        raise InputError(path, f"must be at most 0.95, it is a share of the whole capital cost, not {value:g}")


@cache
def camel(name: str) -> str:
    """The manifest's spelling of a name."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True)
class OwnedCost:
    """Results in US dollars; `fixed_npv` is F, `hours` is K (discounted, available)."""

    capex: float
    fixed_npv: float
    hours: float
    marginal_hour: float
    levelised_hour: float

    @property
    def fixed_per_available_hour(self) -> float:
        """What an available hour costs before any energy of work."""
        return self.fixed_npv / self.hours


def owned_cost(inputs: OwnedInputs) -> OwnedCost:
    """Levelised cost of owning."""
    capex = capital(inputs)
    annuity = discounted_months(inputs.discount_rate_per_year, inputs.useful_life_months)
    last = discount(inputs.discount_rate_per_year, inputs.useful_life_months)
    hours = annuity * available_hours_month(inputs)
    fixed = capex + annuity * _fixed_month(inputs) - _resale(inputs) * last
    marginal = annuity * _energy_month(inputs) / hours
    use = inputs.utilization
    return OwnedCost(capex, fixed, hours, marginal, (fixed + marginal * hours * use) / (hours * use))


def npv_own(inputs: OwnedInputs, months: int) -> float:
    """Present value of owning for so many months at the plan's use, with resale at their end."""
    cost = owned_cost(replace(inputs, useful_life_months=months))
    return cost.fixed_npv + cost.marginal_hour * cost.hours * inputs.utilization


def hardware(inputs: OwnedInputs) -> float:
    """Servers with spares, US dollars."""
    return inputs.server_per_accelerator_usd * inputs.accelerators * (1 + inputs.spares_share)


def capital(inputs: OwnedInputs) -> float:
    """Servers, network, storage and installation, US dollars."""
    with_network = hardware(inputs) / (1 - inputs.network_share)
    return with_network * (1 + inputs.storage_share + inputs.installation_share)


def available_hours_month(inputs: OwnedInputs) -> float:
    """Accelerator-hours of a month in which the machines are up."""
    return inputs.accelerators * HOURS_PER_MONTH * inputs.availability


def discount(rate_per_year: float, month: int) -> float:
    """Present value of a dollar at the end of a month."""
    return float((1 + rate_per_year) ** (-month / 12))


def discounted_months(rate_per_year: float, months: int) -> float:
    """Present value of a dollar a month."""
    yearly = math.log1p(rate_per_year)
    monthly = math.expm1(yearly / 12)
    return -math.expm1(-yearly * months / 12) / monthly if monthly else float(months)


def _resale(inputs: OwnedInputs) -> float:
    years = inputs.useful_life_months / 12
    return float(hardware(inputs) * 10 ** (-inputs.resale_decay_oom_per_year * years) * inputs.resale_haircut)


def _fixed_month(inputs: OwnedInputs) -> float:
    power = inputs.accelerators * inputs.power_kw_per_accelerator
    colocation = power * inputs.reserved_power_margin * inputs.colocation_kw_month_usd
    upkeep = hardware(inputs) * (inputs.maintenance_share_per_year + inputs.insurance_share_per_year) / 12
    staff = inputs.staff_fte * inputs.fte_year_usd / 12
    idle = power * inputs.idle_share * inputs.pue * HOURS_PER_MONTH * inputs.kwh_usd
    return colocation + upkeep + staff + idle


def _energy_month(inputs: OwnedInputs) -> float:
    """Energy beyond idling of a month in which every available hour is used."""
    power = inputs.accelerators * inputs.power_kw_per_accelerator * (inputs.load_share - inputs.idle_share)
    return power * inputs.pue * HOURS_PER_MONTH * inputs.kwh_usd * inputs.availability
