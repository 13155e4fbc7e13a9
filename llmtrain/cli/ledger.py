"""The bill outside the cluster: `llmtrain ledger export`, `llmtrain cost` and `llmtrain reconcile-invoice`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from llmtrain.cli.kubectl import KubectlError, kubectl_json, or_exit
from llmtrain.cli.outputs import Output
from llmtrain.cli.waste import waste_json, waste_table
from llmtrain.cost.periods import CLOSED_AFTER, month_bounds
from llmtrain.ledger.csvfile import exact_usd, ledger_csv
from llmtrain.ledger.document import LABEL_KIND, LABEL_NAMESPACE, DocumentError
from llmtrain.ledger.exported import ExportError, read_exports
from llmtrain.ledger.focus import FocusError, charges_csv, focus_csv
from llmtrain.ledger.focusschema import schema
from llmtrain.ledger.former import FORMER_CONFIG_MAP
from llmtrain.ledger.grouping import LabelError, checked_label, grouped
from llmtrain.ledger.invoice import (
    MOST_USD,
    Difference,
    InvoiceError,
    differences,
    explained,
    ledger_sums,
    read_invoice,
)
from llmtrain.ledger.lines import Line, former_flaws, lines_of
from llmtrain.ledger.periodfile import period_csv
from llmtrain.ledger.periods import CLOSED, OPEN, Entry, PeriodError, Periods
from llmtrain.ledger.skus import skus_of, unknown_plans, with_skus
from llmtrain.ledger.waste import By, wasted

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace; empty: all.")]
Saved = Annotated[
    Path | None,
    typer.Option("--from", help="Objects saved by `kubectl get llmjob,cm,computeplans -o json` instead of a cluster."),
]
Home = Annotated[
    str,
    typer.Option(
        "--operator-namespace",
        envvar="LLMTRAIN_OPERATOR_NAMESPACE",
        help="The operator's namespace: what deleted jobs cost is booked there. Empty: leave them out.",
    ),
]
Period = Annotated[
    str | None, typer.Option("--period", metavar="MONTH", help="One calendar month, UTC, such as 2026-11.")
]
HOME = "llmtrain-system"
CARRIED = "(carried over, unverified)"


class Format(StrEnum):
    """Columns of an export."""

    CSV = "csv"
    FOCUS = "focus"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The bill of jobs, line by line.")
    group.command("export")(export)
    group.command("show")(show)
    group.command("schema")(focus_schema)
    group.command("waste")(waste)
    app.add_typer(group, name="ledger")
    app.command("cost")(cost)
    app.command("reconcile-invoice")(reconcile_invoice)


def export(
    namespace: Namespace = "",
    form: Annotated[Format, typer.Option("--format", "-o", help="Own columns, or those of FOCUS 1.2.")] = Format.CSV,
    group_by: Annotated[
        str,
        typer.Option(metavar="LABEL", help="Add up the jobs that have one value of this label, such as cost-centre."),
    ] = "",
    period: Period = None,
    saved: Saved = None,
    home: Home = HOME,
) -> None:
    """Write the ledger as CSV: one line a job, stage, role, plan and month, deleted jobs too.

    Of a `--period` that is closed it is the same, byte for byte, whenever it is asked for; until then its rows say Open.

    Example: `llmtrain ledger export -n team-a -o focus --period 2026-11 > bill.csv`
    """
    label = _label(group_by)
    if period is not None:
        typer.echo(_period(read_period(period, namespace, saved, home), form, label, saved), nl=False)
        return
    lines = read(namespace, saved, home)
    if form is Format.FOCUS:
        lines = _with_skus(lines, saved)
    lines = grouped(lines, label) if label else lines
    typer.echo(ledger_csv(lines, label) if form is Format.CSV else _focus(lines), nl=False)


def focus_schema() -> None:
    """The metadata of FOCUS exports: an id of their form, and what each column holds, as JSON.

    Example: `llmtrain ledger schema > bill.schema.json`
    """
    typer.echo(json.dumps(schema(), indent=2))


def _period(entries: list[Entry], form: Format, label: str, saved: Path | None) -> str:
    """One month; corrections stay apart from what they correct, also where jobs are added up."""
    if label:
        entries = [replace(kept, line=line) for kept, lines in _alike(entries) for line in grouped(lines, label)]
    if form is Format.CSV:
        return period_csv(entries, label)
    known = _with_skus([entry.line for entry in entries], saved) if any(one.state == OPEN for one in entries) else None
    told = entries if known is None else [replace(one, line=line) for one, line in zip(entries, known, strict=True)]
    return charges_csv(one.charge for one in told)


def _alike(entries: list[Entry]) -> list[tuple[Entry, list[Line]]]:
    """Lines by what they correct, and whether they are closed; an entry that stands for them."""
    found: dict[tuple[str, str], tuple[Entry, list[Line]]] = {}
    for entry in entries:
        found.setdefault((entry.corrects, entry.state), (entry, []))[1].append(entry.line)
    return list(found.values())


def read_period(month: str, namespace: str, saved: Path | None, home: str) -> list[Entry]:
    """What a month has."""
    try:
        return Periods.of(objects(namespace, saved, home)).entries(month, datetime.now(UTC))
    except (DocumentError, PeriodError) as error:
        raise _refuse(str(error)) from error


def cost(
    month: Annotated[str, typer.Option("--month", help="Calendar month, UTC, such as 2026-11.")],
    namespace: Namespace = "",
    saved: Saved = None,
    home: Home = HOME,
) -> None:
    """What a namespace has cost in a month, in one line.

    Example: `llmtrain cost -n team-a --month 2026-11`
    """
    entries = read_period(month, namespace, saved, home)
    total = sum(entry.line.cost_micro_usd for entry in entries)
    corrected = sum(entry.line.cost_micro_usd for entry in entries if entry.corrects)
    jobs = len({(entry.line.namespace, entry.line.uid) for entry in entries if entry.line.uid})
    early = datetime.now(UTC) < month_bounds(month)[1] + CLOSED_AFTER
    state = OPEN if early or any(entry.state == OPEN for entry in entries) else CLOSED
    late = f", corrections of earlier months {exact_usd(corrected)} USD in it" if corrected else ""
    where = namespace or "all namespaces"
    typer.echo(f"{where} {month}: {exact_usd(total)} USD, {jobs} {'job' if jobs == 1 else 'jobs'}, {state}{late}")


def _label(text: str) -> str:
    try:
        return checked_label(text) if text else ""
    except LabelError as error:
        raise _refuse(f"--group-by: {error}") from error


def _focus(lines: list[Line]) -> str:
    try:
        return focus_csv(lines, datetime.now(UTC))
    except FocusError as error:
        raise _refuse(str(error)) from error


def _with_skus(lines: list[Line], saved: Path | None) -> list[Line]:
    """Lines with what their plans are. Where that cannot be known it is told, and the bill is written all the same."""
    try:
        plans = kubectl_json("get", "computeplans")["items"] if saved is None else _from_file(saved)
    except KubectlError as error:
        typer.secho(f"plans cannot be read: {error}", err=True)
        plans = []
    skus, flaws = skus_of(plans)
    known = with_skus(lines, skus)
    for flaw in flaws:
        typer.secho(flaw, err=True)
    for plan in unknown_plans(known) if skus else []:
        typer.secho(
            f"not known whether ComputePlan {plan} is reserved or spot: its PricingCategory is Standard", err=True
        )
    return known


def show(namespace: Namespace = "", saved: Saved = None, home: Home = HOME) -> None:
    """What each namespace and job has cost.

    Example: `llmtrain ledger show -n team-a`
    """
    sums: dict[tuple[str, str], int] = {}
    for line in read(namespace, saved, home):
        key = (line.namespace, line.job or CARRIED)
        sums[key] = sums.get(key, 0) + line.cost_micro_usd
    for (space, job), micro in sums.items():
        typer.echo(f"{space:<24} {job:<42} {exact_usd(micro):>16} USD")
    typer.echo(f"{'':<24} {'total':<42} {exact_usd(sum(sums.values())):>16} USD")


def waste(
    namespace: Namespace = "",
    by: Annotated[By, typer.Option("--by", help="What to add up by: node, cause or job.")] = By.JOB,
    output: Annotated[Output, typer.Option("--output", "-o", help="A table, or JSON.")] = Output.TABLE,
    saved: Saved = None,
    home: Home = HOME,
) -> None:
    """What was paid for and was not work: per node, per cause of the start or stop that it was spent on, or per job.

    Settled bills alone. Every way adds up to the same; what a status does not tell apart is a row in parentheses.

    Example: `llmtrain ledger waste -n team-a --by node`
    """
    with _readable():
        rows = wasted(objects(namespace, saved, home), by)
    typer.echo(waste_json(rows, by) if output is Output.JSON else waste_table(rows, by), nl=False)


def reconcile_invoice(
    invoice: Annotated[Path, typer.Argument(help="CSV with an amount and what it is for, such as `plan,costUsd`.")],
    namespace: Namespace = "",
    tolerance_usd: Annotated[str, typer.Option(help="Differences up to this are none.")] = "0.01",
    period: Period = None,
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            "--ledger",
            metavar="FILE",
            help="Closed months as `ledger export --period` wrote them, in place of the cluster; may be repeated. A month of a "
            "namespace that is in them twice is refused.",
        ),
    ] = None,
    saved: Saved = None,
    home: Home = HOME,
) -> None:
    """Hold an invoice against the ledger, or against closed months of it; exit code 1 where lines differ.

    Example: `llmtrain reconcile-invoice march.csv --period 2026-03 --tolerance-usd 0.05`
    """
    if kept and (period is not None or saved):
        raise _refuse("--ledger has the months in it: leave --period and --from out")
    tolerance = _tolerance(tolerance_usd)
    try:
        columns, invoiced = read_invoice(invoice.read_text(), period or "")
    except (OSError, UnicodeDecodeError, InvoiceError) as error:
        raise _refuse(f"{invoice}: {error}") from error
    entries = _kept(kept, namespace) if kept else None
    if period is not None:
        entries = _closed(period, namespace, saved, home)
    lines = read(namespace, saved, home) if entries is None else [entry.line for entry in entries]
    ledger = ledger_sums(lines, columns)
    wrong = differences(invoiced, ledger, tolerance)
    for difference in wrong:
        typer.echo(told(difference))
        if reason := explained(difference, entries or []):
            typer.echo(f"  {reason}")
    both = f"invoice {exact_usd(sum(invoiced.values()))} USD, ledger {exact_usd(sum(ledger.values()))} USD"
    typer.echo(f"{len(wrong)} of {len({**invoiced, **ledger})} lines differ; {both}")
    raise typer.Exit(1 if wrong else 0)


def _tolerance(text: str) -> int:
    """Microdollars."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= MOST_USD:
        raise _refuse(f"--tolerance-usd must be a decimal number from 0 to {MOST_USD}, not {text!r}")
    return int(value * 1_000_000)


def _kept(files: Sequence[Path], namespace: str) -> list[Entry]:
    """What exported files have of a namespace, or of all."""
    try:
        found = read_exports([(str(file), file.read_text()) for file in files], datetime.now(UTC))
    except (OSError, UnicodeDecodeError, ExportError) as error:
        raise _refuse(f"--ledger: {error}") from error
    return [entry for entry in found if namespace in ("", entry.line.namespace)]


def _closed(month: str, namespace: str, saved: Path | None, home: str) -> list[Entry]:
    """What a month has that is closed: of another nobody can say yet what it comes to."""
    entries = read_period(month, namespace, saved, home)
    spaces = sorted({entry.line.namespace for entry in entries if entry.state == OPEN})
    if spaces or datetime.now(UTC) < month_bounds(month)[1] + CLOSED_AFTER:
        where = f" in namespace {', '.join(spaces[:4])}" if spaces else ""
        raise _refuse(
            f"--period {month} is not closed{where}: that is so {CLOSED_AFTER.days} days after its end, once no pod that ran "
            "in it is unsettled; `llmtrain ledger export --period` shows what it has so far"
        )
    return entries


def told(difference: Difference) -> str:
    """One line that differs."""
    sides = [f"{name} {exact_usd(value)} USD" if value is not None else f"not in the {name}"
             for name, value in (("invoice", difference.invoiced), ("ledger", difference.ledger))]  # fmt: skip
    return f"{difference.name}: {', '.join(sides)}; difference {exact_usd(difference.micro_usd)} USD"


def read(namespace: str, saved: Path | None, home: str) -> list[Line]:
    """Lines of the cluster's jobs and ledgers, or of a saved list of objects."""
    with _readable():
        return lines_of(objects(namespace, saved, home))


def objects(namespace: str, saved: Path | None, home: str) -> list[dict[str, Any]]:
    """The cluster's jobs and ledgers, or those of a saved list of objects; of one namespace, or all."""
    if saved is None:
        return _from_cluster(namespace, home)
    return [item for item in _from_file(saved) if namespace in ("", _space_of(item))]


@contextmanager
def _readable() -> Iterator[None]:
    """An exit that names the document of the ledger that cannot be read."""
    try:
        yield
    except DocumentError as error:
        raise _refuse(str(error)) from error


def _space_of(item: dict[str, Any]) -> str:
    """Whose it is: of a document of the ledger, what its label says."""
    meta = item["metadata"]
    return str((meta.get("labels") or {}).get(LABEL_NAMESPACE) or meta.get("namespace", ""))


def _from_file(saved: Path) -> list[dict[str, Any]]:
    try:
        body = json.loads(saved.read_text())
    except (OSError, ValueError) as error:
        raise _refuse(f"{saved}: {error}") from error
    items = body.get("items", [body]) if isinstance(body, dict) else body
    if not isinstance(items, list) or not all(map(_is_object, items)):
        raise _refuse(f"{saved}: no objects of Kubernetes; save what `kubectl get llmjob,cm,computeplans -o json` says")
    there: set[tuple[str, ...]] = set()
    for item in items:
        who = tuple(
            str(part) for part in (item.get("kind"), item["metadata"].get("namespace", ""), item["metadata"]["name"])
        )
        if who in there:
            raise _refuse(f"{saved}: {who[0]} {'/'.join(who[1:]).lstrip('/')} is in it twice; save each object once")
        there.add(who)
    return items


def _is_object(item: Any) -> bool:
    """With what each object of its kind has in the API."""
    meta = item.get("metadata") if isinstance(item, dict) else None
    wanted = {"LLMTrainingJob": ("name", "namespace", "uid"), "ConfigMap": ("name", "namespace")}
    return isinstance(meta, dict) and all(
        isinstance(meta.get(key), str) for key in wanted.get(str(item.get("kind")), ("name",))
    )


def _from_cluster(namespace: str, home: str) -> list[dict[str, Any]]:
    where = ["-n", namespace] if namespace else ["--all-namespaces"]
    try:
        items: list[dict[str, Any]] = kubectl_json("get", "llmjob", *where)["items"]
    except KubectlError as error:
        raise or_exit(error) from error
    if not home:
        return items
    former = _former(where)
    for flaw in former_flaws(former):
        typer.secho(f"not in this: {flaw}", err=True)
    return [*items, *_booked(namespace, home), *former]


def _booked(namespace: str, home: str) -> list[dict[str, Any]]:
    """The ledger's documents. That there is none at all, not even the format's, means that it is somewhere else."""
    try:
        found: list[dict[str, Any]] = kubectl_json("get", "configmaps", "-n", home, "-l", LABEL_KIND)["items"]
    except KubectlError as error:
        raise _refuse(
            f"what deleted jobs cost is booked in ConfigMaps of the operator's namespace, `{home}`, which cannot be read: "
            f"{error}. Ask for the Role `llmtrain-operator-ledger-reader` there, name another with --operator-namespace, or "
            "leave deleted jobs out with --operator-namespace ''"
        ) from error
    if not found:
        raise _refuse(
            f"there is no ledger in namespace `{home}`: name the operator's with --operator-namespace, or leave deleted "
            "jobs out with --operator-namespace ''"
        )
    return [one for one in found if namespace in ("", one["metadata"]["labels"].get(LABEL_NAMESPACE))]


def _former(where: list[str]) -> list[dict[str, Any]]:
    """Ledgers that earlier versions left in the namespaces themselves, as far as they may be read."""
    by_name = f"metadata.name={FORMER_CONFIG_MAP}"
    try:
        found: list[dict[str, Any]] = kubectl_json("get", "configmaps", *where, "--field-selector", by_name)["items"]
    except KubectlError as error:
        typer.secho(f"ledgers that earlier versions left in namespaces are not in this: {error}", err=True)
        return []
    return found


def _refuse(message: str) -> typer.Exit:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(2)
