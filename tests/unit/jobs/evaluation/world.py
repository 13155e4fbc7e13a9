"""A job's storage with a curated data set and a trained model, and its evaluation stage run in this process."""

import io
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.driver import run_stage
from llmtrain_jobs.entrypoint.scratch import Scratch
from llmtrain_jobs.evaluation import setup, stage
from llmtrain_jobs.evaluation.backend import Loaded, LocalBackend
from llmtrain_jobs.model.transformer import Transformer
from tokenizers import Tokenizer

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import Result, StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.store import Store, open_store
from tests.unit.jobs.evaluation.models import sentences

CURATION, TRAINING = "c" * 16, "d" * 16
CLUSTER = {"planRef": {"name": "cpu"}}


class NoRay:
    """What the stage calls of Ray when the backend is local."""

    def shutdown(self) -> None:
        pass


@dataclass
class World:
    """The job's folder and how its stage is run."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    loaded: Loaded

    def write(self, name: str, rows: list[Any]) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))

    def config(self, evaluation: dict[str, Any], stage_name: Stage = Stage.EVALUATION) -> StageConfig:
        spec = JobSpec.model_validate(
            {
                "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
                "curation": {"cluster": CLUSTER, "sources": [{"name": "docs", "path": "corpus/*.jsonl"}]},
                "model": {
                    "architecture": {"layers": 2, "heads": 4, "embedding": 32, "feedForward": 64},
                    "contextLength": 128,
                },
                "training": {"cluster": CLUSTER, "tokens": 1000, "globalBatchTokens": 128},
                "evaluation": {"cluster": CLUSTER, **evaluation},
            }
        )
        return StageConfig(
            job="job", namespace="team", job_uid="u", stage=stage_name, attempt=1, workers=1, head_address="head",
            spec=spec, artifacts={Stage.CURATION: CURATION, Stage.TRAINING: TRAINING},
        )  # fmt: skip

    @property
    def store(self) -> Store:
        return open_store(self.config({"tasks": [{"name": "a", "perplexity": {}}]}).spec.storage, str(self.folder), {})

    def run(self, **evaluation: Any) -> Result:
        """The stage from manifest to termination message."""
        config = self.config(evaluation)
        self.monkeypatch.setenv("LLMTRAIN_STORAGE", str(self.folder))
        self.monkeypatch.setattr(stage, "connect", lambda context: NoRay())
        self.monkeypatch.setattr(setup, "ray_backend", lambda context, ray: LocalBackend(self.loaded))
        return run_stage(config, Scratch(self.folder / "scratch"), threading.Event())

    def context(self, **evaluation: Any) -> Context:
        return Context(self.config(evaluation), self.store, Scratch(self.folder / "scratch"), threading.Event())

    def results(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"artifacts/evaluation/{key}/results.json").read_text())
        return found


def make_world(folder: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer, model: Transformer) -> World:
    """Held-out documents of two sources and a model with random weights."""
    world = World(folder, monkeypatch, Loaded(model, tokenizer, torch.device("cpu")))
    texts = {"one": sentences(6, 20, 20, 60), "two": sentences(4, 21, 20, 60)}
    files = {"tokenizer.json": tokenizer.to_str().encode()}
    for source, documents in texts.items():
        stream = [token for text in documents for token in [*tokenizer.encode(text).ids, 0]]
        files[f"validation/{source}/00000.bin"] = np.array(stream, dtype="<u2").tobytes()
    size = sum(len(text.encode()) for documents in texts.values() for text in documents)
    counts = {
        "vocabulary_size": tokenizer.get_vocab_size(),
        "dtype": "uint16",
        "validation_bytes": size,
        "unigram_bits_per_byte": 2.5,
    }
    world.store.complete("curation", CURATION, files, counts)
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict()}, buffer)
    world.store.complete("training", TRAINING, {"model.pt": buffer.getvalue()}, {})
    return world
