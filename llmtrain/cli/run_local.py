"""`llmtrain run-local`: the stages on this machine."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmtrain.api.stageconfig import EXIT_CODES, ExitCode
from llmtrain.api.status import Stage
from llmtrain.cli.cells import cell
from llmtrain.cli.complaints import complaints
from llmtrain.cli.estimate import PlanFiles
from llmtrain.cli.inputs import Given, job_from_file
from llmtrain.cost.errors import InputError
from llmtrain.cost.plans import Plan
from llmtrain.local.bill import bill, stage_plan
from llmtrain.local.calibration import calibrate, write
from llmtrain.local.machine import this_machine
from llmtrain.local.stages import Done, Folders, interruptible, run_stages, stages_of
from llmtrain.pricing.plans import plan_of
from llmtrain.text import plain


def register(app: typer.Typer) -> None:
    """Add `llmtrain run-local`."""
    app.command("run-local")(run_local)


def run_local(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest of the job.")],
    plans: PlanFiles = None,
    stages: Annotated[str, typer.Option(help="Stages to run, with commas; default: all. Preflight always runs.")] = "",
    storage: Annotated[Path, typer.Option(help="Folder in place of the job's volume.")] = Path("llmtrain-storage"),
    credentials: Annotated[
        Path | None, typer.Option(help="Folder with one file per entry of the bucket's Secret.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibrate", help="Write measured speeds here, for estimate.")
    ] = None,
) -> None:
    """Run the stages on this machine's Ray by the code of the pods, and say what they would have cost on their plans.

    Example: `llmtrain run-local -f job.yaml --plans plans.yaml --calibrate speed.json`
    """
    with complaints(), interruptible():
        given = job_from_file(file, plans or [])
        priced = {name: plan_of(name, spec) for name, spec in given.plans.items()}
        wanted = _wanted(given, stages)
        folders = Folders(storage, storage.absolute() / "scratch", credentials)
        done = _run(given, priced, wanted, folders)
        _end_if_failed(done)
        if calibration is not None:
            _calibrate(given, done, calibration)


def _end_if_failed(done: Sequence[Done]) -> None:
    """A stage that failed ends the command with the exit code that its pod would have had."""
    failed = next((each.result for each in done if each.result.failure_class), None)
    if failed is not None and failed.failure_class is not None:
        typer.secho(f"error: {failed.reason}: {failed.message}", err=True, fg=typer.colors.RED)
        raise typer.Exit(int(EXIT_CODES.get(failed.failure_class, ExitCode.INTERNAL)))


def _wanted(given: Given, text: str) -> set[Stage]:
    """Stages by name."""
    there = {stage.value.lower(): stage for stage in stages_of(given.spec)}
    names = [name.strip().lower() for name in text.split(",") if name.strip()] or list(there)
    for name in names:
        if name not in there:
            allowed = ", ".join(stage.value for stage in there.values())
            raise InputError("--stages", f"`{name}` is no stage of this job; there are: {allowed}")
    return {there[name] for name in names}


def _run(given: Given, plans: Mapping[str, Plan], wanted: set[Stage], folders: Folders) -> Sequence[Done]:
    for stage in wanted:
        stage_plan(given.name, given.spec, plans, stage)
    done: list[Done] = []
    for each in run_stages(given.name, given.spec, wanted, folders, this_machine(), typer.echo):
        done.append(each)
        typer.echo(
            plain(f"{each.stage.value}: {each.result.outcome} after {each.seconds:.1f} s, {each.result.message}")
        )
    typer.echo(_table(given, plans, done))
    return done


def _table(given: Given, plans: Mapping[str, Plan], done: Sequence[Done]) -> str:
    table = Table("stage", "outcome", "seconds here", "plan", "USD as if there", "scores", title=given.name)
    total = 0.0
    for each in done:
        usd = bill(given.name, given.spec, plans, each)
        total += usd
        scores = ", ".join(f"{name} {value}" for name, value in sorted(each.result.scores.items())[:6])
        outcome = "Reused" if each.reused else each.result.outcome
        plan = stage_plan(given.name, given.spec, plans, each.stage)
        table.add_row(each.stage.value, cell(outcome), f"{each.seconds:.1f}", cell(plan), f"{usd:.4f}", cell(scores))
    table.add_section()
    table.add_row("Total", "", f"{sum(each.seconds for each in done):.1f}", "", f"{total:.4f}", "")
    out = io.StringIO()
    Console(file=out, width=118, markup=False, emoji=False).print(table)
    return out.getvalue().rstrip()


def _calibrate(given: Given, done: Sequence[Done], file: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    found = calibrate(today, given.name, given.spec, done, this_machine())
    write(found, file)
    typer.echo(f"MFU {found.mfu:.3f} on {found.accelerator}; use it: llmtrain estimate -f ... --calibration {file}")
