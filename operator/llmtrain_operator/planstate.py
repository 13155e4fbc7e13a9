"""What an hour costs on a plan: the status of a ComputePlan, a pure function of its spec and the day."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from llmtrain.api.plan import Owned, PlanSpec, Rented
from llmtrain.api.planstatus import HourParts, PlanStatus
from llmtrain.cost.errors import InputError
from llmtrain.cost.owned import HOURS_PER_MONTH, OwnedInputs, owned_cost
from llmtrain.pricing.plans import chip_of, owned_inputs
from llmtrain_operator.border import read
from llmtrain_operator.conditions import merged
from llmtrain_operator.pricing import Plan, unpriced

Told = dict[str, tuple[str, str, str]]


def plan_status(raw: Mapping[str, Any], spec: PlanSpec, now: datetime) -> PlanStatus:
    """The status that a plan should have now."""
    before = read(PlanStatus, raw.get("status") or {}).value or PlanStatus()
    metadata = raw["metadata"]
    plan = Plan(metadata["name"], str(metadata.get("resourceVersion", "")), spec)
    generation = int(metadata.get("generation", 0))
    told = {"Priced": _priced(plan), "PriceFresh": _fresh(spec, now.date()), "AcceleratorKnown": _known(spec)}
    prices = _owned(spec.owned) if spec.owned else _rented(spec.rented) if spec.rented else {}
    return PlanStatus(
        observed_generation=generation,
        price_age_days=_age(spec.rented, now.date()),
        conditions=merged(before.conditions, told, generation, now),
        **prices,
    )


def invalid_status(raw: Mapping[str, Any], message: str, now: datetime) -> PlanStatus:
    """The status of a plan that does not parse (an older CRD let it in)."""
    before = read(PlanStatus, raw.get("status") or {}).value or PlanStatus()
    generation = int(raw["metadata"].get("generation", 0))
    conditions = merged(before.conditions, {"Priced": ("False", "Invalid", message)}, generation, now)
    return PlanStatus(observed_generation=generation, conditions=conditions)


def _rented(rented: Rented) -> dict[str, Any]:
    reserved = rented.commitment.value == "Reserved"
    return {
        "usd_per_accelerator_hour": rented.accelerator_hour_usd or "",
        "usd_per_core_hour": rented.cpu_hour_usd or "",
        "usd_per_gib_hour": rented.memory_gib_hour_usd or "",
        "marginal_usd_per_accelerator_hour": "0" if reserved else rented.accelerator_hour_usd or "",
    }


def _owned(owned: Owned) -> dict[str, Any]:
    inputs = owned_inputs(owned)
    cost = owned_cost(inputs)
    return {
        "usd_per_accelerator_hour": _usd(cost.levelised_hour),
        "marginal_usd_per_accelerator_hour": _usd(cost.marginal_hour),
        "capex_usd": f"{cost.capex:.0f}",
        "parts": hour_parts(inputs),
    }


def hour_parts(inputs: OwnedInputs) -> HourParts:
    """The levelised hour by what it pays for, US dollars per used hour (cost model, section 4)."""
    cost = owned_cost(inputs)
    hardware = inputs.server_per_accelerator_usd * inputs.accelerators * (1 + inputs.spares_share)
    power = inputs.accelerators * inputs.power_kw_per_accelerator
    months = {
        "colocation_usd": power * inputs.reserved_power_margin * inputs.colocation_kw_month_usd,
        "maintenance_usd": hardware * (inputs.maintenance_share_per_year + inputs.insurance_share_per_year) / 12,
        "staff_usd": inputs.staff_fte * inputs.fte_year_usd / 12,
        "idle_power_usd": power * inputs.idle_share * inputs.pue * HOURS_PER_MONTH * inputs.kwh_usd,
    }
    # K = annuity x accelerators x 730 x availability, so a month's cost over a month's used hours is its share.
    used = inputs.accelerators * HOURS_PER_MONTH * inputs.availability * inputs.utilization
    monthly = {name: month / used for name, month in months.items()}
    capital = cost.levelised_hour - cost.marginal_hour - sum(monthly.values())
    texts = {name: _usd(value) for name, value in monthly.items()}
    return HourParts(capital_usd=_usd(capital), work_power_usd=_usd(cost.marginal_hour), **texts)


def _usd(value: float) -> str:
    return f"{value:.6f}"


def _priced(plan: Plan) -> tuple[str, str, str]:
    missing = unpriced(plan, 1 if plan.spec.accelerator else 0)
    return ("False", "PriceMissing", missing) if missing else ("True", "Priced", "")


def _known(spec: PlanSpec) -> tuple[str, str, str]:
    """Estimates need to know what the accelerator can do; bills do not."""
    if spec.accelerator is None:
        return "True", "NoAccelerator", ""
    try:
        chip_of(spec.accelerator)
    except InputError as error:
        return "False", "UnknownAccelerator", str(error)
    return "True", "Known", ""


def _age(rented: Rented | None, today: date) -> int | None:
    """Days since the price was quoted."""
    if rented is None or rented.source is None:
        return None
    try:
        return (today - date.fromisoformat(rented.source.date)).days
    except ValueError:
        return None


def _fresh(spec: PlanSpec, today: date) -> tuple[str, str, str]:
    if spec.owned is not None:
        return "True", "Derived", "the price follows from the inputs"
    days = _age(spec.rented, today)
    if days is None:
        return "Unknown", "NoSource", "`spec.rented.source` says neither who quotes the price nor when"
    if days > spec.price_stale_after_days:
        limit = f"`spec.priceStaleAfterDays` of {spec.price_stale_after_days}"
        return "False", "PriceStale", f"the price is {days} days old, more than {limit}; check it and set its new date"
    return "True", "Fresh", f"quoted {days} days ago"
