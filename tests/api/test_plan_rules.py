"""Plans without a price, and owned plans that make no sense, are refused when they are applied."""

from typing import Any

import pytest

from llmtrain.api import API_VERSION
from tests.api.conftest import Api
from tests.unit.cost.jobs import CPU, OWNED, RENTED

H100 = RENTED["accelerator"]


def owned(**changes: Any) -> dict[str, Any]:
    return OWNED | {"owned": OWNED["owned"] | changes}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an accelerator without a price": ({"tenure": "Rented", "accelerator": H100, "rented": {}}, "`rented.acceleratorHourUsd` must be set"),
    "cores without a price": ({"tenure": "Rented", "rented": {"memoryGibHourUsd": "0"}}, "`rented.cpuHourUsd` and"),
    "no prices at all": ({"tenure": "Rented"}, "`rented` must be set where `tenure` is 'Rented'"),
    "both": (RENTED | {"owned": OWNED["owned"]}, "not both"),
    "a number for a price": (RENTED | {"rented": {"acceleratorHourUsd": 3.99}}, "spec.rented.acceleratorHourUsd"),
    "a negative price": (RENTED | {"rented": {"acceleratorHourUsd": "-1"}}, "spec.rented.acceleratorHourUsd"),
    "a price per month": (RENTED | {"rented": {"acceleratorMonthUsd": "2900"}}, 'unknown field "spec.rented.acceleratorMonthUsd"'),
    "no use": (owned(utilization="0"), "`utilization` must be a share above 0 and up to 1"),
    "more use than hours": (owned(utilization="1.2"), "`utilization` must be a share above 0 and up to 1"),
    "never up": (owned(availability="0.0"), "`availability` must be a share above 0"),
    "a negative life": (owned(usefulLifeMonths=-48), "spec.owned.usefulLifeMonths"),
    "no life": (owned(usefulLifeMonths=0), "spec.owned.usefulLifeMonths"),
    "a free server": (owned(serverPerAcceleratorUsd="0"), "`serverPerAcceleratorUsd` must be above 0"),
    "no power": (owned(powerKwPerAccelerator="0"), "`powerKwPerAccelerator` must be above 0"),
    "all network": (owned(networkShare="1"), "`networkShare` must be a share from 0 to 0.95"),
    "interest in percent": (owned(discountRatePerYear="10"), "`discountRatePerYear` must be a share from 0 to 1"),
    "cooling that makes power": (owned(pue="0.9"), "`pue` must be 1 or more"),
    "an accelerator without speed": (RENTED | {"accelerator": {"product": "Mine", "peakTflops": "0"}}, "`peakTflops` must be above 0"),
}  # fmt: skip
ACCEPTED: dict[str, dict[str, Any]] = {
    "a rented plan": RENTED,
    "an owned plan": OWNED,
    "a plan of CPUs": CPU,
    "a price of zero that is stated": RENTED | {"rented": {"acceleratorHourUsd": "0"}},
    "spot": RENTED | {"rented": {"acceleratorHourUsd": "1.5", "commitment": "Spot", "preemptionsPerAcceleratorHour": "0.01"}},
}  # fmt: skip


def manifest(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": "ComputePlan", "metadata": {"name": "plan"}, "spec": spec}


@pytest.mark.parametrize("case", REFUSED)
def test_a_plan_that_cannot_be_priced_is_refused_with_its_field(api: Api, case: str) -> None:
    spec, said = REFUSED[case]
    assert said in api.direct.refusal(manifest(spec))


@pytest.mark.parametrize("case", ACCEPTED)
def test_plans_that_state_their_price_are_accepted(api: Api, case: str) -> None:
    assert api.direct.refusal(manifest(ACCEPTED[case])) == ""
