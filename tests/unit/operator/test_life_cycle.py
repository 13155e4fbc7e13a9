"""Deadlines, losses, rotation, time to live: what happens to a job that does not simply run through."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.reconcile import JOBS

from llmtrain.api.status import Progress, StageStatus
from tests.unit.operator.booked import booked_micro_usd
from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd


async def in_training(**spec: Any) -> Scenario:
    """A job whose training cluster runs."""
    run = Scenario(**spec)
    await run.run_stage()
    await run.run_stage()
    await start_pods(run)
    return run


async def start_pods(run: Scenario) -> None:
    while not run.pods:
        await run.turn()
        run.cluster.tick(1)
    await run.turn(2)
    for name in run.pods:
        if run.cluster.pod(name)["status"]["phase"] == "Pending":
            run.cluster.run_pod(name)
    await run.turn()


def training(run: Scenario) -> StageStatus:
    return run.status.stages[2]


def failed_words(run: Scenario, **result: Any) -> str:
    return json.dumps({"outcome": "Failed", "failureClass": "Internal", "message": "broken", **result})


def break_node(run: Scenario, seconds_ago: int) -> None:
    node = run.cluster.objects[("api/v1/nodes", "", "node-1")]
    since = stamp(run.cluster.now - timedelta(seconds=seconds_ago))
    node["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "lastTransitionTime": since}]


def cut_off(run: Scenario, name: str) -> None:
    """What the node controller does to a pod whose node is silent."""
    status = run.cluster.pod(name)["status"]
    status["containerStatuses"][0]["ready"] = True
    status["conditions"].append({"type": "Ready", "status": "False", "lastTransitionTime": stamp(run.cluster.now)})


def say(run: Scenario, progress: Progress) -> None:
    """The head answers."""
    head = next(name for name in run.pods if name.endswith("head"))
    run.memory.progress, run.memory.progress_of = progress, run.cluster.pod(head)["metadata"]["uid"]


async def fail_head(run: Scenario, **result: Any) -> None:
    head = next(name for name in run.pods if name.endswith("head"))
    run.cluster.end_pod(head, 70, failed_words(run, **result), "Error")
    await run.drain()


async def test_the_backoff_grows_without_a_checkpoint_and_starts_anew_with_one() -> None:
    run = await in_training(retry={"limit": 10})
    pauses = []
    for checkpoint in ("", "", "step-10", "step-10", "step-20"):
        await fail_head(run, checkpoint=checkpoint)
        ended = run.status.history[-1].end_time
        begin = training(run).not_before
        assert begin is not None
        pauses.append((begin, ended))
        run.cluster.tick(301)
        await start_pods(run)
    seconds = [(datetime.fromisoformat(b) - datetime.fromisoformat(e)).total_seconds() for b, e in pauses]
    assert seconds == [10, 20, 0, 10, 0]


async def test_history_tells_every_attempt_with_its_bill_and_is_bounded() -> None:
    run = await in_training(retry={"limit": 100})
    for _ in range(40):
        await fail_head(run)
        run.cluster.tick(301)
        await start_pods(run)
    history = run.status.history
    assert len(history) == 32
    assert [r.attempt for r in history] == list(range(9, 41))
    assert {(r.reason, r.failure_class, r.exit_code) for r in history} == {("Internal", "Internal", 70)}
    assert all(r.cost_micro_usd > 0 for r in history)


async def test_the_costs_of_the_attempts_add_up_to_the_bill() -> None:
    run = await in_training(retry={"limit": 3})
    await fail_head(run)
    run.cluster.tick(60)
    for _ in range(2):
        await run.run_stage()
    assert run.status.state == "Succeeded"
    assert sum(r.cost_micro_usd for r in run.status.history) == run.status.ledger.total_micro_usd
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster) > 0


@pytest.mark.parametrize("where", ["job", "stage"])
async def test_a_run_deadline_saves_and_fails(where: str) -> None:
    spec: dict[str, Any] = {"runDeadlineSeconds": 500} if where == "job" else {}
    run = await in_training(**spec)
    if where == "stage":
        run.job["spec"]["training"]["cluster"]["runDeadlineSeconds"] = 250
    await fail_head(run)
    run.cluster.tick(3600)  # a pause without a cluster does not count
    await start_pods(run)
    assert training(run).state == "Running"
    run.cluster.tick(400 if where == "job" else 250)
    await run.turn()
    assert training(run).state == "Stopping"
    deleted = [p["metadata"]["name"] for p in run.cluster.of("api/v1/pods") if "deletionTimestamp" in p["metadata"]]
    assert deleted == ["gpt-trn-2-head"]
    await run.drain()
    succeeded = next(c for c in run.status.conditions if c.type == "Succeeded")
    assert (run.status.state, succeeded.reason) == ("Failed", "DeadlineExceeded")
    field = "spec.runDeadlineSeconds" if where == "job" else "spec.training.cluster.runDeadlineSeconds"
    assert field in succeeded.message
    assert run.pods == []


async def test_rotation_is_no_failure_where_a_checkpoint_was_saved() -> None:
    run = await in_training(maxPodLifetimeSeconds=3600, retry={"limit": 0})
    run.cluster.tick(3280)
    await run.turn()
    assert training(run).state == "Running"
    run.cluster.tick(20)
    await run.turn()
    words = failed_words(run, failureClass="Interrupted", checkpoint="step-7")
    run.cluster.end_pod("gpt-trn-1-head", 75, words)
    await run.drain()
    await start_pods(run)
    stage = training(run)
    assert (stage.attempt, stage.state, stage.failures, stage.infrastructure_failures) == (2, "Running", 0, 0)
    assert run.status.history[-1].reason == "Rotated"
    assert run.status.history[-1].checkpoint == "step-7"


async def test_a_lifetime_in_which_nothing_was_saved_is_a_failure() -> None:
    run = await in_training(maxPodLifetimeSeconds=3600, retry={"limit": 0})
    run.cluster.tick(3400)
    await run.drain()
    succeeded = next(c for c in run.status.conditions if c.type == "Succeeded")
    assert (run.status.state, succeeded.reason) == ("Failed", "Rotated")
    assert "saved nothing" in succeeded.message


async def test_a_finished_job_is_deleted_when_its_time_is_up_and_booked() -> None:
    run = Scenario(ttlSecondsAfterFinished=600)
    for _ in range(4):
        await run.run_stage()
    assert run.status.state == "Succeeded"
    await run.turn()
    spent = run.status.ledger.total_micro_usd
    run.cluster.tick(598)
    await run.turn(2)
    assert run.cluster.of(JOBS)
    run.cluster.tick(120)
    await run.turn(4)
    assert run.cluster.of(JOBS) == []
    assert booked_micro_usd(run.cluster) == spent > 0


async def test_without_a_time_to_live_a_finished_job_stays() -> None:
    run = Scenario()
    for _ in range(4):
        await run.run_stage()
    run.cluster.tick(10**8)
    await run.turn(3)
    assert run.status.state == "Succeeded"
    assert run.status.completion_time is not None


async def test_a_silent_node_ends_the_attempt_at_once_and_its_pod_is_removed_when_it_stays_silent() -> None:
    run = await in_training()
    cut_off(run, "gpt-trn-1-head")
    break_node(run, 30)
    await run.turn()
    assert training(run).state == "Running"
    run.cluster.tick(40)
    await run.turn()
    assert training(run).state == "Stopping"
    for _ in range(400):  # no kubelet confirms anything
        await run.turn()
        run.cluster.tick(1)
        if not run.pods:
            break
    await run.turn()
    record = run.status.history[-1]
    assert (record.reason, record.failure_class, record.node) == ("NodeLost", "Infrastructure", "node-1")
    assert run.pods == []
    assert training(run).infrastructure_failures == 1


async def test_a_node_is_left_out_after_the_second_loss_and_asked_again_when_nothing_else_has_room() -> None:
    run = await in_training(startDeadlineSeconds=60)
    for _ in range(2):
        head = next(name for name in run.pods if name.endswith("head"))
        assert "affinity" not in run.cluster.pod(head)["spec"]
        run.cluster.pod(head)["status"]["reason"] = "Evicted"
        run.cluster.end_pod(head, 137, "", "Error")
        await run.drain()
        run.cluster.tick(30)
        while not run.pods:
            await run.turn()
        if run.status.stages[2].attempt == 2:
            await start_pods(run)
    affinity = run.cluster.pod("gpt-trn-3-head")["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["node-1"]}]}]
    run.cluster.tick(61)
    await run.drain()
    run.cluster.tick(301)
    await run.turn(2)
    assert "affinity" not in run.cluster.pod("gpt-trn-4-head")["spec"]


async def test_a_cluster_that_answers_and_gets_nowhere_is_given_up() -> None:
    run = await in_training(stallDeadlineSeconds=900, retry={"limit": 0})
    told = Progress(done=5, total=10, unit="tokens")
    for seconds in (0, 400, 400):
        run.cluster.tick(seconds)
        say(run, told)
        await run.turn()
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "NoProgress"
    assert run.status.waiting.held_micro_usd > 0
    run.cluster.tick(200)
    await run.turn()
    assert training(run).state == "Running", "a head that does not answer is not judged"
    say(run, told)
    await run.turn()
    assert training(run).state == "Stopping"
    await run.drain()
    assert run.status.history[-1].reason == "Stalled"


async def test_progress_of_any_kind_starts_the_stall_clock_anew() -> None:
    run = await in_training(stallDeadlineSeconds=900)
    for done in range(20):
        say(run, Progress(done=done, total=100, unit="tokens"))
        await run.turn()
        run.cluster.tick(800)
    assert training(run).state == "Running"


async def test_a_worker_that_keeps_failing_ends_the_attempt() -> None:
    run = await in_training(retry={"limit": 2})
    for incarnation in (1, 2, 3):
        name = f"gpt-trn-1-w1-{incarnation}"
        await start_pods(run)
        run.cluster.end_pod(name, 70, "", "Error")
        await run.turn(2)
    await run.drain()
    assert run.status.history[-1].reason == "WorkersFailed"
    assert training(run).failures == 1


async def test_a_worker_that_cannot_be_placed_again_does_not_hold_the_others_for_ever() -> None:
    run = await in_training(startDeadlineSeconds=300)
    say(run, Progress(done=5, total=10, unit="tokens"))
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, "", "Error")
    await run.turn(3)
    assert "gpt-trn-1-w0-2" in run.pods
    run.cluster.tick(301)
    await run.turn()
    assert training(run).state == "Stopping"
    await run.drain()
    record = run.status.history[-1]
    assert (record.failure_class, training(run).failures) == (None, 0)
    assert record.held_seconds >= 300, "since the worker was lost, not since the attempt began"
    assert record.held_seconds < 320


async def test_a_worker_replaced_during_an_attempt_has_the_attempts_image() -> None:
    run = await in_training()
    run.job["spec"]["image"] = "jobs:2"
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, "", "Error")
    await run.turn(3)
    assert run.cluster.pod("gpt-trn-1-w0-2")["spec"]["containers"][0]["image"] == "jobs:1"
    await fail_head(run)
    run.cluster.tick(30)
    await run.turn(2)
    assert run.cluster.pod("gpt-trn-2-head")["spec"]["containers"][0]["image"] == "jobs:2"


STATES = ["nothing", "created", "running", "stopping", "between", "suspended", "failed", "succeeded"]


@pytest.mark.parametrize("on_delete", ["SaveCheckpoint", "Immediately"])
@pytest.mark.parametrize("state", STATES)
async def test_a_job_can_be_deleted_at_any_moment(state: str, on_delete: str) -> None:
    run = await bring_to(state, on_delete)
    await run.cluster.delete(JOBS, "team-a", "gpt", "", None)
    for _ in range(60):
        if not run.cluster.of(JOBS):
            break
        await run.drain_step()
    assert run.cluster.of(JOBS) == []
    assert run.pods == []
    left = {kind for (kind, _, name) in run.cluster.objects if name.startswith("gpt-")}
    assert left <= {"api/v1/events"}
    assert booked_micro_usd(run.cluster) == recorded_micro_usd(run.cluster)


async def bring_to(state: str, on_delete: str) -> Scenario:
    if state in ("nothing", "created"):
        run = Scenario(onDelete=on_delete)
        await run.turn(1 if state == "nothing" else 3)
        return run
    if state == "succeeded":
        run = Scenario(onDelete=on_delete)
        for _ in range(4):
            await run.run_stage()
        return run
    run = await in_training(onDelete=on_delete, retry={"limit": 0 if state == "failed" else 3})
    run.cluster.tick(20)
    if state in ("stopping", "suspended"):
        run.job["spec"]["suspend"] = True
        await (run.turn() if state == "stopping" else run.drain())
    if state in ("between", "failed"):
        await fail_head(run)
    return run


async def test_a_refused_quota_is_tried_again_slowly() -> None:
    run = Scenario()
    refusal = ApiError(
        403,
        "Forbidden",
        'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8',
    )
    run.cluster.refuse = lambda resource, body: refusal if resource == "api/v1/pods" else None
    await run.turn(3)
    outlook = await run.turn()
    assert outlook.seconds == 15.0
    waiting = run.status.waiting
    assert waiting is not None
    assert (waiting.reason, waiting.resource) == ("QuotaExceeded", "nvidia.com/gpu")
