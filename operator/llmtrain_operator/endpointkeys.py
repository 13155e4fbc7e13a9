"""API keys of the endpoints that evaluation asks: mounted from Secrets into the head alone, never read here."""

from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import ENDPOINT_KEYS_DIR
from llmtrain.api.status import Stage
from llmtrain_operator.names import HEAD

Object = dict[str, Any]


def secrets_of(spec: JobSpec, stage: Stage, role: str) -> dict[str, str]:
    """Secret of each endpoint by the endpoint's field; workers ask no endpoint and get none."""
    evaluation = spec.evaluation
    if evaluation is None or stage is not Stage.EVALUATION or role != HEAD:
        return {}
    endpoints = {"reference": evaluation.reference, "judge": evaluation.judge}
    return {
        name: endpoint.api_key_secret_ref.name
        for name, endpoint in endpoints.items()
        if endpoint is not None and endpoint.api_key_secret_ref is not None
    }


def key_volumes(spec: JobSpec, stage: Stage, role: str) -> list[Object]:
    """One volume an endpoint."""
    secrets = secrets_of(spec, stage, role).items()
    return [{"name": f"key-{n}", "secret": {"secretName": secret, "defaultMode": 0o440}} for n, secret in secrets]


def key_mounts(spec: JobSpec, stage: Stage, role: str) -> list[Object]:
    """Where each is mounted."""
    names = secrets_of(spec, stage, role)
    return [{"name": f"key-{n}", "mountPath": f"{ENDPOINT_KEYS_DIR}/{n}", "readOnly": True} for n in names]
