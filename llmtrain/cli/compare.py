"""`llmtrain compare`: the same training on every plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from llmtrain.cli.cells import drawing
from llmtrain.cli.complaints import complaints
from llmtrain.cli.estimate import PlanFiles
from llmtrain.cli.inputs import Given, job_from_cluster, job_from_file
from llmtrain.cli.losses import BytesPerToken, LawFile, loss_table, read_law, split_cells
from llmtrain.cli.numbers import number, spread
from llmtrain.cli.outputs import PageOutput
from llmtrain.cost.comparison import Comparison, Pair
from llmtrain.cost.comparison import compare as compare_plans
from llmtrain.cost.errors import InputError
from llmtrain.pages.compare import compare_page
from llmtrain.pricing.job import training_of
from llmtrain.pricing.measured import tokens_per_second
from llmtrain.pricing.outcome import job_outcome, same_money
from llmtrain.pricing.plans import priced
from llmtrain.pricing.views import comparison_view
from llmtrain.scaling.outcome import Expectation, Outcome, Split, Text


def register(app: typer.Typer) -> None:
    """Add `llmtrain compare`."""
    app.command()(compare)


def compare(
    job: Annotated[str | None, typer.Argument(help="Name of a job in the cluster.")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Manifest of the job; - is standard input.")] = None,
    plans: PlanFiles = None,
    output: Annotated[PageOutput, typer.Option("--output", "-o", help="table, json or html.")] = PageOutput.TABLE,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the job.")] = "default",
    scaling_law: LawFile = None,
    bytes_per_token: BytesPerToken = None,
) -> None:
    """What the same training costs on every plan, rented or owned, and from where on owning is the cheaper.

    Example: `llmtrain compare -f job.yaml --plans plans.yaml -o html > compare.html`
    """
    with complaints():
        given = _given(job, file, namespace, plans or [])
        typer.echo(rendered(compared(given), output, losses_of(given, *read_law(scaling_law, bytes_per_token))))


def _given(job: str | None, file: Path | None, namespace: str, plans: Sequence[Path]) -> Given:
    if (job is None) == (file is None):
        raise InputError("JOB", "give either the name of a job or a manifest with -f")
    return job_from_file(file, plans) if file else job_from_cluster(job or "", namespace, plans)


def compared(given: Given) -> Comparison:
    """The job's training on the plans that it names in `comparePlans`; on all where it names none. Its own is the first.

    A plan that is not there, or cannot be priced, is left out with its reason, and no other is.
    """
    plans, refused = priced(given.plans)
    own = given.spec.training.cluster.plan_ref.name
    wanted = dict.fromkeys([own, *(given.spec.compare_plans or sorted(given.plans))])
    run = training_of(given.name, given.spec, plans, refused, tokens_per_second(given.status))
    found = compare_plans(run, [plans[name] for name in wanted if name in plans])
    there = ", ".join(sorted(given.plans))
    missing = {name: f"ComputePlan `{name}` does not exist; there are: {there}" for name in wanted}
    reasons = [(name, str(refused.get(name, missing[name]))) for name in wanted if name not in plans]
    return replace(found, skipped=[*found.skipped, *reasons])


@dataclass(frozen=True)
class Losses:
    """What the training comes to, and by which law."""

    expected: Expectation
    outcome: Outcome
    own: str
    """The training's plan."""

    def bought(self, found: Comparison) -> Mapping[str, Split]:
        """By plan, the best that the job's own dollars buy there; nothing where its own plan has no price."""
        known = bool(found.results) and found.results[0].plan.name == self.own
        return same_money(found, self.expected, self.outcome) if known else {}


def losses_of(given: Given, expected: Expectation, text: Text) -> Losses | None:
    """None where no law tells what the training comes to."""
    found = job_outcome(given.spec, expected, text)
    return None if found is None else Losses(expected, found, given.spec.training.cluster.plan_ref.name)


def rendered(found: Comparison, output: PageOutput, losses: Losses | None = None) -> str:
    """The comparison as text."""
    loss = losses.outcome if losses else None
    bought = losses.bought(found) if losses else {}
    if output is PageOutput.JSON:
        return json.dumps(comparison_view(found, loss, bought), indent=2)
    return compare_page(found, loss, bought) if output is PageOutput.HTML else _tables(found, loss, bought)


def _tables(found: Comparison, loss: Outcome | None, bought: Mapping[str, Split]) -> str:
    console, out = drawing(130)
    console.print(_plans(found))
    if loss is not None:
        console.print(_losses(loss, bought))
        for warning in loss.warnings:
            console.print(f"warning: {warning}", highlight=False)
    for pair in found.pairs:
        console.print(_pair(pair))
    for plan, reason in found.skipped:
        console.print(f"{plan} is left out: {reason}", highlight=False)
    return out.getvalue().rstrip()


def _plans(found: Comparison) -> Table:
    columns = ("plan", "tenure", "USD/GPU-h", "marginal", "hours", "allocated USD", "avoidable USD", "USD/1e21 FLOP", "USD/M tokens")  # fmt: skip
    stored = any(each.estimate.storage_usd for each in found.results)
    table = Table(
        *columns,
        *(["storage, egress USD"] if stored else []),
        title=f"{found.job}: the same training on every plan, p10 / p50 / p90",
    )
    for each in found.results:
        plan = each.plan
        table.add_row(
            plan.name,
            f"{plan.tenure} {plan.commitment}".strip(),
            f"{plan.accelerator_hour_usd:.4f}",
            f"{plan.marginal_hour_usd:.4f}",
            spread(each.estimate.hours),
            spread(each.estimate.usd),
            spread(each.avoidable_usd),
            number(each.usd_per_1e21_flops),
            number(each.usd_per_million_tokens),
            *([spread(each.estimate.storage_usd) if each.estimate.storage_usd else "-"] if stored else []),
        )
    return table


def _losses(loss: Outcome, bought: Mapping[str, Split]) -> Table:
    table = loss_table(loss)
    table.add_section()
    for plan, split in bought.items():
        table.add_row(f"this training's money on {plan}, best split", *split_cells(split))
    return table


def _pair(pair: Pair) -> Table:
    found = pair.verdict
    needed = (
        "never" if found.utilization_uncapped is None else f"{found.utilization_uncapped:.0%} of the available hours"
    )
    if found.utilization_uncapped is not None and found.utilization is None:
        needed += ": never"
    if pair.rent.reserved and found.utilization_uncapped is not None:
        limit = found.utilization_limit
        needed = "any use" if limit is None or limit >= 1 else f"none, up to {limit:.0%} of the available hours"
    month = "not within its life" if found.month is None else f"month {found.month}"
    table = Table("rent or own", "", title=f"{pair.owned.name} against {pair.rented.name}")
    table.add_row("the cheaper at the use that the plan states", pair.cheaper_at_plan_use)
    table.add_row("the cheaper for this job and other known work alone", pair.cheaper_for_known_hours)
    table.add_row("owning pays from a use of", needed)
    table.add_row("owning pays from", month)
    table.add_row("accelerator-hours a year: needed / known / available", _annual(pair))
    table.add_row(
        "rent at which both are equal",
        f"${pair.break_even_rent_usd:.2f} an hour, now ${pair.rent.accelerator_hour_usd:.2f}",
    )
    for path in pair.paths:
        table.add_row(f"if rent {path.name}" if path.fall_oom_per_year else "if rent stays", _use(path.utilization))
    for bar in pair.tornado:
        table.add_row(
            f"  {bar.field} {number(bar.low)} to {number(bar.high)}", f"{_use(bar.at_low)} to {_use(bar.at_high)}"
        )
    return table


def _annual(pair: Pair) -> str:
    needed = pair.break_even_annual_hours
    return f"{'never' if needed is None else number(needed)} / {number(pair.known_annual_hours)} / {number(pair.available_annual_hours)}"


def _use(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"
