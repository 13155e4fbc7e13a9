"""What a user of a namespace may try, on the real apiserver with `restricted` enforced: refused, or without effect."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.account import EVERYTHING, give_rights, kubeconfig, operator
from tests.api.conftest import Api
from tests.api.test_manifests import changed
from tests.api.test_rights import NAMESPACE, find, foreign, job, kubelet, prepare, until

# path, value, words of the refusal
REFUSED: list[tuple[str, Any, str]] = [
    ("spec.pod.hostNetwork", True, 'unknown field "spec.pod.hostNetwork"'),
    ("spec.pod.hostPID", True, 'unknown field "spec.pod.hostPID"'),
    ("spec.pod.serviceAccountName", "admin", 'unknown field "spec.pod.serviceAccountName"'),
    ("spec.pod.nodeName", "master", 'unknown field "spec.pod.nodeName"'),
    ("spec.pod.securityContext", {"privileged": True}, 'unknown field "spec.pod.securityContext"'),
    ("spec.pod.volumes", [{"name": "a", "hostPath": {"path": "/"}}], 'unknown field "spec.pod.volumes"'),
    ("spec.pod.tolerations", [{"operator": "Exists"}], 'unknown field "spec.pod.tolerations"'),
    ("spec.pod.env", [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "b", "key": "c"}}}], "valueFrom"),
    ("spec.pod.env", [{"name": "RAY_AUTH_MODE", "value": "none"}], "`name` must not start with"),
    ("spec.pod.env", [{"name": "LLMTRAIN_ROLE", "value": "head"}], "`name` must not start with"),
    ("spec.pod.labels", {"llmtrain.dev/job-uid": "x"}, "`labels` must have qualified names as keys, outside"),
    ("spec.pod.labels", {"kubernetes.io/x": "x"}, "`labels` must have qualified names as keys, outside"),
    ("spec.pod.labels", {"k8s.io/x": "x"}, "`labels` must have qualified names as keys, outside"),
    ("spec.pod.labels", {"a/b/c": "x"}, "`labels` must have qualified names as keys"),
    ("spec.pod.annotations", {"llmtrain.dev/price": "{}"}, "`annotations` must have qualified names as keys, outside"),
    ("spec.pod.annotations", {"sub.llmtrain.dev/price": "{}"}, "`annotations` must have qualified names as keys"),
    ("spec.pod.annotations", {"container.apparmor.security.beta.kubernetes.io/stage": "unconfined"}, "outside"),
    ("spec.pod.priorityClassName", "system-node-critical", "must not start with 'system-'"),
    ("spec.pod.imagePullSecrets", [{"name": "../other/secret"}], "spec.pod.imagePullSecrets[0].name"),
    ("spec.storage.persistentVolumeClaim.subPath", "a/../../b", "`subPath` must not contain '..'"),
    ("spec.storage.persistentVolumeClaim.claimName", "../other", "claimName"),
    ("spec.storage.persistentVolumeClaim.namespace", "other", "unknown field"),
    ("spec.training.cluster.planRef.name", "../../../api/v1/secrets/x", "planRef.name"),
    ("spec.training.cluster.planRef.namespace", "other", "unknown field"),
    ("spec.comparePlans", ["..%2fsecrets"], "spec.comparePlans[0]"),
    ("spec.training.cluster.head.memory", "9999999999999Gi", "memory"),
    ("spec.curation.sources", [{"name": f"s{n}", "path": "p"} for n in range(65)], "must have at most 64 items"),
    ("spec.image", "x" * 513, "Too long"),
    ("metadata.name", "../etc", "may not contain"),
    ("metadata.namespace", "../kube-system", "namespace"),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_a_hostile_manifest_is_refused(path: str, value: Any, words: str, api: Api) -> None:
    body = changed(
        copy.deepcopy(job("hostile") | {"metadata": {"name": "hostile", "namespace": "default"}}), path, value
    )
    assert words in api.refusal(body)


def test_a_giant_manifest_is_refused(api: Api) -> None:
    body = job("giant") | {"metadata": {"name": "giant", "namespace": "default"}}
    body["metadata"]["annotations"] = {"a": "x" * 300_000}
    assert "metadata.annotations" in api.refusal(body)
    body["metadata"]["annotations"] = {}
    body["spec"]["curation"]["sources"][0]["path"] = "x" * 4_000_000
    assert api.refusal(body)


@pytest.fixture(scope="module")
def prepared(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A running operator under its own account."""
    prepare(api)
    give_rights(api, EVERYTHING)
    folder: Path = tmp_path_factory.mktemp("operator")
    with operator(kubeconfig(api, folder), folder / "operator.log"):
        yield api


def state(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = find(api, name).get("status", {})
    return found


@pytest.mark.timeout(200)
async def test_foreign_pods_under_our_labels_and_names_change_nothing(
    prepared: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An intruder carries all labels, a price of a billion an hour and even the job as owner; the job runs through."""
    api = prepared
    api.apply(job("victim", suspend=True))
    uid = find(api, "victim")["metadata"]["uid"]
    intruder = foreign("Pod", "intruder")
    labels = {"job": "victim", "job-uid": uid, "stage": "Training", "attempt": "1", "role": "worker", "index": "0"}
    price = {"plan": "gpu", "planResourceVersion": "1", "tenure": "Rented", "microUsdPerHour": 10**15,
             "incrementSeconds": 86400, "minimumSeconds": 86400}  # fmt: skip
    intruder["metadata"] |= {
        "labels": {f"llmtrain.dev/{key}": value for key, value in labels.items()},
        "annotations": {"llmtrain.dev/price": json.dumps(price)},
        "ownerReferences": [{"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "name": "victim",
                             "uid": uid, "controller": True}],
    }  # fmt: skip
    api.apply(intruder)
    done = api.run("patch", "llmjob", "victim", "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert done.returncode == 0, done.stderr
    async with kubelet(api, monkeypatch):
        await until("the end", lambda: state(api, "victim").get("state") == "Succeeded", 150)
    status = state(api, "victim")
    assert sum(entry["pods"] for entry in status["ledger"]["entries"]) == 8
    assert status["ledger"]["totalMicroUsd"] < 10**7
    pod = api.get("pod", "intruder", "-n", NAMESPACE)
    assert "deletionTimestamp" not in pod["metadata"]


@pytest.mark.timeout(200)
async def test_stage_pods_are_admitted_under_restricted_and_stay_in_their_namespace(
    prepared: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = prepared
    api.apply(job("modest", pod={"labels": {"team": "nlp"}, "env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}))
    async with kubelet(api, monkeypatch):
        await until("the end", lambda: state(api, "modest").get("state") == "Succeeded", 150)
    everywhere = api.get("pods", "-A", "-l", "llmtrain.dev/job=modest")["items"]
    assert {pod["metadata"]["namespace"] for pod in everywhere} <= {NAMESPACE}
    accounts = {pod["spec"].get("serviceAccountName") for pod in everywhere}
    assert accounts <= {"default"}
