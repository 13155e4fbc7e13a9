"""An attempt is one thing: whatever is changed while it runs, its pods equal each other, and the next attempt takes the change."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from llmtrain_operator.client import ApiError, Object
from llmtrain_operator.memory import Memory
from llmtrain_operator.podtemplate import LOST, Templates, from_data, to_data
from llmtrain_operator.recent import PLANS
from llmtrain_operator.reconcile import Reconciler

from tests.unit.operator.scenario import Scenario, cluster
from tests.unit.operator.test_life_cycle import in_training, training

CONFIG_MAPS = "api/v1/configmaps"
EVALUATION = {"cluster": cluster("gpu", 1, 1), "tasks": [{"name": "held-out", "perplexity": {}}]}
DURING = EVALUATION | {"duringTraining": {"everyTokens": 1000, "evaluators": {"cpu": "1", "memory": "1Gi"}}}


def set_plan(run: Scenario, **spec: Any) -> None:
    plan = run.cluster.objects[(PLANS, "", "gpu")]
    plan["spec"] = plan["spec"] | spec
    plan["metadata"]["resourceVersion"] = str(int(plan["metadata"]["resourceVersion"]) + 100_000)


def set_pod(run: Scenario, **fields: Any) -> None:
    run.job["spec"]["pod"] = run.job["spec"].get("pod", {}) | fields


def set_workers(run: Scenario, **fields: Any) -> None:
    run.job["spec"]["training"]["cluster"]["workers"] |= fields


def drop_plan(run: Scenario) -> None:
    del run.cluster.objects[(PLANS, "", "gpu")]


CHANGES: dict[str, Callable[[Scenario], None]] = {
    "no change": lambda run: None,
    "env": lambda run: set_pod(run, env=[{"name": "A", "value": "2"}, {"name": "B", "value": "$(A)"}]),
    "labels": lambda run: set_pod(run, labels={"team": "b"}),
    "annotations": lambda run: set_pod(run, annotations={"example.com/a": "b"}),
    "priority": lambda run: set_pod(run, priorityClassName="high"),
    "pull secrets": lambda run: set_pod(run, imagePullSecrets=[{"name": "other"}]),
    "image": lambda run: run.job["spec"].update(image="mine:2"),
    "storage": lambda run: run.job["spec"].update(storage={"persistentVolumeClaim": {"claimName": "other"}}),
    "no accelerators": lambda run: set_workers(run, acceleratorsPerWorker=0),
    "memory": lambda run: set_workers(run, memory="64Gi"),
    "another plan": lambda run: run.job["spec"]["training"]["cluster"].update(planRef={"name": "cpu"}),
    "plan's resource": lambda run: set_plan(run, accelerator={"product": "H100", "resourceName": "amd.com/gpu"}),
    "plan's placement": lambda run: set_plan(run, placement={"nodeSelector": {"pool": "b"}}),
    "plan's price": lambda run: set_plan(run, rented={"acceleratorHourUsd": "9.00"}),
    "plan gone": drop_plan,
}  # fmt: skip


def alike(pod: Object) -> Object:
    """What pods of one role have in common."""
    meta = {key: pod["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences", "finalizers")}
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    body = copy.deepcopy({"metadata": meta, "spec": spec})
    del body["metadata"]["labels"]["llmtrain.dev/incarnation"]
    return body


async def training_with_env() -> Scenario:
    return await in_training(pod={"env": [{"name": "A", "value": "1"}], "annotations": {"example.com/x": "y"}})


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_successor_equals_the_pod_it_replaces(change: str, restart: bool) -> None:
    run = await training_with_env()
    first = copy.deepcopy(run.cluster.pod("gpt-trn-1-w0-1"))
    CHANGES[change](run)
    run.memory = Memory() if restart else run.memory
    run.cluster.tick(60)
    await run.turn()
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.turn(3)
    assert alike(run.cluster.pod("gpt-trn-1-w0-2")) == alike(first)
    assert training(run).attempt == 1


@pytest.mark.parametrize("change", [one for one in CHANGES if one not in ("no change", "plan's price")])
async def test_a_change_is_told_once_and_forgotten_when_it_is_taken_back(change: str) -> None:
    run = await training_with_env()
    await run.turn()
    before, plan = copy.deepcopy(run.job["spec"]), copy.deepcopy(run.cluster.objects[(PLANS, "", "gpu")])
    untouched = [(one.type, one.status, one.reason) for one in run.status.conditions]
    CHANGES[change](run)
    for _ in range(4):
        run.cluster.tick(20)
        await run.turn()
    told = [event for event in run.cluster.of("api/v1/events") if event["reason"] == "ChangePending"]
    condition = next(one for one in run.status.conditions if one.type == "UpToDate")
    assert (len(told), condition.status, condition.reason) == (1, "False", "ChangePending")
    assert "the next attempt takes the change" in condition.message
    run.job["spec"], run.cluster.objects[(PLANS, "", "gpu")] = before, plan
    run.cluster.tick(20)
    await run.turn(2)
    assert [(one.type, one.status, one.reason) for one in run.status.conditions] == untouched
    assert training(run).attempt == 1


async def test_another_default_image_is_for_the_next_attempt_and_is_not_told() -> None:
    run = await training_with_env()
    for _ in range(3):
        run.cluster.tick(20)
        await Reconciler(run.cluster, run.cluster.clock, "jobs:2").turn("team-a", "gpt", run.memory)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    for _ in range(3):
        run.memory.woken = True
        await Reconciler(run.cluster, run.cluster.clock, "jobs:2").turn("team-a", "gpt", run.memory)
    assert run.cluster.pod("gpt-trn-1-w0-2")["spec"]["containers"][0]["image"] == "jobs:1"
    assert not [one for one in run.status.conditions if one.type == "UpToDate"]


async def test_labels_that_cannot_be_read_take_no_plan_away(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await in_training(evaluation=DURING)
    set_plan(run, allowedNamespaces={"matchLabels": {"team": "x"}})
    space = {"metadata": {"name": "team-a", "labels": {"team": "x"}}}
    run.cluster.add("api/v1/namespaces", space)
    run.cluster.tick(20)
    await run.turn(2)
    get = run.cluster.get

    async def refused(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        if resource == "api/v1/namespaces":
            raise ApiError(403, "Forbidden", "no")
        return await get(resource, namespace, name, not_before)

    monkeypatch.setattr(run.cluster, "get", refused)
    run.cluster.end_pod("gpt-trn-1-e0-1", 137, reason="Error")
    for _ in range(4):
        run.cluster.tick(20)
        await run.turn()
    assert [slot.incarnation for slot in training(run).evaluators] == [2], "its successor waits until they can be read"
    assert not [one for one in run.status.conditions if one.type == "UpToDate"]
    monkeypatch.setattr(run.cluster, "get", get)
    run.cluster.tick(20)
    await run.turn(2)
    assert "gpt-trn-1-e0-2" in run.pods


async def test_the_next_attempt_takes_the_change() -> None:
    run = await training_with_env()
    CHANGES["env"](run)
    CHANGES["plan's placement"](run)
    run.job["spec"]["suspend"] = True
    await run.drain()
    run.job["spec"]["suspend"] = False
    await run.until_pods()
    pod = run.cluster.pod("gpt-trn-2-w0-1")
    assert pod["spec"]["nodeSelector"] == {"pool": "b"}
    assert pod["spec"]["containers"][0]["env"][:2] == [{"name": "A", "value": "2"}, {"name": "B", "value": "$$(A)"}]
    assert not [one for one in run.status.conditions if one.type == "UpToDate"]


def reads(run: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of ConfigMaps that are read from now on."""
    asked, get = list[str](), run.cluster.get

    async def noted(resource: str, namespace: str, name: str, not_before: str = "") -> Object | None:
        asked.extend([name] if resource == CONFIG_MAPS else [])
        return await get(resource, namespace, name, not_before)

    monkeypatch.setattr(run.cluster, "get", noted)
    return asked


async def lose_a_worker(run: Scenario, incarnation: int) -> None:
    run.cluster.end_pod(f"gpt-trn-1-w0-{incarnation}", 137, reason="Error")
    await run.turn(2)
    run.cluster.run_pod(f"gpt-trn-1-w0-{incarnation + 1}")
    run.cluster.tick(20)
    await run.turn(2)


async def test_the_templates_are_read_only_after_a_change_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await training_with_env()
    asked = reads(run, monkeypatch)
    await lose_a_worker(run, 1)
    assert asked == []
    CHANGES["env"](run)
    run.cluster.tick(20)
    await run.turn(2)
    assert asked == [], "nothing lacks"
    await lose_a_worker(run, 2)
    await lose_a_worker(run, 3)
    assert asked == ["gpt-trn-1-config"]


def forge(data: dict[str, str]) -> None:
    data["pods.json"] = data["pods.json"].replace('"runAsNonRoot": true', '"runAsNonRoot": false')


LOSSES: dict[str, Callable[[Scenario], object]] = {
    "deleted": lambda run: run.cluster.objects.pop((CONFIG_MAPS, "team-a", "gpt-trn-1-config")),
    "forged": lambda run: forge(run.cluster.objects[(CONFIG_MAPS, "team-a", "gpt-trn-1-config")]["data"]),
    "emptied": lambda run: run.cluster.objects[(CONFIG_MAPS, "team-a", "gpt-trn-1-config")].pop("data"),
    "a strangers": lambda run: run.cluster.objects[(CONFIG_MAPS, "team-a", "gpt-trn-1-config")]["metadata"].update(
        ownerReferences=[]
    ),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_can_be_made_no_more_as_it_was_ends_the_attempt_uncounted(loss: str) -> None:
    run = await training_with_env()
    CHANGES["env"](run)
    LOSSES[loss](run)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.drain()
    await run.until_pods()
    stage, record = training(run), run.status.history[-1]
    assert (record.reason, stage.attempt) == ("TemplateLost", 2)
    assert (stage.failures, stage.infrastructure_failures, stage.not_before) == (0, 0, None)
    values = [run.cluster.pod(name)["spec"]["containers"][0]["env"][0] for name in run.pods]
    assert values == [{"name": "A", "value": "2"}] * 3


async def test_a_config_map_that_is_lost_hurts_nobody_while_the_manifest_is_as_it_was() -> None:
    run = await training_with_env()
    LOSSES["deleted"](run)
    await lose_a_worker(run, 1)
    assert training(run).attempt == 1


ELASTIC = {"replicas": 2, "minReplicas": 1, "acceleratorsPerWorker": 1, "cpu": "1", "memory": "4Gi"}
WHOLE = cluster("gpu", 2, 1) | {"workers": ELASTIC}


@pytest.mark.parametrize("why", ["lost", "not allowed"])
async def test_an_elastic_training_goes_on_with_the_workers_it_has(why: str) -> None:
    run = await in_training(training={"cluster": WHOLE, "tokens": 1000000, "globalBatchTokens": 4096})
    if why == "lost":
        CHANGES["env"](run)
        LOSSES["deleted"](run)
    else:
        set_plan(run, allowedNamespaces={"matchLabels": {"team": "x"}})
    run.cluster.tick(20)
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    for _ in range(5):
        await run.turn()
        run.cluster.tick(60)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w1-1"]
    assert (training(run).attempt, training(run).state) == (1, "Running")
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "FewerWorkers"


async def test_a_plan_that_was_taken_away_gets_no_further_pod() -> None:
    run = await in_training()
    set_plan(run, allowedNamespaces={"matchLabels": {"team": "x"}})
    run.cluster.tick(20)
    await run.turn(2)
    assert len(run.pods) == 3, "what runs goes on"
    condition = next(one for one in run.status.conditions if one.type == "UpToDate")
    assert "is for namespaces with labels team=x" in condition.message
    run.cluster.end_pod("gpt-trn-1-w0-1", 137, reason="Error")
    await run.drain()
    await run.turn(3)
    assert run.pods == []
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "PlanNotAllowed"
    assert (training(run).failures, training(run).infrastructure_failures) == (0, 0)
    set_plan(run, allowedNamespaces=None)
    run.cluster.tick(20)
    await run.until_pods()
    assert training(run).attempt == 2


async def waiting_for_nodes() -> Scenario:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.until_pods()
    for name in run.pods:
        unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
        run.cluster.pod(name)["status"]["conditions"] = [unschedulable]
    await run.turn()
    return run


@pytest.mark.parametrize("change", ["plan's placement", "env", "image", "plan's resource"])
async def test_pods_that_never_started_are_made_anew_at_once(change: str) -> None:
    run = await waiting_for_nodes()
    CHANGES[change](run)
    run.cluster.tick(20)
    for _ in range(5):
        await run.turn()
    stage = training(run)
    assert run.pods == ["gpt-trn-2-head", "gpt-trn-2-w0-1", "gpt-trn-2-w1-1"]
    assert run.status.history[-1].reason == "ChangePending"
    assert (stage.failures, stage.infrastructure_failures, stage.fruitless) == (0, 0, 0)
    if change == "plan's placement":
        assert run.cluster.pod("gpt-trn-2-w0-1")["spec"]["nodeSelector"] == {"pool": "b"}


async def test_a_placed_head_is_given_up_too_while_nothing_has_started() -> None:
    run = await waiting_for_nodes()
    run.cluster.run_pod("gpt-trn-1-head")
    head = run.cluster.pod("gpt-trn-1-head")
    head["status"] |= {"phase": "Pending", "containerStatuses": []}
    await run.turn()
    CHANGES["plan's placement"](run)
    run.cluster.tick(20)
    await run.turn()
    assert training(run).state == "Stopping"


@pytest.mark.parametrize("change", ["env", "plan gone", "plan's placement"])
async def test_a_change_between_the_status_and_the_first_pod_begins_the_attempt_anew(change: str) -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    plan = copy.deepcopy(run.cluster.objects[(PLANS, "", "gpu")])
    while training(run).attempt == 0:
        run.cluster.crash_at = (run.cluster.writes + 1, "after")
        await run.turn()
    assert run.pods == []
    CHANGES[change](run)
    run.cluster.tick(20)
    await run.turn(4)
    if change == "plan gone":
        assert run.status.waiting is not None
        assert run.status.waiting.reason == "PlanNotFound"
        run.cluster.objects[(PLANS, "", "gpu")] = plan
        run.cluster.tick(20)
    await run.until_pods()
    assert training(run).attempt == 2
    assert (training(run).failures, training(run).infrastructure_failures) == (0, 0)


async def test_an_attempt_of_an_earlier_operator_is_completed_as_the_manifest_says() -> None:
    run = await training_with_env()
    for stage in run.job["status"]["stages"]:
        for name in ("template", "inputs", "prices"):
            stage.pop(name, None)
    del run.cluster.objects[(CONFIG_MAPS, "team-a", "gpt-trn-1-config")]["data"]["pods.json"]
    run.memory = Memory()
    CHANGES["env"](run)
    await lose_a_worker(run, 1)
    assert run.cluster.pod("gpt-trn-1-w0-2")["spec"]["containers"][0]["env"][0] == {"name": "A", "value": "2"}
    assert training(run).attempt == 1
    assert not [one for one in run.status.conditions if one.type == "UpToDate"]


async def test_evaluators_are_what_they_were_and_given_up_where_they_can_be_made_no_more() -> None:
    run = await in_training(evaluation=DURING)
    first = copy.deepcopy(run.cluster.pod("gpt-trn-1-e0-1"))
    run.job["spec"]["evaluation"] = EVALUATION
    run.cluster.end_pod("gpt-trn-1-e0-1", 137, reason="Error")
    await run.turn(3)
    assert alike(run.cluster.pod("gpt-trn-1-e0-2")) == alike(first)
    run.cluster.run_pod("gpt-trn-1-e0-2")
    await run.turn()
    run.memory = Memory()
    LOSSES["deleted"](run)
    run.cluster.end_pod("gpt-trn-1-e0-2", 137, reason="Error")
    await run.turn(3)
    assert run.pods == ["gpt-trn-1-head", "gpt-trn-1-w0-1", "gpt-trn-1-w1-1"]
    assert training(run).evaluators == []
    assert training(run).state == "Running"


async def test_the_largest_environment_stands_once_in_the_config_map_and_not_in_the_status() -> None:
    env = [{"name": f"V{n}", "value": "$(x)" + "\u00e4" * 4092} for n in range(64)]
    notes = {f"example.com/{n}": "x" * 1024 for n in range(32)}
    run = await in_training(pod={"env": env, "annotations": notes}, evaluation=DURING)
    data = run.cluster.objects[(CONFIG_MAPS, "team-a", "gpt-trn-1-config")]["data"]
    assert len(data["pods.json"]) < 20_000
    templates = from_data(data)
    assert templates.digest == training(run).template
    assert set(templates.pods) == {"head", "worker", "evaluator"}
    assert to_data(templates, data["config.json"]) == data
    assert len(json.dumps(training(run).to_dict())) < 4_000


@pytest.mark.parametrize(
    "data", [{}, {"config.json": "{}"}, {"config.json": '{"spec": {}}', "pods.json": "[" * 100_000},
             {"config.json": '{"spec": {"pod": {"env": 1}}}', "pods.json": "{}"}, {"config.json": '{"spec": {}}', "pods.json": '{"head": 1}'},
             {"config.json": '{"spec": {}}', "pods.json": '{"head": {"metadata": {"annotations": {}}, "spec": {"containers": []}}}'}],
)  # fmt: skip
def test_anything_else_in_the_config_map_is_no_template(data: dict[str, str]) -> None:
    assert from_data(data) in (LOST, Templates({}))
