"""The forecast: share of the whole stage, its own speed, minimums, and nothing to come once the job is over."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from llmtrain_operator.measuring import measured, note_done, note_pace, note_share, share_left
from llmtrain_operator.recent import PLANS

from llmtrain.api.status import JobStatus, Phases, Progress, Stage, StageState, StageStatus
from tests.unit.operator.fake_cluster import START, stamp
from tests.unit.operator.scenario import GPU_PLAN, Scenario, job_spec

KNOWN = GPU_PLAN | {"accelerator": {"product": "H100-SXM-80GB"}}


def scenario(**spec: Any) -> Scenario:
    run = Scenario(**spec)
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = KNOWN
    return run


async def curating() -> Scenario:
    """Curation of a large training runs."""
    run = scenario(training=job_spec()["training"] | {"tokens": 2_000_000_000_000})
    await run.run_stage()
    await run.run_pods()
    return run


async def hear(run: Scenario, **told: Any) -> JobStatus:
    """The status once the head has told this."""
    head = next(name for name in run.pods if name.endswith("head"))
    run.memory.progress, run.memory.progress_of = Progress(**told), run.cluster.pod(head)["metadata"]["uid"]
    run.memory.woken = True
    await run.turn()
    return run.status


def p50(status: JobStatus) -> float:
    assert status.forecast is not None
    return float(status.forecast.usd.p50)


async def test_a_forecast_does_not_swing_with_the_steps_of_curation() -> None:
    """Each step counts its own parts from nothing; the stage goes on. It had swung from 774 to 85 dollars and back."""
    run, seconds, seen = await curating(), 0, []
    steps = [("prepare", 0, 0.0), ("prepare", 50, 0.4), ("prepare", 100, 0.8), ("dedup", 0, 0.8), ("dedup", 100, 0.9),
             ("encode", 0, 0.9), ("encode", 100, 0.99)]  # fmt: skip
    for step, done, share in steps:
        while seconds < share * 36_000:
            run.cluster.tick(60)
            seconds += 60
        status = await hear(
            run, done=done, total=100, unit="parts", detail=step, share=f"{share:.6f}", working_seconds=seconds
        )
        seen.append(p50(status))
    assert all(max(one, other) / min(one, other) < 1.05 for one, other in pairwise(seen[2:]))
    assert seen[-1] == pytest.approx(seen[2], rel=0.05)


async def test_a_curation_that_is_slower_than_its_estimate_is_measured() -> None:
    """After ten hours a tenth is done: ninety are left, whatever was estimated."""
    run = await curating()
    run.cluster.tick(36_000)
    status = await hear(run, done=10, total=100, unit="parts", share="0.100000", working_seconds=36_000)
    assert status.forecast is not None
    curation = next(s for s in status.stages if s.name is Stage.CURATION)
    assert curation.share == "0.100000"
    assert status.estimate is not None
    later = sum((float(s.hours.p50) for s in status.estimate.stages if s.name in ("Training", "Evaluation")), 0.0)
    assert float(status.forecast.remaining_hours.p50) - later == pytest.approx(90, rel=0.15)


async def test_a_curation_that_lost_its_head_is_forecast_as_before_until_it_goes_on() -> None:
    """Four hours brought 40 %: six are left, while it is taken down, while it waits, and until the new head has found the parts again.
    By the estimate alone it was eight times the bill in between, and then as if the four hours had been eight.
    """
    run = await curating()
    run.cluster.tick(4 * 3600)
    await hear(run, done=1, total=9, unit="parts", share="0.400000", working_seconds=4 * 3600)
    left = [hours_of(run.status)]
    run.cluster.end_pod(next(name for name in run.pods if name.endswith("head")), 137, reason="Error")
    while run.pods:
        await run.drain_step()
        left.append(hours_of(run.status))
    run.cluster.tick(30)
    await run.until_pods()
    await run.turn(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn(2)
    left.append(hours_of(run.status))
    for seconds, share, worked in ((60, "0.050000", 30), (600, "0.200000", 600), (3000, "0.460000", 3600)):
        run.cluster.tick(seconds)
        await hear(run, done=1, total=9, unit="parts", share=share, working_seconds=worked)
        left.append(hours_of(run.status))
    assert len(left) >= 6
    assert left[0] == pytest.approx(6, rel=0.15)
    assert all(hours == pytest.approx(left[0], rel=0.1) for hours in left[:-1])
    assert left[-1] == pytest.approx(5 * 54 / 46, rel=0.05)


def hours_of(status: JobStatus) -> float:
    """Hours left of the curation."""
    assert status.forecast is not None
    assert status.estimate is not None
    later = sum((float(s.hours.p50) for s in status.estimate.stages if s.name in ("Training", "Evaluation")), 0.0)
    return float(status.forecast.remaining_hours.p50) - later


async def test_a_training_that_is_suspended_is_forecast_by_its_own_speed() -> None:
    """Nine hours brought 30 %: 21 are left on two accelerators of 3.99 USD, suspended or not."""
    run = scenario()
    await run.run_training(0)
    run.cluster.tick(9 * 3600)
    before = p50(await hear(run, done=300_000, total=1_000_000, unit="tokens", working_seconds=9 * 3600))
    run.job["spec"]["suspend"] = True
    await run.drain()
    await run.turn(2)
    assert run.status.state == "Suspended"
    assert p50(run.status) == pytest.approx(before, rel=0.05)
    assert p50(run.status) == pytest.approx(30 * 2 * 3.99, rel=0.05)
    run.job["spec"]["suspend"] = False
    await run.until_pods()
    await run.turn(2)
    assert p50(run.status) == pytest.approx(before, rel=0.05)


async def test_a_forecast_that_turns_out_wrong_is_left_step_by_step_and_its_range_at_once() -> None:
    """Every look of 15 s the training is seen to take thousands of times as long as was estimated."""
    run, seen = scenario(), []
    await run.run_training(60)
    for number in range(1, 60):
        run.cluster.tick(15)
        status = await hear(run, done=number, total=1_000_000, unit="tokens", working_seconds=15 * number)
        assert status.forecast is not None
        seen.append([float(value) for value in status.forecast.usd.model_dump().values()])
    assert all(1 / 1.5 <= after[1] / before[1] <= 1.5 for before, after in pairwise(seen))
    assert seen[-1][1] > 100 * seen[0][1]
    assert seen[9][2] > 10 * seen[9][1]
    assert seen[-1][0] < seen[-1][1] < seen[-1][2] < 2 * seen[-1][1]


async def test_a_small_bill_is_forecast_to_the_hundredth_of_a_cent() -> None:
    run = scenario(training=job_spec()["training"] | {"tokens": 1_000})
    await run.turn(2)
    assert run.status.forecast is not None
    assert len(run.status.forecast.usd.p50.partition(".")[2]) == 4


def stage(name: Stage, **fields: Any) -> StageStatus:
    return StageStatus(name=name, state=StageState.RUNNING, phases=Phases(placed_time=stamp(START)), **fields)


@pytest.mark.parametrize(
    ("name", "told", "left"),
    [
        (Stage.CURATION, [{"done": 1, "total": 2, "unit": "workers"}], 1.0),
        (Stage.CURATION, [{"done": 90, "total": 100, "unit": "parts"}], 1.0),
        (Stage.CURATION, [{"share": "0.25"}], 0.75),
        (Stage.CURATION, [{"share": "0.8"}, {"done": 1, "total": 2, "unit": "workers"}, {"share": "0.1"}], 0.2),
        (Stage.TRAINING, [{"done": 80, "total": 100, "unit": "tokens"}, {"done": 1, "total": 2, "unit": "workers"}], 0.2),
        (Stage.TRAINING, [{"done": 80, "total": 100, "unit": "tokens"}, {"done": 70, "total": 100, "unit": "tokens"}], 0.3),
        (Stage.EVALUATION, [{"done": 1, "total": 4, "unit": "tasks"}], 0.75),
    ],
    ids=["workers", "old-image", "share", "found-again", "restart", "lost-work", "tasks"],
)  # fmt: skip
def test_the_share_is_of_the_stage(name: Stage, told: list[dict[str, Any]], left: float) -> None:
    one = stage(name)
    for words in told:
        one.progress = Progress(**words)
        note_share(one, one.progress)
    assert share_left(one) == pytest.approx(left)


def test_a_status_of_before_has_its_share_in_its_progress() -> None:
    assert share_left(stage(Stage.TRAINING, progress=Progress(done=3, total=4, unit="tokens"))) == 0.25


def test_speed_is_the_stages_own_word_or_what_is_done_over_its_time() -> None:
    spoken = stage(Stage.TRAINING, progress=Progress(done=10, total=100, tokens_per_second="2", working_seconds=50))
    found = measured(spoken, START)
    assert found is not None
    assert (found.per_second, found.seconds, found.calendar) == (0.02, 50, 0.92)
    silent = stage(Stage.CURATION, progress=Progress(share="0.5", working_seconds=100), share="0.5", run_seconds=400)
    found = measured(silent, START)
    assert found is not None
    assert (found.per_second, found.seconds, found.calendar) == (0.001, 500, 1.0)
    assert measured(stage(Stage.CURATION, progress=Progress(done=1, total=2, unit="parts")), START) is None


def trained(*told: tuple[int, int, str], attempts: tuple[int, ...] = ()) -> StageStatus:
    """A training whose head has told these: tokens done of 1,000, seconds of steps, group. `attempts`: where another one begins."""
    one = stage(Stage.TRAINING, attempt=1)
    for number, (done, seconds, group) in enumerate(told):
        one.attempt += number in attempts
        one.progress = Progress(
            done=done, total=1000, unit="tokens", tokens_per_second="9", working_seconds=seconds, group=group
        )
        note_pace(one, one.progress)
    return one


@pytest.mark.parametrize(
    ("one", "tokens", "seconds"),
    [
        (trained((100, 50, "")), 100, 50),
        (trained((100, 50, ""), (300, 100, "")), 300, 100),
        (trained((300, 100, ""), (250, 10, ""), (350, 40, ""), attempts=(1,)), 400, 130),
        (trained((300, 100, "0-3"), (310, 110, "0-1")), 10, 10),
    ],
    ids=["first", "mean-of-all", "over-a-restart", "another-group"],
)
def test_trainings_speed_is_the_mean_of_its_groups_steps(one: StageStatus, tokens: int, seconds: int) -> None:
    """One slow step says nothing; a restart takes nothing of what is known; other workers are another speed."""
    found = measured(one, START)
    assert found is not None
    assert found.per_second == pytest.approx(tokens / seconds / 1000)
    assert found.seconds == seconds


def test_a_head_that_waits_for_workers_leaves_the_speed_as_it_is() -> None:
    one = trained((100, 50, ""))
    one.progress = Progress(done=1, total=2, unit="workers")
    note_pace(one, one.progress)
    found = measured(one, START)
    assert found is not None
    assert found.per_second == pytest.approx(0.002)


def test_a_training_that_stands_still_more_than_others_is_expected_to_go_on_so() -> None:
    """After a long time its own share counts: half of it was no work."""
    one = trained((100, 100_000, ""))
    one.phases = Phases(placed_time=stamp(START), working=100_000)
    found = measured(one, START + timedelta(seconds=200_000))
    assert found is not None
    assert found.calendar == pytest.approx(0.5, rel=0.03)
    found = measured(one, START + timedelta(seconds=100))
    assert found is not None
    assert found.calendar == pytest.approx(0.92, rel=0.01)


def test_a_stage_that_has_succeeded_has_done_all_of_it() -> None:
    one = stage(Stage.TRAINING, progress=Progress(done=95, total=100, unit="tokens"))
    note_done(one)
    assert (one.progress and one.progress.done, share_left(one)) == (100, 0.0)


async def test_a_job_that_is_over_forecasts_its_bill_and_has_no_time_left() -> None:
    run = scenario(budget={"limitUsd": "50"})
    for _ in range(3):
        await run.run_stage()
    await run.run_pods()
    run.cluster.tick(100)
    await hear(run, done=1, total=3, unit="tasks")
    run.end_head()
    await run.drain()
    await run.turn(2)
    status = run.status
    assert status.state == "Succeeded"
    assert status.forecast is not None
    bill = status.ledger.cost_usd
    assert (status.forecast.usd.p10, status.forecast.usd.p50, status.forecast.usd.p90) == (bill, bill, bill)
    assert (status.forecast.eta, status.forecast.remaining_hours.p50, status.eta_seconds) == ("", "", None)
    assert (status.forecast.budget_usd, status.forecast.breach_probability) == ("50.00", "0.000")
    evaluation = status.stages[-1].progress
    assert evaluation is not None
    assert (evaluation.done, evaluation.total) == (3, 3)


async def test_a_job_that_failed_or_is_deleted_forecasts_its_bill() -> None:
    run = scenario(retry={"limit": 0})
    await run.run_training(100)
    run.cluster.end_pod(next(name for name in run.pods if name.endswith("head")), 64)
    await run.drain()
    await run.turn(2)
    assert run.status.state == "Failed"
    assert run.status.forecast is not None
    assert run.status.forecast.usd.p90 == run.status.ledger.cost_usd


async def test_minimums_are_in_the_forecast() -> None:
    """Two accelerators for a few minutes of training, of which a day is paid for."""
    run = scenario()
    plan = KNOWN | {"rented": {"acceleratorHourUsd": "4.00", "minimumSeconds": 86_400}}
    run.cluster.objects[(PLANS, "", "gpu")]["spec"] = plan
    await run.turn(2)
    assert p50(run.status) >= 3 * 4 * 24  # two of training, one of evaluation
    await run.run_training(60)
    status = await hear(run, done=500_000, total=1_000_000, unit="tokens", tokens_per_second="5000", working_seconds=60)
    assert p50(status) == pytest.approx(3 * 4 * 24, rel=0.01)
    assert status.forecast is not None
    assert float(status.forecast.usd.p90) == pytest.approx(3 * 4 * 24, rel=0.01)
