"""Manifests against the real apiserver: what it accepts, how it says no, and that the models say the same."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.api.admission import ManifestError, admitted
from llmtrain.api.job import JobSpec
from tests.api.conftest import ROOT, Api

DELETE = object()

# case: (path, value, what the message must contain)
REFUSED: dict[str, tuple[str, Any, str]] = {
    "unknown field": ("spec.curatoin", {}, 'unknown field "spec.curatoin"'),
    "no storage": ("spec.storage", DELETE, "spec.storage"),
    "both storages": ("spec.storage.s3", {"bucket": "llm"}, "exactly one of `s3` and `persistentVolumeClaim`"),
    "bucket name": ("spec.storage", {"s3": {"bucket": "No_Bucket"}}, "spec.storage.s3.bucket"),
    "budget is a number": ("spec.budget.limitUsd", 40.0, "spec.budget.limitUsd"),
    "negative budget": ("spec.budget.limitUsd", "-1", "spec.budget.limitUsd"),
    "breach action": ("spec.budget.onBreach", "Explode", '"Suspend", "Fail", "Warn"'),
    "no workers": ("spec.training.cluster.workers.replicas", 0, "greater than or equal to 1"),
    "too many accelerators": ("spec.training.cluster.workers.acceleratorsPerWorker", 65, "less than or equal to 64"),
    "memory": ("spec.training.cluster.head.memory", "much", "spec.training.cluster.head.memory"),
    "no plan": ("spec.training.cluster.planRef", DELETE, "planRef"),
    "no sources": ("spec.curation.sources", [], "spec.curation.sources"),
    "source format": (
        "spec.curation.sources",
        [{"name": "a", "path": "b", "format": "Pdf"}],
        '"Jsonl", "Parquet"',
    ),
    "vocabulary": ("spec.curation.tokenizer.train.vocabularySize", 10, "greater than or equal to 300"),
    "preset": ("spec.model.preset", "gpt5", "spec.model.preset"),
    "two models": ("spec.model.architecture", {"layers": 1, "heads": 1, "embedding": 8}, "exactly one of `preset`"),
    "heads": (
        "spec.model",
        {"architecture": {"layers": 1, "heads": 3, "embedding": 8}},
        "`embedding` must be a multiple of `heads`",
    ),
    "no tokens": ("spec.training.tokens", 0, "spec.training.tokens"),
    "batch": ("spec.training.globalBatchTokens", 8193, "must be a multiple of `model.contextLength`"),
    "learning rate": ("spec.training.optimizer.peakLearningRate", "fast", "peakLearningRate"),
    "empty task": (
        "spec.evaluation.tasks",
        [{"name": "a"}],
        "exactly one of `perplexity`, `task`, `template`, `harness` and `judge`",
    ),
    "task without data": ("spec.evaluation.tasks", [{"name": "a", "task": "arc_easy"}], "`dataFile` must be set"),
    "open requirement": (
        "spec.evaluation.require",
        [{"metric": "a/b"}],
        "exactly one of `atMost`, `atLeast` and `noWorseThan`",
    ),
    "long name": ("metadata.name", "x" * 41, "no more than 40 characters"),
    "name with a dot": ("metadata.name", "llama-3.1-8b", "must be a DNS-1035 label"),
    "name that begins with a digit": ("metadata.name", "7b-run", "must be a DNS-1035 label"),
    "name of a claim": ("spec.storage.persistentVolumeClaim.claimName", "a..b", "claimName"),
    "name of a Secret": ("spec.pod.imagePullSecrets", [{"name": "a..b"}], "must be the name of an object"),
    "long key": ("spec.pod.labels", {"x" * 64: "a"}, "the name behind it up to 63"),
}


def changed(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    *parents, last = path.split(".")
    target = body
    for parent in parents:
        target = target.setdefault(parent, {})
    if value is DELETE:
        del target[last]
    else:
        target[last] = value
    return body


def test_the_demo_is_accepted_and_its_defaults_are_stored(api: Api, demo_job: dict[str, Any]) -> None:
    api.apply(demo_job)
    stored = api.get("llmjob", "docs-gpt")["spec"]
    assert stored["suspend"] is False
    assert stored["retry"] == {"limit": 3, "infrastructureLimit": 50, "rules": []}
    assert stored["training"]["optimizer"]["gradientClip"] == "1.0"
    assert stored["preflight"]["cluster"]["head"]["memory"] == "512Mi"
    assert stored["curation"]["sources"] == demo_job["spec"]["curation"]["sources"], (
        "lists are stored as they are written"
    )
    assert JobSpec.model_validate(stored) == JobSpec.model_validate(demo_job["spec"])


@pytest.mark.parametrize("case", list(REFUSED))
def test_an_invalid_manifest_is_refused_with_the_field_and_what_is_allowed(
    case: str, api: Api, demo_job: dict[str, Any]
) -> None:
    path, value, expected = REFUSED[case]
    body = changed(changed(demo_job, "metadata.name", "other"), path, value)
    assert expected in api.refusal(body)


@pytest.mark.parametrize("case", list(REFUSED))
def test_the_command_line_refuses_it_in_the_same_words(case: str, demo_job: dict[str, Any]) -> None:
    path, value, expected = REFUSED[case]
    with pytest.raises(ManifestError, match=re.escape(expected)):
        admitted(changed(changed(demo_job, "metadata.name", "other"), path, value))


ACCEPTED: dict[str, tuple[str, Any]] = {
    "a name of 40 characters": ("metadata.name", f"a{'-b' * 19}c"),
    "a claim that is called like a domain": (
        "spec.storage.persistentVolumeClaim.claimName",
        f"{'a' * 63}.b.{'c' * 180}",
    ),
    "a plan that is called like a domain": ("spec.comparePlans", ["h100.example.com"]),
    "keys of autoscalers": (
        "spec.pod.annotations",
        {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true", "karpenter.sh/do-not-disrupt": "true"},
    ),
    "keys of queues": ("spec.pod.labels", {"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "p"}),
    "a key of a scheduler": ("spec.pod.annotations", {"scheduling.k8s.io/group-name": "gang"}),
    "keys of meshes": ("spec.pod.labels", {"sidecar.istio.io/inject": "true", "linkerd.io/inject": "enabled"}),
    "recommended labels": ("spec.pod.labels", {"app.kubernetes.io/name": "gpt"}),
}


@pytest.mark.parametrize("case", list(ACCEPTED))
def test_names_and_keys_that_kubernetes_knows_are_accepted(case: str, api: Api, demo_job: dict[str, Any]) -> None:
    path, value = ACCEPTED[case]
    body = changed(changed(demo_job, "metadata.name", "keys"), path, value)
    assert api.direct.refusal(body) == ""
    admitted(body)


def test_suspending_and_a_new_budget_are_accepted(api: Api, demo_job: dict[str, Any]) -> None:
    api.apply(demo_job)
    assert api.refusal(changed(demo_job, "spec.suspend", True)) == ""
    assert api.refusal(changed(demo_job, "spec.budget.limitUsd", "80.00")) == ""


def test_the_demos_plans_are_accepted_and_a_mixed_one_is_not(api: Api) -> None:
    for plan in yaml.safe_load_all(Path(ROOT, "demo", "plans.yaml").read_text()):
        api.apply(plan)
        assert "`rented` must be set where" in api.refusal(
            changed(plan, "spec.tenure", "Rented" if "owned" in plan["spec"] else "Owned")
        )


def test_kubectl_explain_describes_the_fields(api: Api) -> None:
    text = api.run("explain", "llmjob.spec.training.checkpoint").stdout
    assert "Complete checkpoints that are kept" in text
