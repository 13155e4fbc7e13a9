"""An evaluator's own process beside a real training under Ray, on one machine: its scores end the training early."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.api.stageconfig import Result
from tests.long.test_run_local import folder

__all__ = ["folder"]
TOKENS = 40_960_000
"""Hours of training on any CPU: only the scores can end it in time."""


def started(command: list[str], log: Path, **environment: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as out:
        return subprocess.Popen(
            command, env=dict(os.environ) | environment, stdout=out, stderr=out, start_new_session=True
        )


def until(what: str, check: Any, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@pytest.mark.timeout(1200)
def test_scores_of_another_process_end_the_training_and_everything_is_kept(folder: Path) -> None:
    manifest = yaml.safe_load((folder / "job.yaml").read_text())
    spec, storage = manifest["spec"], folder / "storage"
    spec["training"] |= {"tokens": TOKENS, "checkpoint": {"interval": {"steps": 20}, "keepLast": 1}}
    bound = {"metric": "held-out/bits_per_byte", "atMost": "0.01", "afterTokens": 80_000}
    spec["evaluation"]["duringTraining"] = {"everyTokens": 40_000, "require": [bound]}
    (folder / "watched.yaml").write_text(yaml.safe_dump(manifest))
    command = [sys.executable, "-c", "from llmtrain.cli.main import app; app()", "run-local", "-f", str(folder / "watched.yaml"), "--plans",
               str(folder / "plans.yaml"), "--storage", str(storage)]  # fmt: skip
    job = started(command, folder / "job.log")
    config = storage / "scratch" / "training" / "config.json"
    until("training", lambda: config.exists() or job.poll() is not None, 600)
    own = {"LLMTRAIN_ROLE": "evaluator", "LLMTRAIN_INDEX": "0", "LLMTRAIN_CONFIG": str(config),
           "LLMTRAIN_STORAGE": str(storage), "LLMTRAIN_SCRATCH": str(folder / "evaluator")}  # fmt: skip
    evaluator = started([sys.executable, "-m", "llmtrain_jobs.entrypoint.driver"], folder / "evaluator.log", **own)
    try:
        job.wait(900)
        result = Result.model_validate_json((config.parent / "result.json").read_text())
        assert (result.failure_class, result.reason) == ("BelowThreshold", "EvaluationBelowThreshold"), result.message
        assert "at most 0.01 is asked for" in result.message
        points = [json.loads(file.read_text()) for file in storage.glob("artifacts/training/*/evaluations/*.json")]
        assert max(point["tokens"] for point in points) >= 80_000
        kept = json.loads((storage / result.checkpoint / "COMPLETE").read_text())
        assert kept["facts"]["tokens"] >= max(point["tokens"] for point in points)
        assert kept["facts"]["tokens"] < TOKENS
        assert evaluator.poll() is None, (folder / "evaluator.log").read_text()[-2000:]
        evaluator.send_signal(signal.SIGTERM)
        assert evaluator.wait(60) == 75
        print(f"{len(points)} checkpoints scored, stopped after {kept['facts']['tokens']} tokens")
    finally:
        for process in (job, evaluator):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
