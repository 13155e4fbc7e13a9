"""`ComputePlan`: what an hour costs, rented or owned, and where its pods run."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmtrain.api.base import DecimalString, Model, Rule, cel

ShortText = Annotated[str, Field(max_length=253)]


class Tenure(StrEnum):
    """Whose machines they are."""

    RENTED = "Rented"
    OWNED = "Owned"


class Commitment(StrEnum):
    """How they are rented."""

    ON_DEMAND = "OnDemand"
    RESERVED = "Reserved"
    SPOT = "Spot"


class Accelerator(Model):
    """What one accelerator of the plan is."""

    product: ShortText = Field(description="Product name, for example H100-SXM-80GB.")
    resource_name: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=128)] = Field(
        "nvidia.com/gpu", description="Extended resource that pods request."
    )
    per_node: int = Field(8, ge=1, le=64, description="Accelerators of one node.")
    peak_tflops: DecimalString | None = Field(
        None, description="Dense bf16 peak, TFLOP/s; needed only where the product is not in the accelerator table."
    )
    memory_gib: DecimalString | None = Field(
        None, description="Memory, GiB; needed only where the product is not in the accelerator table."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            *(
                Rule(rule=f"!has(self.{name}) || double(self.{name}) > 0.0", message=f"`{name}` must be above 0")
                for name in ("peakTflops", "memoryGib")
            )
        )
    }


class Source(Model):
    """Where a price comes from."""

    name: ShortText = Field(description="Who quotes it.")
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length=10)] = Field(description="When.")


class Rented(Model):
    """Prices per hour and billing rules of a rented plan."""

    commitment: Commitment = Field(Commitment.ON_DEMAND, description="How it is rented.")
    accelerator_hour_usd: DecimalString | None = Field(
        None, description="US dollars per accelerator-hour; must be set where the plan has an accelerator, 0: free."
    )
    cpu_hour_usd: DecimalString | None = Field(
        None, description="US dollars per core-hour; must be set where the plan has no accelerator, 0: free."
    )
    memory_gib_hour_usd: DecimalString | None = Field(
        None, description="US dollars per GiB-hour; must be set where the plan has no accelerator, 0: free."
    )
    increment_seconds: int = Field(1, ge=1, le=86400, description="Billed time is rounded up to a multiple of this.")
    minimum_seconds: int = Field(0, ge=0, le=86400, description="Shortest time that is billed.")
    preemptions_per_accelerator_hour: DecimalString = Field(
        "0", description="How often an accelerator is taken away, per hour; spot plans."
    )
    source: Source | None = Field(None, description="Where the prices come from.")


OWNED_RULES = [
    *(
        Rule(rule=f"double(self.{name}) > 0.0", message=f"`{name}` must be above 0")
        for name in ("serverPerAcceleratorUsd", "powerKwPerAccelerator")
    ),
    *(
        Rule(
            rule=f"double(self.{name}) > 0.0 && double(self.{name}) <= 1.0",
            message=f"`{name}` must be a share above 0 and up to 1",
        )
        for name in ("availability", "utilization")
    ),
    *(
        Rule(rule=f"double(self.{name}) <= 1.0", message=f"`{name}` must be a share from 0 to 1")
        for name in (
            "storageShare",
            "installationShare",
            "sparesShare",
            "resaleHaircut",
            "discountRatePerYear",
            "loadShare",
            "idleShare",
            "maintenanceSharePerYear",
            "insuranceSharePerYear",
        )
    ),
    Rule(rule="double(self.networkShare) <= 0.95", message="`networkShare` must be a share from 0 to 0.95"),
    Rule(rule="double(self.pue) >= 1.0", message="`pue` must be 1 or more"),
]


class Owned(Model):
    """What it costs to own the machines; `llmtrain.cost.owned` derives the price of an hour from it."""

    accelerators: int = Field(ge=1, le=1_000_000, description="Accelerators that are owned.")
    server_per_accelerator_usd: DecimalString = Field(description="Purchase price of the server per accelerator.")
    network_share: DecimalString = Field("0.19", description="Network, as share of the whole capital cost.")
    storage_share: DecimalString = Field("0.05", description="Storage, as share of servers and network.")
    installation_share: DecimalString = Field(
        "0.03", description="Installation, as share of the capital cost before it."
    )
    spares_share: DecimalString = Field("0.03", description="Spare servers.")
    useful_life_months: int = Field(48, ge=1, le=240, description="Months until resale.")
    resale_decay_oom_per_year: DecimalString = Field("0.14", description="Price falls by 10^(-this x years).")
    resale_haircut: DecimalString = Field("0.85", description="Share of the market price that a sale brings.")
    discount_rate_per_year: DecimalString = Field("0.10", description="Cost of capital per year.")
    colocation_kw_month_usd: DecimalString = Field("184", description="US dollars per kW and month.")
    power_kw_per_accelerator: DecimalString = Field(description="Power of the server per accelerator at full load, kW.")
    reserved_power_margin: DecimalString = Field("1.10", description="Colocation is paid for power times this.")
    load_share: DecimalString = Field("0.75", description="Share of full power while working.")
    idle_share: DecimalString = Field("0.30", description="Share of full power while idle.")
    pue: DecimalString = Field("1.25", description="Power usage effectiveness of the building.")
    kwh_usd: DecimalString = Field("0.0826", description="US dollars per kWh.")
    maintenance_share_per_year: DecimalString = Field("0.05", description="Of the server price, per year.")
    insurance_share_per_year: DecimalString = Field("0.005", description="Of the server price, per year.")
    staff_fte: DecimalString = Field("0.5", description="People who run it, full-time equivalents.")
    fte_year_usd: DecimalString = Field("180000", description="Cost of one of them per year.")
    availability: DecimalString = Field("0.97", description="Share of the hours that the machines are up.")
    utilization: DecimalString = Field("0.70", description="Share of the available hours that are used.")
    other_annual_accelerator_hours: int = Field(0, ge=0, le=10**12, description="Other work that shares the machines.")

    model_config = Model.model_config | {"json_schema_extra": cel(*OWNED_RULES)}


class Toleration(Model):
    """A core/v1 Toleration."""

    key: ShortText = Field("", description="Taint key.")
    operator: Annotated[str, Field(pattern="^(Exists|Equal)$", max_length=8)] = Field(
        "Equal", description="Exists or Equal."
    )
    value: ShortText = Field("", description="Taint value.")
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)?$", max_length=16)] = Field(
        "", description="Taint effect; empty: all."
    )


class Disruption(StrEnum):
    """Whether autoscalers may move running pods to free their nodes."""

    FORBID = "Forbid"
    ALLOW = "Allow"


class Placement(Model):
    """Where the plan's pods run, and whether they may be moved."""

    node_selector: Annotated[dict[str, ShortText], Field(max_length=16)] = Field({}, description="Node labels.")
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = Field([], description="Taints that are tolerated.")
    disruption: Disruption = Field(
        Disruption.FORBID,
        description="Forbid: cluster-autoscaler and Karpenter are asked not to evict running pods so as to free their "
        "nodes (annotations `cluster-autoscaler.kubernetes.io/safe-to-evict` and `karpenter.sh/do-not-disrupt`). "
        "Allow: they may. What a job sets in `spec.pod.annotations` stands above it.",
    )


class Storage(Model):
    """What it costs to keep files where the plan's pods run, and to take them away from there. Estimated, never billed."""

    gib_month_usd: DecimalString = Field("0", description="US dollars for a GiB kept for a month of 730 hours.")
    egress_gib_usd: DecimalString = Field("0", description="US dollars for a GiB that leaves.")
    source: Source | None = Field(None, description="Where the prices come from.")


class NamespaceSelector(Model):
    """Namespaces by their labels."""

    match_labels: Annotated[dict[str, ShortText], Field(max_length=16)] = Field(
        description="Labels that a namespace must have; every namespace has `kubernetes.io/metadata.name`."
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a namespace with these labels is meant."""
        return all(labels.get(key) == value for key, value in self.match_labels.items())


class PlanSpec(Model):
    """One way to get compute."""

    tenure: Tenure = Field(description="Rented or Owned.")
    accelerator: Accelerator | None = Field(None, description="The accelerator; absent on a plan of CPUs.")
    rented: Rented | None = Field(None, description="Prices of a rented plan.")
    owned: Owned | None = Field(None, description="Inputs of an owned plan.")
    storage: Storage | None = Field(
        None,
        description="Prices of storage and egress. Estimate, comparison and forecast have them beside the bill; no bill has.",
    )
    price_stale_after_days: int = Field(90, ge=1, le=3650, description="Age after which a price is called stale.")
    placement: Placement = Field(Placement(), description="Where the plan's pods run.")
    allowed_namespaces: NamespaceSelector | None = Field(
        None, description="Namespaces whose jobs may use the plan; absent: all."
    )

    model_config = Model.model_config | {
        "json_schema_extra": cel(
            Rule(
                rule="(self.tenure == 'Rented') == has(self.rented) && (self.tenure == 'Owned') == has(self.owned)",
                message="`rented` must be set where `tenure` is 'Rented', `owned` where it is 'Owned', not both",
            ),
            Rule(
                rule="!has(self.rented) || !has(self.accelerator) || has(self.rented.acceleratorHourUsd)",
                message="`rented.acceleratorHourUsd` must be set where `accelerator` is; '0' says that it is free",
            ),
            Rule(
                rule="!has(self.rented) || has(self.accelerator) || "
                "(has(self.rented.cpuHourUsd) && has(self.rented.memoryGibHourUsd))",
                message="`rented.cpuHourUsd` and `rented.memoryGibHourUsd` must be set where `accelerator` is not; "
                "'0' says that they are free",
            ),
            Rule(
                rule="self.tenure == 'Rented' || has(self.accelerator)",
                message="`accelerator` must be set where `tenure` is 'Owned'",
            ),
        )
    }
