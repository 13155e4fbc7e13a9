"""The stage on a real Ray of this machine: one worker, three, and three of which one is killed give the same bytes."""

import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from llmtrain_jobs.entrypoint.driver import run_stage
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.stageconfig import Result
from tests.unit.jobs.evaluation.models import make_model, make_tokenizer, sentences
from tests.unit.jobs.evaluation.rowsets import choice_rows
from tests.unit.jobs.evaluation.world import World, make_world

EVALUATION = {
    "batchTokens": 512,
    "tasks": [
        {"name": "held-out", "perplexity": {}},
        {"name": "choices", "task": "arc_easy", "dataFile": "choices.jsonl", "fewShot": 2},
        {
            "name": "written",
            "template": {"kind": "Generation", "answer": "{{target}}", "maxNewTokens": 16},
            "dataFile": "written.jsonl",
        },
    ],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, tokenizer = tmp_path_factory.mktemp("storage"), make_tokenizer()
    with pytest.MonkeyPatch.context() as patch:
        world = make_world(folder, patch, tokenizer, make_model(tokenizer.get_vocab_size()))
    world.write("choices.jsonl", list(choice_rows(200)))
    world.write("written.jsonl", [{"query": text, "target": "gold"} for text in sentences(30, 10)])
    return world


def run(made: World, target: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> Result:
    """The stage on a copy of the storage."""
    shutil.copytree(made.folder, target)
    monkeypatch.setenv("LLMTRAIN_STORAGE", str(target))
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")  # A machine that is busy with other tests.
    config = replace(made, folder=target).config(EVALUATION).model_copy(update={"workers": workers})
    return run_stage(config, Scratch(target / "scratch"), threading.Event())


def files(target: Path, result: Result) -> dict[str, bytes]:
    made = target / "artifacts/evaluation" / result.artifact
    return {str(file.relative_to(made)): file.read_bytes() for file in sorted(made.rglob("*")) if file.is_file()}


def kill_one(over: threading.Event, killed: list[int]) -> None:
    """The first process that computes a batch dies in the middle of its work."""
    while not over.is_set() and not killed:
        for process in psutil.Process().children(recursive=True):
            try:
                if "score_batch" in process.name() or any("ray::score_batch" in part for part in process.cmdline()):
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    break
            except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
                continue
        time.sleep(0.02)


@pytest.mark.timeout(900)
def test_the_number_and_the_death_of_workers_change_no_byte(
    made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run(made, tmp_path / "alone", 1, monkeypatch)
    assert alone.outcome == "Succeeded", alone.message
    together = run(made, tmp_path / "together", 3, monkeypatch)
    over, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_one, args=(over, killed))
    killer.start()
    try:
        wounded = run(made, tmp_path / "wounded", 3, monkeypatch)
    finally:
        over.set()
        killer.join()
    assert len(killed) == 1
    expected = files(tmp_path / "alone", alone)
    assert files(tmp_path / "together", together) == expected
    assert files(tmp_path / "wounded", wounded) == expected
