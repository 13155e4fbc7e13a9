"""Speed of scoring beside lm-evaluation-harness' Hugging Face backend, on the same weights; nothing is asserted of time.

Five-shot ARC-shaped questions on the CPU, both with the same threads and the same tokens of a batch, in turns. Medians
and their ratio are printed. The whole of a task is measured (prompts, tokenizing, model), and the backends alone.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from llmtrain_jobs.evaluation.harness import prepare, run_parts
from llmtrain_jobs.evaluation.tasks.catalogue import parts_of

from llmtrain.api.evaluation import Task, TaskKind
from tests.unit.jobs.evaluation.models import make_lm, make_model, make_tokenizer
from tests.unit.jobs.evaluation.peer import peer
from tests.unit.jobs.evaluation.rowsets import choice_rows

ROUNDS = 5
QUESTIONS = 40
CONTEXT = 1024
BATCH_TOKENS = 8192
WIDTHS = {
    "small": {"layers": 4, "embedding": 128, "heads": 4, "feed_forward": 512},
    "larger": {"layers": 6, "embedding": 384, "heads": 6, "feed_forward": 1536},
}


@pytest.mark.parametrize("name", list(WIDTHS))
def test_five_shot_questions_beside_the_hugging_face_backend(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(needs_hub=False)
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    tokenizer = make_tokenizer()
    model = make_model(tokenizer.get_vocab_size(), CONTEXT, **WIDTHS[name])
    torch.set_num_threads(threads)
    task = Task(name="arc", task=TaskKind.ARC_EASY, data_file="x", few_shot=5)
    rows = choice_rows(QUESTIONS)
    longest = max(len(tokenizer.encode(prompt).ids) for prompt in _prompts(task, rows))
    ours = make_lm(tokenizer, model, BATCH_TOKENS)
    theirs = peer(model, tokenizer, batch_size=max(1, BATCH_TOKENS // longest))
    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: run_parts("arc", parts_of(task, rows, []), ours, 1234),
        "theirs": lambda: run_parts("arc", parts_of(task, rows, []), theirs, 1234),
    }
    requests = _requests(task, rows)
    alone: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours.loglikelihood(requests, disable_tqdm=True),
        "theirs": lambda: theirs.loglikelihood(requests, disable_tqdm=True),
    }
    for label, both in (("whole task", runs), ("backend alone", alone)):
        medians = in_turns(both)
        with capsys.disabled():
            print(
                f"\n{name} model, {threads} threads, {QUESTIONS} questions of up to {longest} tokens, {label}: "
                f"ours {medians['ours']:.2f} s, Hugging Face {medians['theirs']:.2f} s, ratio {medians['theirs'] / medians['ours']:.2f}"
            )
        assert min(medians.values()) > 0


def in_turns(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, run one after the other in every round; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


class Recorder:
    """An `LM` that keeps what it is asked."""

    def __init__(self) -> None:
        from tests.unit.jobs.evaluation.test_tasks import Guesser

        recorder = self

        class Asked(Guesser):
            def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
                recorder.requests = list(requests)
                return [(0.0, False)] * len(requests)

        self.lm, self.requests = Asked(), list[Any]()


def _requests(task: Task, rows: list[dict[str, Any]]) -> list[Any]:
    recorder = Recorder()
    run_parts("arc", parts_of(task, rows, []), recorder.lm, 1234)
    return recorder.requests


def _prompts(task: Task, rows: list[dict[str, Any]]) -> list[str]:
    return ["".join(request.args) for request in _requests(task, rows)]
