"""An evaluator beside a real training: it scores checkpoints, is killed and replaced, and its scores end the training.

The corpus, its settings and the seed are the golden job's, whose curation is found done where its tests ran before.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import STORAGE
from tests.e2e.jobs import job
from tests.e2e.kube import apply, condition, ended, pods, stage, status, wait
from tests.e2e.recorder import Recorder
from tests.e2e.test_faults import kill_container

NAME = "watched"
AFTER = 600_000
DURING = {
    "everyTokens": 40_000,
    "planRef": {"name": "cpu"},
    "evaluators": {"cpu": "200m", "memory": "2Gi"},
    "tasks": ["held-out"],
    # No model of this size gets there: training must end early, but not before the evaluator was killed.
    "require": [{"metric": "held-out/bits_per_byte", "atMost": "0.1", "afterTokens": AFTER}],
}


def points() -> list[dict[str, Any]]:
    files = Path(STORAGE, "artifacts", "training").glob("*/evaluations/step-*.json")
    return sorted((json.loads(file.read_text()) for file in files), key=lambda point: point["tokens"])


def evaluators() -> list[dict[str, Any]]:
    return [p for p in pods(NAME) if p["metadata"]["labels"]["llmtrain.dev/role"] == "evaluator"]


@pytest.fixture(scope="module")
def stopped(recorder: Recorder) -> list[dict[str, Any]]:
    """The points that were there when the evaluator was killed; the job has ended since."""
    apply(job(NAME, training__tokens=40_000_000, training__checkpoint={"interval": {"seconds": 5}},
              evaluation__duringTraining=DURING))  # fmt: skip
    wait("the first scores", points, 300)
    before = points()
    kill_container(evaluators()[0])
    wait("the next evaluator", lambda: any("-e0-2" in p["metadata"]["name"] for p in evaluators()), 60)
    wait("its scores", lambda: points()[-1]["tokens"] > before[-1]["tokens"], 120)
    told = wait("the operator's word of them", lambda: stage(NAME, "Training")["progress"].get("scores"), 60)
    assert set(told) >= {"held-out/bits_per_byte"}
    wait("the end", lambda: ended(NAME) and not pods(NAME), 300)
    return before


def test_training_went_on_while_the_evaluator_was_killed_and_replaced(stopped: list[dict[str, Any]]) -> None:
    assert stage(NAME, "Training")["attempt"] == 1
    # The one that is counted is the requirement's own.
    assert stage(NAME, "Training")["failures"] == 1
    assert "workerFailures" not in stage(NAME, "Training"), "none is counted against the workers"
    found = [float(point["scores"]["held-out/bits_per_byte"]) for point in points()]
    assert found[-1] < found[0], "the model learnt meanwhile"


def test_the_requirement_ended_the_training_and_everything_is_kept(stopped: list[dict[str, Any]]) -> None:
    assert condition(NAME, "Succeeded")["reason"] == "EvaluationBelowThreshold"
    assert "at most 0.1 is asked for" in stage(NAME, "Training")["message"]
    assert stage(NAME, "Training")["progress"]["done"] < 40_000_000
    checkpoint = Path(STORAGE, stage(NAME, "Training")["checkpoint"], "COMPLETE")
    assert checkpoint.exists()
    assert int(json.loads(checkpoint.read_text())["facts"]["tokens"]) >= points()[-1]["tokens"] >= AFTER


def test_evaluators_are_billed_by_their_role_and_plan_and_the_sum_is_the_recorder_s(
    stopped: list[dict[str, Any]], recorder: Recorder
) -> None:
    entries = {(e["role"], e["plan"]): e for e in status(NAME)["ledger"]["entries"] if e["stage"] == "Training"}
    assert set(entries) == {("head", "h100-rented"), ("worker", "h100-rented"), ("evaluator", "cpu")}
    assert entries["evaluator", "cpu"]["pods"] == 2
    assert status(NAME)["ledger"]["totalMicroUsd"] == recorder.micro_usd(NAME) > 0
    assert NAME not in recorder.together
