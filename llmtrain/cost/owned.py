"""What an hour of an owned accelerator costs, levelised over its life.

Capital, colocation, maintenance, insurance, staff and energy are discounted monthly; the resale value is taken off
at the end. Energy depends on the use u of the available hours: NPV = F + v K u, levelised = (F + v K u) / (K u).
"""

from dataclasses import dataclass

HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class OwnedInputs:
    """Inputs; shares and rates as fractions, money in US dollars, power in kW."""

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
    hardware = inputs.server_per_accelerator_usd * inputs.accelerators * (1 + inputs.spares_share)
    capex = hardware / (1 - inputs.network_share) * (1 + inputs.storage_share + inputs.installation_share)
    monthly_rate = (1 + inputs.discount_rate_per_year) ** (1 / 12) - 1
    annuity = sum((1 + monthly_rate) ** -month for month in range(1, inputs.useful_life_months + 1))
    last = (1 + monthly_rate) ** -inputs.useful_life_months
    hours = annuity * inputs.accelerators * HOURS_PER_MONTH * inputs.availability
    fixed = capex + annuity * _fixed_month(inputs, hardware) - _resale(inputs, hardware) * last
    marginal = annuity * _energy_month(inputs) / hours
    use = inputs.utilization
    return OwnedCost(capex, fixed, hours, marginal, (fixed + marginal * hours * use) / (hours * use))


def _resale(inputs: OwnedInputs, hardware: float) -> float:
    years = inputs.useful_life_months / 12
    return float(hardware * 10 ** (-inputs.resale_decay_oom_per_year * years) * inputs.resale_haircut)


def _fixed_month(inputs: OwnedInputs, hardware: float) -> float:
    power = inputs.accelerators * inputs.power_kw_per_accelerator
    colocation = power * inputs.reserved_power_margin * inputs.colocation_kw_month_usd
    upkeep = hardware * (inputs.maintenance_share_per_year + inputs.insurance_share_per_year) / 12
    staff = inputs.staff_fte * inputs.fte_year_usd / 12
    idle = power * inputs.idle_share * inputs.pue * HOURS_PER_MONTH * inputs.kwh_usd
    return colocation + upkeep + staff + idle


def _energy_month(inputs: OwnedInputs) -> float:
    """Energy beyond idling of a month in which every available hour is used."""
    power = inputs.accelerators * inputs.power_kw_per_accelerator * (inputs.load_share - inputs.idle_share)
    return power * inputs.pue * HOURS_PER_MONTH * inputs.kwh_usd * inputs.availability
