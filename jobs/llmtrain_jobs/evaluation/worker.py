"""What an evaluation worker runs: it loads the model once and computes whatever batches it is sent."""

import io
from functools import lru_cache
from typing import Any

import torch
from tokenizers import Tokenizer

from llmtrain.api.base import parse_quantity
from llmtrain.api.stageconfig import StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.curation.tokens import loaded_tokenizer, table_size
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.evaluation.backend import Loaded
from llmtrain_jobs.evaluation.generation import PromptBatch, generate
from llmtrain_jobs.evaluation.plan import Batch
from llmtrain_jobs.evaluation.scoring import Answer, score
from llmtrain_jobs.model.config import resolve
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.training.export import MODEL_FILE


def score_batch(config: str, batch: Batch) -> list[Answer]:
    """One batch of log-likelihoods; `config` is the stage's, as JSON."""
    loaded = load(config)
    return score(loaded.model, batch, loaded.device)


def generate_batch(config: str, batch: PromptBatch) -> list[str]:
    """One batch of texts."""
    loaded = load(config)
    return generate(loaded.model, loaded.tokenizer, batch, loaded.device)


@lru_cache(maxsize=1)
def load(raw: str) -> Loaded:
    """The trained model, kept by the process for the batches that follow."""
    config = StageConfig.model_validate_json(raw)
    torch.set_num_threads(threads(config))
    store = store_of(config)
    tokenizer = load_tokenizer(config, store)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Transformer(resolve(config.spec.model, table_size(tokenizer), config.spec.training.tokens))
    model.load_state_dict(load_state(config, store))
    return Loaded(model.to(device).eval(), tokenizer, device)


def threads(config: StageConfig) -> int:
    """The same on every worker, since the order of a sum depends on it: whole cores of the worker's request."""
    workers = config.spec.evaluation.cluster.workers if config.spec.evaluation else None
    return whole_cores(workers.cpu) if workers else 1


def whole_cores(cpu: str) -> int:
    """Of a request, one at least."""
    return max(1, int(parse_quantity(cpu)))


def load_tokenizer(config: StageConfig, store: Store) -> Tokenizer:
    """The curated data set's tokenizer, which encodes texts as curation did."""
    folder = artifact_folder("curation", config.artifacts[Stage.CURATION])
    return loaded_tokenizer(store.read(f"{folder}/tokenizer.json"))


def load_state(config: StageConfig, store: Store) -> dict[str, Any]:
    """The trained weights by name."""
    folder = artifact_folder("training", config.artifacts[Stage.TRAINING])
    state = torch.load(io.BytesIO(store.read(f"{folder}/{MODEL_FILE}")), map_location="cpu", weights_only=True)
    weights: dict[str, Any] = state["model"]
    return weights
