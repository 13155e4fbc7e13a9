"""Evaluation: the trained model against held-out text and local tasks; requirements decide success."""

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmtrain.api.evaluation import Requirement
from llmtrain.api.stageconfig import FailureClass, Result, StageConfig
from llmtrain.api.status import Stage
from llmtrain.storage.keys import evaluation_key
from llmtrain.storage.store import Store, artifact_folder
from llmtrain_jobs.cluster import connect
from llmtrain_jobs.context import Context
from llmtrain_jobs.entrypoint.driver import store_of
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.preflight.stage import task_fingerprint
from llmtrain_jobs.training.stage import MODEL_FILE

LOCAL = Path("/tmp/llmtrain/evaluation")  # an emptyDir of the pod


def run(context: Context) -> Result:
    """Evaluate on a worker, then hold the scores against the requirements."""
    config = context.config
    training = config.artifacts.get(Stage.TRAINING, "")
    if context.store.manifest("training", training) is None:
        raise bad_input(f"the trained model `{training}` does not exist in the job's storage", "ArtifactMissing")
    key = evaluation_key(config.spec, training, task_fingerprint(context))
    ray = connect(context)
    reference = ray.remote(num_cpus=1, max_retries=3)(evaluate).remote(config.to_dict())
    while not ray.wait([reference], timeout=0.5)[0]:
        context.check_stop()
    scores: dict[str, str] = ray.get(reference)
    ray.shutdown()
    context.store.complete("evaluation", key, {"results.json": json.dumps(scores, indent=1).encode()}, {})
    requirements = config.spec.evaluation.require if config.spec.evaluation else []
    check(requirements, scores)
    return Result(outcome="Succeeded", message=summary(scores), artifact=key, scores=scores)


def evaluate(raw: dict[str, Any]) -> dict[str, str]:
    """All tasks, on a worker; scores by `task/metric`."""
    import torch

    torch.set_num_threads(1)
    config = StageConfig.model_validate(raw)
    store = store_of(config)
    model, tokenizer = load(config, store)
    scores: dict[str, float] = {}
    for task in config.spec.evaluation.tasks if config.spec.evaluation else []:
        if task.perplexity:
            found = held_out(config, store, model)
        else:
            found = multiple_choice(config, store, task, model, tokenizer)
        scores |= {f"{task.name}/{metric}": value for metric, value in found.items()}
    return {name: f"{value:.4f}" for name, value in scores.items()}


def load(config: StageConfig, store: Store) -> tuple[Any, Any]:
    """The trained model and its tokenizer."""
    import torch
    from tokenizers import Tokenizer

    from llmtrain_jobs.model.config import resolve
    from llmtrain_jobs.model.transformer import Transformer

    training, curation = config.artifacts[Stage.TRAINING], config.artifacts[Stage.CURATION]
    tokenizer = Tokenizer.from_str(store.read(f"{artifact_folder('curation', curation)}/tokenizer.json").decode())
    state = torch.load(
        io.BytesIO(store.read(f"{artifact_folder('training', training)}/{MODEL_FILE}")),
        map_location="cpu",
        weights_only=True,
    )
    model = Transformer(resolve(config.spec.model, tokenizer.get_vocab_size(), config.spec.training.tokens))
    model.load_state_dict(state["model"])
    return model.eval(), tokenizer


def held_out(config: StageConfig, store: Store, model: Any) -> dict[str, float]:
    """Perplexity of the validation split, beside what a unigram model reaches."""
    import numpy as np

    from llmtrain_jobs.evaluation.heldout import scores, total_nats

    key = config.artifacts[Stage.CURATION]
    manifest = store.manifest("curation", key) or {}
    counts = manifest["counts"]
    names = [file["name"] for file in manifest["files"] if file["name"].startswith("validation/")]
    data = b"".join(store.read(f"{artifact_folder('curation', key)}/{name}") for name in names)
    tokens = np.frombuffer(data, dtype=np.dtype(counts["dtype"]).newbyteorder("<")).astype(np.int64)
    nats = total_nats(model, tokens, config.spec.model.context_length)
    return scores(nats, len(tokens), counts["validation_bytes"]) | {
        "unigram_bits_per_byte": counts["unigram_bits_per_byte"]
    }


def multiple_choice(config: StageConfig, store: Store, task: Any, model: Any, tokenizer: Any) -> dict[str, float]:
    """One local multiple-choice file."""
    from llmtrain_jobs.evaluation.adapter import Adapter
    from llmtrain_jobs.evaluation.choices import run_task

    local = LOCAL / f"{task.name}.jsonl"
    local.parent.mkdir(parents=True, exist_ok=True)
    with store.open(task.data_file) as file:
        local.write_bytes(file.read())
    return run_task(task, local, Adapter(model, tokenizer), config.spec.seed)


def check(requirements: list[Requirement], scores: dict[str, str]) -> None:
    """Every requirement, or an error that names the score and the bound."""
    for requirement in requirements:
        if requirement.metric not in scores:
            raise bad_input(
                f"`spec.evaluation.require`: no score `{requirement.metric}`; there are {', '.join(sorted(scores))}"
            )
        value = Decimal(scores[requirement.metric])
        high, low = requirement.at_most, requirement.at_least
        if (high is not None and value > Decimal(high)) or (low is not None and value < Decimal(low)):
            bound = f"at most {high}" if high is not None else f"at least {low}"
            message = f"{requirement.metric} is {value}, `spec.evaluation.require` asks for {bound}"
            raise StageError(FailureClass.BELOW_THRESHOLD, "RequirementNotMet", message)


def summary(scores: dict[str, str]) -> str:
    """The scores in one line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(scores.items()))[:900]
