"""Rungs as LLMTrainingJobs. What a ladder knows of itself stands in their labels: it can be left and taken up again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from llmtrain.api import API_VERSION
from llmtrain.api.admission import admitted
from llmtrain.api.job import OnBreach
from llmtrain.ladder.plan import Rung, Target

Object = dict[str, Any]
LADDER, RUNG, DIGEST, BUDGET, JOBS = (
    f"llmtrain.dev/{name}" for name in ("ladder", "ladder-rung", "ladder-digest", "ladder-budget", "ladder-jobs")
)
NAME_LENGTH = 40
"""Of a job; `names.py` of the operator needs the rest for its pods."""


def rung_name(target: str, index: int) -> str:
    """Name of the rung's job. One that had to be cut says of which it is: names may differ in their last letters alone."""
    tail = f"-rung-{index}"
    if len(target) + len(tail) > NAME_LENGTH:
        tail = f"-{hashlib.sha256(target.encode()).hexdigest()[:4]}{tail}"
    return f"{target[: NAME_LENGTH - len(tail)].rstrip('-')}{tail}"


def digest(target: Target, budget: Decimal, jobs: int) -> str:
    """Of what was asked for: another ladder for the same job has another."""
    asked = {"spec": target.spec.to_dict(), "budget": str(budget.normalize()), "jobs": jobs}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def manifest(
    target: Target, rung: Rung, namespace: str, budget: Decimal, jobs: int, labels: Mapping[str, str]
) -> Object:
    """The job to create, with these labels besides. ManifestError where the apiserver would refuse it."""
    own = {
        LADDER: target.name,
        RUNG: str(rung.index),
        DIGEST: digest(target, budget, jobs),
        BUDGET: f"{budget:f}",
        JOBS: str(jobs),
    }
    metadata: Object = {"name": rung_name(target.name, rung.index), "labels": {**labels, **own}}
    metadata |= {"namespace": namespace} if namespace else {}
    spec = rung.spec.to_dict() | {"budget": {"limitUsd": f"{rung.limit_usd:f}", "onBreach": OnBreach.FAIL.value}}
    body: Object = {"apiVersion": API_VERSION, "kind": "LLMTrainingJob", "metadata": metadata, "spec": spec}
    admitted(body)
    return body


def limits(jobs: Sequence[Mapping[str, Any]]) -> Decimal:
    """What jobs may cost together, by their own budgets, US dollars."""
    return sum((Decimal((job["spec"].get("budget") or {}).get("limitUsd", "0")) for job in jobs), Decimal(0))
