"""The CRD becomes stricter under jobs that are stored: they are suspended, settled and deleted, and apply as before."""

import copy
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmtrain.api.crd import crds
from tests.api.conftest import Api
from tests.older import older_crds, renamed
from tests.unit.api.rich import rich_spec

GROUP = "upgraded.llmtrain.dev"
JOBS, PLANS = f"llmtrainingjobs.{GROUP}", f"computeplans.{GROUP}"
STARTED = [
    {"name": name, "state": "Succeeded", "attempt": 1} for name in ("Preflight", "Curation", "Training", "Evaluation")
]
BREAKING = {"labels": {"x" * 64: "a"}, "imagePullSecrets": [{"name": "a..b"}], "priorityClassName": "a..b"}
PLAN = {
    "tenure": "Rented",
    "rented": {"cpuHourUsd": "0", "memoryGibHourUsd": "0"},
    "placement": {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
}


def install(api: Api, definitions: list[dict[str, Any]], ready: Callable[[], bool]) -> None:
    """Install them in a group of their own, and wait until the apiserver goes by them."""
    for definition in definitions:
        api.apply(renamed(definition, GROUP))
    until = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < until, "the definitions have not come into force"
        time.sleep(0.1)


def job(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "LLMTrainingJob", "metadata": metadata, "spec": spec}


def plan() -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ComputePlan", "metadata": {"name": "p"}, "spec": PLAN}


def started(api: Api, name: str) -> None:
    api.set_status(JOBS, name, {"status": {"stages": STARTED}})


@pytest.fixture(scope="module")
def upgraded(api: Api) -> Iterator[Api]:
    """Jobs and a plan from before the upgrade: one breaks every new rule, one is new to the operator, one has finished."""
    install(
        api,
        older_crds(),
        lambda: api.run("create", "--dry-run=server", "-f", "-", body=job("x.y", rich_spec())).returncode == 0,
    )
    for name, spec in (("llama-3.1", rich_spec() | {"pod": BREAKING}), ("7b", rich_spec()), ("done", rich_spec())):
        api.apply(job(name, spec))
    api.apply(plan())
    for name in ("llama-3.1", "done"):
        started(api, name)
    install(api, crds(), lambda: "DNS-1035" in api.refusal(job("x.y", rich_spec())))
    yield api
    for kind in (JOBS, PLANS, f"trainingbudgets.{GROUP}"):
        api.run("delete", "crd", kind, "--wait=false")


def patched(api: Api, name: str, patch: dict[str, Any], *more: str) -> str:
    """Nothing, or what the apiserver says against a merge patch."""
    done = api.run("patch", JOBS, name, "--type=merge", "-p", json.dumps(patch), *more)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", ["llama-3.1", "7b"])
def test_a_stored_job_that_breaks_the_rules_is_suspended_settled_and_deleted(name: str, upgraded: Api) -> None:
    assert patched(upgraded, name, {"metadata": {"finalizers": ["llmtrain.dev/ledger"]}}) == ""
    assert patched(upgraded, name, {"status": {"state": "Running"}}, "--subresource=status") == ""
    assert patched(upgraded, name, {"spec": {"suspend": True}}) == ""
    ledger = {"status": {"state": "Suspended", "ledger": {"totalMicroUsd": 5}}}
    assert patched(upgraded, name, ledger, "--subresource=status") == ""
    upgraded.run("delete", JOBS, name, "--wait=false")
    assert patched(upgraded, name, ledger | {"status": {"state": "Deleting"}}, "--subresource=status") == ""
    assert patched(upgraded, name, {"metadata": {"finalizers": []}}) == ""
    assert "NotFound" in upgraded.run("get", JOBS, name).stderr


def test_what_is_new_in_it_keeps_the_rules(upgraded: Api) -> None:
    upgraded.apply(job("gpt", rich_spec()))
    for pod in ({"labels": {"x" * 64: "a"}}, {"imagePullSecrets": [{"name": "a..b"}]}, {"priorityClassName": "a..b"}):
        assert "must" in patched(upgraded, "gpt", {"spec": {"pod": pod}})


def test_the_same_file_is_applied_again_though_defaults_have_left_the_schema(upgraded: Api) -> None:
    before = upgraded.get(JOBS, "done")
    assert before["spec"]["curation"]["sources"][0]["textField"] == "text", "stored with its defaults"
    done = upgraded.run("apply", "-f", "-", body=job("done", rich_spec()))
    assert (done.stderr, done.stdout.split()[-1]) == ("", "configured")
    again = upgraded.run("apply", "-f", "-", body=job("done", rich_spec()))
    assert again.stdout.split()[-1] == "unchanged"
    assert upgraded.get(JOBS, "done")["spec"]["curation"]["sources"] == rich_spec()["curation"]["sources"]


@pytest.mark.parametrize("path", ["curation.sources", "training.phases", "evaluation.tasks", "evaluation.suites"])
def test_and_nothing_else_in_those_lists_may_change(path: str, upgraded: Api) -> None:
    part, field = path.split(".")
    changed = copy.deepcopy(rich_spec()[part][field])
    changed[0]["name"] = "other"
    assert "may not change once" in patched(upgraded, "done", {"spec": {part: {field: changed}}})


def test_a_plan_is_applied_again(upgraded: Api) -> None:
    assert [upgraded.run("apply", "-f", "-", body=plan()).stdout.split()[-1] for _ in range(2)] == [
        "configured",
        "unchanged",
    ]


def test_lists_are_stored_as_they_are_written(upgraded: Api) -> None:
    """A GitOps tool compares them whole."""
    upgraded.apply(job("written", rich_spec()))
    stored = upgraded.get(JOBS, "written")["spec"]
    assert different(rich_spec(), stored) == []


def different(want: Any, have: Any, at: str = "spec") -> list[str]:
    """Where an object lacks or alters what is wanted; lists must be equal."""
    if isinstance(want, dict) and isinstance(have, dict):
        return [line for key in want for line in different(want[key], have.get(key), f"{at}.{key}")]
    return [] if want == have else [at]
