"""What pods of an attempt cost, by role: fixed in the status by the write that precedes their creation.

A plan that changes later changes the price of no pod of the attempt, also of one that is yet to be made. And whoever
may edit pods may edit their annotations, so those are a copy that no bill rests on.
"""

from functools import lru_cache

from llmtrain.api.cluster import PodResources
from llmtrain.api.status import HighWater, RolePrice, StageStatus
from llmtrain_operator.power import Power, pod_power
from llmtrain_operator.pricing import Plan, Price, pod_price

KNOWN_SIZES = 256
"""Of pods on one version of a plan."""


def role_price(role: str, plan: Plan, size: PodResources, accelerators: int) -> RolePrice:
    """Of one pod of this size on the plan, as it is now: worked out once a version, for every turn asks for it."""
    known, asked = plan.known_prices, (role, size.cpu, size.memory, accelerators)
    if asked not in known:
        if len(known) >= KNOWN_SIZES:
            known.clear()
        known[asked] = _role_price(role, plan, size, accelerators)
    return known[asked].model_copy()


def _role_price(role: str, plan: Plan, size: PodResources, accelerators: int) -> RolePrice:
    price, power = pod_price(plan, size.cpu, size.memory, accelerators), pod_power(plan.spec, accelerators)
    return RolePrice(
        role=role,
        plan=price.plan,
        plan_resource_version=price.planResourceVersion,
        tenure=price.tenure,
        micro_usd_per_hour=price.microUsdPerHour,
        increment_seconds=price.incrementSeconds,
        minimum_seconds=price.minimumSeconds,
        accelerators=accelerators,
        load_watts=power.load,
        idle_watts=power.idle,
    )


def fixed(stage: StageStatus, role: str) -> RolePrice | None:
    """What a pod of this role costs in the attempt under way.

    None where none is, or an operator began it that did not write prices down.
    """
    return next((one for one in stage.prices if one.role == role), None)


def price_of(one: RolePrice | HighWater) -> Price:
    """As the bill wants it. A mark does not say which version of the plan its price was taken from."""
    version = one.plan_resource_version if isinstance(one, RolePrice) else ""
    rule = (one.increment_seconds, one.minimum_seconds)
    return _price(one.plan, version, one.tenure, one.micro_usd_per_hour, *rule)


@lru_cache(maxsize=4096)
def _price(plan: str, version: str, tenure: str, hour: int, increment: int, minimum: int) -> Price:
    """Hundreds of pods have the same, and every turn asks for it."""
    return Price(plan, version, tenure, hour, increment, minimum)


def power_of(one: RolePrice) -> Power:
    """Watts of its accelerators."""
    return Power(one.load_watts, one.idle_watts)
