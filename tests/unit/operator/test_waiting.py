"""Why is it not running: the words, the resource, and the money, computed by hand."""

from typing import Any

import pytest
from llmtrain_operator.client import ApiError
from llmtrain_operator.observation import Refusal
from llmtrain_operator.refusal import insufficient, quota_resource, reason_of

from llmtrain.api.status import Waiting
from tests.unit.operator.fake_cluster import START, stamp
from tests.unit.operator.scenario import Scenario, cluster

NO_GPU = (
    "0/8 nodes are available: 1 Insufficient cpu, 8 Insufficient nvidia.com/gpu. preemption: 0/8 nodes are available."
)


def told(run: Scenario) -> Waiting:
    assert run.status.waiting is not None
    return run.status.waiting


def unschedulable(run: Scenario, name: str, message: str = NO_GPU) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    run.cluster.pod(name)["status"]["conditions"] = [condition | {"lastTransitionTime": stamp(run.cluster.now)}]


async def training_of(workers: int, **spec: Any) -> Scenario:
    """A job whose training pods were just created."""
    run = Scenario(**spec)
    run.job["spec"]["training"]["cluster"] = cluster("gpu", workers, 1)
    await run.run_stage()
    await run.run_stage()
    while not run.pods:
        await run.turn()
    return run


async def test_a_half_placed_cluster_is_told_with_its_accelerators_and_its_dollars() -> None:
    run = await training_of(8)
    for name in run.pods:
        if name.endswith(("head", "w0-1", "w1-1", "w2-1")):
            run.cluster.run_pod(name)
        else:
            unschedulable(run, name)
    await run.turn()
    run.cluster.tick(720)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource) == ("Unschedulable", "cpu, nvidia.com/gpu")
    assert waiting.pod_count == 5
    assert waiting.pods == [f"gpt-trn-1-w{i}-1" for i in range(3, 8)]
    assert waiting.held_accelerators == 3
    # 3 GPUs x 3.99 $/h and a head without price on this plan, 720 s
    assert waiting.held_micro_usd == 3 * 798_000
    assert "5 of 9 pods wait for cpu, nvidia.com/gpu" in waiting.message
    assert waiting.message.endswith("; 3 of 8 accelerators held idle 12 min = $2.39")


async def test_a_cluster_of_which_nothing_is_placed_costs_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        unschedulable(run, name)
    run.cluster.tick(900)
    await run.turn()
    waiting = told(run)
    assert (waiting.held_accelerators, waiting.held_micro_usd) == (0, 0)
    assert "$" not in waiting.message


async def test_an_image_that_cannot_be_pulled_is_named() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    pull = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "jobs:1"'}}
    run.cluster.pod("gpt-trn-1-w1-1")["status"]["containerStatuses"] = [{"name": "stage", "state": pull}]
    run.cluster.tick(60)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource, waiting.pods) == ("ImagePullBackOff", "jobs:1", ["gpt-trn-1-w1-1"])
    assert waiting.held_accelerators == 2, "the pod that pulls is placed and paid for as well"


async def test_pods_that_take_long_to_start_are_told_without_alarm() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
        del run.cluster.pod(name)["status"]["containerStatuses"]
    run.cluster.tick(31)
    await run.turn()
    assert told(run).reason == "Starting"
    assert next(c for c in run.status.conditions if c.type == "Progressing").status == "True"


async def test_a_refused_pod_says_which_quota_and_what_is_held_meanwhile() -> None:
    run = Scenario(startDeadlineSeconds=7200)
    await run.run_stage()
    await run.run_stage()
    quota = 'pods "w" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1'

    def refuse(resource: str, body: dict[str, Any]) -> ApiError | None:
        return ApiError(403, "Forbidden", quota) if "-w1-" in body["metadata"]["name"] else None

    run.cluster.refuse = refuse
    while not run.pods:
        await run.turn()
    for name in run.pods:
        run.cluster.run_pod(name)
    await run.turn()
    run.cluster.tick(3600)
    await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.resource, waiting.pods) == ("QuotaExceeded", "nvidia.com/gpu", ["gpt-trn-1-w1-1"])
    assert (waiting.held_accelerators, waiting.held_micro_usd) == (1, 3_990_000)


async def test_suspension_and_an_empty_budget_are_told_and_cost_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.job["spec"]["suspend"] = True
    await run.drain()
    assert (told(run).reason, told(run).held_micro_usd) == ("Suspended", 0)
    run.job["spec"]["suspend"] = False
    run.job["spec"]["budget"] = {"limitUsd": "0.01"}
    await run.turn()
    assert told(run).reason == "BudgetExceeded"
    assert "raise `spec.budget.limitUsd`" in told(run).message


async def test_a_running_cluster_waits_for_nothing() -> None:
    run = await training_of(2)
    for name in run.pods:
        run.cluster.run_pod(name)
    run.cluster.tick(3600)
    await run.turn()
    assert run.status.waiting is None


def test_the_apiservers_words_are_understood() -> None:
    assert insufficient(NO_GPU) == "cpu, nvidia.com/gpu"
    assert insufficient("0/1 nodes are available: 1 node(s) had untolerated taint(s)") == ""
    assert quota_resource("exceeded quota: a, requested: pods=1,requests.cpu=2, used: pods=3") == "pods, cpu"
    unspecified = (
        "pods is forbidden: failed quota: team: must specify limits.cpu for: stage,log; requests.memory for: log"
    )
    assert quota_resource(unspecified) == "limits.cpu, requests.memory"
    assert quota_resource("failed quota: team: must specify limits.cpu,limits.memory") == "limits.cpu, limits.memory"


IN = 'pods "p" is forbidden: '
HOOK = 'Internal error occurred: failed calling webhook "vpod.example.com": failed to call webhook: '
WORDS = [
    (403, "Forbidden", f"{IN}exceeded quota: team, requested: requests.cpu=1, used: requests.cpu=4", "QuotaExceeded"),
    (403, "Forbidden", f"{IN}failed quota: team: must specify limits.cpu for: stage", "QuotaUnspecified"),
    (409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "team": modified', "QuotaConflict"),
    (403, "Forbidden", f"{IN}no PriorityClass with name high was found", "PriorityClassNotFound"),
    (403, "Forbidden", f'{IN}pod rejected: RuntimeClass "kata" not found', "RuntimeClassNotFound"),
    (
        403,
        "Forbidden",
        f'{IN}error looking up service account a/x: serviceaccount "x" not found',
        "ServiceAccountNotFound",
    ),
    (403, "Forbidden", f"{IN}maximum memory usage per Container is 10Mi, but limit is 1Gi", "LimitRangeRefused"),
    (403, "Forbidden", f"{IN}minimum memory usage per Container is 10Gi, but request is 1Gi", "LimitRangeRefused"),
    (
        403,
        "Forbidden",
        f"{IN}cpu max limit to request ratio per Container is 2, but no limit is specified",
        "LimitRangeRefused",
    ),
    (
        422,
        "Invalid",
        'Pod "p" is invalid: spec.containers[0].resources.requests: Invalid value: "1": must be less than or equal to cpu limit of 500m',
        "LimitRangeRefused",
    ),
    (422, "Invalid", 'Pod "p" is invalid: spec.restartPolicy: Unsupported value: "Sometimes"', "Invalid"),
    (422, "Invalid", 'ConfigMap "big" is invalid: []: Too long: may not be more than 1048576 bytes', "ObjectTooLarge"),
    (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", "ObjectTooLarge"),
    (403, "Forbidden", f'{IN}violates PodSecurity "restricted:latest": runAsNonRoot != true', "PodSecurityRefused"),
    (
        403,
        "Forbidden",
        f'{IN}unable to validate against any security context constraint: [provider "x"]',
        "PodSecurityRefused",
    ),
    (422, "Invalid", f"{IN}ValidatingAdmissionPolicy 'nope' with binding 'nope' denied request: no", "PolicyRefused"),
    (403, "Forbidden", 'admission webhook "v.example.com" denied the request: no', "WebhookRefused"),
    (400, "BadRequest", 'admission webhook "v.example.com" denied the request: no', "WebhookRefused"),
    (
        500,
        "InternalError",
        f'{HOOK}Post "https://hook.a.svc:443/?timeout=2s": service "hook" not found',
        "WebhookUnreachable",
    ),
    (500, "InternalError", f"{HOOK}dial tcp 127.0.0.1:1: connect: connection refused", "WebhookUnreachable"),
    (
        403,
        "Forbidden",
        f"{IN}unable to create new content in namespace a because it is being terminated",
        "NamespaceTerminating",
    ),
    (404, "NotFound", 'namespaces "a" not found', "NamespaceNotFound"),
    (403, "Forbidden", 'pods is forbidden: User "x" cannot create resource "pods" in API group ""', "RightMissing"),
    (429, "TooManyRequests", "the server has received too many requests", "TooManyRequests"),
    (503, "ServiceUnavailable", "the server is currently unable to handle the request", "ApiUnavailable"),
    (500, "InternalError", "etcdserver: leader changed", "ApiError"),
    (0, "NoAnswer", "TimeoutError", "NotAnswered"),
    (409, "NameTaken", "configmaps `x` exists and is not of this job; delete it", "NameTaken"),
    (403, "Forbidden", "something else", "CreateRefused"),
]


@pytest.mark.parametrize(("code", "reason", "message", "word"), WORDS)
def test_a_refusal_is_told_in_one_word(code: int, reason: str, message: str, word: str) -> None:
    """The words are those of apiserver 1.36, seen there; the quota's are those of its source."""
    assert reason_of(Refusal("CreateHead", code, reason, message, START, 2)) == word


@pytest.mark.parametrize(("code", "reason", "message", "word"), WORDS)
async def test_a_refused_job_says_why_within_a_minute_and_waits_for_free(
    code: int, reason: str, message: str, word: str
) -> None:
    run = Scenario(startDeadlineSeconds=60, retry={"limit": 0})
    error: ApiError | None = ApiError(code, reason, message)
    run.cluster.refuse = lambda resource, body: error if resource == "api/v1/pods" else None
    await run.turn(2)
    for _ in range(4):
        run.cluster.tick(15)
        await run.turn()
    waiting = told(run)
    assert (waiting.reason, waiting.held_micro_usd, waiting.pods) == (word, 0, ["gpt-pre-1-head"])
    assert message in waiting.message
    since = waiting.since
    for _ in range(10):
        run.cluster.tick(600)
        await run.turn()
    assert (run.status.state, run.status.stages[0].attempt, told(run).since) == ("Running", 1, since)
    assert next(c for c in run.status.conditions if c.type == "Progressing").reason == word
    error = None
    run.cluster.tick(60)
    await run.turn(2)
    assert (run.pods, run.status.waiting) == (["gpt-pre-1-head"], None)
