"""Whatever else runs in a pod, the stage is the container of that name: its start, its end, its exit code, its words."""

import json
from typing import Any

import pytest
from llmtrain_operator.podstate import PodState

from llmtrain.api.status import Progress, StageStatus
from tests.unit.operator.fake_cluster import stamp
from tests.unit.operator.scenario import Scenario, recorded_micro_usd

MESHES = {"istio": ("istio-proxy", "istio-init"), "linkerd": ("linkerd-proxy", "linkerd-init"),
          "vault": ("vault-agent", "vault-agent-init"), "logs": ("zz-log-shipper", "a-log-setup")}  # fmt: skip
SHAPES = {
    f"{mesh}, {shape}": {beside: shape} | ({before: "init"} if shape != "init" else {})
    for mesh, (beside, before) in MESHES.items()
    for shape in ("container", "init", "sidecar")
}
HEAD = "gpt-trn-1-head"
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}


def training(run: Scenario) -> StageStatus:
    return run.status.stages[2]


def ended_by(run: Scenario) -> str:
    outcome = training(run).outcome
    return outcome.reason if outcome else ""


async def placed(injects: dict[str, str], **spec: Any) -> Scenario:
    """The training's pods are bound to a node; what a webhook put before the stage has run."""
    run = Scenario(**spec)
    run.cluster.injects = injects
    await run.until_training()
    for name in run.pods:
        run.cluster.place_pod(name)
    await run.turn()
    return run


async def in_training(injects: dict[str, str], **spec: Any) -> Scenario:
    run = await placed(injects, **spec)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    return run


def status_of(run: Scenario, pod: str, container: str = "stage") -> dict[str, Any]:
    status = run.cluster.pod(pod)["status"]
    told = [*status.get("initContainerStatuses", []), *status["containerStatuses"]]
    return next(one for one in told if one["name"] == container)


@pytest.mark.parametrize("code", [0, 137])
@pytest.mark.parametrize("shape", list(SHAPES))
async def test_a_whole_job_beside_whatever_was_injected_ends_with_its_stages_and_the_recorders_bill(
    shape: str, code: int
) -> None:
    run = Scenario()
    run.cluster.injects, run.cluster.injected_code = SHAPES[shape], code
    for _ in range(4):
        await run.run_stage(600)
    assert run.status.state == "Succeeded"
    assert [stage.attempt for stage in run.status.stages] == [1, 1, 1, 1]
    await run.turn()
    assert run.status.ledger.total_micro_usd == recorded_micro_usd(run.cluster) > 0


@pytest.mark.parametrize("role", ["head", "w0-1"])
async def test_a_pod_whose_stage_is_over_is_deleted_whatever_runs_on_in_it(role: str) -> None:
    run = await in_training({"istio-proxy": "container"})
    run.cluster.tick(60)
    name = f"gpt-trn-1-{role}"
    run.cluster.end_pod(name, 70, json.dumps({"outcome": "Failed", "failureClass": "Internal"}))
    assert run.cluster.pod(name)["status"]["phase"] == "Running"
    await run.turn()
    assert "deletionTimestamp" in run.cluster.pod(name)["metadata"]


async def test_workers_go_as_soon_as_the_heads_stage_is_over_and_the_head_is_booked_once_nothing_runs_in_it() -> None:
    run = await in_training({"istio-proxy": "container"})
    run.cluster.tick(60)
    run.end_head()
    ended = run.cluster.now
    await run.turn(2)
    assert all("deletionTimestamp" in run.cluster.pod(name)["metadata"] for name in run.pods)
    assert run.status.ledger.settled == []
    assert training(run).artifact == "t1"
    run.cluster.tick(25)
    for name in run.pods:
        run.cluster.end_pod(name, 75)
    await run.turn(3)
    head = next(entry for entry in run.status.ledger.entries if (entry.stage, entry.role) == ("Training", "head"))
    assert head.split.stopping == int((run.cluster.now - ended).total_seconds())
    assert training(run).state == "Succeeded"


async def test_the_time_after_the_stages_end_is_stopping_and_the_time_before_its_start_is_not_work() -> None:
    run = await placed({"istio-proxy": "sidecar"})
    run.cluster.tick(300)
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(100)
    run.end_head()
    await run.drain()
    head = next(entry for entry in run.status.ledger.entries if (entry.stage, entry.role) == ("Training", "head"))
    assert (head.split.pulling, head.split.working) == (300, 50)


@pytest.mark.parametrize("first", ["a-proxy", "z-proxy"])
@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_words_image_and_limit_are_the_stages(first: str, code: int) -> None:
    mine = {
        "exitCode": 73,
        "reason": "Error",
        "message": '{"outcome": "Failed", "message": "full"}',
        "finishedAt": None,
    }
    other = {"exitCode": code, "reason": "Completed", "message": '{"outcome": "Succeeded"}', "finishedAt": None}
    told = sorted([{"name": first, "state": {"terminated": other}}, {"name": "stage", "state": {"terminated": mine}}],
                  key=lambda one: str(one["name"]))  # fmt: skip
    limits = {"resources": {"limits": {"memory": "9Gi"}}, "image": "jobs:1"}
    spec = [{"name": first, "image": "proxy:1"}, {"name": "stage", **limits}]
    body = {"metadata": {"name": "h", "uid": "u"}, "spec": {"containers": spec},
            "status": {"phase": "Failed", "containerStatuses": told}}  # fmt: skip
    pod = PodState(body)
    assert (pod.exit_code, pod.succeeded, pod.failure_class()) == (73, False, "StorageFull")
    assert (pod.memory_limit, pod.awaited_image) == ("9Gi", "jobs:1")
    words = pod.result()
    assert words
    assert words.message == "full"


@pytest.mark.parametrize("shape", list(SHAPES))
async def test_a_stage_that_cannot_be_pulled_is_late_though_injected_containers_run(shape: str) -> None:
    run = await placed(SHAPES[shape], startDeadlineSeconds=600)
    for name in run.pods:
        status_of(run, name)["state"] = PULL
    run.cluster.tick(590)
    await run.turn()
    assert run.status.waiting
    assert (run.status.waiting.reason, run.status.waiting.resource) == ("ImagePullBackOff", "jobs:1")
    run.cluster.tick(20)
    await run.turn()
    assert ended_by(run) == "ImagePullBackOff"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CrashLoopBackOff", "InvalidImageName"])
@pytest.mark.parametrize("shape", ["init", "sidecar"])
async def test_an_injected_container_that_cannot_start_is_named_and_is_no_bad_input(shape: str, reason: str) -> None:
    run = await placed({"istio-proxy": shape})
    for name in run.pods:
        status_of(run, name, "istio-proxy")["state"] = {"waiting": {"reason": reason, "message": "no such image"}}
    await run.turn()
    waiting = run.status.waiting
    assert waiting
    assert (waiting.reason, training(run).state) == (reason, "Running")
    assert "istio-proxy" in waiting.message
    assert waiting.resource == ("istio-proxy:1" if "Image" in reason else "")


@pytest.mark.parametrize("shape", ["init", "sidecar"])
async def test_an_init_container_that_takes_its_time_is_named(shape: str) -> None:
    run = await placed({"vault-agent-init": shape})
    for name in run.pods:
        running = {"state": {"running": {"startedAt": stamp(run.cluster.now)}}, "started": False}
        status_of(run, name, "vault-agent-init").update(running)
    run.cluster.tick(60)
    await run.turn()
    assert run.status.waiting
    assert "`vault-agent-init`" in run.status.waiting.message


async def test_an_init_container_that_fails_is_told_and_counted_as_a_start_that_failed() -> None:
    run = await placed({"vault-agent-init": "init"})
    ended = {"exitCode": 1, "reason": "Error", "message": "permission denied", "finishedAt": stamp(run.cluster.now)}
    status_of(run, HEAD, "vault-agent-init")["state"] = {"terminated": ended}
    run.cluster.pod(HEAD)["status"]["phase"] = "Failed"
    await run.turn()
    outcome = training(run).outcome
    assert outcome
    assert (outcome.failure_class, outcome.reason, outcome.counted) == ("NotStarted", "InitContainerFailed", True)
    assert "`vault-agent-init` ended with exit code 1 (Error) permission denied" in outcome.message


async def test_a_stage_that_has_ended_is_no_stall() -> None:
    run = await in_training({"istio-proxy": "container"}, stallDeadlineSeconds=600)
    for number in range(3):
        run.cluster.tick(60)
        run.memory.progress = Progress(done=number + 1, total=10, unit="tokens")
        run.memory.progress_of = run.cluster.pod(HEAD)["metadata"]["uid"]
        await run.turn()
    run.end_head()
    run.cluster.tick(1200)
    await run.turn()
    assert ended_by(run) == "Completed"


@pytest.mark.parametrize("ready", [True, False])
def test_a_node_that_does_not_answer_shows_on_the_stages_container(ready: bool) -> None:
    told = [{"name": "a-proxy", "ready": False, "state": {}}, {"name": "stage", "ready": ready, "state": {}}]
    conditions = [{"type": "Ready", "status": "False"}]
    assert PodState({"status": {"containerStatuses": told, "conditions": conditions}}).cut_off is ready


async def test_why_a_stage_was_killed_is_read_once_its_pod_has_ended_and_meanwhile_nobody_is_replaced() -> None:
    """A kubelet that evicts a pod says so when the last of its containers has ended."""
    run = await in_training({"istio-proxy": "container"})
    run.cluster.tick(60)
    run.cluster.end_pod(HEAD, 137, reason="Error")
    await run.turn(2)
    assert (training(run).state, training(run).outcome) == ("Running", None)
    assert "deletionTimestamp" in run.cluster.pod(HEAD)["metadata"]
    run.cluster.tick(20)
    limit = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
    run.cluster.pod(HEAD)["status"] |= {"reason": "Evicted", "message": limit}
    run.cluster.end_pod(HEAD)
    await run.turn()
    outcome = training(run).outcome
    assert outcome
    assert (outcome.failure_class, outcome.node) == ("OutOfEphemeralStorage", "")
    assert "1Gi" in outcome.message


AGAIN: dict[str, dict[str, Any]] = {
    "waiting": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    "running": {"running": {"startedAt": "2026-03-01T13:00:00Z"}},
}


@pytest.mark.parametrize("state", AGAIN)
@pytest.mark.parametrize(
    ("code", "words", "reason"),
    [(73, {"outcome": "Failed", "failureClass": "StorageFull", "reason": "NoSpace"}, "NoSpace"),
     (0, {"outcome": "Succeeded", "artifact": "t1"}, "Completed")],
    ids=["failed", "succeeded"],
)  # fmt: skip
async def test_a_stage_that_is_started_again_is_over_with_its_first_run(
    code: int, words: dict[str, str], reason: str, state: str
) -> None:
    """Somebody's webhook has given the pod, or its container, another restartPolicy."""
    run = await in_training({})
    run.cluster.tick(60)
    told = status_of(run, HEAD)
    ended = {"exitCode": code, "reason": "Error", "finishedAt": stamp(run.cluster.now), "message": json.dumps(words)}
    told |= {"restartCount": 1, "lastState": {"terminated": ended}, "state": AGAIN[state]}
    await run.turn()
    assert ended_by(run) == reason
    assert "deletionTimestamp" in run.cluster.pod(HEAD)["metadata"]
