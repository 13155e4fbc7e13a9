"""What a pod costs whose job is gone, and with it the operator's record of the price.

Its annotation names the plan; what it says of dollars is a tenant's to edit. So the price is worked out anew from the plan
as it is now and from what the stage's container requests, whatever others were injected beside it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmtrain.api.base import parse_quantity
from llmtrain.api.stageconfig import STAGE_CONTAINER
from llmtrain_operator.podstate import PodState
from llmtrain_operator.power import pod_power
from llmtrain_operator.pricing import FREE, MOST_MICRO_USD_PER_HOUR, Plan, pod_price

MOST_ACCELERATORS = 1024


def orphan(raw: Mapping[str, Any], name: str, plan: Plan | None) -> PodState:
    """The pod with its price; `name` is that of its plan, which may be gone: then nothing is billed, and it is in doubt."""
    asked = requests(raw)
    try:
        if plan is None:
            raise ValueError(f"ComputePlan `{name}` is not there, or cannot be read")
        accelerators = requested(asked, plan)
        price = pod_price(plan, asked.get("cpu", "0"), asked.get("memory", "0"), accelerators)
    except ValueError as error:
        return PodState(raw, price=replace(FREE, plan=name), doubt=f"is booked at no cost: {error}")
    bounded = replace(price, microUsdPerHour=min(price.microUsdPerHour, MOST_MICRO_USD_PER_HOUR))
    return PodState(raw, bounded, pod_power(plan.spec, accelerators), accelerators)


def requests(raw: Mapping[str, Any]) -> dict[str, str]:
    """What the stage's container requests."""
    for container in raw["spec"].get("containers", []):
        if container.get("name") == STAGE_CONTAINER:
            asked = (container.get("resources") or {}).get("requests") or {}
            return {name: str(amount) for name, amount in asked.items()}
    return {}


def requested(asked: Mapping[str, str], plan: Plan) -> int:
    """Accelerators among the requests: of the plan's resource, and of no other. ValueError for what is no quantity."""
    accelerator = plan.spec.accelerator
    text = asked.get(accelerator.resource_name, "0") if accelerator else "0"
    return min(MOST_ACCELERATORS, int(parse_quantity(text)))
