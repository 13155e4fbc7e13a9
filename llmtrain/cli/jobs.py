"""What a person does with jobs: status, watch."""

import time
from typing import Annotated

import typer

from llmtrain.api.status import JobStatus
from llmtrain.cli.kubectl import KubectlError, kubectl_json, or_exit
from llmtrain.cli.tables import line, report

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the job.")]
ENDED = ("Succeeded", "Failed", "Invalid")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(watch)


def status(name: str, namespace: Namespace = "default") -> None:
    """Stages, cost, comparison and scores of a job.

    Example: `llmtrain status docs-gpt -n team-a`
    """
    typer.echo(report(read(name, namespace)))


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
        if seen.state in ENDED:
            typer.echo(report(seen))
            raise typer.Exit(0 if seen.state == "Succeeded" else 1)
        time.sleep(2)
    typer.echo(f"{name} did not end within {timeout} s", err=True)
    raise typer.Exit(2)


def read(name: str, namespace: str) -> JobStatus:
    """A job's status."""
    try:
        job = kubectl_json("get", "llmjob", name, "-n", namespace)
    except KubectlError as error:
        raise or_exit(error) from error
    return JobStatus.model_validate(job.get("status") or {})
