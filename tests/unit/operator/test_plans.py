"""What an hour costs: plan statuses, prices that are missing or stale, plans that are not for everybody."""

from datetime import UTC, datetime
from typing import Any

import pytest
from llmtrain_operator.budget_release import BUDGETS
from llmtrain_operator.planstate import plan_status
from llmtrain_operator.recent import PLANS
from llmtrain_operator.snapshots import Snapshots
from llmtrain_operator.upkeep import Upkeep

from llmtrain.api.plan import PlanSpec
from llmtrain.api.planstatus import PlanStatus
from tests.unit.operator.booked import ledgers
from tests.unit.operator.scenario import Scenario

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ACCELERATOR = {"product": "H100-SXM-80GB"}
OWNED = {
    "tenure": "Owned",
    "accelerator": ACCELERATOR,
    "owned": {"accelerators": 64, "serverPerAcceleratorUsd": "32000", "powerKwPerAccelerator": "1.275"},
}


def status_of(spec: dict[str, Any]) -> PlanStatus:
    return plan_status({"metadata": {"name": "p", "generation": 3}}, PlanSpec.model_validate(spec), NOW)


def condition(status: PlanStatus, kind: str) -> tuple[str, str, str]:
    found = next(c for c in status.conditions if c.type == kind)
    return found.status, found.reason, found.message


def test_an_owned_plans_parts_add_up_to_the_published_hour() -> None:
    status = status_of(OWNED)
    assert float(status.usd_per_accelerator_hour) == pytest.approx(3.14, abs=0.005)
    assert float(status.marginal_usd_per_accelerator_hour) == pytest.approx(0.059, abs=0.0005)
    assert float(status.capex_usd) == pytest.approx(2.81e6, rel=0.003)
    assert status.parts is not None
    parts = status.parts.to_dict()
    assert len(parts) == 6
    assert sum(map(float, parts.values())) == pytest.approx(float(status.usd_per_accelerator_hour), abs=1e-5)
    # By hand: half a person at 180,000 a year over 64 x 730 x 12 x 0.97 x 0.70 used hours.
    assert float(parts["staffUsd"]) == pytest.approx(90000 / (64 * 730 * 12 * 0.97 * 0.70), abs=1e-6)
    assert float(parts["colocationUsd"]) == pytest.approx(1.275 * 1.10 * 184 / (730 * 0.97 * 0.70), abs=1e-6)


@pytest.mark.parametrize(
    ("date", "stale_after", "expected"),
    [("2026-05-01", 90, ("True", "Fresh")), ("2026-03-01", 90, ("False", "PriceStale")),
     ("2026-03-01", 92, ("True", "Fresh"))],
)  # fmt: skip
def test_a_price_older_than_the_plan_allows_is_stale(date: str, stale_after: int, expected: tuple[str, str]) -> None:
    rented = {"acceleratorHourUsd": "3.99", "source": {"name": "list", "date": date}}
    status = status_of(
        {"tenure": "Rented", "accelerator": ACCELERATOR, "rented": rented, "priceStaleAfterDays": stale_after}
    )
    assert condition(status, "PriceFresh")[:2] == expected
    assert status.usd_per_accelerator_hour == "3.99"


def test_an_accelerator_that_nobody_knows_is_told_with_the_field() -> None:
    spec = {"tenure": "Rented", "accelerator": {"product": "H900"}, "rented": {"acceleratorHourUsd": "1"}}
    value, reason, message = condition(status_of(spec), "AcceleratorKnown")
    assert (value, reason) == ("False", "UnknownAccelerator")
    assert "`spec.accelerator.product`" in message


async def test_a_plan_for_other_namespaces_starts_nothing() -> None:
    run = Scenario()
    plan = run.cluster.objects[(PLANS, "", "cpu")]["spec"]
    plan["allowedNamespaces"] = {"matchLabels": {"llm-training": "allowed"}}
    run.cluster.add("api/v1/namespaces", {"metadata": {"name": "team-a", "labels": {}}})
    await run.turn(4)
    assert run.pods == []
    accepted = next(c for c in run.status.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "PlanNotAllowed")
    assert "llm-training=allowed" in accepted.message
    run.cluster.objects[("api/v1/namespaces", "", "team-a")]["metadata"]["labels"]["llm-training"] = "allowed"
    await run.turn(2)
    assert run.pods == ["gpt-pre-1-head"]


async def test_accelerators_on_a_plan_that_prices_none_start_nothing() -> None:
    run = Scenario()
    spec = run.job["spec"]
    spec["curation"]["cluster"]["workers"]["acceleratorsPerWorker"] = 1
    await run.run_stage()
    await run.turn(3)
    assert run.pods == []
    accepted = next(c for c in run.status.conditions if c.type == "Accepted")
    assert (accepted.status, accepted.reason) == ("False", "PlanUnpriced")
    assert "`acceleratorsPerWorker` is 1" in accepted.message


async def test_statuses_of_plans_and_budgets_are_kept_current_and_written_once() -> None:
    run = Scenario()
    body = {"metadata": {"name": "research", "namespace": "team-a"}, "spec": {"limitUsd": "10", "warnAtShare": ["0.5"]}}
    run.cluster.add(BUDGETS, body)
    upkeep = Upkeep(run.cluster, run.cluster.clock, ["team-a"], Snapshots(run.cluster.clock), ledgers(run.cluster))
    await upkeep.look()
    writes = run.cluster.writes
    await upkeep.look()
    assert run.cluster.writes == writes
    plan = run.cluster.objects[(PLANS, "", "gpu")]["status"]
    assert plan["usdPerAcceleratorHour"] == "3.99"
    budget = run.cluster.objects[(BUDGETS, "team-a", "research")]["status"]
    assert (budget["availableUsd"], budget["spentUsd"]) == ("10.00", "0.00")
    assert [c["status"] for c in budget["conditions"]] == ["True", "True"]
