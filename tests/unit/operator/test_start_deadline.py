"""Which waits are free, which are given back, and which are failures: each at its moment, with its bill by hand."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError

from llmtrain.api.status import AttemptRecord, Progress, StageStatus
from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, cluster, recorded_micro_usd
from tests.unit.operator.test_elastic import place
from tests.unit.operator.test_evaluators import evaluation
from tests.unit.operator.test_life_cycle import say
from tests.unit.operator.test_waiting import told, unschedulable

HOUR = 3600
WEEKEND = 64 * HOUR
QUOTA = ApiError(403, "Forbidden", 'pods "w" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1')


def training(run: Scenario) -> StageStatus:
    return run.status.stages[2]


def failures(run: Scenario) -> tuple[int, int, int]:
    return training(run).failures, training(run).infrastructure_failures, training(run).fruitless


async def asked_for(workers: int = 2, **spec: Any) -> Scenario:
    """A job whose training pods were just asked for; its earlier stages ran."""
    run = Scenario(startDeadlineSeconds=600, **spec)
    run.job["spec"]["training"]["cluster"] |= cluster("gpu", workers, 1)
    await run.run_stage()
    await run.run_stage()
    while training(run).attempt == 0:
        await run.turn()
    await run.turn()
    return run


def gated(run: Scenario, name: str) -> None:
    pod = run.cluster.pod(name)
    pod["spec"]["schedulingGates"] = [{"name": "kueue.x-k8s.io/admission"}]
    why = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "Scheduling is blocked"}
    pod["status"]["conditions"] = [why | {"lastTransitionTime": stamp(run.cluster.now)}]


async def take_down(run: Scenario) -> None:
    """Turns, and a kubelet that is done with pods which never started."""
    for _ in range(10):
        await run.turn()
        for pod in run.cluster.of("api/v1/pods"):
            meta = pod["metadata"]
            if "deletionTimestamp" in meta and meta["deletionGracePeriodSeconds"]:
                await run.cluster.delete("api/v1/pods", "team-a", meta["name"], meta["uid"], 0)
    await run.drain()


async def pass_time(run: Scenario, seconds: int, step: int = 600) -> None:
    for _ in range(seconds // step):
        run.cluster.tick(step)
        await run.turn()


def spent_on_training(run: Scenario) -> int:
    return sum(entry.cost_micro_usd for entry in run.status.ledger.entries if entry.stage == "Training")


def refuse_pods(run: Scenario, error: ApiError | None, part: str = "-trn-") -> None:
    run.cluster.refuse = lambda resource, body: (
        error if resource == "api/v1/pods" and part in body["metadata"]["name"] else None
    )


@pytest.mark.parametrize("how", ["unschedulable", "gated", "refused"])
async def test_a_weekend_without_a_place_costs_nothing_and_ends_with_the_first_attempt(how: str) -> None:
    """Deadlines shorter than the weekend, no retry allowed, a budget: none of them counts while nothing is placed."""
    limits = {"retry": {"limit": 0, "infrastructureLimit": 0}, "runDeadlineSeconds": 2 * HOUR}
    run = Scenario(startDeadlineSeconds=600, maxPodLifetimeSeconds=24 * HOUR, budget={"limitUsd": "300"}, **limits)
    refuse_pods(run, QUOTA if how == "refused" else None)
    await run.run_stage()
    await run.run_stage()
    await run.turn(4)
    for name in run.pods:
        gated(run, name) if how == "gated" else unschedulable(run, name)
    before = spent_on_training(run)
    await pass_time(run, WEEKEND, HOUR)
    expected = {"unschedulable": "Unschedulable", "gated": "SchedulingGated", "refused": "QuotaExceeded"}
    assert (told(run).reason, told(run).held_micro_usd) == (expected[how], 0)
    assert (run.status.state, training(run).attempt, failures(run)) == ("Running", 1, (0, 0, 0))
    assert spent_on_training(run) == before == 0
    refuse_pods(run, None)
    run.cluster.tick(60)
    await run.turn(3)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(HOUR)
    await run.turn()
    assert (run.status.state, run.status.waiting) == ("Running", None)
    run.end_head()
    await run.drain()
    assert training(run).state == "Succeeded"
    assert len([record for record in run.status.history if record.stage == "Training"]) == 1
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)


async def test_a_start_deadline_begins_when_the_gates_are_gone_and_a_node_is_found() -> None:
    """Gated for a day, then placed: the image has its whole start deadline."""
    run = await asked_for()
    for name in run.pods:
        gated(run, name)
    await pass_time(run, 24 * HOUR, HOUR)
    for name in run.pods:
        place(run, name)
        run.cluster.pod(name)["spec"]["schedulingGates"] = []
    await run.turn()
    run.cluster.tick(590)
    await run.turn()
    assert (run.status.state, told(run).reason) == ("Running", "Starting")
    run.cluster.tick(20)
    await run.turn()
    assert run.status.state == "Stopping"
    await take_down(run)
    assert run.status.history[-1].failure_class == "NotStarted"
    assert training(run).failures == 1


def part_placed(run: Scenario, part: str = "-w1-") -> None:
    """All run but those with this part of a name, which no node takes."""
    for name in run.pods:
        if run.cluster.pod(name)["status"]["phase"] == "Pending":
            unschedulable(run, name) if part in name else run.cluster.run_pod(name)


async def given_back(run: Scenario) -> AttemptRecord:
    """The attempt's pods stand idle until it is over."""
    for _ in range(20):
        part_placed(run)
        await run.turn()
        if run.status.state == "Stopping":
            await run.drain()
            return run.status.history[-1]
        run.cluster.tick(100)
    raise AssertionError("it was never given back")


async def until_next_try(run: Scenario) -> float:
    """Seconds to the next try; nothing is asked for before."""
    ended, attempt = run.cluster.now, training(run).attempt
    begin = datetime.fromisoformat(training(run).not_before or "")
    run.cluster.now = begin - timedelta(seconds=1)
    await run.turn(2)
    assert (run.pods, training(run).attempt) == ([], attempt)
    run.cluster.now = begin
    await run.turn(4)
    assert training(run).attempt == attempt + 1
    return (begin - ended).total_seconds()


async def test_placed_pods_whose_rest_finds_no_place_are_given_back_uncounted_with_growing_pauses() -> None:
    """Two of two: the head and one worker run, the other finds no node. One GPU costs 3.99 $/h, 60 s at least."""
    run = await asked_for(retry={"limit": 0, "infrastructureLimit": 0}, runDeadlineSeconds=24 * HOUR)
    pauses, dollars = [], 0
    for number in range(1, 6):
        record = await given_back(run)
        assert (record.reason, record.failure_class, training(run).state) == ("Unschedulable", None, "Pending")
        assert 600 <= record.held_seconds <= 840
        assert record.held_micro_usd == record.cost_micro_usd
        dollars += record.cost_micro_usd
        await run.turn()
        waiting = told(run)
        assert (waiting.reason, waiting.held_micro_usd, waiting.held_accelerators) == ("GivenBack", dollars, 0)
        assert str(training(run).not_before) in waiting.message
        assert "Insufficient nvidia.com/gpu" in waiting.message
        assert f"{number} {'try' if number == 1 else 'tries'} before stood idle for $" in waiting.message
        assert failures(run) == (0, 0, 0)
        pauses.append(await until_next_try(run))
        least = min(2**number * (600 + 240), 3.2 * HOUR)
        assert least <= pauses[-1] <= 1.25 * least
    assert pauses[4] <= 4 * HOUR
    assert spent_on_training(run) == dollars > 0
    held = sum(record.held_seconds for record in run.status.history)
    assert training(run).run_seconds == pytest.approx(held, abs=5), "the pauses are no time that clusters were held"
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    assert run.status.waiting is None
    run.end_head()
    await run.drain()
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster)


async def test_the_same_try_has_the_same_pause_whoever_decides_it() -> None:
    ends = []
    for _ in range(2):
        run = await asked_for()
        await given_back(run)
        ends.append(training(run).not_before)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("how", ["gated", "refused", "silent scheduler"])
async def test_whatever_keeps_the_rest_from_a_place_the_placed_pods_are_given_back(how: str) -> None:
    run = Scenario(startDeadlineSeconds=600)
    await run.run_stage()
    await run.run_stage()
    refuse_pods(run, ApiError(422, "Invalid", "no") if how == "refused" else None, "-trn-1-w1-")
    await run.until_pods()
    await run.turn(2)
    for name in run.pods:
        if "-w1-" not in name:
            run.cluster.run_pod(name)
        elif how == "gated":
            gated(run, name)
    await run.turn()
    run.cluster.tick(590)
    await run.turn()
    assert run.status.state == "Running"
    assert told(run).held_micro_usd == pytest.approx(590 * 3.99e6 / 3600, rel=0.02)
    run.cluster.tick(20)
    await run.turn()
    assert run.status.state == "Stopping"
    await run.drain()
    assert (run.status.history[-1].failure_class, failures(run)) == (None, (0, 0, 0))


async def test_an_image_error_beside_a_pod_without_a_place_is_told_first_and_counts() -> None:
    run = await asked_for()
    for name in run.pods:
        unschedulable(run, name) if "-w1-" in name else run.cluster.run_pod(name)
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "jobs:1"'}}
    run.cluster.pod("gpt-trn-1-w0-1")["status"]["containerStatuses"] = [{"name": "stage", "state": pull}]
    await run.turn()
    run.cluster.tick(60)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.pods, waiting.resource) == ("ImagePullBackOff", ["gpt-trn-1-w0-1"], "jobs:1")
    assert "; besides: 1 of 3 pods wait for cpu, nvidia.com/gpu" in waiting.message
    run.cluster.tick(541)
    await run.turn()
    await run.drain()
    record = run.status.history[-1]
    assert (record.reason, record.failure_class, record.held_seconds) == ("ImagePullBackOff", "NotStarted", 0)
    assert "Back-off pulling" in record.message
    assert training(run).failures == 1


async def test_an_image_error_counts_though_its_pod_was_placed_later_than_the_others() -> None:
    """What is given back for another's sake has an error of its own, which the next try would have as well."""
    run = await asked_for()
    run.cluster.run_pod("gpt-trn-1-head")
    unschedulable(run, "gpt-trn-1-w1-1")
    await run.turn()
    run.cluster.tick(300)
    run.cluster.run_pod("gpt-trn-1-w0-1")
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "jobs:1"'}}
    run.cluster.pod("gpt-trn-1-w0-1")["status"]["containerStatuses"] = [{"name": "stage", "state": pull}]
    await run.turn()
    run.cluster.tick(301)
    await take_down(run)
    record = run.status.history[-1]
    assert (record.reason, record.failure_class, training(run).failures) == ("ImagePullBackOff", "NotStarted", 1)


async def test_time_at_a_gate_is_no_reason_to_use_a_bad_node_again() -> None:
    """A node was lost twice and is left out; the queue is not left for that before no node was found for long enough."""
    run = await asked_for()
    for _ in range(2):
        for name in run.pods:
            run.cluster.run_pod(name)
        head = next(name for name in run.pods if name.endswith("head"))
        run.cluster.pod(head)["status"]["reason"] = "Evicted"
        run.cluster.end_pod(head, 137, "", "Error")
        await run.drain()
        run.cluster.tick(60)
        await run.until_pods()
        await run.turn()
    assert [loss.losses for loss in training(run).node_losses] == [2]
    for name in run.pods:
        gated(run, name)
    await pass_time(run, 24 * HOUR, HOUR)
    assert training(run).attempt == 3
    for name in run.pods:
        run.cluster.pod(name)["spec"]["schedulingGates"] = []
        unschedulable(run, name)
    await run.turn()
    since = told(run).since
    assert (training(run).attempt, since) == (3, stamp(run.cluster.now)), "it waits for a node from now on"
    run.cluster.tick(590)
    await run.turn()
    assert (training(run).attempt, run.status.state) == (3, "Running")
    run.cluster.tick(20)
    await run.turn()
    await run.drain()
    await run.until_pods()
    assert (training(run).attempt, training(run).node_losses, training(run).idle_tries) == (4, [], 0)
    assert "affinity" not in run.cluster.pod("gpt-trn-4-head")["spec"]
    assert training(run).failures == 0


async def test_what_waits_for_free_again_holds_nothing_any_more() -> None:
    """A worker had a node for a while before the head got one, and lost it: from then on no deadline counts."""
    run = await asked_for(runDeadlineSeconds=HOUR)
    for name in run.pods:
        run.cluster.run_pod(name) if "-w0-" in name else unschedulable(run, name)
    await run.turn()
    before = training(run).run_seconds
    run.cluster.tick(300)
    await run.turn()
    run.cluster.pod("gpt-trn-1-w0-1")["status"]["reason"] = "Evicted"
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, "", "Error")
    await run.turn(4)
    unschedulable(run, "gpt-trn-1-w0-2")
    await pass_time(run, 24 * HOUR, HOUR)
    assert (run.status.state, training(run).attempt, told(run).held_micro_usd) == ("Running", 1, 0)
    assert 300 <= training(run).run_seconds - before <= 310


async def test_a_volume_that_is_not_mounted_in_time_counts_though_another_pod_has_no_place() -> None:
    run = await asked_for()
    for name in run.pods:
        unschedulable(run, name) if "-w1-" in name else place(run, name)
    await run.turn()
    run.cluster.tick(601)
    await take_down(run)
    record = run.status.history[-1]
    assert (record.reason, record.failure_class) == ("StartDeadlineExceeded", "NotStarted")
    assert "gpt-trn-1-head is on node node-1" in record.message
    assert "volume" in record.message


async def test_a_successor_without_a_place_gives_the_rest_back_and_progress_starts_the_pauses_anew() -> None:
    run = await asked_for(retry={"limit": 0, "infrastructureLimit": 1})
    await given_back(run)
    await until_next_try(run)
    assert training(run).idle_tries == 1
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(5 * HOUR)
    say(run, Progress(done=5, total=10, unit="tokens", checkpoint="step-5"))
    await run.turn()
    lost = run.cluster.now
    run.cluster.end_pod("gpt-trn-2-w0-1", 137, "", "Error")
    await run.turn(3)
    unschedulable(run, "gpt-trn-2-w0-2")
    await run.turn()
    run.cluster.tick(590)
    await run.turn()
    assert run.status.state == "Running"
    run.cluster.tick(20)
    await run.turn()
    assert run.status.state == "Stopping"
    await run.drain()
    record = run.status.history[-1]
    held = (run.cluster.now - lost).total_seconds()
    assert held - 5 <= record.held_seconds <= held, "since the worker was lost"
    # Head without a price, one GPU: until it was decided. What was worked before is no idle time.
    assert record.held_micro_usd == pytest.approx(610 * 3.99e6 / 3600, rel=0.01)
    assert record.cost_micro_usd > 20 * record.held_micro_usd
    assert (training(run).idle_tries, training(run).idle_micro_usd) == (1, record.held_micro_usd)


async def test_evaluators_that_are_placed_are_held_as_well() -> None:
    """Head and workers find no place: what stands idle is the evaluators alone, and they are given back in time."""
    run = await asked_for(evaluation=evaluation())
    for name in run.pods:
        run.cluster.run_pod(name) if "-e" in name else unschedulable(run, name)
    await run.turn()
    run.cluster.tick(590)
    await run.turn()
    assert (run.status.state, told(run).reason) == ("Running", "Unschedulable")
    # Two of 2 cores and 3 GiB on the CPU plan.
    assert told(run).held_micro_usd == pytest.approx(2 * 590 * (2 * 31_611 + 3 * 4_237) / 3600, rel=0.02)
    run.cluster.tick(20)
    await run.turn()
    await run.drain()
    assert (run.status.history[-1].held_seconds >= 600, failures(run)) == (True, (0, 0, 0))


async def test_a_lone_head_waits_for_free_and_counts_once_it_is_placed_and_does_not_start() -> None:
    run = Scenario(startDeadlineSeconds=600, retry={"limit": 0})
    await run.turn(3)
    unschedulable(run, "gpt-pre-1-head")
    await pass_time(run, WEEKEND, HOUR)
    assert (run.status.state, run.status.ledger.total_micro_usd, told(run).reason) == ("Running", 0, "Unschedulable")
    place(run, "gpt-pre-1-head")
    await run.turn()
    run.cluster.tick(590)
    await run.turn()
    assert run.status.state == "Running"
    run.cluster.tick(20)
    await take_down(run)
    assert run.status.state == "Failed"
    assert run.status.stages[0].message.startswith("StartDeadlineExceeded")


async def test_a_scheduler_that_says_nothing_is_told_by_name() -> None:
    run = await asked_for()
    run.cluster.tick(61)
    await run.turn()
    assert (told(run).reason, told(run).pod_count, told(run).held_micro_usd) == ("NotScheduled", 3, 0)
    assert "scheduler default-scheduler says nothing" in told(run).message
