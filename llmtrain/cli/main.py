"""`llmtrain`: what a person does with jobs from the command line. It reads the cluster through kubectl."""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from llmtrain.api.status import JobStatus
from llmtrain.cli import corpus as prose
from llmtrain.cli.tables import line, report

app = typer.Typer(no_args_is_help=True, add_completion=True, help=__doc__)
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the job.")]


@app.command()
def corpus(
    out: Annotated[Path, typer.Option(help="File to write, .jsonl.gz.")],
    max_bytes: Annotated[int, typer.Option(help="Text to gather, bytes.")] = 25_000_000,
) -> None:
    """Gather English prose from the documentation of installed Python packages."""
    with warnings.catch_warnings():
        # Invalid escapes in other people's modules are none of our business.
        warnings.simplefilter("ignore", SyntaxWarning)
        count, size = prose.gather(out, max_bytes, prose.default_folders())
    typer.echo(f"{count} documents, {size} bytes of text in {out}")


@app.command()
def status(name: str, namespace: Namespace = "default") -> None:
    """Stages, cost, comparison and scores of a job."""
    typer.echo(report(read(name, namespace)))


@app.command()
def watch(
    name: str,
    namespace: Namespace = "default",
    timeout: Annotated[int, typer.Option(help="Seconds to wait for the end.")] = 86400,
) -> None:
    """Follow a job until it ends; the exit code says how."""
    end, last = time.monotonic() + timeout, ""
    while time.monotonic() < end:
        seen = read(name, namespace)
        now = line(seen)
        if now != last:
            typer.echo(now)
            last = now
        if seen.state in ("Succeeded", "Failed", "Invalid"):
            typer.echo(report(seen))
            raise typer.Exit(0 if seen.state == "Succeeded" else 1)
        time.sleep(2)
    typer.echo(f"{name} did not end within {timeout} s", err=True)
    raise typer.Exit(2)


def read(name: str, namespace: str) -> JobStatus:
    """A job's status."""
    command = ["kubectl", "get", "llmjob", name, "-n", namespace, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.strip())
    job: dict[str, Any] = json.loads(done.stdout)
    return JobStatus.model_validate(job.get("status") or {})


def main() -> None:
    """Entry point."""
    app()
