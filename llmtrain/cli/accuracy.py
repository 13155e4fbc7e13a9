"""`llmtrain accuracy`: how far the estimate's hours are off on published runs."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmtrain.cli.complaints import complaints, read_text
from llmtrain.cost.errors import InputError
from llmtrain.cost.fit import (
    CONSTANT_MFU,
    ONE_FACTOR,
    ONE_FACTOR_SIGMA,
    Run,
    accuracy,
    constant_misses,
    coverage_interval,
    left_out,
    left_out_by_one_factor,
    other_runs,
    published_runs,
)
from llmtrain.cost.mfu import BENCHMARK, CALENDAR, benchmark_mfu, expected_mfu
from llmtrain.cost.ranges import Z90
from llmtrain.cost.tables import rows

Misses = Sequence[tuple[float, Run]]


def register(app: typer.Typer) -> None:
    """Add `llmtrain accuracy`."""
    app.command("accuracy")(show)


def show(
    runs: Annotated[
        Path | None, typer.Option(help="CSV of other runs, columns of published_runs.csv; default: those that ship.")
    ] = None,
) -> None:
    """Predicted and taken accelerator-hours of published runs, each family predicted from the others only.

    Example: `llmtrain accuracy`, or `llmtrain accuracy --runs ours.csv` for runs that the fit has never seen.
    """
    with complaints():
        found = _left_out(published_runs(rows("published_runs"))) if runs is None else _predicted(_read(runs))
    typer.echo(_report(*found))


def _left_out(runs: Sequence[Run]) -> tuple[Misses, Misses]:
    """Each family from the others, and the same by the estimate of before."""
    return left_out(BENCHMARK, runs), left_out_by_one_factor(BENCHMARK, runs)


def _predicted(found: Sequence[Run]) -> tuple[Misses, Misses]:
    """Of runs that are not in the fit, by the numbers that ship, and by those of before."""
    now = [(math.log(expected_mfu(BENCHMARK, CALENDAR, run.situation) / run.mfu), run) for run in found]
    return now, [(math.log(ONE_FACTOR * benchmark_mfu(BENCHMARK, run.situation) / run.mfu), run) for run in found]


def _read(path: Path) -> Sequence[Run]:
    try:
        found = other_runs(csv.DictReader(io.StringIO(read_text(path))))
    except (KeyError, ValueError) as error:
        raise InputError(
            str(path), f"must have the columns of published_runs.csv, filled with numbers: {error}"
        ) from error
    if not found:
        raise InputError(str(path), "holds no run with tokens, parameters and accelerator-hours")
    return found


def _report(misses: Misses, before: Misses) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, markup=False, emoji=False)
    table = Table(
        "run", "family", "hours taken", "predicted", "factor", "in p10-p90", "constant MFU", title="Accelerator-hours"
    )
    runs = [run for _, run in misses]
    constant = constant_misses(runs)
    for (miss, run), other in zip(misses, constant, strict=True):
        inside = "yes" if abs(miss) <= Z90 * CALENDAR.sigma else "no"
        table.add_row(
            run.model, run.family, f"{run.hours:,.0f}", f"{run.hours / math.exp(miss):,.0f}", f"{math.exp(miss):.2f}", inside, f"{math.exp(other):.2f}"
        )  # fmt: skip
    console.print(table)
    console.print(_summary([miss for miss, _ in misses], [miss for miss, _ in before], constant, _families(runs)))
    console.print(_verdict(misses, before), soft_wrap=True)
    return out.getvalue().rstrip()


def _families(runs: Sequence[Run]) -> int:
    return len({run.family for run in runs})


def _verdict(misses: Misses, before: Misses) -> str:
    """Coverage with what other families would have made of it, and the score against the estimate of before."""
    now = accuracy([miss for miss, _ in misses], CALENDAR.sigma)
    then = accuracy([miss for miss, _ in before], ONE_FACTOR_SIGMA)
    low, high = coverage_interval(misses, CALENDAR.sigma)
    covered = f"{now.covered:.1%} of runs in p10-p90 (families drawn anew: {low:.1%} to {high:.1%})"
    score = f"interval score {now.interval_score / then.interval_score:.3f} of one factor's"
    return f"{covered}; {score}; p90/p10 {now.width:.2f}; median factor {now.median_factor:.2f}"


def _summary(misses: Sequence[float], before: Sequence[float], constant: Sequence[float], families: int) -> Table:
    table = Table(
        "", "median factor", "p90 factor", "in p10-p90", "p90/p10", "interval score",
        title=f"{len(misses)} runs of {families} families",
    )  # fmt: skip
    best = min((sigma / 100 for sigma in range(101)), key=lambda sigma: accuracy(constant, sigma).interval_score)
    for name, values, sigma in (
        ("this estimate", misses, CALENDAR.sigma),
        ("one factor, as before", before, ONE_FACTOR_SIGMA),
        (f"constant MFU {CONSTANT_MFU}, the spread that suits it best", constant, best),
        (f"constant MFU {CONSTANT_MFU}, the same spread", constant, CALENDAR.sigma),
    ):
        found = accuracy(values, sigma)
        cells = (found.median_factor, found.p90_factor, found.covered, found.width, found.interval_score)
        table.add_row(name, *(f"{cell:.3f}" for cell in cells))
    return table
