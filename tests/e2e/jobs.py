"""Manifests of the e2e jobs."""

import copy
from typing import Any

from tests.e2e.kube import NAMESPACE

SMALL = {"cpu": "100m", "memory": "2Gi"}


def cluster(plan: str, workers: int, accelerators: int = 0) -> dict[str, Any]:
    group = {"replicas": workers, "cpu": "200m", "memory": "2Gi", "acceleratorsPerWorker": accelerators}
    return {"planRef": {"name": plan}, "head": SMALL, "workers": group}


GOLDEN: dict[str, Any] = {
    "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
    "comparePlans": ["h100-rented", "h100-owned"],
    "curation": {
        "cluster": cluster("cpu", 2),
        "sources": [{"name": "docs", "path": "corpus/*.jsonl.gz"}],
        "tokenizer": {"train": {"vocabularySize": 2048}},
        "require": {"minTokens": 100000},
    },
    "model": {"preset": "tiny", "contextLength": 128},
    "training": {
        "cluster": cluster("h100-rented", 2, 1),
        # The node's GPUs are pretence.
        "device": "Cpu",
        "tokens": 600000,
        "globalBatchTokens": 8192,
        "optimizer": {"peakLearningRate": "3e-3", "warmupTokens": 80000},
        "checkpoint": {"interval": {"seconds": 10}},
    },
    "evaluation": {
        "cluster": cluster("h100-rented", 1, 1),
        "tasks": [
            {"name": "held-out", "perplexity": {}},
            {"name": "choices", "task": "arc_easy", "dataFile": "benchmarks/choices.jsonl", "limit": 50},
        ],
    },
}


def job(name: str, **changes: Any) -> dict[str, Any]:
    """The golden job with fields changed, by path: `training__tokens=1`."""
    spec = copy.deepcopy(GOLDEN)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = spec
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "llmtrain.dev/v1alpha1", "kind": "LLMTrainingJob", "metadata": metadata, "spec": spec}
