"""Evaluations that exist already: read back, compared, held against requirements."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from llmtrain.api.evaluation import Against, Evaluation
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.errors import bad_input
from llmtrain_jobs.evaluation.requirements import Bars

RESULTS = "results.json"


def stored_results(store: Store, key: str) -> dict[str, Any] | None:
    """Results of a complete evaluation."""
    if store.manifest("evaluation", key) is None:
        return None
    found: dict[str, Any] = json.loads(store.read(f"{artifact_folder('evaluation', key)}/{RESULTS}"))
    return found


def weights_of(store: Store, key: str) -> str:
    """SHA-256 over names and hashes of a training's files: the same model has the same, wherever it lies."""
    files = (store.manifest("training", key) or {}).get("files", [])
    lines = sorted(f"{file['sha256']}  {file['name']}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def baseline_of(store: Store, evaluation: Evaluation) -> dict[str, Any] | None:
    """Results of the run to compare with."""
    if evaluation.baseline is None:
        return None
    found = stored_results(store, evaluation.baseline.artifact)
    if found is None:
        raise bad_input(
            f"`spec.evaluation.baseline.artifact`: there is no evaluation `{evaluation.baseline.artifact}` in the job's "
            "storage; take the key from `status.stages[].artifact` of the run to compare with",
            "NoBaseline",
        )
    return found


def bars_of(results: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> Bars:
    """What requirements are held against, from stored results."""
    tasks = results["tasks"]
    lower = {f"{n}/{m}" for n, task in tasks.items() for m, higher in task["higher_is_better"].items() if not higher}
    others = {
        Against.CHANCE: results["chance"],
        Against.REFERENCE: results["referenceScores"],
        Against.BASELINE: baseline["scores"] if baseline else {},
    }
    troubles = {
        Against.REFERENCE: problems_of(results["reference"]),
        Against.BASELINE: problems_of(baseline["tasks"]) if baseline else {},
    }
    return Bars(results["scores"], others, frozenset(lower), problems_of(tasks), troubles)


def problems_of(tasks: Mapping[str, Any]) -> dict[str, str]:
    """Why scores are missing, by task and by `task/metric`; what an earlier version stored says nothing of it."""
    whole = {name: task["problem"] for name, task in tasks.items() if task.get("problem")}
    return whole | {f"{n}/{m}": why for n, task in tasks.items() for m, why in task.get("left_out", {}).items()}
