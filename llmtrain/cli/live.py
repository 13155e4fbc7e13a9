"""`llmtrain watch` on a terminal: the stages with their progress, the bill ticking, what is being waited for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from llmtrain.api.status import JobStatus, Stage, StageState, StageStatus
from llmtrain.cli.cells import cell
from llmtrain.cost.money import MICRO, format_usd
from llmtrain.ledger.now import cost_now_after
from llmtrain.text import plain

COLOURS = {
    StageState.PENDING: "dim",
    StageState.RUNNING: "cyan",
    StageState.STOPPING: "yellow",
    StageState.SUSPENDED: "yellow",
    StageState.SUCCEEDED: "green",
    StageState.FAILED: "red",
}
BAR = 28
SHOWN_SCORES = 2
"""Of the newest checkpoint that an evaluator scored."""


@dataclass(frozen=True)
class View:
    """What is drawn. Between two writes of the operator `cost now` grows by the price of the pods that are billed."""

    name: str
    namespace: str
    status: JobStatus
    spec: Mapping[str, Any]
    billed_at: datetime
    """When the ledger was first seen as it is."""
    correction: str = ""
    """Why the last `cost now` that was shown is above this one, and by how much; it stands until the next."""

    def cost_now(self, now: datetime) -> int:
        """Cost now, microdollars. It may be below what an earlier view showed; `correction` says why."""
        return cost_now_after(self.status.ledger, (now - self.billed_at).total_seconds())


def view_of(job: Mapping[str, Any], now: datetime, before: View | None) -> View:
    """A job as it is now; `before` says since when the ledger has been as it is."""
    meta = job["metadata"]
    status = JobStatus.model_validate(job.get("status") or {})
    same = before is not None and before.status.ledger == status.ledger
    billed_at = before.billed_at if before is not None and same else now
    view = View(meta["name"], meta["namespace"], status, job.get("spec") or {}, billed_at)
    return replace(view, correction=_correction(before, view, now)) if before is not None else view


def _correction(before: View, view: View, now: datetime) -> str:
    """What there is to say where the amount that stands on the screen is followed by a lower one."""
    less = before.cost_now(now) - view.cost_now(now)
    if less <= 0:
        return before.correction
    told = view.status.ledger.correction
    if told != before.status.ledger.correction:
        return told
    return f"{usd(less)} USD less: pods had ended before this was counted"


def draw(view: View, now: datetime) -> RenderableType:
    """Everything, for one frame."""
    parts: list[RenderableType] = [_title(view, now), _stages(view, now), *_notes(view)]
    if view.correction:
        parts.append(cell(f"cost now was corrected: {view.correction}", style="dim"))
    if view.status.waiting:
        waiting = view.status.waiting
        held = f", ${usd(waiting.held_micro_usd)} for pods held meanwhile" if waiting.held_micro_usd else ""
        parts.append(cell(f"waiting: {waiting.reason}: {waiting.message}{held}", style="yellow"))
    return Group(*parts)


def _title(view: View, now: datetime) -> Text:
    text = Text()
    text.append(plain(f"{view.namespace}/{view.name}"), style="bold")
    ledger = view.status.ledger
    text.append(f"  cost ${usd(ledger.total_micro_usd)}", style="bold green")
    limit = (view.spec.get("budget") or {}).get("limitUsd")
    if limit:
        text.append(plain(f" of ${limit}"))
    text.append(f", cost now ${usd(view.cost_now(now))}")
    if view.status.forecast and view.status.forecast.usd.p50:
        text.append(plain(f", forecast ${view.status.forecast.usd.p50}"))
    if ledger.burn_micro_usd_per_hour:
        text.append(f"  ${ledger.burn_micro_usd_per_hour / 1e6:.2f}/h")
    if view.status.accelerators:
        text.append(f"  {view.status.accelerators} GPUs")
    if view.status.eta_seconds is not None:
        text.append(f"  stage done in {span(view.status.eta_seconds)}")
    return text


def _notes(view: View) -> list[RenderableType]:
    """A line below the table for each stage that has something to say; on a narrow terminal it wraps, nothing is cut."""
    return [cell(f"{stage.name.value}: {said}") for stage in view.status.stages if (said := facts(stage))]


def _stages(view: View, now: datetime) -> Table:
    """On a narrow terminal the bars give way, money and counts stay whole."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("stage", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("", max_width=BAR)
    for name in ("done", "time", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    for stage in view.status.stages:
        state = "Reused" if stage.reused else stage.state.value
        table.add_row(
            stage.name.value,
            Text(state, style=COLOURS[stage.state]),
            bar(stage),
            cell(amount(stage)),
            elapsed(stage, now),
            f"${usd(cost_of(view.status, stage.name))}",
        )
    return table


def bar(stage: StageStatus) -> RenderableType:
    """How far the stage is."""
    if stage.state is StageState.SUCCEEDED:
        return ProgressBar(total=1, completed=1)
    progress = (
        stage.progress if stage.state in (StageState.RUNNING, StageState.STOPPING, StageState.SUSPENDED) else None
    )
    if progress is None or not progress.total:
        return Text()
    if progress.share:
        return ProgressBar(total=1, completed=float(progress.share))
    return ProgressBar(total=progress.total, completed=progress.done)


def amount(stage: StageStatus) -> str:
    """Units done of all."""
    progress = stage.progress
    if progress is None or not progress.total or stage.state is StageState.PENDING:
        return ""
    return f"{progress.done:,}/{progress.total:,} {progress.unit}"


def facts(stage: StageStatus) -> str:
    """Loss and speed, or what it is doing."""
    progress = stage.progress
    if progress is None or stage.state is not StageState.RUNNING:
        return stage.message if stage.state is StageState.FAILED else ""
    said = [("loss", progress.loss), ("tok/s", progress.tokens_per_second), ("MFU", progress.mfu)]
    said += list(progress.scores.items())[:SHOWN_SCORES]
    return "  ".join(f"{name} {value}" for name, value in said if value) or progress.detail


def elapsed(stage: StageStatus, now: datetime) -> str:
    """From the first attempt to the end, or so far."""
    if not stage.start_time or stage.reused:
        return ""
    begin = datetime.fromisoformat(stage.start_time)
    end = datetime.fromisoformat(stage.completion_time) if stage.completion_time else now
    return span(int((end - begin).total_seconds()))


def cost_of(status: JobStatus, stage: Stage) -> int:
    """Microdollars of a stage, settled and provisional."""
    items = [*status.ledger.entries, *status.ledger.high_water]
    return sum(item.cost_micro_usd for item in items if item.stage is stage)


def usd(micro: int) -> str:
    """Dollars that are seen to tick: four decimals below a hundred dollars, cents above."""
    return f"{micro / MICRO:.4f}" if micro < 100 * MICRO else format_usd(micro)


def span(seconds: int) -> str:
    """A duration for people: 45s, 3m20s, 2h05m, 3d4h."""
    whole = timedelta(seconds=max(0, seconds))
    minutes, rest = divmod(whole.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if whole.days:
        return f"{whole.days}d{hours}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def utc_now() -> datetime:
    """The clock of the command line."""
    return datetime.now(UTC)
