"""The chart's admission policies on the real apiserver: who may do what, as that user."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.api.conftest import Api
from tests.api.programs import CHART, run
from tests.api.test_rights import GROUP
from tests.unit.operator.scenario import job_spec

NAMESPACE = "admission"
OPERATOR = "system:serviceaccount:llmtrain-system:llmtrain-operator"
VALUES = {
    "protect": {"enabled": True},
    "ownRights": {"enabled": True},
    "budgetCap": {"enabled": True, "limitUsd": "50"},
    "allowedImages": {"enabled": True, "prefixes": ["registry.example/"]},
}
ONLY_HERE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}


def role(name: str, *rules: tuple[str, str, list[str]]) -> list[dict[str, Any]]:
    """A role of the namespace for the user of that name."""
    rbac, metadata = "rbac.authorization.k8s.io", {"name": name, "namespace": NAMESPACE}
    listed = [{"apiGroups": [group], "resources": [resource], "verbs": verbs} for group, resource, verbs in rules]
    reference = {"apiGroup": rbac, "kind": "Role", "name": name}
    subjects = [{"apiGroup": rbac, "kind": "User", "name": name}]
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": listed},
        {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference,
         "subjects": subjects},
    ]  # fmt: skip


WRITE = ["get", "create", "update", "patch"]
JOBS = ("llmtrain.dev", "llmtrainingjobs", WRITE)
PODS = ("", "pods", WRITE)
SECRETS = ("", "secrets", ["get"])
MAPS = ("", "configmaps", ["get"])


@pytest.fixture(scope="module")
def guarded(api: Api) -> Iterator[Api]:
    """The policies, a namespace, and users with more and fewer rights."""
    template = ["template", "llmtrain", str(CHART), "-n", "llmtrain-system", "-s", "templates/admissionpolicies.yaml"]
    rendered = run("helm", *template, "--set-json", f"admissionPolicies={json.dumps(VALUES)}")
    assert rendered.returncode == 0, rendered.stderr
    policies = [body for body in yaml.safe_load_all(rendered.stdout) if body]
    for policy in policies:
        if policy["kind"].endswith("Binding"):
            policy["spec"]["matchResources"] = ONLY_HERE
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}})
    for body in [*role("full", JOBS, PODS, SECRETS, MAPS), *role("poor", JOBS), *role("blind", JOBS, PODS)]:
        api.apply(body)
    for policy in policies:
        api.apply(policy)
    wait_until_in_force(api)
    yield api
    for policy in policies:
        api.run("delete", policy["kind"], policy["metadata"]["name"])


def wait_until_in_force(api: Api) -> None:
    """The apiserver takes some seconds to pick up a policy."""
    end = time.monotonic() + 60
    bad = (job(image="evil/image"), pod({"llmtrain.dev/job": "x"}), job(budget=None))
    while time.monotonic() < end:
        words = " ".join(denial(api, "full", body) for body in bad) + denial(api, "poor", job())
        if all(word in words for word in ("spec.image", "labels of the domain", "limitUsd", "create pods")):
            return
        time.sleep(0.5)
    raise AssertionError("the policies never came into force")


def job(**spec: Any) -> dict[str, Any]:
    body = job_spec() | {"budget": {"limitUsd": "40"}} | spec
    return {"apiVersion": GROUP, "kind": "LLMTrainingJob", "metadata": {"name": "a", "namespace": NAMESPACE},
            "spec": {key: value for key, value in body.items() if value is not None}}  # fmt: skip


def pod(labels: dict[str, str], annotations: dict[str, str] | None = None, finalizers: tuple[str, ...] = ()) -> Any:
    metadata = {"name": "p", "namespace": NAMESPACE, "labels": labels, "annotations": annotations or {}}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | {"finalizers": list(finalizers)}, "spec": spec}


def denial(api: Api, user: str, body: Any) -> str:
    done = api.run("create", "-f", "-", "--dry-run=server", f"--as={user}", body=body)
    return done.stderr if done.returncode else ""


def change(api: Api, user: str, kind: str, name: str, patch: Any) -> str:
    flags = ["--type=merge", "-p", json.dumps(patch), f"--as={user}", "-n", NAMESPACE, "--dry-run=server"]
    done = api.run("patch", kind, name, *flags)
    return done.stderr if done.returncode else ""


S3 = {"s3": {"bucket": "llm", "credentialsSecretRef": {"name": "keys"}}}
JUDGED = job_spec()["evaluation"]
ENDPOINT = {"baseUrl": "https://example.com/v1", "model": "m", "apiKeySecretRef": {"name": "keys"}}
CA = {"bucket": "llm", "caBundle": {"secretKeyRef": {"name": "ca"}}}
CA_MAP = {"bucket": "llm", "caBundle": {"configMapKeyRef": {"name": "ca"}}}
CASES: list[tuple[str, Any, str]] = [
    ("blind", job(evaluation=JUDGED | {"judge": ENDPOINT}), "must be allowed to read the Secrets"),
    ("blind", job(evaluation=JUDGED | {"reference": ENDPOINT}), "must be allowed to read the Secrets"),
    ("blind", job(storage={"s3": CA}), "must be allowed to read the Secrets"),
    ("blind", job(storage={"s3": CA_MAP}), "must be allowed to read the ConfigMaps"),
    ("full", job(evaluation=JUDGED | {"judge": ENDPOINT, "reference": ENDPOINT}), ""),
    ("full", job(storage={"s3": CA}), ""),
    ("full", job(storage={"s3": CA_MAP}), ""),
    ("full", job(), ""),
    ("full", job(storage=S3), ""),
    ("poor", job(), "must be allowed to create pods"),
    ("blind", job(), ""),
    ("blind", job(storage=S3), "must be allowed to read the Secrets"),
    ("blind", job(pod={"imagePullSecrets": [{"name": "registry"}]}), "must be allowed to read the Secrets"),
    ("full", job(budget=None), "must be set and no more than 50"),
    ("full", job(budget={"limitUsd": "50.01"}), "must be set and no more than 50"),
    ("full", job(budget={"limitUsd": "50"}), ""),
    ("full", job(budget={"limitUsd": "5", "onBreach": "Warn"}), "must be 'Suspend' or 'Fail'"),
    ("full", job(image="registry.example/jobs:1"), ""),
    ("full", job(image="registry.example.evil/jobs:1"), "must be empty or begin with one of registry.example/"),
    ("full", pod({"app": "mine"}), ""),
    ("full", pod({"llmtrain.dev/job-uid": "x"}), "labels of the domain"),
    ("full", pod({}, {"llmtrain.dev/price": "{}"}), "'llmtrain.dev/price' is the operator's alone"),
    ("full", pod({}, {}, ("llmtrain.dev/settle",)), "finalizers of the domain"),
]


@pytest.mark.parametrize(("user", "body", "words"), CASES)
def test_what_a_user_may_create(user: str, body: Any, words: str, guarded: Api) -> None:
    said = denial(guarded, user, body)
    assert words in said if words else said == ""


def test_labels_price_and_finalizers_of_a_stage_pod_are_out_of_reach(guarded: Api) -> None:
    ours = pod({"llmtrain.dev/job": "a"}, {"llmtrain.dev/price": "{}"}, ("llmtrain.dev/settle",))
    for body in role("operator", PODS, JOBS):
        body["metadata"]["name"] = "operator"
        if "subjects" in body:
            body["subjects"][0]["name"] = OPERATOR
        guarded.apply(body)
    done = guarded.run("create", "-f", "-", f"--as={OPERATOR}", body=ours)
    assert done.returncode == 0, done.stderr
    for meta, words in (
        ({"labels": {"llmtrain.dev/job": "b"}}, "labels of the domain"),
        ({"labels": {"llmtrain.dev/job": None}}, "labels of the domain"),
        ({"labels": {"llmtrain.dev/more": "b"}}, "labels of the domain"),
        ({"annotations": {"llmtrain.dev/price": None}}, "is the operator's alone"),
        ({"finalizers": None}, "finalizers of the domain"),
        ({"finalizers": []}, "finalizers of the domain"),
    ):
        assert words in change(guarded, "full", "pod", "p", {"metadata": meta})
    assert change(guarded, "full", "pod", "p", {"metadata": {"labels": {"app": "mine"}}}) == ""
    assert change(guarded, OPERATOR, "pod", "p", {"metadata": {"finalizers": None}}) == ""
    guarded.run("patch", "pod", "p", "-n", NAMESPACE, "--type=merge", "-p", '{"metadata": {"finalizers": null}}',
                f"--as={OPERATOR}")  # fmt: skip
    guarded.run("delete", "pod", "p", "-n", NAMESPACE, "--force", "--grace-period=0")


def test_a_jobs_finalizer_is_out_of_reach_and_its_suspension_is_not(guarded: Api) -> None:
    body = job()
    body["metadata"]["finalizers"] = ["llmtrain.dev/ledger"]
    done = guarded.run("create", "-f", "-", "--as=full", body=body)
    assert done.returncode == 0, done.stderr
    assert "finalizers of the domain" in change(guarded, "full", "llmjob", "a", {"metadata": {"finalizers": None}})
    assert change(guarded, "full", "llmjob", "a", {"spec": {"suspend": True}}) == ""
    assert "no more than 50" in change(guarded, "full", "llmjob", "a", {"spec": {"budget": {"limitUsd": "99"}}})
    assert change(guarded, OPERATOR, "llmjob", "a", {"metadata": {"finalizers": None}}) == ""
