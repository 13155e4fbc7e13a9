"""`llmtrain inspect`: sources as curation will read and judge them."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import EXIT_CODES, ExitCode
from llmtrain.api.status import Stage
from llmtrain.cli.complaints import complaints
from llmtrain.cli.inputs import only_job
from llmtrain.cli.looks import text_of
from llmtrain.cli.outputs import Output
from llmtrain.cost.errors import InputError
from llmtrain.inspection.findings import Finding, findings
from llmtrain.inspection.given import with_sources
from llmtrain.inspection.looking import Looked, look
from llmtrain.inspection.report import RECORDS, Request, SourceReport
from llmtrain.local.machine import Machine
from llmtrain.local.stages import config_of, interruptible
from llmtrain.text import plain

SECONDS = 300


def register(app: typer.Typer) -> None:
    """Add `llmtrain inspect`."""
    app.command("inspect")(inspect)


def inspect(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Files, folders, patterns in quotes, or s3:// URLs; each is a source."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Manifest of a job: its rules, and its sources where no PATH is given."),
    ] = None,
    storage: Annotated[Path, typer.Option(help="Folder in place of the job's volume.")] = Path("llmtrain-storage"),
    credentials: Annotated[
        Path | None, typer.Option(help="Folder with one file per entry of the bucket's Secret.")
    ] = None,
    records: Annotated[int, typer.Option(min=1, help="Records that are looked at of each source.")] = RECORDS,
    seconds: Annotated[int, typer.Option(min=1, help="Time for all sources together.")] = SECONDS,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json.")] = Output.TABLE,
) -> None:
    """Read the first records of each source as curation will, and say what would be lost and why.

    Without a manifest the rules are those of a curation by default. Near copies and repeated paragraphs are not looked
    for: they need the whole corpus.

    Example: `llmtrain inspect 'corpus/*.jsonl.gz'`, `llmtrain inspect -f job.yaml -o json`
    """
    with complaints(), interruptible():
        spec = _spec(paths or [], file)
        looked = _look(spec, storage, credentials, records, seconds)
        said = findings(looked.reports)
        if output is Output.JSON:
            typer.echo(json.dumps(document(looked.reports, said), indent=2, ensure_ascii=False))
        else:
            typer.echo(text_of(looked.reports, said))
        _end_if_refused(looked, len(spec.curation.sources))


def document(reports: Sequence[SourceReport], said: Sequence[Finding]) -> dict[str, Any]:
    """For programs."""
    return {
        "sources": [report.to_dict() | {"lostShare": round(report.lost_share, 6)} for report in reports],
        "findings": [{"source": finding.source, "message": finding.message} for finding in said],
    }


def _spec(paths: Sequence[str], file: Path | None) -> JobSpec:
    """The manifest's, with the paths for its sources where there are some."""
    if not paths and file is None:
        raise InputError("PATH", "say what to look at: files, folders or patterns, or a manifest with -f")
    spec = only_job(file)[1] if file else None
    return spec if spec and not paths else with_sources(spec, paths)


def _look(spec: JobSpec, storage: Path, credentials: Path | None, records: int, seconds: int) -> Looked:
    config = config_of("inspect", spec, Stage.PREFLIGHT, {}, Machine(cores=1))
    with tempfile.TemporaryDirectory() as nothing:
        environment = {
            "LLMTRAIN_STORAGE": str(storage.absolute()),
            "LLMTRAIN_CREDENTIALS": str((credentials or Path(nothing)).absolute()),
        }
        return look(Request(config=config, records=records, seconds=seconds), environment, lambda: None)


def _end_if_refused(looked: Looked, sources: int) -> None:
    """A source that could not be looked at ends the command with the exit code that its stage would have had."""
    if looked.refusal is not None:
        code = EXIT_CODES.get(looked.refusal.failure, ExitCode.INTERNAL)
        raise _end(f"{looked.refusal.reason}: {looked.refusal.message}", code)
    if len(looked.reports) < sources:
        raise _end(f"{len(looked.reports)} of {sources} sources were looked at: {looked.trouble}", ExitCode.INTERNAL)


def _end(message: str, code: ExitCode) -> typer.Exit:
    typer.secho(f"error: {plain(message)}", err=True, fg=typer.colors.RED)
    return typer.Exit(int(code))
