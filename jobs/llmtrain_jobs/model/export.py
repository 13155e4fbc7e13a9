"""From a job's training artifact to a folder that Hugging Face's loaders read.

    kubectl get llmjob NAME -o json > job.json
    python -m llmtrain_jobs.model.export --job job.json --out FOLDER [--mount WHERE_THE_VOLUME_IS] [--number-format Bf16]

writes config.json, safetensors, tokenizer.json and a model card. Credentials of a bucket come from AWS_ACCESS_KEY_ID
and AWS_SECRET_ACCESS_KEY. A model that no family can express exactly is refused with the field that stands in the way.
"""

import io
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer
from torch import Tensor

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import EXIT_CODES, STORAGE_MOUNT, FailureClass
from llmtrain.api.status import JobStatus, Stage
from llmtrain.storage.errors import StorageError
from llmtrain.storage.store import Store, artifact_folder, open_store
from llmtrain_jobs.curation.tokens import END_OF_TEXT, for_documents
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.model.card import Facts, card
from llmtrain_jobs.model.config import ModelConfig, resolve
from llmtrain_jobs.model.huggingface.convert import family_of, to_theirs
from llmtrain_jobs.model.huggingface.family import Family
from llmtrain_jobs.model.importing import check_shapes, check_vocabulary
from llmtrain_jobs.model.weights import check_finite, write_weights

MODEL_FILE = "model.pt"
REPORT_FILE = "report.json"


class NumberFormat(StrEnum):
    """Type of the exported weights."""

    FP32 = "Fp32"
    BF16 = "Bf16"


TYPES = {NumberFormat.FP32: ("float32", torch.float32), NumberFormat.BF16: ("bfloat16", torch.bfloat16)}


@dataclass(frozen=True)
class Words:
    """A tokenizer, and the token that ends a document (None: it has none)."""

    tokenizer: Tokenizer
    end: int | None


@dataclass(frozen=True)
class Job:
    """A job as the API server knows it."""

    name: str
    spec: JobSpec
    status: JobStatus

    @classmethod
    def parse(cls, text: str) -> "Job":
        """From `kubectl get llmjob NAME -o json`."""
        try:
            raw = json.loads(text)
            status = JobStatus.model_validate(raw.get("status") or {})
            return cls(raw["metadata"]["name"], JobSpec.model_validate(raw["spec"]), status)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise bad_input(f"`--job` is not what `kubectl get llmjob NAME -o json` prints: {error}") from error

    def keys(self) -> dict[Stage, str]:
        """Artifacts of the job's stages."""
        return {stage.name: stage.artifact for stage in self.status.stages if stage.artifact}


def export_job(job: Job, store: Store, out: Path, number_format: NumberFormat = NumberFormat.FP32) -> Family:
    """Export the job's trained model; the family it was exported as."""
    keys = job.keys()
    curation, training = _manifest(store, keys, Stage.CURATION), _manifest(store, keys, Stage.TRAINING)
    tokenizer = Tokenizer.from_str(_read(store, keys, Stage.CURATION, "tokenizer.json").decode())
    config = resolve(job.spec.model, curation["counts"]["vocabulary_size"], job.spec.training.tokens)
    family = family_of(config)
    check_vocabulary(tokenizer, config, "tokenizer.json")
    facts = Facts(job.name, family.name, config, job.spec, job.status, keys, curation["counts"], training["counts"],
                  _fates(store, keys, curation))  # fmt: skip
    end = curation["counts"].get("end_of_text", tokenizer.token_to_id(END_OF_TEXT))
    write_folder(out, config, trained_state(store, keys), Words(tokenizer, end), card(facts), number_format)
    return family


def trained_state(store: Store, keys: Mapping[Stage, str]) -> dict[str, Tensor]:
    """The trained parameters."""
    data = io.BytesIO(_read(store, keys, Stage.TRAINING, MODEL_FILE))
    state: dict[str, Tensor] = torch.load(data, map_location="cpu", weights_only=True)["model"]
    return state


def write_folder(
    out: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    words: Words,
    readme: str,
    number_format: NumberFormat = NumberFormat.FP32,
) -> None:
    """Write everything beside `out`, then move it there: an export is whole or absent. `out` must not exist."""
    if out.exists():
        raise bad_input(f"`--out`: `{out}` exists already; name a new folder")
    family = family_of(config)
    check_shapes(config, state)
    check_finite(state)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    name, dtype = TYPES[number_format]
    write_weights(partial, ((key, tensor.to(dtype)) for key, tensor in to_theirs(family, config, state)))
    ends = {"bos_token_id": words.end, "eos_token_id": words.end}
    _write_json(
        partial / "config.json",
        family.to_config(config) | ends | {"model_type": family.model_type, "torch_dtype": name},
    )
    _write_json(partial / "generation_config.json", ends)
    _write_json(partial / "tokenizer_config.json", tokenizer_config(config, words))
    (partial / "tokenizer.json").write_text(for_documents(Tokenizer.from_str(words.tokenizer.to_str())).to_str())
    (partial / "README.md").write_text(readme)
    partial.rename(out)


def tokenizer_config(config: ModelConfig, words: Words) -> dict[str, Any]:
    """How transformers wraps the tokenizer."""
    end = words.tokenizer.id_to_token(words.end) if words.end is not None else None
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.context,
        "clean_up_tokenization_spaces": False,
        **({"bos_token": end, "eos_token": end} if end else {}),
    }


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _manifest(store: Store, keys: Mapping[Stage, str], stage: Stage) -> dict[str, Any]:
    manifest = store.manifest(stage.value.lower(), keys[stage]) if stage in keys else None
    if manifest is None:
        raise bad_input(f"the job has no complete artifact of {stage.value.lower()} in its storage", "ArtifactMissing")
    return manifest


def _read(store: Store, keys: Mapping[Stage, str], stage: Stage, name: str) -> bytes:
    return store.read(f"{artifact_folder(stage.value.lower(), keys[stage])}/{name}")


def _fates(store: Store, keys: Mapping[Stage, str], manifest: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    """What became of the documents, where the curation reports it."""
    if REPORT_FILE not in {file["name"] for file in manifest["files"]}:
        return {}
    report = json.loads(_read(store, keys, Stage.CURATION, REPORT_FILE))
    fates: Mapping[str, Mapping[str, int]] = report.get("ledger", {}).get("fates", {})
    return fates


def main(
    job: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="The job, as `kubectl get llmjob NAME -o json` prints it.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    mount: Annotated[str, typer.Option(help="Where the job's volume is mounted.")] = STORAGE_MOUNT,
    number_format: Annotated[NumberFormat, typer.Option(help="Type of the weights.")] = NumberFormat.FP32,
) -> None:
    """Export a job's trained model for Hugging Face's loaders."""
    credentials = {
        name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if name in os.environ
    }
    try:
        parsed = Job.parse(job.read_text())
        family = export_job(parsed, open_store(parsed.spec.storage, mount, credentials), out, number_format)
    except StageError as error:
        sys.stderr.write(f"{error.reason}: {error.message}\n")
        raise typer.Exit(EXIT_CODES[error.failure]) from error
    except StorageError as error:
        sys.stderr.write(f"{error.message}\n")
        raise typer.Exit(EXIT_CODES[FailureClass(error.problem.value)]) from error
    typer.echo(f"{parsed.name} in {out}, as {family.name}")


if __name__ == "__main__":
    typer.run(main)
