"""Price of a pod's hour: worked out when its attempt begins, copied into its annotation for people."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from llmtrain.api.base import parse_quantity
from llmtrain.api.cluster import PodResources
from llmtrain.api.plan import Owned, PlanSpec
from llmtrain.api.status import RolePrice
from llmtrain.cost.money import format_usd, micro_usd
from llmtrain.cost.owned import OwnedInputs, owned_cost
from llmtrain_operator.digest import digest_of

GIB = 2**30
MOST_MICRO_USD_PER_HOUR = 10**11
"""A hundred thousand dollars an hour: some hundred times what the dearest pod costs."""


@dataclass(frozen=True)
class Plan:
    """A ComputePlan as it was read, once a version: every turn of every job asks what follows from it."""

    name: str
    resource_version: str
    spec: PlanSpec

    @staticmethod
    def read(raw: Mapping[str, Any]) -> "Plan":
        """Parse a plan."""
        metadata = raw["metadata"]
        return Plan(metadata["name"], metadata["resourceVersion"], PlanSpec.model_validate(raw.get("spec")))

    @cached_property
    def text(self) -> str:
        """Its spec as JSON."""
        return self.spec.model_dump_json()

    @cached_property
    def known_prices(self) -> dict[tuple[str, str, str, int], RolePrice]:
        """What pods on it cost, as far as it was worked out; by role, cores, memory and accelerators."""
        return {}

    @cached_property
    def placed(self) -> str:
        """Digest of where it puts pods, and what they request there."""
        accelerator = self.spec.accelerator
        wanted = (accelerator.resource_name, accelerator.product, accelerator.peak_tflops) if accelerator else None
        return digest_of([self.spec.placement.model_dump(mode="json", exclude_defaults=True), wanted], 8)

    @cached_property
    def accelerator_hour_usd(self) -> Decimal:
        """US dollars per accelerator-hour, to the microdollar."""
        if self.spec.rented is not None:
            return Decimal(self.spec.rented.accelerator_hour_usd or 0)
        if self.spec.owned is None:
            return Decimal(0)
        return Decimal(repr(owned_cost(owned_inputs(self.spec.owned)).levelised_hour)).quantize(Decimal("0.000001"))


@dataclass(frozen=True)
class Price:
    """What a pod's time costs, in the field names of annotation `llmtrain.dev/price`."""

    plan: str
    planResourceVersion: str
    tenure: str
    microUsdPerHour: int
    incrementSeconds: int
    minimumSeconds: int

    def to_json(self) -> str:
        """The annotation's value."""
        return json.dumps(asdict(self), sort_keys=True)

    def bills_as(self, other: "Price") -> bool:
        """Whether every bill comes out the same: none depends on the plan's version."""
        return (self.plan, self.tenure, self.microUsdPerHour, self.incrementSeconds, self.minimumSeconds) == (
            other.plan,
            other.tenure,
            other.microUsdPerHour,
            other.incrementSeconds,
            other.minimumSeconds,
        )


FREE = Price("", "", "", 0, 1, 0)


def pod_price(plan: Plan, cpu: str, memory: str, accelerators: int) -> Price:
    """Hourly price of a pod with these requests."""
    hour = accelerators * plan.accelerator_hour_usd
    rented = plan.spec.rented
    if rented is not None:
        hour += parse_quantity(cpu) * Decimal(rented.cpu_hour_usd or 0)
        hour += parse_quantity(memory) / GIB * Decimal(rented.memory_gib_hour_usd or 0)
    return Price(
        plan=plan.name,
        planResourceVersion=plan.resource_version,
        tenure=plan.spec.tenure.value,
        microUsdPerHour=micro_usd(hour),
        incrementSeconds=rented.increment_seconds if rented else 1,
        minimumSeconds=rented.minimum_seconds if rented else 0,
    )


def unpriced(plan: Plan, accelerators: int) -> str:
    """What the plan does not price of a stage with so many accelerators a worker; empty where nothing is missing.

    A price of "0" is a price: the manifest says that it is free. Cores of a plan with accelerators come with them.
    """
    rented, name = plan.spec.rented, f"ComputePlan `{plan.name}`"
    if accelerators and plan.spec.accelerator is None:
        return f"{name} has no `spec.accelerator`, but `acceleratorsPerWorker` is {accelerators}"
    if rented is None:
        return "" if plan.spec.owned else f"{name} has no price: set `spec.rented` or `spec.owned`, as `tenure` says"
    if plan.spec.accelerator is not None:
        missing = ["acceleratorHourUsd"] if rented.accelerator_hour_usd is None else []
    else:
        prices = {"cpuHourUsd": rented.cpu_hour_usd, "memoryGibHourUsd": rented.memory_gib_hour_usd}
        missing = [field for field, price in prices.items() if price is None]
    fields = " and ".join(f"`spec.rented.{field}`" for field in missing)
    return f"{name} has no {fields}; '0' says that it is free" if missing else ""


def too_dear(plan: Plan, size: PodResources, accelerators: int) -> str:
    """Why a pod of this size cannot be priced: no sum of money holds it. Empty where it can."""
    hour = pod_price(plan, size.cpu, size.memory, accelerators).microUsdPerHour
    if hour <= MOST_MICRO_USD_PER_HOUR:
        return ""
    what = f"a pod with {size.cpu} cores, {size.memory} of memory and {accelerators} accelerators"
    most = format_usd(MOST_MICRO_USD_PER_HOUR)
    return f"{what} costs {format_usd(hour)} USD an hour by ComputePlan `{plan.name}`; at most {most} may be asked for"


def owned_inputs(owned: Owned) -> OwnedInputs:
    """The plan's strings as numbers."""
    values = {name: getattr(owned, name) for name in OwnedInputs.__dataclass_fields__}
    numbers: dict[str, Any] = {name: v if isinstance(v, int) else float(v) for name, v in values.items()}
    return OwnedInputs(**numbers)
