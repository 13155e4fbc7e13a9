"""The models accept exactly what the apiserver accepts: manifests made from the schema, held against both."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from llmtrain_operator.client import ApiError, KubernetesCluster, connect
from pydantic import ValidationError

from llmtrain.api.base import Model, parse_manifest
from llmtrain.api.crd import job_crd, plan_crd
from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec
from tests.api.conftest import ROOT, Api
from tests.api.generated import specs
from tests.e2e.jobs import GOLDEN
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


def refused_by_model(model: type[Model], spec: Any) -> str:
    """Nothing, or what the model says."""
    try:
        parse_manifest(model, spec)
    except ValidationError as error:
        return str(error)
    return ""


async def refused_by_apiserver(cluster: KubernetesCluster, kind: str, path: str, spec: Any) -> str:
    body = {"apiVersion": "llmtrain.dev/v1alpha1", "kind": kind, "metadata": {"name": "generated"}, "spec": spec}
    try:
        await cluster._send("POST", f"{path}{DRY_RUN}", body)
    except ApiError as error:
        if error.code not in (400, 422):
            raise
        return error.message
    return ""


JOBS = "/apis/llmtrain.dev/v1alpha1/namespaces/default/llmtrainingjobs"
PLANS = "/apis/llmtrain.dev/v1alpha1/computeplans"


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", ["LLMTrainingJob", "ComputePlan"])
def test_the_models_accept_exactly_what_the_apiserver_accepts(
    kind: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", api.kubeconfig)
    cases: dict[str, tuple[list[dict[str, Any]], type[Model], dict[str, Any], str]] = {
        "LLMTrainingJob": ([job_spec(), GOLDEN, demo()], JobSpec, job_crd(), JOBS),
        "ComputePlan": (plans(), PlanSpec, plan_crd(), PLANS),
    }
    start, model, crd, path = cases[kind]
    seen: Counter[bool] = Counter()
    apart: list[str] = []
    with asyncio.Runner() as runner:
        cluster = runner.run(connect())

        @settings(max_examples=SAMPLE, deadline=None, derandomize=True, phases=[Phase.generate], database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(data=st.data())
        def compare(data: st.DataObject) -> None:
            spec = data.draw(specs(schema_of(crd), start))
            ours = refused_by_model(model, spec)
            theirs = runner.run(refused_by_apiserver(cluster, kind, path, spec))
            seen[not theirs] += 1
            if bool(ours) != bool(theirs):
                apart.append(f"model: {ours or 'accepted'}\napiserver: {theirs or 'accepted'}")

        try:
            compare()
        finally:
            runner.run(cluster.close())
    print(f"{kind}: {seen[True]} accepted, {seen[False]} refused by both")
    assert not apart, f"{len(apart)} apart:\n" + "\n\n".join(apart[:10])
    assert min(seen[True], seen[False]) > SAMPLE // 10
