"""Where batches are computed: in this process, or on the workers of the stage's Ray cluster."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer

from llmtrain_jobs.evaluation.generation import PromptBatch, generate
from llmtrain_jobs.evaluation.plan import Batch
from llmtrain_jobs.evaluation.scoring import Answer, score

AHEAD = 3
"""Batches a worker that wait in Ray's queue, so that no worker waits for the driver."""


class Backend(Protocol):
    """Computes batches; answers come in the order of the batches."""

    def score(self, batches: Sequence[Batch]) -> Iterable[list[Answer]]:
        """Answers of each batch's requests."""
        ...

    def generate(self, batches: Sequence[PromptBatch]) -> Iterable[list[str]]:
        """Texts of each batch's prompts."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A model ready to compute."""

    model: Any
    tokenizer: Tokenizer
    device: torch.device


@dataclass(frozen=True)
class LocalBackend:
    """Computes here."""

    loaded: Loaded

    def score(self, batches: Sequence[Batch]) -> Iterator[list[Answer]]:
        """One batch after the other."""
        return (score(self.loaded.model, batch, self.loaded.device) for batch in batches)

    def generate(self, batches: Sequence[PromptBatch]) -> Iterator[list[str]]:
        """One batch after the other."""
        return (generate(self.loaded.model, self.loaded.tokenizer, batch, self.loaded.device) for batch in batches)


@dataclass(frozen=True)
class RayBackend:
    """Sends each batch to whichever worker is free; a batch of a lost worker is computed again by another.

    The plan does not know the workers and every worker computes a batch with the same number of threads, so the answers
    are the same bits whoever computes them.
    """

    ray: Any
    score_task: Any
    generate_task: Any
    workers: int
    pause: Callable[[int, int], None]
    """Called with batches done and in all, at least twice a second; it may raise to stop."""

    def score(self, batches: Sequence[Batch]) -> Iterator[list[Answer]]:
        """In the order of the batches."""
        return self._run(self.score_task, batches)

    def generate(self, batches: Sequence[PromptBatch]) -> Iterator[list[str]]:
        """In the order of the batches."""
        return self._run(self.generate_task, batches)

    def _run(self, task: Any, batches: Sequence[Any]) -> Iterator[Any]:
        waiting: list[Any] = []
        sent = 0
        for done in range(len(batches)):
            while sent < len(batches) and len(waiting) < AHEAD * self.workers:
                waiting.append(task.remote(batches[sent]))
                sent += 1
            first = waiting.pop(0)
            while not self.ray.wait([first], timeout=0.5)[0]:
                self.pause(done, len(batches))
            yield self.ray.get(first)
        self.pause(len(batches), len(batches))
