"""What a job is expected to cost: the estimate at admission, the forecast while it runs. Parts of its status."""

from typing import Annotated

from pydantic import ConfigDict, Field

from llmtrain.api.base import Wire

Text = Annotated[str, Field(max_length=253)]
Line = Annotated[str, Field(max_length=1024)]


class OutlookModel(Wire):
    """Written by the operator alone; what a newer one wrote is let through."""

    model_config = ConfigDict(frozen=False, extra="ignore")


class Quantiles(OutlookModel):
    """A quantity that is not known exactly, decimals."""

    p10: Text = Field("", description="One time in ten it is less.")
    p50: Text = Field("", description="As often less as more.")
    p90: Text = Field("", description="One time in ten it is more.")


class StageOutlook(OutlookModel):
    """One stage before it runs."""

    name: Text = Field(description="The stage.")
    hours: Quantiles = Field(Quantiles(), description="Hours of the wall clock.")
    usd: Quantiles = Field(Quantiles(), description="US dollars.")
    kwh: Quantiles = Field(Quantiles(), description="Kilowatt-hours.")


class AssumptionLine(OutlookModel):
    """What an estimate rests on."""

    name: Text = Field(description="What is assumed.")
    value: Line = Field("", description="Its value.")
    source: Line = Field("", description="Who says so.")


class JobEstimate(OutlookModel):
    """The bill before the run, as `llmtrain estimate` tells it."""

    generation: int = Field(0, description="Generation of the spec that was estimated.")
    message: Line = Field("", description="Why there is no estimate: the field that is at fault.")
    hours: Quantiles = Field(Quantiles(), description="Hours of the wall clock, all stages.")
    usd: Quantiles = Field(Quantiles(), description="US dollars, all stages.")
    kwh: Quantiles = Field(Quantiles(), description="Kilowatt-hours, all stages.")
    storage_usd: Quantiles | None = Field(
        None,
        description="US dollars of storage and egress, in no bill; absent: the training's plan does not price them.",
    )
    stages: Annotated[list[StageOutlook], Field(max_length=4)] = Field([], description="By stage.")
    assumptions: Annotated[list[AssumptionLine], Field(max_length=32)] = Field([], description="What it rests on.")
    warnings: Annotated[list[Line], Field(max_length=16)] = Field([], description="What may be wrong with it.")


class JobForecast(OutlookModel):
    """At completion, from what is spent and the speed that was measured."""

    usd: Quantiles = Field(Quantiles(), description="US dollars of the whole job.")
    storage_usd: Quantiles | None = Field(
        None,
        description="US dollars of storage and egress, in no bill; absent: the training's plan does not price them.",
    )
    remaining_hours: Quantiles = Field(Quantiles(), description="Hours until it is done.")
    budget_usd: Text = Field("", description="The tightest limit of the job, US dollars; empty: none.")
    breach_probability: Text = Field("", description="Probability that the bill would end above it, 0 to 1.")
    eta: Text = Field("", description="Time until it is done, for people.")
