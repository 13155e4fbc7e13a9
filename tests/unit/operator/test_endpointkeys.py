"""Keys of endpoints reach the head of evaluation, evaluators that have something judged, and nobody else."""

import pytest
from llmtrain_operator.endpointkeys import key_mounts, key_volumes, secrets_of

from llmtrain.api.job import JobSpec
from llmtrain.api.status import Stage
from tests.unit.operator.scenario import job_spec


@pytest.fixture
def spec() -> JobSpec:
    raw = job_spec()
    judge = {"baseUrl": "https://judge/v1", "model": "large", "apiKeySecretRef": {"name": "openai"}}
    raw["evaluation"] |= {"judge": judge, "reference": {"baseUrl": "http://vllm/v1", "model": "other"}}
    return JobSpec.model_validate(raw)


def test_the_head_of_evaluation_gets_the_key_of_each_endpoint_that_has_one(spec: JobSpec) -> None:
    (volume,), (mount,) = (make(spec, Stage.EVALUATION, "head") for make in (key_volumes, key_mounts))
    assert volume == {"name": "key-judge", "secret": {"secretName": "openai", "defaultMode": 0o440}}
    assert mount == {"name": "key-judge", "mountPath": "/etc/llmtrain-endpoint-keys/judge", "readOnly": True}


@pytest.mark.parametrize(
    ("stage", "role"), [(Stage.EVALUATION, "worker"), (Stage.TRAINING, "head"), (Stage.PREFLIGHT, "head")]
)
def test_no_other_pod_gets_it(spec: JobSpec, stage: Stage, role: str) -> None:
    assert secrets_of(spec, stage, role) == {}


@pytest.mark.parametrize(
    ("opponent", "tasks", "expected"),
    [
        ("Field", [], {}),
        ("Field", ["answers"], {"judge": "openai"}),
        ("Reference", ["answers"], {"judge": "openai", "reference": "vllm"}),
        ("Reference", ["suite"], {"judge": "openai", "reference": "vllm"}),
        ("Reference", ["held-out"], {}),
    ],
)
def test_an_evaluator_gets_the_keys_that_its_judged_tasks_need(
    opponent: str, tasks: list[str], expected: dict[str, str]
) -> None:
    raw = job_spec()
    judged = {"name": "answers", "judge": {"opponent": opponent}, "dataFile": "p.jsonl"}
    raw["evaluation"] |= {
        "judge": {"baseUrl": "https://judge/v1", "model": "large", "apiKeySecretRef": {"name": "openai"}},
        "reference": {"baseUrl": "http://vllm/v1", "model": "other", "apiKeySecretRef": {"name": "vllm"}},
        "tasks": [{"name": "held-out", "perplexity": {}}, judged],
        "suites": [{"name": "suite", "tasks": ["answers"]}],
        "duringTraining": {"everyTokens": 1000, "tasks": tasks},
    }
    spec = JobSpec.model_validate(raw)
    assert secrets_of(spec, Stage.TRAINING, "evaluator") == expected
    assert secrets_of(spec, Stage.TRAINING, "worker") == secrets_of(spec, Stage.TRAINING, "head") == {}
