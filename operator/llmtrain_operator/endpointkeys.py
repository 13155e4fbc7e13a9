"""API keys of the endpoints that evaluation asks: mounted from Secrets into who asks, never read here."""

from typing import Any

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.evaluation import Evaluation, scored_during
from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import ENDPOINT_KEYS_DIR
from llmtrain.api.status import Stage
from llmtrain_operator.names import EVALUATOR, HEAD

Object = dict[str, Any]


def secrets_of(spec: JobSpec, stage: Stage, role: str) -> dict[str, str]:
    """Secret of each endpoint by the endpoint's field; workers ask no endpoint and get none."""
    endpoints = endpoints_of(spec.evaluation, stage, role) if spec.evaluation else {}
    return {
        name: endpoint.api_key_secret_ref.name
        for name, endpoint in endpoints.items()
        if endpoint is not None and endpoint.api_key_secret_ref is not None
    }


def endpoints_of(evaluation: Evaluation, stage: Stage, role: str) -> dict[str, Endpoint | None]:
    """What a pod asks: evaluation's head both, an evaluator those that its judged tasks need."""
    judged = [task.judge for task in scored_during(evaluation) if task.judge is not None]
    needs: dict[tuple[Stage, str], tuple[bool, bool]] = {
        (Stage.EVALUATION, HEAD): (True, True),
        (Stage.TRAINING, EVALUATOR): (any(judge.asks_reference for judge in judged), bool(judged)),
    }
    reference, judge = needs.get((stage, role), (False, False))
    return {
        "reference": evaluation.reference if reference else None,
        "judge": evaluation.judge if judge else None,
    }


def key_volumes(spec: JobSpec, stage: Stage, role: str) -> list[Object]:
    """One volume an endpoint."""
    secrets = secrets_of(spec, stage, role).items()
    return [{"name": f"key-{n}", "secret": {"secretName": secret, "defaultMode": 0o440}} for n, secret in secrets]


def key_mounts(spec: JobSpec, stage: Stage, role: str) -> list[Object]:
    """Where each is mounted."""
    names = secrets_of(spec, stage, role)
    return [{"name": f"key-{n}", "mountPath": f"{ENDPOINT_KEYS_DIR}/{n}", "readOnly": True} for n in names]
