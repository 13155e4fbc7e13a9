"""Two runs whose losses, bills and differences are known: the wide one learns more from a token and pays more for it."""

import copy
from typing import Any

from llmtrain.report.artifacts import Artifacts, Point
from llmtrain.report.facts import Facts, facts_of
from tests.unit.operator.scenario import job_spec
from tests.unit.report.job import entry, finished

STEP = 1000
NARROW_STEPS, WIDE_STEPS = 1000, 500


def spec(**changes: Any) -> dict[str, Any]:
    body = job_spec()
    body["curation"]["sources"] = [{"name": "docs", "path": "docs/*.jsonl"}, {"name": "code", "path": "code/*.jsonl"}]
    body["training"]["tokens"] = NARROW_STEPS * STEP
    body["training"] |= changes.pop("training", {})
    return body | changes


def narrow() -> dict[str, Any]:
    """A million tokens for $2.00 of training, of which $0.30 are waste."""
    job = finished()
    return job | {
        "metadata": job["metadata"] | {"name": "narrow"},
        "spec": spec(),
        "status": billed(job["status"], 2_000_000, 300_000),
    }


def wide() -> dict[str, Any]:
    """Half a million tokens for $3.00 of training."""
    phases = [
        {"name": "one", "tokens": 250_000},
        {"name": "two", "tokens": 250_000, "mixture": [{"source": "code", "weight": "1"}]},
    ]
    job = finished()
    body = spec(model={"preset": "tiny", "contextLength": 256}, training={"tokens": 500_000, "phases": phases})
    return job | {
        "metadata": job["metadata"] | {"name": "wide"},
        "spec": body,
        "status": billed(job["status"], 3_000_000, 0),
    }


def billed(status: dict[str, Any], training: int, waste: int) -> dict[str, Any]:
    status = copy.deepcopy(status)
    worker = entry("Training", "worker", "gpu", 3600, 2, training)
    worker["costSplit"] = {"starting": waste, "working": training - waste}
    curation = entry("Curation", "head", "cpu", 100, 0, 1358) | {"costSplit": {"working": 1358}}
    total = training + 1358
    ledger = {
        "entries": [curation, worker],
        "totalMicroUsd": total,
        "costUsd": f"{total / 1e6:.2f}",
        "costNowMicroUsd": total,
    }
    return status | {"ledger": ledger}


def artifacts(steps: int, first: float, counts: dict[str, Any]) -> Artifacts:
    """A loss that falls by half a nat over all tokens of the narrow run, on a line."""
    points = tuple(Point(n, n * STEP, first - 0.5 * n / NARROW_STEPS) for n in range(1, steps + 1))
    return Artifacts(losses=points, counts=counts)


COUNTS = {"vocabulary_size": 8192, "sources": {"docs": {"tokens": 750}, "code": {"tokens": 250}}}


def narrow_facts() -> Facts:
    return facts_of(narrow(), artifacts(NARROW_STEPS, 3.0, COUNTS))


def wide_facts() -> Facts:
    return facts_of(wide(), artifacts(WIDE_STEPS, 2.9, COUNTS))
