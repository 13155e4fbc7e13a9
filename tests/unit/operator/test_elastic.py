"""Elastic workers: who waits for free, who is given back, what is never counted as a failure, and the money of it."""

from typing import Any

import pytest
from llmtrain_operator.attribution import Shares, attribute, hand_over, indices
from llmtrain_operator.idle_release import GIVING_BACK_SECONDS
from llmtrain_operator.podstate import PodState

from llmtrain.api.status import Phases, PhaseSeconds, Progress, Stage, StageStatus, WorkerState
from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd
from tests.unit.operator.test_metrics import KNOWN
from tests.unit.operator.test_waiting import told, unschedulable

GPU_SECOND = 3.99e6 / 3600


async def elastic(replicas: int, least: int, *placed: int, **spec: Any) -> Scenario:
    """A training whose head and `placed` workers run; no node takes the others."""
    run = Scenario(**spec)
    workers = run.job["spec"]["training"]["cluster"]["workers"]
    workers |= {"replicas": replicas, "minReplicas": least}
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    await run.turn()
    for name in run.pods:
        if name.endswith("head") or any(name.endswith(f"w{index}-1") for index in placed):
            run.cluster.run_pod(name)
        else:
            unschedulable(run, name)
    await run.turn(2)
    return run


def workers(run: Scenario) -> list[str]:
    """Names of worker pods that nobody has asked to go."""
    pods = [pod["metadata"] for pod in run.cluster.of("api/v1/pods") if "deletionTimestamp" not in pod["metadata"]]
    return sorted(meta["name"].removeprefix("gpt-trn-1-") for meta in pods if not meta["name"].endswith("head"))


def training(run: Scenario) -> StageStatus:
    return next(stage for stage in run.status.stages if stage.name is Stage.TRAINING)


def events(run: Scenario, reason: str) -> list[str]:
    return [event["message"] for event in run.cluster.of("api/v1/events") if event["reason"] == reason]


async def hear(run: Scenario, **progress: Any) -> None:
    """The head says something, and the operator looks."""
    head = next(pod for pod in run.cluster.of("api/v1/pods") if pod["metadata"]["name"].endswith("head"))
    run.cluster.tick(1)
    run.memory.progress, run.memory.progress_of = Progress(**progress), head["metadata"]["uid"]
    await run.turn()


def scale(run: Scenario, replicas: int) -> None:
    run.job["spec"]["training"]["cluster"]["workers"]["replicas"] = replicas


async def test_a_worker_that_no_node_takes_waits_for_free_while_training_runs() -> None:
    run = await elastic(3, 2, 0, 1, startDeadlineSeconds=600)
    run.cluster.tick(40_000)
    await run.turn()
    assert training(run).state.value == "Running"
    assert training(run).attempt == 1
    waiting = told(run)
    assert (waiting.reason, waiting.held_micro_usd) == ("FewerWorkers", 0)
    assert waiting.message.startswith("2 of 3 workers can train; 1 of 4 pods wait for cpu, nvidia.com/gpu")
    assert "$" not in waiting.message
    assert next(c for c in run.status.conditions if c.type == "Progressing").status == "True"
    assert workers(run) == ["w0-1", "w1-1", "w2-1"]


async def test_a_successor_without_which_nobody_trains_has_its_own_start_deadline() -> None:
    """Another worker has waited for hours, which counted for nothing while there were enough."""
    run = await elastic(3, 2, 0, 1, startDeadlineSeconds=600)
    run.cluster.tick(40_000)
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-w1-1", 137)
    await run.turn(4)
    assert workers(run) == ["w0-1", "w1-2", "w2-1"]
    unschedulable(run, "gpt-trn-1-w1-2")
    run.cluster.tick(590)
    await run.turn()
    assert (training(run).state.value, training(run).attempt) == ("Running", 1)
    run.cluster.tick(20)
    await run.turn()
    assert training(run).state.value == "Stopping"


async def test_fewer_than_the_least_are_released_after_the_start_deadline() -> None:
    run = await elastic(3, 2, 0, startDeadlineSeconds=600)
    assert told(run).reason == "Unschedulable"
    run.cluster.tick(601)
    await run.turn()
    await run.drain()
    assert training(run).message.startswith("Unschedulable")
    record = run.status.history[-1]
    assert (record.failure_class, record.held_seconds >= 600, record.held_micro_usd > 0) == (None, True, True)
    assert (training(run).failures, training(run).infrastructure_failures) == (0, 0)


PAIRS = {"retry": {"infrastructureLimit": 0}, "startDeadlineSeconds": 600}


async def pairs(*placed: int) -> Scenario:
    """Replicas of the model that take two workers each: four are wanted, two are enough."""
    run = Scenario(**PAIRS)
    run.job["spec"]["training"]["parallelism"] = {"tensor": 2}
    spec = run.job["spec"]
    return await elastic(4, 2, *placed, **(PAIRS | {"training": spec["training"]}))


async def test_half_a_replica_is_given_back_after_its_time_and_asked_for_again_later() -> None:
    run = await pairs(0, 1, 2)
    run.cluster.tick(300)
    await run.turn()
    waiting = told(run)
    assert waiting.held_accelerators == 1, "of three placed workers one has no partner"
    assert waiting.held_micro_usd == pytest.approx(300 * GPU_SECOND, rel=0.02)
    run.cluster.tick(302)
    await run.turn()
    assert workers(run) == ["w0-1", "w1-1"], "the one without a partner and the one that was waited for"
    assert "1 workers stood idle for" in events(run, "WorkersReleased")[0]
    await run.drain_step()
    await run.turn(3)
    assert training(run).attempt == 1
    run.cluster.tick(2 * 600)
    await run.turn()
    assert workers(run) == ["w0-1", "w1-1"], "the pause is at least twice what was held"
    assert told(run).held_micro_usd == pytest.approx(602 * GPU_SECOND, rel=0.02), "that is told meanwhile"
    run.cluster.tick(1000)
    await run.turn(2)
    assert workers(run) == ["w0-1", "w1-1", "w2-2", "w3-2"], "no name twice; nothing counts as a loss"
    assert training(run).state.value == "Running"


async def test_the_next_try_comes_after_twice_the_pause() -> None:
    run = await pairs(0, 1, 2)
    pauses = []
    for incarnation in (2, 3):
        run.cluster.tick(601)
        await run.turn()
        given = run.cluster.now
        for _ in range(5):
            await run.drain_step()
        while f"w2-{incarnation}" not in workers(run):
            run.cluster.tick(20)
            await run.turn()
        pauses.append((run.cluster.now - given).total_seconds())
        run.cluster.run_pod(f"gpt-trn-1-w2-{incarnation}")
        unschedulable(run, f"gpt-trn-1-w3-{incarnation}")
        await run.turn()
    held = 601 + GIVING_BACK_SECONDS
    assert 2 * held <= pauses[0] <= 2.5 * held + 45
    assert 4 * held <= pauses[1] <= 5 * held + 45


async def test_a_placed_worker_that_does_not_start_is_given_back_too() -> None:
    run = await elastic(3, 2, 0, 1, 2, startDeadlineSeconds=600)
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": "back-off"}}
    run.cluster.pod("gpt-trn-1-w2-1")["status"]["containerStatuses"] = [{"name": "stage", "state": pull}]
    await run.turn()
    run.cluster.tick(601)
    await run.turn()
    assert workers(run) == ["w0-1", "w1-1"]


def place(run: Scenario, name: str) -> None:
    """A node takes the pod; its image is still to be pulled."""
    pod = run.cluster.pod(name)
    pod["spec"]["nodeName"] = "node-1"
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": run.cluster.now.isoformat()}
    pod["status"] = {"phase": "Pending", "conditions": [placed]}


async def test_a_pod_has_its_whole_start_deadline_though_others_were_idle_before_it() -> None:
    """The successor of one worker starts while that of another is awaited: nobody was idle for longer than 320 s."""
    run = await elastic(3, 1, 0, 1, 2, startDeadlineSeconds=600)
    for index, seconds in ((2, 300), (1, 20)):
        run.cluster.end_pod(f"gpt-trn-1-w{index}-1", 137)
        await run.turn(4)
        place(run, f"gpt-trn-1-w{index}-2")
        await run.turn()
        run.cluster.tick(seconds)
    run.cluster.run_pod("gpt-trn-1-w2-2")
    await run.turn()
    run.cluster.tick(300)
    await run.turn()
    assert workers(run) == ["w0-1", "w1-2", "w2-2"]
    run.cluster.tick(290)
    await run.turn()
    assert workers(run) == ["w0-1", "w2-2"], "and no more than that"


async def test_lowering_replicas_takes_the_highest_and_raising_brings_new_ones() -> None:
    run = await elastic(3, 1, 0, 1, 2, retry={"infrastructureLimit": 0})
    scale(run, 2)
    await run.turn()
    assert workers(run) == ["w0-1", "w1-1"]
    leaving = run.cluster.pod("gpt-trn-1-w2-1")["metadata"]
    assert leaving["deletionGracePeriodSeconds"] == 60, "it has the time to save"
    await run.drain_step()
    await run.turn(3)
    assert "gpt-trn-1-w2-1" not in run.pods, "billed and gone"
    scale(run, 4)
    await run.turn(2)
    assert workers(run) == ["w0-1", "w1-1", "w2-2", "w3-1"]
    assert (training(run).state.value, training(run).attempt) == ("Running", 1)


async def test_a_lost_worker_is_replaced_in_place_as_ever() -> None:
    run = await elastic(3, 1, 0, 1, 2)
    run.cluster.end_pod("gpt-trn-1-w1-1", 137)
    await run.turn(4)
    assert workers(run) == ["w0-1", "w1-2", "w2-1"]


async def test_shrinking_and_growing_are_told() -> None:
    run = await elastic(3, 1, 0, 1, 2)
    await hear(run, done=10, total=100, group="0-2", detail="step 10", working_seconds=10)
    await hear(run, done=20, total=100, group="0,2", detail="step 20", working_seconds=20)
    await hear(run, done=30, total=100, group="0-2", detail="step 30", working_seconds=30)
    assert events(run, "TrainingShrank") == ["2 workers train together instead of 3, at step 20"]
    assert events(run, "TrainingGrew") == ["3 workers train together instead of 2, at step 30"]


async def test_time_in_which_a_worker_did_not_train_is_not_work() -> None:
    """Three workers for 100 s, two for 50, and a successor of the third stands by for the last 20 of these."""
    run = await elastic(3, 1, 0, 1, 2)
    await hear(run, group="0-2", detail="step 1", working_seconds=0)
    run.cluster.tick(100)
    await hear(run, group="0-2", detail="step 10", working_seconds=100)
    run.cluster.end_pod("gpt-trn-1-w2-1", 137)
    await run.turn(3)
    run.cluster.tick(30)
    await hear(run, group="0-1", detail="step 12", working_seconds=130)
    run.cluster.run_pod("gpt-trn-1-w2-2")
    run.cluster.tick(20)
    await hear(run, group="0-1", detail="step 14", working_seconds=150)
    run.job["spec"]["suspend"] = True
    await run.drain()
    entry = next(e for e in run.status.ledger.entries if e.stage is Stage.TRAINING and e.role == "worker")
    assert entry.split.working == 150 + 150 + 100
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)


async def test_workers_wait_for_their_head_however_many_of_them_there_are() -> None:
    """Three workers run at once, one is enough, and the head starts 200 s later: until then all of them waited."""
    run = Scenario()
    run.job["spec"]["training"]["cluster"]["workers"] |= {"replicas": 3, "minReplicas": 1}
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    await run.turn()
    for name in sorted(run.pods, reverse=True):
        if name.endswith("head"):
            await run.turn()
            run.cluster.tick(200)
        run.cluster.run_pod(name)
    await run.turn()
    assert training(run).phases.complete_time == stamp(run.cluster.now)


def pod(index: int, incarnation: int, role: str = "worker", attempt: int = 1) -> PodState:
    names = {"stage": "Training", "attempt": attempt, "role": role, "index": index, "incarnation": incarnation}
    labels = {f"llmtrain.dev/{key}": str(value) for key, value in names.items()}
    return PodState({"metadata": {"labels": labels}})


def test_a_part_belongs_to_those_who_trained() -> None:
    stage = StageStatus(name=Stage.TRAINING, attempt=1)
    stage.workers = [WorkerState(index=0), WorkerState(index=1, incarnation=2)]
    stage.parked = [WorkerState(index=2)]
    stage.phases = Phases(working=100, redone=7)
    attribute(stage, Phases(working=60, redone=5), stage.phases, Progress(group="0"))
    of = Shares(stage).of
    assert of(pod(0, 1)).working == 100
    assert (of(pod(1, 2)).working, of(pod(1, 2)).redone) == (60, 5)
    assert of(pod(2, 1)).working == 60
    assert of(pod(1, 1, role="head")).working == 100
    assert of(pod(0, 1, attempt=2)) == Phases()
    assert indices("0-3,5") == [0, 1, 2, 3, 5]
    assert indices("x,2-") == []


def test_a_pod_that_is_billed_after_its_successor_came_has_its_own_part_alone() -> None:
    """It came when 60 s of work were done, and stayed to 100; what follows is its successor's, or nobody's."""
    slot = WorkerState(index=0, elsewhere=PhaseSeconds(working=60))
    stage = StageStatus(name=Stage.TRAINING, attempt=1, workers=[slot], phases=Phases(working=100))
    hand_over(slot, stage.phases)
    before, stage.phases = stage.phases, Phases(working=130)
    attribute(stage, before, stage.phases, Progress(group="1"))
    of = Shares(stage).of
    assert (of(pod(0, 1)).working, of(pod(0, 2)).working) == (40, 0)


async def test_more_workers_than_the_budget_pays_for_are_not_made_and_nothing_stops() -> None:
    """Two workers and a head leave little of the limit; 20 workers more would break it."""
    run = await elastic(2, 1, 0, 1, budget={"limitUsd": "8.00"})
    scale(run, 16)
    for _ in range(20):
        run.cluster.tick(15)
        await run.turn()
    assert (training(run).state.value, workers(run)) == ("Running", ["w0-1", "w1-1"])


async def test_workers_that_the_budget_pays_for_come_and_all_end_within_it() -> None:
    run = await elastic(2, 1, 0, 1, budget={"limitUsd": "40.00"})
    scale(run, 4)
    for _ in range(20):
        run.cluster.tick(15)
        await run.turn()
        for name in run.pods:
            if not run.cluster.pod(name)["status"].get("containerStatuses"):
                run.cluster.run_pod(name)
    assert workers(run) == ["w0-1", "w1-1", "w2-1", "w3-1"]
    ends = [int(p["spec"]["activeDeadlineSeconds"]) for p in run.cluster.of("api/v1/pods")]
    hours = 4 * (max(ends) + 75) / 3600
    assert hours * 3.99 < 40.0 * 1.05, "what four workers can cost until their kubelets end them"


async def forecast_of(*placed: int) -> float:
    """Median bill at completion, US dollars, of a training that these of four workers do."""
    run = await elastic(4, 1, *placed)
    run.cluster.objects[("apis/llmtrain.dev/v1alpha1/computeplans", "", "gpu")]["spec"] = KNOWN
    run.cluster.tick(100)
    await hear(run, done=100_000, total=1_000_000_000, tokens_per_second="1000", working_seconds=100, group="0")
    assert run.status.forecast is not None
    assert run.status.forecast.usd is not None
    return float(run.status.forecast.usd.p50)


async def test_a_forecast_prices_the_workers_that_are_there() -> None:
    """At the same speed one worker costs a quarter of four."""
    assert await forecast_of(0) == pytest.approx(await forecast_of(0, 1, 2, 3) / 4, rel=0.1)
