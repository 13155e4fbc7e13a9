"""What is taken out of the manifest leaves the status; what cannot be priced ends no turn."""

from decimal import Decimal
from typing import Any

import pytest
from llmtrain_operator.recent import PLANS

from llmtrain.cost.duration import preemption_slowdown
from llmtrain.cost.errors import InputError
from llmtrain.cost.physics import ModelSize
from llmtrain.cost.plans import Plan as RatePlan
from llmtrain.cost.plans import Pods
from llmtrain.cost.work import Cluster as CostCluster
from llmtrain.cost.work import TrainingWork
from tests.unit.operator.scenario import Scenario, cluster, job_spec
from tests.unit.operator.test_frozen_attempt import DURING, EVALUATION
from tests.unit.operator.test_life_cycle import in_training, training


async def looks(run: Scenario, times: int = 3) -> None:
    for _ in range(times):
        run.cluster.tick(60)
        await run.turn()


async def test_evaluators_that_are_taken_out_are_named_while_their_attempt_lasts_and_no_longer() -> None:
    run = await in_training(evaluation=DURING)
    run.job["spec"]["evaluation"] = EVALUATION
    await looks(run)
    assert training(run).evaluator_plan == "gpu", "they run"
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (training(run).evaluator_plan, training(run).evaluator_tenure) == ("", "")
    assert training(run).plan == "gpu"


async def test_a_stage_that_is_over_names_the_plan_that_it_ran_on() -> None:
    run = await in_training()
    run.job["spec"]["curation"]["cluster"]["planRef"]["name"] = "gpu"
    await looks(run)
    assert run.status.stages[1].plan == "cpu"


async def test_a_budget_that_is_taken_out_leaves_nothing_behind() -> None:
    run = await in_training(budget={"limitUsd": "1000", "warnAtShare": ["0.000001"]})
    await looks(run)
    assert run.status.budget_warned
    assert run.status.forecast is not None
    assert run.status.forecast.budget_usd
    del run.job["spec"]["budget"]
    await looks(run)
    assert run.status.budget_warned == ""
    assert run.status.forecast is None or run.status.forecast.budget_usd == ""


async def test_a_budget_that_is_taken_out_of_a_finished_job_is_forecast_no_more() -> None:
    run = await in_training(budget={"limitUsd": "1000"})
    run.end_head()
    await run.drain()
    await run.run_stage()
    await looks(run)
    assert run.status.forecast is not None
    assert run.status.forecast.budget_usd
    del run.job["spec"]["budget"]
    await looks(run)
    assert run.status.forecast.budget_usd == ""


async def test_compared_plans_and_evaluation_go_and_come_back() -> None:
    run = await in_training()
    assert len(run.status.comparison) == 1
    assert len(run.status.stages) == 4
    run.job["spec"]["comparePlans"], evaluation = [], run.job["spec"].pop("evaluation")
    await looks(run)
    assert run.status.comparison == []
    assert len(run.status.stages) == 3
    run.job["spec"]["evaluation"] = evaluation
    await looks(run)
    assert [stage.name for stage in run.status.stages][3:] == ["Evaluation"]


UNPRICED: dict[str, Any] = {
    "evaluators ask for accelerators of a plan without": {
        "evaluation": EVALUATION | {"duringTraining": {"everyTokens": 1000, "planRef": {"name": "cpu"},
                                                       "evaluators": {"acceleratorsPerWorker": 1}}}
    },
    "evaluation asks for accelerators of a plan without": {"evaluation": EVALUATION | {"cluster": cluster("cpu", 1, 1)}},
}  # fmt: skip


@pytest.mark.parametrize("change", UNPRICED)
async def test_what_cannot_be_priced_ends_no_turn(change: str) -> None:
    run = await in_training()
    plan = run.cluster.objects[(PLANS, "", "gpu")]
    plan["spec"] = plan["spec"] | {"accelerator": {"product": "H100-SXM-80GB"}}
    plan["metadata"]["resourceVersion"] = "900000"
    run.job["spec"] |= UNPRICED[change]
    before = run.status.ledger.total_micro_usd
    await looks(run)
    assert run.status.ledger.total_micro_usd > before
    assert training(run).state == "Running"


async def test_preemptions_that_leave_no_time_to_work_end_no_turn() -> None:
    run = await in_training()
    plan = run.cluster.objects[(PLANS, "", "gpu")]
    rented = plan["spec"]["rented"] | {"preemptionsPerAcceleratorHour": "9999"}
    plan["spec"] = plan["spec"] | {"accelerator": {"product": "H100-SXM-80GB"}, "rented": rented}
    plan["metadata"]["resourceVersion"] = "900000"
    before = run.status.ledger.total_micro_usd
    await looks(run)
    assert run.status.ledger.total_micro_usd > before


@pytest.mark.parametrize(("rate", "priced"), [("0.05", True), ("1", True), ("9999", False), ("999999999999", False)])
def test_a_rate_of_preemptions_is_priced_or_refused_in_words(rate: str, priced: bool) -> None:
    spot = RatePlan("gpu", "Rented", Decimal("3.99"), preemptions_per_accelerator_hour=float(rate))
    on = CostCluster(spot, Pods(0, Decimal(0), Decimal(0)), Pods(8, Decimal(1), Decimal(1), 8))
    model = ModelSize(10**9, 10**9, 6e9, layers=24, embedding=2048, heads=16, context=2048)
    work = TrainingWork(model, 1e9, checkpoint_seconds=60.0)
    if priced:
        assert preemption_slowdown(on, work) >= 1
        return
    with pytest.raises(InputError, match="preemptionsPerAcceleratorHour"):
        preemption_slowdown(on, work)


@pytest.mark.parametrize("pod", ["head", "workers"])
@pytest.mark.parametrize("size", [{"cpu": "999999999P"}, {"memory": "999999999Pi"}], ids=["cores", "memory"])
async def test_a_pod_that_no_sum_of_money_pays_for_is_refused_in_words(size: dict[str, str], pod: str) -> None:
    curation = job_spec()["curation"]
    curation["cluster"][pod] |= size
    run = Scenario(curation=curation)
    await run.run_stage()
    await run.turn(3)
    waiting = run.status.waiting
    assert waiting is not None
    assert (waiting.reason, run.pods, run.status.stages[1].attempt) == ("PlanUnpriced", [], 0)
    assert next(iter(size.values())) in waiting.message
    assert next(one for one in run.status.conditions if one.type == "Accepted").status == "False"
