"""What a user of the namespace cannot do through a job or beside it."""

import copy
import json
from typing import Any

import pytest
from llmtrain_operator.network import NetworkSettings, external_ports, policy_spec
from pydantic import ValidationError

from llmtrain.api.job import JobSpec
from llmtrain.api.pod import PodFields
from tests.unit.operator.scenario import Scenario, job_spec

PODS = "api/v1/pods"


def foreign_pod(run: Scenario, name: str = "gpt-pre-1-head", **labels: str) -> dict[str, Any]:
    """A user's own pod under our labels."""
    ours = {"job": "gpt", "job-uid": run.job["metadata"]["uid"], "stage": "Preflight", "attempt": "1", "role": "head"}
    metadata = {"name": name, "namespace": "team-a",
                "labels": {f"llmtrain.dev/{key}": value for key, value in (ours | labels).items()}}  # fmt: skip
    return {"metadata": metadata, "spec": {"containers": [{}]}, "status": {"phase": "Running"}}


@pytest.mark.parametrize("labels", [{}, {"stage": "Nonsense"}, {"attempt": "many"}, {"role": "king"}, {"index": "-"}])
async def test_a_users_pod_under_our_labels_is_neither_billed_nor_deleted(labels: dict[str, str]) -> None:
    run = Scenario()
    run.cluster.add(PODS, foreign_pod(run, "intruder", **labels))
    for _ in range(4):
        await run.turn(3)
        names = [name for name in run.pods if name != "intruder"]
        for name in names:
            run.cluster.run_pod(name)
    run.cluster.tick(10)
    await run.turn()
    assert "intruder" in run.pods
    assert "deletionTimestamp" not in run.cluster.pod("intruder")["metadata"]
    assert len(run.status.ledger.high_water) == len(run.pods) - 1


async def test_a_pod_with_an_unreadable_price_does_not_stop_the_job() -> None:
    run = Scenario()
    pod = foreign_pod(run, "gpt-pre-1-head")
    pod["metadata"]["ownerReferences"] = [{"uid": run.job["metadata"]["uid"], "controller": True}]
    pod["metadata"]["annotations"] = {"llmtrain.dev/price": "{"}
    run.cluster.add(PODS, pod)
    await run.turn(3)
    assert "gpt-pre-1-head" in run.pods
    assert run.status.ledger.high_water == []


@pytest.mark.parametrize("kind", ["pods", "services", "configmaps"])
async def test_an_object_of_somebody_else_under_our_name_is_named_and_left_alone(kind: str) -> None:
    run = Scenario(startDeadlineSeconds=20, retry={"limit": 0})
    name = "gpt-pre-1-config" if kind == "configmaps" else "gpt-pre-1-head"
    body = {"metadata": {"name": name, "namespace": "team-a"}, "spec": {}, "status": {"phase": "Running"}}
    uid = run.cluster.add(f"api/v1/{kind}", body)["metadata"]["uid"]
    await run.turn(4)
    assert run.status.waiting is not None
    assert run.status.waiting.reason == "NameTaken"
    assert name in run.status.waiting.message
    run.cluster.tick(21)
    for _ in range(6):
        await run.turn()
    assert (run.status.state, run.status.stages[0].attempt) == ("Running", 1), "it waits, and nothing is paid for"
    assert run.status.ledger.total_micro_usd == 0
    left = run.cluster.objects[(f"api/v1/{kind}", "team-a", name)]
    assert left["metadata"]["uid"] == uid
    assert "deletionTimestamp" not in left["metadata"]
    del run.cluster.objects[(f"api/v1/{kind}", "team-a", name)]
    run.cluster.tick(60)
    await run.turn(3)
    assert run.pods == ["gpt-pre-1-head"], "it goes on by itself once the name is free"


async def test_nobody_can_guess_the_name_of_the_token() -> None:
    names = []
    for _ in range(2):
        run = Scenario()
        await run.turn(3)
        secret = run.cluster.of("api/v1/secrets")[0]
        names.append(secret["metadata"]["name"])
        volume = next(v for v in run.cluster.pod("gpt-pre-1-head")["spec"]["volumes"] if v["name"] == "token")
        assert volume["secret"]["secretName"] == names[-1]
        assert secret["immutable"]
    assert names[0] != names[1]
    assert all(name.startswith("gpt-pre-1-") and name.endswith("-token") for name in names)


async def test_every_attempt_has_a_policy_of_its_own_and_it_goes_with_it() -> None:
    run = Scenario()
    run.network = NetworkSettings(enabled=True, progress_from=[{"podSelector": {"matchLabels": {"app": "operator"}}}])
    await run.turn(3)
    kind = "apis/networking.k8s.io/v1/networkpolicies"
    policy = run.cluster.of(kind)[0]
    labels = run.cluster.pod("gpt-pre-1-head")["metadata"]["labels"]
    selected = policy["spec"]["podSelector"]["matchLabels"]
    assert selected.items() <= labels.items()
    assert selected["llmtrain.dev/attempt"] == "1"
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    assert [p["metadata"]["name"] for p in run.cluster.of(kind)] == ["gpt-trn-1-pods"]


def test_only_own_pods_reach_ray_and_only_the_named_peers_read_progress() -> None:
    peers: list[dict[str, Any]] = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
    spec = policy_spec(
        {"a": "b"}, JobSpec.model_validate(job_spec()), NetworkSettings(enabled=True, progress_from=peers)
    )
    own = {"podSelector": {"matchLabels": {"a": "b"}}}
    assert spec["ingress"] == [{"from": [own]}, {"from": peers, "ports": [{"protocol": "TCP", "port": 8090}]}]
    assert spec["egress"][0] == {"to": [own]}
    assert len(spec["egress"]) == 2, "a volume needs DNS and nothing else"


S3 = {"bucket": "llm"}
PORTS: list[tuple[dict[str, Any], set[int]]] = [
    ({}, set()),
    ({"storage": {"s3": S3}}, {443}),
    ({"storage": {"s3": S3 | {"endpointUrl": "http://minio.storage:9000"}}}, {9000}),
    ({"storage": {"s3": S3 | {"endpointUrl": "http://minio.storage"}}}, {80}),
    ({"storage": {"s3": S3 | {"endpointUrl": "https://minio.storage"}}}, {443}),
]


@pytest.mark.parametrize(("change", "ports"), PORTS)
def test_the_way_out_leads_to_the_data_alone(change: dict[str, Any], ports: set[int]) -> None:
    assert external_ports(JobSpec.model_validate(job_spec() | change)) == ports


def test_the_metadata_service_is_out_of_reach() -> None:
    spec = policy_spec({}, JobSpec.model_validate(job_spec() | {"storage": {"s3": S3}}), NetworkSettings(enabled=True))
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule.get("to", []) if "ipBlock" in peer]
    assert [block["except"][0] for block in blocks] == ["169.254.0.0/16", "fd00:ec2::254/128"]
    assert {"100.100.100.200/32", "168.63.129.16/32"} < {*blocks[0]["except"]}, "Alibaba's, and Azure's beside it"


async def test_what_users_add_to_pods_never_replaces_what_is_ours() -> None:
    fields = {
        "labels": {"team": "nlp"},
        "annotations": {"example.com/cost-centre": "42"},
        "env": [{"name": "NCCL_DEBUG", "value": "$(HOME)"}],
        "priorityClassName": "batch",
        "imagePullSecrets": [{"name": "registry"}],
    }
    run, plain = Scenario(pod=fields), Scenario()
    await run.turn(3)
    await plain.turn(3)
    pod, other = (copy.deepcopy(r.cluster.pod("gpt-pre-1-head")) for r in (run, plain))
    assert pod["metadata"]["labels"].pop("team") == "nlp"
    assert pod["metadata"]["annotations"].pop("example.com/cost-centre") == "42"
    assert pod["spec"].pop("priorityClassName") == "batch"
    assert pod["spec"].pop("imagePullSecrets") == [{"name": "registry"}]
    assert pod["spec"]["containers"][0]["env"].pop(0) == {"name": "NCCL_DEBUG", "value": "$$(HOME)"}
    for each in (pod, other):
        each["spec"]["volumes"] = [v for v in each["spec"]["volumes"] if v["name"] != "token"]
        each["metadata"] = {k: each["metadata"][k] for k in ("labels", "annotations", "finalizers")}
    assert json.dumps(pod, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"serviceAccountName": "admin"},
        {"hostNetwork": True},
        {"nodeName": "master"},
        {"labels": {"a": "not a value"}},
        {"env": [{"name": "1A"}]},
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "other", "key": "a"}}}]},
        {"imagePullSecrets": [{"name": "../other"}]},
    ],
)
def test_no_other_field_of_a_pod_is_a_users(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PodFields.model_validate(fields)


async def test_stage_pods_are_restricted_and_have_no_account() -> None:
    run = Scenario()
    await run.run_stage()
    await run.run_stage()
    await run.turn(3)
    for pod in run.cluster.of(PODS):
        spec, container = pod["spec"], pod["spec"]["containers"][0]
        assert spec["automountServiceAccountToken"] is False
        assert not {"serviceAccountName", "hostNetwork", "hostPID", "hostIPC", "nodeName"} & set(spec)
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert not any("hostPath" in volume for volume in spec["volumes"])
        assert spec["activeDeadlineSeconds"] == 86400
