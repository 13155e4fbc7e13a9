"""`llmtrain ladder`: small jobs that tell what a large one will come to."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from llmtrain.api.kubeyaml import dump_all
from llmtrain.api.trainingbudget import TrainingBudgetSpec, TrainingBudgetStatus
from llmtrain.cli.cells import cell, drawing
from llmtrain.cli.complaints import complaints
from llmtrain.cli.estimate import PlanFiles
from llmtrain.cli.inputs import job_from_file
from llmtrain.cli.jobs import Namespace, job_names, of_namespace
from llmtrain.cli.kubectl import KubectlError, kubectl, kubectl_json
from llmtrain.cli.losses import loss_table
from llmtrain.cli.numbers import spread
from llmtrain.cost.errors import InputError
from llmtrain.cost.money import MICRO
from llmtrain.ladder.manifests import BUDGET, DIGEST, JOBS, LADDER, RUNG, digest, limits, manifest
from llmtrain.ladder.plan import JOBS as MANY
from llmtrain.ladder.plan import Rung, Target, check_jobs, limited, plan_ladder, target_of
from llmtrain.ladder.progress import Extrapolation, Step, extrapolation, steps_of
from llmtrain.ladder.view import ladder_view, law_document
from llmtrain.scaling.fit import FEWEST_RUNS
from llmtrain.scaling.law import BESIROGLU

LOOK_SECONDS = 10.0
DECIMALS = 6
"""Of a budget: bills are in microdollars."""
Object = dict[str, Any]


class Action(StrEnum):
    """What is asked for."""

    RUN = "run"
    STATUS = "status"


class Output(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    JSON = "json"
    LAW = "law"


def register(app: typer.Typer) -> None:
    """Add `llmtrain ladder`."""
    app.command()(ladder)


@dataclass(frozen=True)
class Asked:
    """A ladder as it was asked for: what its jobs may cost together, and the labels that put them under a budget."""

    target: Target
    namespace: str
    budget: Decimal
    jobs: int
    labels: Mapping[str, str]
    curated: bool

    @property
    def digest(self) -> str:
        """Jobs of another ladder have another."""
        return digest(self.target, self.budget, self.jobs)

    def manifests(self, rungs: Sequence[Rung]) -> list[Object]:
        """Of these rungs."""
        return [manifest(self.target, rung, self.namespace, self.budget, self.jobs, self.labels) for rung in rungs]


def ladder(
    file: Annotated[Path, typer.Option("--file", "-f", help="Manifest of the large job; - is standard input.")],
    action: Annotated[
        Action, typer.Argument(help="run: make the jobs that are missing; status: only look.")
    ] = Action.RUN,
    budget: Annotated[str, typer.Option(help="US dollars that the small jobs may cost together.")] = "",
    plans: PlanFiles = None,
    training_budget: Annotated[
        str,
        typer.Option(help="Put the jobs under this TrainingBudget; without --budget they may cost what it has left."),
    ] = "",
    jobs: Annotated[int, typer.Option(help="Small jobs, 3 to 20.")] = MANY,
    namespace: Namespace = "",
    curated: Annotated[bool, typer.Option("--curated", help="The data is curated already and costs nothing.")] = False,
    input_bytes: Annotated[float | None, typer.Option(help="Size of the sources, bytes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the jobs' manifests, make none.")] = False,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the last job has ended.")] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="table, json, or law: what --scaling-law reads.")
    ] = Output.TABLE,
) -> None:
    """Train small models of the same kind within a budget, and extrapolate the loss and the dollars of the large one.

    The first job curates the data; the others follow once that is done. Everything is known by the jobs' labels: leave it
    at any time, and call it again in the same words to go on.

    Example: `llmtrain ladder -f job.yaml --budget 50 --watch`
    """
    with complaints():
        given = job_from_file(file, plans or [])
        target = target_of(given.name, given.spec, given.plans, curated=curated, input_bytes=input_bytes)
        space = "" if str(file) == "-" else dict(job_names(file)).get(given.name, "")
        space = space or namespace
        if action is Action.STATUS:
            _show(target, found := _jobs(given.name, space), _told_budget(found), output)
            return
        asked = _asked(target, space, Money(budget, training_budget), jobs, curated)
        if dry_run:
            typer.echo(dump_all(asked.manifests(plan_ladder(target, asked.budget, BESIROGLU, jobs))), nl=False)
            return
        found = _climb(asked)
        while follow and not _over(found, jobs):
            time.sleep(LOOK_SECONDS)
            found = _climb(asked)
        _show(target, found, asked.budget, output)
        if _over(found, jobs) and extrapolation(target, steps_of(found)) is None:
            raise typer.Exit(1)


@dataclass(frozen=True)
class Money:
    """The two options about it, as they were typed."""

    budget: str
    training_budget: str


def _asked(target: Target, namespace: str, money: Money, jobs: int, curated: bool) -> Asked:
    check_jobs(jobs)
    if not money.training_budget:
        return Asked(target, namespace, _dollars(money.budget), jobs, {}, curated)
    left, labels = _training_budget(money.training_budget, namespace)
    if found := _jobs(target.name, namespace):
        # What is left of it has become less by these very jobs: they say what was asked for.
        dollars = _dollars(money.budget) if money.budget else _told_budget(found)
        return Asked(target, namespace, dollars, jobs, labels, curated)
    if left <= 0:
        raise InputError("--training-budget", f"`{money.training_budget}` has nothing left")
    dollars = _dollars(money.budget) if money.budget else left
    if dollars > left:
        said = (
            f"{dollars:f} is more than the {left:f} US dollars that TrainingBudget `{money.training_budget}` has left"
        )
        raise InputError("--budget", said)
    return Asked(target, namespace, dollars, jobs, labels, curated)


def _dollars(text: str) -> Decimal:
    if not text:
        raise InputError("--budget", "must be given: US dollars that the small jobs may cost together")
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise InputError("--budget", f"must be a number of US dollars, not `{text}`") from error
    if not found.is_finite() or found <= 0 or found >= 10**12:
        raise InputError("--budget", f"must be a number of US dollars above zero, not {text}")
    exponent = found.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        raise InputError("--budget", f"must be a number of US dollars with at most {DECIMALS} decimals, not {text}")
    return found


def _training_budget(name: str, namespace: str) -> tuple[Decimal, Mapping[str, str]]:
    """Dollars that are left of it, and the labels that a job needs to be under it."""
    try:
        body = kubectl_json("get", "trainingbudget", name, *of_namespace(namespace))
    except KubectlError as error:
        if "NotFound" not in str(error):
            raise
        place = f" in namespace `{namespace}`" if namespace else ""
        raise InputError("--training-budget", f"there is no TrainingBudget `{name}`{place}") from error
    spec = TrainingBudgetSpec.model_validate(body["spec"])
    status = TrainingBudgetStatus.model_validate(body.get("status") or {})
    labels = dict(spec.job_selector.match_labels)
    planned = labels | dict.fromkeys((LADDER, RUNG, DIGEST, BUDGET, JOBS), "0")
    if not spec.job_selector.matches(planned):
        raise InputError(
            "--training-budget",
            f"`{name}` selects by `matchExpressions` that the labels of a ladder's jobs do not meet",
        )
    return Decimal(spec.limit_usd) - Decimal(status.held) / MICRO, labels


def _jobs(name: str, namespace: str) -> list[Object]:
    """The ladder's jobs that there are."""
    found: list[Object] = kubectl_json("get", "llmjob", "-l", f"{LADDER}={name}", *of_namespace(namespace))["items"]
    return found


def _climb(asked: Asked) -> list[Object]:
    """Make what is missing as far as it can be made now; the jobs that there are then."""
    found = _jobs(asked.target.name, asked.namespace)
    _check_same(asked, found)
    due = _due(asked, steps_of(found), _missing(asked, found))
    if not due:
        return found
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": asked.manifests(due)})
    try:
        kubectl("create", "-f", "-", *of_namespace(asked.namespace), text=text)
    except KubectlError as error:
        # Somebody else may have called the same command at the same time: then they are there, and ours.
        there = _jobs(asked.target.name, asked.namespace)
        if len(there) < len(found) + len(due):
            raise KubectlError(f"a job of the ladder cannot be made: {error}") from error
        return there
    return _jobs(asked.target.name, asked.namespace)


def _due(asked: Asked, steps: Sequence[Step], missing: Sequence[Rung]) -> Sequence[Rung]:
    """One curates the data, and is made first; all others once it is there."""
    if asked.curated or any(step.curated for step in steps):
        return missing
    return [] if steps and (missing[:1] == [] or missing[0].index or not all(s.ended for s in steps)) else missing[:1]


def _check_same(asked: Asked, found: Sequence[Object]) -> None:
    """A ladder of other settings is not continued."""
    for job in found:
        labels = job["metadata"].get("labels", {})
        if labels.get(DIGEST) != asked.digest:
            other = f"--budget {labels.get(BUDGET, '?')} --jobs {labels.get(JOBS, '?')}"
            raise InputError(
                "--budget",
                f"job `{job['metadata']['name']}` is of another ladder for `{asked.target.name}` ({other}, or another manifest): "
                f"go on with that, or delete its jobs: kubectl delete llmjob -l {LADDER}={asked.target.name}",
            )


def _missing(asked: Asked, found: Sequence[Object]) -> list[Rung]:
    """Rungs without a job; together with those that have one they stay within the budget, whatever prices do meanwhile."""
    there = {job["metadata"]["labels"].get(RUNG) for job in found}
    if len(there) == asked.jobs:
        return []
    rungs = plan_ladder(asked.target, asked.budget, BESIROGLU, asked.jobs)
    missing = [rung for rung in rungs if str(rung.index) not in there]
    left = asked.budget - limits(found)
    if sum((rung.limit_usd for rung in missing), Decimal(0)) <= left:
        return missing
    if left <= 0:
        raise InputError(
            "--budget", f"{asked.budget:f} is used up by the jobs that there are; {len(missing)} are missing"
        )
    return list(limited(missing, left))


def _over(found: Sequence[Object], jobs: int) -> bool:
    """Whether nothing more can come: all have ended, or the first has without data for the others."""
    steps = steps_of(found)
    return all(step.ended for step in steps) and (len(steps) == jobs or not any(step.curated for step in steps))


def _told_budget(found: Sequence[Object]) -> Decimal:
    """By the label of the first; by the jobs' own budgets where somebody has made that no number of dollars."""
    try:
        return _dollars(next((job["metadata"]["labels"][BUDGET] for job in found), ""))
    except (InputError, KeyError):
        return limits(found)


def _show(target: Target, found: Sequence[Object], budget: Decimal, output: Output) -> None:
    steps = steps_of(found)
    said = extrapolation(target, steps)
    if output is Output.JSON:
        typer.echo(json.dumps(ladder_view(target, budget, steps, said), indent=2))
    elif output is Output.LAW:
        typer.echo(json.dumps(law_document(steps), indent=2))
    else:
        typer.echo(_tables(target, steps, budget, said))


def _tables(target: Target, steps: Sequence[Step], budget: Decimal, said: Extrapolation | None) -> str:
    console, out = drawing(118)
    console.print(_rungs(target, steps, budget, said))
    if said is None:
        ended = sum(step.loss is not None for step in steps)
        console.print(
            f"{ended} jobs have ended with a loss; from {FEWEST_RUNS} on they tell of {target.name}", highlight=False
        )
        return out.getvalue().rstrip()
    console.print(loss_table(said.outcome))
    console.print(
        f"{target.name} will cost {spread(said.usd)} US dollars (p10 / p50 / p90){_speed(said)}", highlight=False
    )
    for warning in said.outcome.warnings:
        console.print(f"warning: {warning}", highlight=False)
    return out.getvalue().rstrip()


def _speed(said: Extrapolation) -> str:
    return (
        "" if said.speed is None else f"; the largest rung ran at {said.speed:.2f} of the speed that was expected of it"
    )


def _rungs(target: Target, steps: Sequence[Step], budget: Decimal, said: Extrapolation | None) -> Table:
    cost = sum((step.cost_usd for step in steps), Decimal(0))
    title = f"Ladder for {target.name}: ${cost:.2f} of ${budget:f}"
    table = Table(
        "rung", "job", "state", "parameters", "tokens", "limit USD", "cost USD", "loss", "fitted", title=title
    )
    for step in steps:
        fitted = "" if said is None else f"{said.fitted.law.loss(step.parameters, step.tokens):.4f}"
        sizes = (f"{step.parameters:.3g}", f"{step.tokens:.3g}", f"{step.limit_usd:.4f}", f"{step.cost_usd:.4f}")
        loss = "" if step.loss is None else f"{step.loss:.4f}"
        table.add_row(str(step.index), cell(step.name), cell(step.state), *sizes, loss, fitted)
    return table
