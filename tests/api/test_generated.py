"""The command line says what the apiserver says: manifests made from the schema, held against both."""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from llmtrain_operator.client import ApiError, KubernetesCluster, connect

from llmtrain.api import API_VERSION
from llmtrain.api.admission import ManifestError, admitted
from llmtrain.api.base import Model
from llmtrain.api.crd import budget_crd, job_crd, plan_crd
from llmtrain.api.job import JobSpec
from llmtrain.api.kubeyaml import documents
from llmtrain.api.plan import PlanSpec
from llmtrain.api.trainingbudget import TrainingBudgetSpec
from tests.api.conftest import ROOT, Api
from tests.api.generated import specs
from tests.e2e.jobs import GOLDEN
from tests.unit.api.rich import rich_spec
from tests.unit.operator.scenario import job_spec

SAMPLE = 120
DRY_RUN = "?dryRun=All&fieldValidation=Strict&fieldManager=generated"


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def plans() -> list[dict[str, Any]]:
    return [plan["spec"] for plan in yaml.safe_load_all(Path(ROOT, "demo", "plans.yaml").read_text())]


def demo() -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load(Path(ROOT, "demo", "job.yaml").read_text())["spec"]
    return spec


UNCHECKED = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid"
SAID = re.compile(r"Invalid value|Required value|Unsupported value|Too long|Too many")


def refused_by_us(kind: str, spec: Any) -> list[str]:
    """Nothing, or the causes that we tell; what we let in, the operator's model reads."""
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "generated"}, "spec": spec}
    try:
        MODELS[kind].model_validate(admitted(body)["spec"])
    except ManifestError as error:
        return [str(cause) for cause in error.causes]
    return []


def apart(ours: list[str], theirs: str) -> str:
    """Nothing, or where the two differ: in the verdict, a cause, or its words."""
    rest, missing = theirs.replace(UNCHECKED, ""), []
    for cause in sorted(ours, key=len, reverse=True):
        if cause not in rest:
            missing.append(cause)
        rest = rest.replace(cause, "", 1)
    if bool(ours) == bool(theirs) and not missing and not SAID.search(rest):
        return ""
    return f"we say: {missing or ours or 'accepted'}\napiserver: {theirs or 'accepted'}"


async def refused_by_apiserver(cluster: KubernetesCluster, kind: str, path: str, spec: Any) -> str:
    body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": kind, "metadata": {"name": "generated"}, "spec": spec}
    try:
        await cluster._send("POST", f"{path}{DRY_RUN}", body)
    except ApiError as error:
        if error.code not in (400, 422):
            raise
        return error.message
    return ""


def as_kubectl_sends(spec: Any) -> Any:
    """Whole numbers without a fraction, as the command line reads them too."""
    return documents(json.dumps({"spec": spec}))[0]["spec"]


EXISTS = {"key": "team", "operator": "Exists"}
MODELS: dict[str, type[Model]] = {
    "LLMTrainingJob": JobSpec,
    "ComputePlan": PlanSpec,
    "TrainingBudget": TrainingBudgetSpec,
}
JOBS = "/apis/llmtrain.dev/v1alpha1/namespaces/default/llmtrainingjobs"
PLANS = "/apis/llmtrain.dev/v1alpha1/computeplans"
BUDGETS = "/apis/llmtrain.dev/v1alpha1/namespaces/default/trainingbudgets"


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", list(MODELS))
def test_we_refuse_exactly_what_the_apiserver_refuses_in_its_words(
    kind: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cases: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
        "LLMTrainingJob": ([job_spec(), rich_spec(), GOLDEN, demo()], job_crd(), JOBS),
        "ComputePlan": (plans(), plan_crd(), PLANS),
        "TrainingBudget": ([{"limitUsd": "5", "jobSelector": {"matchExpressions": [EXISTS]}}], budget_crd(), BUDGETS),
    }
    start, crd, path = cases[kind]
    seen: Counter[bool] = Counter()
    found: list[str] = []
    with asyncio.Runner() as runner:
        cluster = runner.run(connect())

        @settings(max_examples=SAMPLE, deadline=None, derandomize=True, phases=[Phase.generate], database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(data=st.data())
        def compare(data: st.DataObject) -> None:
            spec = data.draw(specs(schema_of(crd), start))
            spec = as_kubectl_sends(spec)
            theirs = runner.run(refused_by_apiserver(cluster, kind, path, spec))
            seen[not theirs] += 1
            found.append(apart(refused_by_us(kind, spec), theirs))

        try:
            compare()
        finally:
            runner.run(cluster.close())
    print(f"{kind}: {seen[True]} accepted, {seen[False]} refused by both")
    different = list(filter(None, found))
    assert not different, f"{len(different)} apart:\n" + "\n\n".join(different[:10])
    assert min(seen[True], seen[False]) > SAMPLE // 10
