"""The head's PID 1 with real children: what becomes of a driver whose Ray is gone."""

import signal
import sys
from pathlib import Path

import pytest
from llmtrain_jobs.entrypoint import main as entrypoint
from llmtrain_jobs.entrypoint.children import Children
from llmtrain_jobs.entrypoint.main import DRIVER, RAY, Entrypoint
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.stageconfig import EXIT_CODES, FailureClass, Result, StageConfig
from tests.unit.operator.scenario import job_spec

SLEEPS = [sys.executable, "-c", "import time; time.sleep(50)"]
RAY_FAILS = [sys.executable, "-c", "import sys, time; time.sleep(0.3); sys.exit(1)"]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entrypoint:
    """Its Ray answers and then ends by itself, as `ray start` does that is not ready within its time; its driver waits for it."""
    config = StageConfig.model_validate({
        "job": "gpt", "namespace": "a", "jobUid": "u", "stage": "Training", "attempt": 1, "workers": 1,
        "headAddress": "gpt-trn-1-head", "spec": job_spec(),
    })  # fmt: skip
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(entrypoint, "answers", lambda _: True)
    monkeypatch.setattr(entrypoint, "RAY_ENDED_SECONDS", 0.5)
    monkeypatch.setenv("LLMTRAIN_TERMINATION_LOG", str(tmp_path / "log"))
    found, commands = Entrypoint(config, Scratch(tmp_path)), {RAY: RAY_FAILS, DRIVER: SLEEPS}
    start = found.children.start
    monkeypatch.setattr(found.children, "start", lambda name, _: start(name, commands[name]))
    return found


@pytest.mark.timeout(20)
def test_a_driver_whose_ray_is_gone_does_not_wait_for_it_while_its_pods_are_paid_for(head: Entrypoint) -> None:
    assert head.head() == EXIT_CODES[FailureClass.INTERNAL]
    log = head.scratch.folder / "log"
    assert Result.model_validate_json(log.read_text()).message == "Ray's head ended with code 1"
    assert DRIVER in head.children.codes


@pytest.mark.timeout(20)
def test_what_the_driver_said_before_counts(head: Entrypoint) -> None:
    head.scratch.put_result(Result(outcome="Succeeded", message="done"))
    assert head.head() == 0


@pytest.mark.timeout(20)
def test_a_driver_that_was_killed_for_memory_ends_its_head_with_a_code_that_says_so(
    head: Entrypoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    start = Children.start
    monkeypatch.setattr(head.children, "start", lambda n, _: start(head.children, n, SLEEPS if n == RAY else killed))
    assert head.head() == EXIT_CODES[FailureClass.OUT_OF_MEMORY] == 71
    told = Result.model_validate_json((head.scratch.folder / "log").read_text())
    assert told.failure_class is FailureClass.OUT_OF_MEMORY
    head.children.signal(RAY, signal.SIGKILL)
