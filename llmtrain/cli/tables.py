"""A job's status as text."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table

from llmtrain.api.status import Amounts, JobStatus, StageStatus
from llmtrain.cli.cells import cell, drawing
from llmtrain.cli.live import span
from llmtrain.cost.money import format_usd
from llmtrain.ledger.goodput import goodput_of_billed_time, goodput_of_dollars, score_name, shown
from llmtrain.ledger.now import cost_now_usd
from llmtrain.text import LONGEST, lines, plain


def job_table(jobs: Sequence[Mapping[str, Any]], now: datetime) -> Table:
    """One row a job."""
    table = Table(
        "namespace", "job", "stage", "state", "GPUs", "cost", "cost now", "forecast", "budget", "age", box=None
    )
    for job in jobs:
        meta, status = job["metadata"], JobStatus.model_validate(job.get("status") or {})
        budget = (job["spec"].get("budget") or {}).get("limitUsd", "")
        age = now - datetime.fromisoformat(meta["creationTimestamp"])
        table.add_row(
            cell(meta["namespace"]),
            cell(meta["name"]),
            cell(status.stage or "-"),
            cell(status.state or "Pending"),
            str(status.accelerators or "-"),
            cell(f"${status.ledger.cost_usd}"),
            cell(f"${cost_now_usd(status.ledger)}"),
            cell(f"${status.forecast.usd.p50}" if status.forecast and status.forecast.usd.p50 else "-"),
            cell(f"${budget}" if budget else "-"),
            span(int(age.total_seconds())),
        )
    return table


def line(status: JobStatus) -> str:
    """Where the job stands, in one line."""
    stage = next((s for s in status.stages if s.name.value == status.stage), None)
    money = f"cost ${status.ledger.cost_usd}, cost now ${cost_now_usd(status.ledger)}"
    parts = [f"{status.stage or 'new':<10} {status.state or 'Pending':<9} {money}"]
    if status.accelerators:
        parts.append(f"{status.accelerators} GPUs")
    if stage and stage.progress and stage.progress.total:
        progress = stage.progress
        parts.append(f"{progress.done}/{progress.total} {progress.unit} {progress.detail}")
        parts += [
            f"{name} {value}"
            for name, value in (("loss", progress.loss), ("tok/s", progress.tokens_per_second))
            if value
        ]
    if status.waiting:
        parts.append(f"waiting: {status.waiting.reason} {status.waiting.message}")
    return plain("  ".join(parts), 2 * LONGEST)


def report(status: JobStatus) -> str:
    """Tables of stages, comparison and scores."""
    console, out = drawing(110)
    console.print(stage_table(status))
    if status.comparison:
        console.print(comparison_table(status))
    scores = Table("score", "value", title="Scores")
    for stage in status.stages:
        for name, value in sorted(stage.scores.items()):
            scores.add_row(cell(f"{stage.name.value}: {score_name(stage.name, name)}"), cell(value))
    console.print(scores)
    for condition in status.conditions:
        if condition.type in ("Accepted", "Succeeded") and condition.message:
            console.print(cell(f"{condition.type}={condition.status} {condition.reason}: {condition.message}"))
    return lines(out.getvalue())


def stage_table(status: JobStatus) -> Table:
    """One row a stage: time, pod-hours, accelerator-hours, dollars, goodput of billed time; goodput of dollars above them."""
    dollars = shown(goodput_of_dollars(status.ledger))
    table = Table(
        "stage",
        "state",
        "wall",
        "pod-hours",
        "GPU-hours",
        "USD",
        "goodput of billed time",
        title=cell(
            f"cost ${status.ledger.cost_usd}, cost now ${cost_now_usd(status.ledger)}, goodput of dollars {dollars}"
        ),
    )
    for stage in status.stages:
        items: list[Amounts] = [*status.ledger.entries, *status.ledger.high_water]
        mine = [item for item in items if item.stage is stage.name]
        table.add_row(
            stage.name.value,
            "Reused" if stage.reused else stage.state.value,
            wall(stage),
            f"{sum(item.pod_seconds for item in mine) / 3600:.4f}",
            f"{sum(item.accelerator_seconds for item in mine) / 3600:.4f}",
            format_usd(sum(item.cost_micro_usd for item in mine)),
            shown(goodput_of_billed_time(status.ledger.entries, stage.name)),
        )
    return table


def comparison_table(status: JobStatus) -> Table:
    """The training on every plan."""
    table = Table("plan", "tenure", "USD/GPU-hour", "training USD", "", title="The same training, rented or owned")
    for row in status.comparison:
        shown = (row.tenure, row.usd_per_accelerator_hour, row.cost_usd)
        table.add_row(cell(row.plan), *(cell(value or "-") for value in shown), cell(row.reason))
    return table


def wall(stage: StageStatus) -> str:
    """Seconds from the first attempt to the end."""
    if not stage.start_time or not stage.completion_time:
        return "-"
    seconds = datetime.fromisoformat(stage.completion_time) - datetime.fromisoformat(stage.start_time)
    return f"{int(seconds.total_seconds())} s"
