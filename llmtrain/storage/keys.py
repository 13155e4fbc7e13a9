"""Artifact keys: a hash of everything that the artifact depends on, so that equal work is never paid for twice."""

import hashlib
import json
from typing import Any

from llmtrain.api.job import JobSpec

CURATION_CODE = "15"
SIGNALS_CODE = "12"
TRAINING_CODE = "2"
EVALUATION_CODE = "6"
"""Raised when the stage's code makes other bytes from the same input."""


def artifact_key(parts: dict[str, Any]) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def curation_key(spec: JobSpec, fingerprint: str) -> str:
    """`fingerprint` identifies the content of the sources. The cluster does not matter: the bytes are the same."""
    config = spec.curation.to_dict()
    for irrelevant in ("cluster", "require"):
        config.pop(irrelevant)
    return artifact_key({"code": CURATION_CODE, "config": config, "seed": spec.seed, "sources": fingerprint})


def signals_key(spec: JobSpec, fingerprint: str) -> str:
    """Of what is read, edited, measured and signed: runs that differ in rules alone share it."""
    curation, minhash = spec.curation, spec.curation.deduplication.min_hash
    reading = {"path", "format", "text_field", "id_field", "url_field", "date_field", "http_statuses"}
    parts = {
        "code": SIGNALS_CODE,
        "sources": [source.model_dump(mode="json", include=reading) for source in curation.sources],
        "content": fingerprint,
        "pages": curation.pages.to_dict(),
        "edits": curation.edits,
        "pii": curation.pii.to_dict(),
        "signature": [minhash.shingle_words, minhash.permutations, minhash.bands],
        "models": [[model.name, model.kind, model.path, model.label] for model in curation.filters.classifiers],
        "lists": [curation.filters.language_model, curation.filters.blocked_words],
        "limits": curation.limits.to_dict(),
    }
    return artifact_key(parts)


def training_key(spec: JobSpec, curation: str) -> str:
    """Cluster, device, division among processes and checkpoint interval do not change what is trained."""
    config = spec.training.to_dict()
    for irrelevant in ("cluster", "checkpoint", "device", "parallelism", "evaluateEveryTokens"):
        config.pop(irrelevant, None)
    model = spec.model.to_dict()
    return artifact_key({"code": TRAINING_CODE, "config": config, "model": model, "seed": spec.seed, "data": curation})


def evaluation_key(spec: JobSpec, training: str, fingerprint: str) -> str:
    """`fingerprint` identifies the content of the tasks' data files. What is required of scores does not change them."""
    config = spec.evaluation.to_dict() if spec.evaluation else {}
    for irrelevant in ("cluster", "require", "baseline", "duringTraining"):
        config.pop(irrelevant, None)
    return artifact_key({"code": EVALUATION_CODE, "config": config, "model": training, "data": fingerprint})
