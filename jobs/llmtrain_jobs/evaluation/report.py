"""The evaluation's files: results for machines, samples, sheets for raters, a page for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmtrain.api.evaluation import Evaluation
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain_jobs.evaluation.curvepage import curve_section
from llmtrain_jobs.evaluation.finite import json_bytes, strict_json
from llmtrain_jobs.evaluation.guessing import RANDOM
from llmtrain_jobs.evaluation.page import page
from llmtrain_jobs.evaluation.points import Point
from llmtrain_jobs.evaluation.ratings import sheet
from llmtrain_jobs.evaluation.results import TaskResult
from llmtrain_jobs.evaluation.stored import RESULTS

FORMAT = 1
CURVE = "curve.json"
DIGITS = 4
STATUS_BYTES = 2500
"""Of a termination message of 4 KiB, which also has the message and the keys."""


@dataclass(frozen=True)
class Findings:
    """Results by task, of our model and of the reference."""

    own: Mapping[str, TaskResult]
    reference: Mapping[str, TaskResult]
    usage: Mapping[str, Any]
    baseline: dict[str, Any] | None
    working_seconds: float
    weights: str = ""
    """Hash of the trained model's files."""
    curve: Sequence[Point] = ()
    """Scores of the checkpoints on the way, by evaluators."""


def results_of(findings: Findings, config: StageConfig) -> dict[str, Any]:
    """Everything but the samples. No times and no places are in it: the same evaluation gives the same bytes."""
    evaluation = config.spec.evaluation
    return {
        "format": FORMAT,
        "model": {
            "training": config.artifacts.get(Stage.TRAINING, ""),
            "sha256": findings.weights,
            "curation": config.artifacts.get(Stage.CURATION, ""),
        },
        "evaluation": evaluation.to_dict() if evaluation else {},
        "tasks": {name: result.to_dict() for name, result in findings.own.items()},
        "reference": {name: result.to_dict() for name, result in findings.reference.items()},
        "scores": flat_scores(findings.own),
        "referenceScores": flat_scores(findings.reference),
        "chance": chance_of(findings.own),
        "endpoints": dict(findings.usage),
    }


def flat_scores(results: Mapping[str, TaskResult]) -> dict[str, str]:
    """`task/metric` -> decimal text."""
    return {
        f"{name}/{metric}": decimal_text(v) for name, result in results.items() for metric, v in result.scores.items()
    }


def decimal_text(value: float) -> str:
    """Four digits behind the point; what is compared is what is shown."""
    return f"{value:.{DIGITS}f}"


def chance_of(results: Mapping[str, TaskResult]) -> dict[str, str]:
    """What guessing at random reaches, of the scores that have such a bar."""
    guesses = {f"{n}/{m}": g for n, result in results.items() for m, g in result.guessing.items()}
    return {name: decimal_text(guess[RANDOM]) for name, guess in guesses.items() if RANDOM in guess}


def files_of(findings: Findings, config: StageConfig) -> dict[str, bytes]:
    """Files of the artifact by name."""
    results = results_of(findings, config)
    files = {RESULTS: strict_json(results, indent=1, sort_keys=True).encode()}
    for folder, found in (("samples", findings.own), ("reference-samples", findings.reference)):
        for name, result in found.items():
            lines = b"".join(json_bytes(sample) for sample in result.samples)
            files |= {f"{folder}/{name}.jsonl": lines} if lines else {}
    files |= sheets(findings, config)
    if findings.curve:
        files[CURVE] = strict_json([asdict(point) for point in findings.curve], indent=1).encode()
    drawn = curve_section(findings.curve, findings.own, config)
    files["report.html"] = page(results, findings.own, findings.baseline, config, drawn).encode()
    return files


def sheets(findings: Findings, config: StageConfig) -> dict[str, bytes]:
    """Sheets for people, of the pairwise tasks."""
    from llmtrain_jobs.evaluation.judge import Pair

    tasks = config.spec.evaluation.tasks if config.spec.evaluation else []
    made = {}
    for task in tasks:
        result = findings.own.get(task.name)
        if task.judge is not None and result is not None and result.primary == "win_rate":
            pairs = [Pair(**sample["pair"]) for sample in result.samples]
            made[f"human/{task.name}.csv"] = sheet(pairs, task.seed).encode()
    return made


def shown_scores(results: Mapping[str, Any], evaluation: Evaluation) -> dict[str, str]:
    """Scores for the status, which has little room: required ones first, then each task's own, then the rest."""
    scores: Mapping[str, str] = results["scores"]
    primary = [f"{name}/{task['primary']}" for name, task in results["tasks"].items() if task["primary"]]
    wanted = [*(requirement.metric for requirement in evaluation.require), *primary, *sorted(scores)]
    shown: dict[str, str] = {}
    for name in dict.fromkeys(wanted):
        if name in scores and len(json.dumps(shown | {name: scores[name]})) <= STATUS_BYTES:
            shown[name] = scores[name]
    return shown


def summary(scores: Mapping[str, str]) -> str:
    """The scores in one line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(scores.items()))[:900]
