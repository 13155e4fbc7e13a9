"""ComputePlans as `llmtrain.cost` sees them."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from llmtrain.api.plan import Accelerator, Owned, PlanSpec, Rented, Storage
from llmtrain.cost.chips import Chip
from llmtrain.cost.errors import InputError
from llmtrain.cost.owned import OwnedInputs, owned_cost
from llmtrain.cost.plans import Plan, Quote
from llmtrain.cost.storage import StoragePrices
from llmtrain.cost.tables import chip, chips

GIB = 2**30
MICRO = Decimal("0.000001")


def plan_of(name: str, spec: PlanSpec) -> Plan:
    """One plan; InputError names the field that is missing or not allowed."""
    accelerator = chip_of(spec.accelerator) if spec.accelerator else None
    if spec.rented is not None:
        return _rented(name, spec, spec.rented, accelerator)
    if spec.owned is None:
        raise InputError("spec.rented", f"ComputePlan `{name}` has no price: set `rented` or `owned`, as `tenure` says")
    return _owned(name, spec, spec.owned, accelerator)


def priced(specs: Mapping[str, PlanSpec]) -> tuple[dict[str, Plan], dict[str, InputError]]:
    """Plans by name, and why the others cannot be priced."""
    found, refused = dict[str, Plan](), dict[str, InputError]()
    for name, spec in specs.items():
        try:
            found[name] = plan_of(name, spec)
        except InputError as error:
            refused[name] = error
    return found, refused


def chip_of(accelerator: Accelerator) -> Chip:
    """The row of the table; what the plan gives itself goes before it."""
    if accelerator.peak_tflops is None:
        return chip(accelerator.product)
    memory = accelerator.memory_gib
    known = chips().get(accelerator.product, Chip(accelerator.product, 0.0))
    peak = positive("spec.accelerator.peakTflops", accelerator.peak_tflops)
    if memory is not None:
        known = replace(known, memory_gb=positive("spec.accelerator.memoryGib", memory) * GIB / 1e9)
    return replace(known, peak_tflops=peak, source="the plan's `spec.accelerator.peakTflops`")


def positive(field: str, value: str) -> float:
    """A number above zero. InputError names the field of any other."""
    if not float(value) > 0:
        raise InputError(field, f"must be above 0, not {value}")
    return float(value)


def _rented(name: str, spec: PlanSpec, rented: Rented, accelerator: Chip | None) -> Plan:
    hour, cpu, memory = _prices(rented, accelerator)
    return Plan(
        name=name,
        tenure=spec.tenure.value,
        commitment=rented.commitment.value,
        accelerator_hour_usd=hour,
        cpu_hour_usd=cpu,
        memory_gib_hour_usd=memory,
        increment_seconds=rented.increment_seconds,
        minimum_seconds=rented.minimum_seconds,
        preemptions_per_accelerator_hour=float(rented.preemptions_per_accelerator_hour),
        chip=accelerator,
        per_node=spec.accelerator.per_node if spec.accelerator else 1,
        quote=Quote(rented.source.name, rented.source.date) if rented.source else Quote(),
        stale_after_days=spec.price_stale_after_days,
        storage=storage_prices(spec.storage),
    )


def storage_prices(storage: Storage | None) -> StoragePrices | None:
    """None where the plan says nothing of them."""
    return StoragePrices(float(storage.gib_month_usd), float(storage.egress_gib_usd)) if storage else None


def _prices(rented: Rented, accelerator: Chip | None) -> tuple[Decimal, Decimal, Decimal]:
    """Per accelerator, core and GiB; what the plan is for must have its price."""
    hour, cpu, memory = rented.accelerator_hour_usd, rented.cpu_hour_usd, rented.memory_gib_hour_usd
    if accelerator is not None:
        return _stated("acceleratorHourUsd", hour), Decimal(cpu or 0), Decimal(memory or 0)
    return Decimal(hour or 0), _stated("cpuHourUsd", cpu), _stated("memoryGibHourUsd", memory)


def _stated(field: str, value: str | None) -> Decimal:
    """A price that the plan must state; "0" is one."""
    if value is None:
        raise InputError(f"spec.rented.{field}", 'must be set: nothing is priced without it; "0" says that it is free')
    return Decimal(value)


def _owned(name: str, spec: PlanSpec, owned: Owned, accelerator: Chip | None) -> Plan:
    inputs = owned_inputs(owned)
    return Plan(
        name=name,
        tenure=spec.tenure.value,
        accelerator_hour_usd=Decimal(repr(owned_cost(inputs).levelised_hour)).quantize(MICRO),
        chip=accelerator,
        per_node=spec.accelerator.per_node if spec.accelerator else 1,
        owned=inputs,
        other_annual_hours=float(owned.other_annual_accelerator_hours),
        stale_after_days=spec.price_stale_after_days,
        storage=storage_prices(spec.storage),
    )


def owned_inputs(owned: Owned) -> OwnedInputs:
    """The plan's strings as numbers."""
    values = {name: getattr(owned, name) for name in OwnedInputs.__dataclass_fields__}
    numbers: dict[str, Any] = {name: v if isinstance(v, int) else float(v) for name, v in values.items()}
    return OwnedInputs(**numbers)
