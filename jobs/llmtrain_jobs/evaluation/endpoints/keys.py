"""API keys of endpoints, mounted as Secrets beside each other."""

import os
from pathlib import Path

from llmtrain.api.endpoint import Endpoint
from llmtrain.api.stageconfig import ENDPOINT_KEYS_DIR
from llmtrain_jobs.errors import bad_input

KEY = "OPENAI_API_KEY"


def api_key(endpoint: Endpoint, role: str) -> str:
    """The key of `spec.evaluation.{role}`; empty where none is asked for."""
    if endpoint.api_key_secret_ref is None:
        return ""
    file = Path(os.environ.get("LLMTRAIN_ENDPOINT_KEYS", ENDPOINT_KEYS_DIR)) / role / KEY
    if not file.is_file():
        name = endpoint.api_key_secret_ref.name
        raise bad_input(f"`spec.evaluation.{role}.apiKeySecretRef`: Secret `{name}` has no {KEY}", "NoApiKey")
    return file.read_text().strip()
