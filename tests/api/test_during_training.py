"""`evaluation.duringTraining` on the real apiserver: defaults that are stored, rules whose messages say what is allowed."""

import copy
from typing import Any

import pytest

from tests.api.conftest import Api

TASKS = [
    {"name": "held-out", "perplexity": {}},
    {"name": "answers", "judge": {"mode": "Rubric"}, "dataFile": "p.jsonl"},
]


def with_during(demo_job: dict[str, Any], **during: Any) -> dict[str, Any]:
    body = copy.deepcopy(demo_job)
    body["metadata"]["name"] = "during"
    judge = {"baseUrl": "http://judge.models:8000/v1", "model": "large"}
    body["spec"]["evaluation"] |= {"tasks": TASKS, "judge": judge, "require": [], "suites": []}
    body["spec"]["evaluation"]["duringTraining"] = {"everyTokens": 1000} | during
    return body


def test_what_is_left_out_is_stored_as_its_default(api: Api, demo_job: dict[str, Any]) -> None:
    api.apply(with_during(demo_job))
    stored = api.get("llmjob", "during", "-n", "default")["spec"]["evaluation"]["duringTraining"]
    assert stored == {
        "everyTokens": 1000,
        "evaluators": {"replicas": 1, "acceleratorsPerWorker": 0, "cpu": "1", "memory": "2Gi"},
        "tasks": [],
        "require": [],
    }
    api.run("delete", "llmjob", "during", "-n", "default")


@pytest.mark.parametrize(
    ("during", "message"),
    [
        ({"tasks": ["no-such"]}, "`duringTraining.tasks` must be names of entries of `tasks` or `suites`"),
        ({"evaluators": {"replicas": 17}}, "should be less than or equal to 16"),
        ({"everyTokens": 0}, "should be greater than or equal to 1"),
        ({"require": [{"metric": "held-out/x"}]}, "exactly one of `atMost`, `atLeast` and `noWorseThan` must be set"),
        (
            {"require": [{"metric": "held-out/x", "noWorseThan": "Reference"}]},
            "`noWorseThan` must be Baseline or Chance here",
        ),
        ({"require": [{"metric": "held-out/x", "noWorseThan": "Baseline"}]}, "needs `baseline`"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(
    api: Api, demo_job: dict[str, Any], during: dict[str, Any], message: str
) -> None:
    assert message in api.direct.refusal(with_during(demo_job, **during))


def test_what_is_judged_and_suites_may_be_named(api: Api, demo_job: dict[str, Any]) -> None:
    body = with_during(demo_job, tasks=["answers", "both"])
    body["spec"]["evaluation"]["suites"] = [{"name": "both", "tasks": ["held-out"]}]
    api.apply(body)
    api.run("delete", "llmjob", "during", "-n", "default")


def test_it_may_change_until_evaluation_starts_and_not_after(api: Api, demo_job: dict[str, Any]) -> None:
    api.apply(with_during(demo_job))
    stage = {"name": "Training", "state": "Running", "attempt": 1}
    api.set_status("llmjob", "during", {"status": {"stages": [stage]}})
    api.apply(with_during(demo_job, everyTokens=2000))
    later = [{**stage, "state": "Succeeded"}, {"name": "Evaluation", "state": "Running", "attempt": 1}]
    api.set_status("llmjob", "during", {"status": {"stages": later}})
    assert "may not change once Evaluation has started" in api.direct.refusal(with_during(demo_job, everyTokens=3000))
    api.run("delete", "llmjob", "during", "-n", "default")
