"""The rows of `status.comparison`: one a plan that is named, with a price or the reason why there is none."""

from typing import Any

import pytest
from llmtrain_operator.figures import figures
from llmtrain_operator.recent import PLANS

from llmtrain.api.status import Comparison
from llmtrain.cli.tables import comparison_table
from tests.unit.operator.scenario import CPU_PLAN, GPU_PLAN, Scenario, cluster

H100 = {"accelerator": {"product": "H100-SXM-80GB"}}
ODD = {"tenure": "Rented", "accelerator": {"product": "MI999"}, "rented": {"acceleratorHourUsd": "2"}}
OWNED = {
    "tenure": "Owned",
    **H100,
    "owned": {"accelerators": 64, "serverPerAcceleratorUsd": "32000", "powerKwPerAccelerator": "1.275"},
}


def with_plans(run: Scenario, **plans: Any) -> Scenario:
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = GPU_PLAN | H100
    for name, spec in plans.items():
        run.cluster.add(PLANS, {"metadata": {"name": name}, "spec": spec})
    return run


def rows(run: Scenario) -> dict[str, Comparison]:
    return {row.plan: row for row in run.status.comparison}


async def test_training_on_cpus_costs_what_cores_cost_or_nobody_says_what() -> None:
    dear = {"tenure": "Rented", "rented": {"cpuHourUsd": "0.063222", "memoryGibHourUsd": "0.008474"}}
    training = {"cluster": cluster("cpu", 2), "device": "Cpu", "tokens": 1000000, "globalBatchTokens": 4096}
    run = with_plans(Scenario(training=training, comparePlans=["gpu", "cpu", "dear", "own"]), dear=dear, own=OWNED)
    await run.run_stage()
    await run.run_stage()
    await run.run_stage(seconds=36000)
    really = sum(entry.cost_micro_usd for entry in run.status.ledger.entries if entry.stage == "Training")
    found = rows(run)
    assert float(found["cpu"].cost_usd) == pytest.approx(really / 1e6, abs=0.005)
    assert float(found["dear"].cost_usd) == pytest.approx(2 * really / 1e6, abs=0.006)
    assert found["cpu"].hours == found["dear"].hours is not None
    for name in ("gpu", "own"):
        row = found[name]
        assert (row.cost_usd, row.whole_usd, row.hours) == ("", None, None)
        assert row.reason == "it prices accelerators, and the training asks for none"
    assert [plan for plan, _, _ in figures(run.status).counterfactual_usd] == ["cpu", "dear"]


async def test_one_plan_that_cannot_be_priced_is_one_row_and_takes_nothing_from_the_others() -> None:
    run = with_plans(Scenario(comparePlans=["odd", "gpu", "gone", "cpu", "gpu"], budget={"limitUsd": "1000"}), odd=ODD)
    await run.turn(3)
    assert [row.plan for row in run.status.comparison] == ["odd", "gpu", "gone", "cpu"]
    found = rows(run)
    assert "unknown accelerator `MI999`" in found["odd"].reason
    assert found["odd"].usd_per_accelerator_hour == "2.0000"
    assert found["gone"].reason == "ComputePlan `gone` does not exist"
    assert found["cpu"].reason == "it has no accelerator, and the training asks for some"
    assert (found["cpu"].cost_usd, found["cpu"].usd_per_accelerator_hour) == ("", "")
    assert found["gpu"].whole_usd is not None
    assert found["gpu"].reason == ""
    assert run.status.estimate is not None
    assert run.status.estimate.usd is not None, run.status.estimate.message
    assert run.status.forecast is not None
    assert run.status.forecast.usd is not None
    assert comparison_table(run.status).row_count == 4


async def test_the_plan_that_the_job_runs_on_may_be_the_one_that_is_not_known() -> None:
    run = with_plans(Scenario(comparePlans=["gpu", "known"]), known=GPU_PLAN | H100)
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = ODD
    await run.turn(3)
    found = rows(run)
    assert "MI999" in found["gpu"].reason
    assert found["known"].whole_usd is not None
    assert run.status.estimate is not None
    assert "MI999" in run.status.estimate.message


async def test_a_plan_that_another_stage_is_on_does_not_matter() -> None:
    run = with_plans(Scenario(), odd=ODD)
    run.job["spec"]["evaluation"]["cluster"]["planRef"] = {"name": "odd"}
    await run.turn(3)
    assert rows(run)["gpu"].whole_usd is not None


async def test_the_job_s_own_plan_with_cores_priced_too_costs_what_it_cost() -> None:
    rented: Any = GPU_PLAN["rented"]
    priced = GPU_PLAN | H100 | {"rented": rented | {"cpuHourUsd": "0.05", "memoryGibHourUsd": "0.01"}}
    run = with_plans(Scenario(), free=CPU_PLAN)
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = priced
    await run.run_stage()
    await run.run_stage()
    await run.run_stage(seconds=3600)
    really = sum(entry.cost_micro_usd for entry in run.status.ledger.entries if entry.stage == "Training")
    assert float(rows(run)["gpu"].cost_usd) == pytest.approx(really / 1e6, abs=0.005)


async def test_storage_and_egress_are_beside_the_money_where_the_plan_prices_them() -> None:
    """Nobody measures them: neither the bill nor what it is forecast to be has them."""
    stored = GPU_PLAN | H100 | {"storage": {"gibMonthUsd": "1000000", "egressGibUsd": "1000"}}
    run, bare = with_plans(Scenario(comparePlans=["gpu"])), with_plans(Scenario(comparePlans=["gpu"]))
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = stored
    for each in (run, bare):
        await each.run_training(3600)
    assert run.status.estimate is not None
    assert bare.status.estimate is not None
    assert run.status.forecast is not None
    assert bare.status.forecast is not None
    told, none = (run.status.estimate.storage_usd, bare.status.estimate.storage_usd)
    assert (none, bare.status.forecast.storage_usd, rows(bare)["gpu"].storage_usd) == (None, None, None)
    assert told is not None
    assert run.status.estimate.usd == bare.status.estimate.usd
    assert run.status.forecast.usd == bare.status.forecast.usd
    row, forecast = rows(run)["gpu"].storage_usd, run.status.forecast.storage_usd
    assert row == told
    assert forecast is not None
    # An hour has passed of what was to take minutes: files are kept for as long as it takes.
    assert float(forecast.p10) > float(told.p50)
    run.end_head()
    await run.drain()
    await run.turn(2)
    assert run.status.forecast.storage_usd is not None
    kept = run.status.forecast.storage_usd
    assert kept.p10 == kept.p50 == kept.p90, "how long the training took is known by now"
