"""A small curation on one machine: the same code, its tasks run one after the other."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmtrain_jobs.context import Context
from llmtrain_jobs.curation.pool import InProcess, Task
from llmtrain_jobs.curation.stage import run_with
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.entrypoint.scratch import Scratch

from llmtrain.api.stageconfig import Result, StageConfig

WORDS = [f"{a}{b}{c}{d}" for a in "bdfgkmpst" for b in "aeiou" for c in "lnrst" for d in ("", "ing", "ed", "er")]


def prose(seed: int, words: int = 80) -> str:
    """Different words with stop words and full stops: nothing to reject."""
    generator = np.random.default_rng(seed)
    drawn = [WORDS[i] for i in generator.integers(0, len(WORDS), words)]
    drawn[::7] = ["the" if i % 2 else "and" for i in range(len(drawn[::7]))]
    lines = [" ".join(drawn[i : i + 16]) + "." for i in range(0, words, 16)]
    return "\n".join(lines)


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def context_in(root: Path, curation: dict[str, Any], **spec: Any) -> Context:
    """What a stage is given, with a folder as the job's storage."""
    cluster = {"planRef": {"name": "cpu"}}
    small: dict[str, Any] = {"sources": [{"name": "docs", "path": "in/*.jsonl"}], "validation": {"share": "0.1"},
                             "tokenizer": {"train": {"vocabularySize": 400}}}  # fmt: skip
    raw = {
        "storage": {"persistentVolumeClaim": {"claimName": "claim"}},
        "curation": {"cluster": cluster, **small, **curation},
        "model": {"preset": "tiny"},
        "training": {"cluster": cluster, "tokens": 1_000_000, "globalBatchTokens": 8192},
        **spec,
    }
    config = StageConfig.model_validate(
        {"job": "j", "namespace": "n", "jobUid": str(root), "stage": "Curation", "attempt": 1, "workers": 1,
         "headAddress": "head", "spec": raw}
    )  # fmt: skip
    return Context(config, store_of(config), Scratch(root / "scratch"), threading.Event())


class World:
    """A folder as the job's storage."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setenv("LLMTRAIN_STORAGE", str(root))

    def context(self, curation: dict[str, Any], **spec: Any) -> Context:
        return context_in(self.root, curation, **spec)

    def run(self, curation: dict[str, Any] | None = None, pool: Any = InProcess, **spec: Any) -> Result:
        """Curate; the result."""
        return run_with(self.context(curation or {}, **spec), pool)

    def folder(self, result: Result) -> Path:
        """Of the artifact."""
        return self.root / "artifacts" / "curation" / result.artifact

    def report(self, result: Result) -> dict[str, Any]:
        """The report for machines."""
        found: dict[str, Any] = json.loads((self.folder(result) / "report.json").read_text())
        return found

    def hashes(self, result: Result) -> dict[str, str]:
        """Hash of every file of the artifact."""
        folder = self.folder(result)
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }


class Backwards(InProcess):
    """Tasks in the opposite order, as workers of another number and speed would finish them."""

    def map(self, task: Task, arguments: Sequence[Any]) -> Iterator[Any]:
        results = [task(self._config, argument) for argument in reversed(arguments)]
        return iter(results[::-1])
