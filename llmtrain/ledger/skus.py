"""What a line's plan is: how it is rented, and what its accelerator is. The ledger itself keeps plan and tenure alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from llmtrain.api.plan import PlanSpec, Tenure
from llmtrain.ledger.lines import Line
from llmtrain.text import plain

COMPUTE_PLAN = "ComputePlan"


@dataclass(frozen=True)
class Sku:
    """OnDemand, Reserved or Spot, empty for an owned plan; and the product of its accelerator, empty without one."""

    commitment: str
    accelerator: str


def skus_of(items: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Sku], list[str]]:
    """By name of the plan, of ComputePlans as the API has them; and what is wrong with those that cannot be read."""
    found, flaws = {}, []
    for item in (item for item in items if item.get("kind") == COMPUTE_PLAN):
        name = str(item["metadata"]["name"])
        try:
            spec = PlanSpec.model_validate(item.get("spec"))
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            flaws.append(plain(f"{COMPUTE_PLAN} {name}: `{'.'.join(map(str, fault['loc']))}`: {fault['msg']}"))
            continue
        commitment = spec.rented.commitment.value if spec.rented else ""
        found[name] = Sku(commitment, spec.accelerator.product if spec.accelerator else "")
    return found, flaws


def with_skus(lines: Iterable[Line], skus: Mapping[str, Sku]) -> list[Line]:
    """Lines that say how they were rented, where the plan is known and the ledger has not said it itself."""
    return [_with(line, skus.get(line.plan)) for line in lines]


def unknown_plans(lines: Iterable[Line]) -> list[str]:
    """Plans of rented lines of which nobody says how they were rented."""
    return sorted({line.plan for line in lines if line.tenure == Tenure.RENTED and not line.commitment})


def _with(line: Line, sku: Sku | None) -> Line:
    if sku is None:
        return line
    commitment = line.commitment or (sku.commitment if line.tenure == Tenure.RENTED else "")
    return replace(line, commitment=commitment, accelerator=line.accelerator or sku.accelerator)
