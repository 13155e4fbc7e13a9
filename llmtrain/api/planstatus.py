"""`ComputePlan`: the status, what an hour costs and what it is made of."""

from typing import Annotated

from pydantic import Field

from llmtrain.api.job import Condition
from llmtrain.api.status import Key, StatusModel


class HourParts(StatusModel):
    """What an hour of an owned accelerator is made of, US dollars per used hour; they add up to the price."""

    capital_usd: Key = Field("", description="Purchase and installation less the discounted resale.")
    colocation_usd: Key = Field("", description="Space and reserved power.")
    maintenance_usd: Key = Field("", description="Maintenance and insurance.")
    staff_usd: Key = Field("", description="People who run it.")
    idle_power_usd: Key = Field("", description="Electricity that flows whether it works or not.")
    work_power_usd: Key = Field("", description="Electricity of work; what another hour costs.")


class PlanStatus(StatusModel):
    """What the operator derives."""

    observed_generation: int = Field(0, description="Generation of the spec that this speaks of.")
    usd_per_accelerator_hour: Key = Field("", description="US dollars per accelerator-hour.")
    usd_per_core_hour: Key = Field("", description="US dollars per core-hour.")
    usd_per_gib_hour: Key = Field("", description="US dollars per GiB-hour of memory.")
    marginal_usd_per_accelerator_hour: Key = Field(
        "", description="What one more accelerator-hour takes out of the purse."
    )
    parts: HourParts | None = Field(None, description="What an owned hour is made of.")
    capex_usd: Key = Field("", description="Capital cost of the owned machines, US dollars.")
    price_age_days: int | None = Field(None, description="Days since the price was quoted.")
    conditions: Annotated[list[Condition], Field(max_length=8)] = Field([], description="Priced, PriceFresh.")
