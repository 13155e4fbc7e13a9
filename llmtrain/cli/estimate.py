"""`llmtrain estimate`: the bill before the run."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from llmtrain.api.kubeyaml import dump_all
from llmtrain.api.training import Device
from llmtrain.cli.cells import cell, drawing
from llmtrain.cli.complaints import complaints
from llmtrain.cli.inputs import Given, job_from_file, only_job
from llmtrain.cli.losses import BytesPerToken, LawFile, loss_table, read_law
from llmtrain.cli.numbers import spread
from llmtrain.cost.estimate import Estimate
from llmtrain.local.calibration import CPU, Calibration, read
from llmtrain.pricing.job import Known, estimate_job
from llmtrain.pricing.outcome import job_outcome
from llmtrain.pricing.plans import plan_of
from llmtrain.pricing.views import estimate_view
from llmtrain.scaling.outcome import Outcome

PlanFiles = Annotated[list[Path] | None, typer.Option("--plans", help="File with ComputePlans; may be repeated.")]


class Output(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    SPEC = "spec"


def register(app: typer.Typer) -> None:
    """Add `llmtrain estimate`."""
    app.command()(estimate)


def estimate(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest of the job; - is standard input.")],
    plans: PlanFiles = None,
    output: Annotated[
        Output,
        typer.Option("--output", "-o", help="table, json, yaml, or spec: what the manifest says, with every default."),
    ] = Output.TABLE,
    input_bytes: Annotated[float | None, typer.Option(help="Size of the sources, bytes.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Speeds measured by `llmtrain run-local --calibrate`.")
    ] = None,
    scaling_law: LawFile = None,
    bytes_per_token: BytesPerToken = None,
) -> None:
    """Hours, dollars and kWh of every stage before anything runs, as p10, p50 and p90, and the loss to expect.

    No cluster is needed.

    Example: `llmtrain estimate -f job.yaml --plans plans.yaml`
    """
    with complaints():
        if output is Output.SPEC:
            typer.echo(dump_all([{"spec": only_job(file)[1].to_dict()}]), nl=False)
            return
        given = job_from_file(file, plans or [])
        today = datetime.now(UTC).date()
        known = Known(input_bytes=input_bytes) if calibration is None else _known(given, read(calibration), input_bytes)
        found = estimate_job(given.name, given.spec, given.plans, today, known)
        loss = job_outcome(given.spec, *read_law(scaling_law, bytes_per_token))
    typer.echo(rendered(found, output, loss))


def _known(given: Given, calibration: Calibration, input_bytes: float | None) -> Known:
    """The measured speed of training counts for the accelerator that it was measured on."""
    cluster = given.spec.training.cluster
    accelerator = CPU
    held = cluster.workers.accelerators_per_worker and given.spec.training.device is not Device.CPU
    if held and (plan := given.plans.get(cluster.plan_ref.name)):
        chip = plan_of(cluster.plan_ref.name, plan).chip
        accelerator = chip.name if chip else CPU
    return Known(input_bytes, calibration.measured(accelerator), calibration.curation_bytes_per_core_second)


def rendered(found: Estimate, output: Output, loss: Outcome | None = None) -> str:
    """The estimate as text."""
    if output is Output.JSON:
        return json.dumps(estimate_view(found, loss), indent=2)
    if output is Output.YAML:
        return yaml.safe_dump(estimate_view(found, loss), sort_keys=False, allow_unicode=True)
    return _tables(found, loss)


def _tables(found: Estimate, loss: Outcome | None) -> str:
    console, out = drawing(118)
    console.print(_stages(found))
    console.print(_facts(found), highlight=False)
    if loss is not None:
        console.print(loss_table(loss))
    assumptions = Table("assumption", "value", "source", "date", title="What this rests on")
    for each in (*found.assumptions, *(loss.assumptions if loss else ())):
        assumptions.add_row(each.name, each.value, cell(each.source), each.date)
    console.print(assumptions)
    for warning in (*found.warnings, *(loss.warnings if loss else ())):
        console.print(f"warning: {warning}", highlight=False)
    return out.getvalue().rstrip()


def _stages(found: Estimate) -> Table:
    table = Table("stage", "plan", "GPUs", "hours", "GPU-hours", "USD", "kWh", title=f"{found.job}: p10 / p50 / p90")
    for stage in found.stages:
        ranges = (stage.hours, stage.accelerator_hours, stage.usd, stage.kwh)
        table.add_row(stage.name, stage.plan, str(stage.accelerators), *map(spread, ranges))
    table.add_section()
    totals = (found.hours, found.accelerator_hours, found.usd, found.kwh)
    table.add_row("Total", "", "", *map(spread, totals))
    table.add_row("with development", "", "", "", "", spread(found.development_usd), "")
    for stage in found.stages:
        if stage.storage_usd is not None:
            table.add_row("storage, egress: in no bill", stage.plan, "", "", "", spread(stage.storage_usd), "")
    return table


def _facts(found: Estimate) -> str:
    facts = found.model
    available = "unknown" if facts.available_gib is None else f"{facts.available_gib:.1f}"
    return (
        f"{facts.parameters:,} parameters, {facts.train_flops:.3g} FLOPs of training; memory per accelerator: "
        f"{facts.state_gib:.1f} GiB of weights, gradients and optimizer + {facts.activation_gib:.1f} GiB of activations "
        f"of {available} GiB"
    )
