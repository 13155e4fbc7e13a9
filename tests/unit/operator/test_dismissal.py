"""Workers that their head needs no more: an evaluation asks its judge without paying for accelerators that wait."""

from typing import Any

import pytest
from llmtrain_operator.recent import PLANS

from llmtrain.api.status import Stage, StageState
from llmtrain.ledger.now import cost_now_micro_usd
from tests.unit.operator.scenario import GPU_PLAN, Scenario
from tests.unit.operator.test_comparison import H100
from tests.unit.operator.test_elastic import events, hear


def crew(run: Scenario) -> list[str]:
    """Pods that nobody has asked to go, without the job's name."""
    pods = [pod["metadata"] for pod in run.cluster.of("api/v1/pods") if "deletionTimestamp" not in pod["metadata"]]
    return sorted(meta["name"].removeprefix("gpt-") for meta in pods)


async def evaluating(workers: int = 2, **spec: Any) -> Scenario:
    """All stages before are done; the evaluation's head and workers run."""
    run = Scenario(**spec)
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = GPU_PLAN | H100
    run.job["spec"]["evaluation"]["cluster"]["workers"]["replicas"] = workers
    for _ in range(3):
        await run.run_stage()
    await run.run_pods()
    return run


async def test_workers_go_when_the_head_needs_them_no_more_and_the_head_goes_on() -> None:
    run = await evaluating()
    await hear(run, done=1, total=3, unit="tasks")
    assert crew(run) == ["evl-1-head", "evl-1-w0-1", "evl-1-w1-1"]
    await hear(run, done=1, total=3, unit="tasks", workers_done=True)
    await run.turn(2)
    assert crew(run) == ["evl-1-head"]
    assert events(run, "WorkersDismissed") == ["the model has been asked everything: 2 workers go, the head goes on"]
    for minute in range(20):
        run.cluster.tick(60)
        await run.drain_step()
        await hear(run, done=2, total=3, unit="tasks", workers_done=True, detail=f"{minute} minutes")
        assert crew(run) == ["evl-1-head"], "nobody is asked for again, nothing counts as lost"
    (stage,) = [stage for stage in run.status.stages if stage.name is Stage.EVALUATION]
    assert (stage.state, stage.attempt, stage.workers) == (StageState.RUNNING, 1, [])
    run.end_head()
    await run.drain()
    assert run.status.state == "Succeeded"


async def test_a_worker_that_is_dismissed_is_billed_until_its_pod_is_gone() -> None:
    """The same hour of a judge costs a head alone, not a head and two accelerators."""
    totals = []
    for done in (False, True):
        run = await evaluating()
        await hear(run, done=1, total=3, workers_done=done)
        for _ in range(3):
            await run.drain_step()
        run.cluster.tick(3600)
        run.end_head()
        await run.drain()
        totals.append(int(run.status.ledger.total_micro_usd))
    assert totals[0] - totals[1] == pytest.approx(2 * 3.99e6, rel=0.05)


async def test_what_is_left_is_forecast_for_the_head_alone() -> None:
    """A third is done in ten minutes: twenty more cost a head, not two accelerators. The median follows in a few looks."""
    left = []
    for done in (False, True):
        run = await evaluating()
        run.cluster.tick(600)
        await hear(run, done=1, total=3, unit="tasks", share="0.333", workers_done=done)
        for _ in range(3):
            await run.drain_step()
        forecast = run.status.forecast
        assert forecast is not None
        assert forecast.usd is not None
        left.append(float(forecast.usd.p10 or 0) - cost_now_micro_usd(run.status.ledger) / 1e6)
    assert left[1] < left[0] / 10


async def test_the_next_attempt_has_all_its_workers_again() -> None:
    run = await evaluating()
    await hear(run, done=1, total=3, workers_done=True)
    await run.turn(2)
    run.cluster.end_pod(next(name for name in run.pods if name.endswith("head")), 69)
    for _ in range(5):
        await run.drain_step()
    run.cluster.tick(3600)
    await run.until_pods()
    await run.turn(2)
    assert crew(run) == ["evl-2-head", "evl-2-w0-1", "evl-2-w1-1"]


async def test_a_training_keeps_its_workers_whatever_its_head_says() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.run_pods()
    await hear(run, done=1, total=3, workers_done=True)
    await run.turn(2)
    assert crew(run) == ["trn-1-head", "trn-1-w0-1", "trn-1-w1-1"]
