"""Jobs and plans for the tests of estimates: what the API parses, small enough to read."""

from collections.abc import Mapping
from typing import Any

from llmtrain.api.job import JobSpec
from llmtrain.api.plan import PlanSpec

H100 = {"product": "H100-SXM-80GB"}
CPU: dict[str, Any] = {"tenure": "Rented", "rented": {"cpuHourUsd": "0.03", "memoryGibHourUsd": "0.004"}}
RENTED: dict[str, Any] = {
    "tenure": "Rented",
    "accelerator": H100,
    "rented": {"acceleratorHourUsd": "3.99", "source": {"name": "list price", "date": "2026-03-01"}},
}
OWNED: dict[str, Any] = {
    "tenure": "Owned",
    "accelerator": H100,
    "owned": {"accelerators": 64, "serverPerAcceleratorUsd": "32000", "powerKwPerAccelerator": "1.275"},
}
PLANS: Mapping[str, Mapping[str, Any]] = {"cpu": CPU, "h100-rented": RENTED, "h100-owned": OWNED}


def job(**training: Any) -> dict[str, Any]:
    """Llama-2-7B on 64 H100 for two trillion tokens, unless the training says otherwise."""
    workers = {"replicas": 8, "acceleratorsPerWorker": 8, "cpu": "8", "memory": "64Gi"}
    return {
        "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
        "curation": {
            "cluster": {"planRef": {"name": "cpu"}, "workers": {"replicas": 4, "cpu": "4", "memory": "8Gi"}},
            "sources": [{"name": "docs", "path": "corpus/*.jsonl.gz"}],
            "tokenizer": {"train": {"vocabularySize": 32000}},
        },
        "model": {"preset": "llama2-7b", "contextLength": 4096},
        "training": {
            "cluster": {"planRef": {"name": "h100-rented"}, "workers": workers},
            "tokens": 2_000_000_000_000,
            "globalBatchTokens": 4_194_304,
            **training,
        },
        "evaluation": {
            "cluster": {"planRef": {"name": "h100-rented"}, "workers": {"replicas": 1, "acceleratorsPerWorker": 1}},
            "tasks": [{"name": "held-out", "perplexity": {}}],
        },
    }


def job_spec(**training: Any) -> JobSpec:
    """The same, parsed."""
    return JobSpec.model_validate(job(**training))


def plan_specs(**changed: Mapping[str, Any]) -> dict[str, PlanSpec]:
    """The three plans, some replaced or added; underscores in names stand for hyphens."""
    named = {name.replace("_", "-"): plan for name, plan in changed.items()}
    return {name: PlanSpec.model_validate(plan) for name, plan in (dict(PLANS) | named).items()}
