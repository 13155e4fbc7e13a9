"""`llmtrain export`: a job's trained model as a folder that Hugging Face's loaders read."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llmtrain.api.stageconfig import STORAGE_MOUNT
from llmtrain.cli.complaints import complaints, read_text
from llmtrain.cli.jobs import Namespace, complete_job, of_namespace
from llmtrain.cli.kubectl import kubectl_json
from llmtrain.cost.errors import InputError


class NumberFormat(StrEnum):
    """Type of the exported weights."""

    FP32 = "Fp32"
    BF16 = "Bf16"


def register(app: typer.Typer) -> None:
    """Add `llmtrain export`."""
    app.command("export")(export)


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    name: Annotated[str, typer.Argument(help="Name of the job.", autocompletion=complete_job)] = "",
    namespace: Namespace = "",
    job: Annotated[
        Path | None, typer.Option(help="The job as kubectl prints it in JSON, instead of a cluster.")
    ] = None,
    storage: Annotated[Path, typer.Option(help="Folder at which the job's volume is mounted.")] = Path(STORAGE_MOUNT),
    number_format: Annotated[NumberFormat, typer.Option(help="Type of the weights.")] = NumberFormat.FP32,
) -> None:
    """Write config.json, safetensors, tokenizer.json and a model card with data, bill and scores.

    A bucket's credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Needs the extra `jobs`. A model that no
    Hugging Face family expresses exactly is refused with the field that stands in the way.

    Example: `llmtrain export docs-gpt -n team-a -o docs-gpt-hf --storage /mnt/llm`
    """
    with complaints():
        text = _job(name, namespace, job)
        if importlib.util.find_spec("torch") is None:
            raise InputError(
                "export", "PyTorch is not installed here; install `llmtrain[jobs]`, or run it in the jobs' image"
            )
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        options = [
            "--job",
            file.name,
            "--out",
            str(out),
            "--mount",
            str(storage),
            "--number-format",
            number_format.value,
        ]
        done = subprocess.run([sys.executable, "-m", "llmtrain_jobs.model.export", *options], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def _job(name: str, namespace: str, file: Path | None) -> str:
    """The job as JSON."""
    if bool(name) == (file is not None):
        raise InputError("export", "name a job of the cluster, or give `--job` a file; one of them")
    return (
        read_text(file)
        if file is not None
        else json.dumps(kubectl_json("get", "llmjob", name, *of_namespace(namespace)))
    )
