"""The bill outside the cluster: `llmtrain ledger export` and `llmtrain reconcile-invoice`."""

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from llmtrain.cli.kubectl import KubectlError, kubectl_json, or_exit
from llmtrain.ledger.csvfile import exact_usd, ledger_csv
from llmtrain.ledger.focus import focus_csv
from llmtrain.ledger.invoice import Difference, InvoiceError, differences, ledger_sums, read_invoice
from llmtrain.ledger.lines import LEDGER_CONFIG_MAP, Line, lines_of

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace; empty: all.")]
Saved = Annotated[
    Path | None, typer.Option("--from", help="Objects saved by `kubectl get llmjob,cm -o json` instead of a cluster.")
]


class Format(StrEnum):
    """Columns of an export."""

    CSV = "csv"
    FOCUS = "focus"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The bill of jobs, line by line.")
    group.command("export")(export)
    group.command("show")(show)
    app.add_typer(group, name="ledger")
    app.command("reconcile-invoice")(reconcile_invoice)


def export(
    namespace: Namespace = "",
    form: Annotated[Format, typer.Option("--format", "-o", help="Own columns, or those of FOCUS 1.2.")] = Format.CSV,
    saved: Saved = None,
) -> None:
    """Write the ledger as CSV: one line a job, stage, role and plan, deleted jobs in sum.

    Example: `llmtrain ledger export -n team-a -o focus > bill.csv`
    """
    lines = read(namespace, saved)
    text = ledger_csv(lines) if form is Format.CSV else focus_csv(lines, datetime.now(UTC))
    typer.echo(text, nl=False)


def show(namespace: Namespace = "", saved: Saved = None) -> None:
    """What each namespace and job has cost.

    Example: `llmtrain ledger show -n team-a`
    """
    sums: dict[tuple[str, str], int] = {}
    for line in read(namespace, saved):
        key = (line.namespace, line.job or "(deleted jobs)")
        sums[key] = sums.get(key, 0) + line.cost_micro_usd
    for (space, job), micro in sums.items():
        typer.echo(f"{space:<24} {job:<42} {exact_usd(micro):>16} USD")
    typer.echo(f"{'':<24} {'total':<42} {exact_usd(sum(sums.values())):>16} USD")


def reconcile_invoice(
    invoice: Annotated[Path, typer.Argument(help="CSV with an amount and what it is for, such as `plan,costUsd`.")],
    namespace: Namespace = "",
    tolerance_usd: Annotated[str, typer.Option(help="Differences up to this are none.")] = "0.01",
    saved: Saved = None,
) -> None:
    """Hold an invoice against the ledger; exit code 1 where lines differ.

    Example: `llmtrain reconcile-invoice march.csv --tolerance-usd 0.05`
    """
    try:
        tolerance = int(Decimal(tolerance_usd) * 1_000_000)
        columns, invoiced = read_invoice(invoice.read_text())
    except (OSError, UnicodeDecodeError, InvoiceError) as error:
        raise _refuse(f"{invoice}: {error}") from error
    except InvalidOperation as error:
        raise _refuse(f"--tolerance-usd must be a decimal number, not {tolerance_usd!r}") from error
    ledger = ledger_sums(read(namespace, saved), columns)
    wrong = differences(invoiced, ledger, tolerance)
    for difference in wrong:
        typer.echo(told(difference))
    both = f"invoice {exact_usd(sum(invoiced.values()))} USD, ledger {exact_usd(sum(ledger.values()))} USD"
    typer.echo(f"{len(wrong)} of {len({**invoiced, **ledger})} lines differ; {both}")
    raise typer.Exit(1 if wrong else 0)


def told(difference: Difference) -> str:
    """One line that differs."""
    sides = [f"{name} {exact_usd(value)} USD" if value is not None else f"not in the {name}"
             for name, value in (("invoice", difference.invoiced), ("ledger", difference.ledger))]  # fmt: skip
    return f"{difference.name}: {', '.join(sides)}; difference {exact_usd(difference.micro_usd)} USD"


def read(namespace: str, saved: Path | None) -> list[Line]:
    """Lines of the cluster's jobs and ledgers, or of a saved list of objects."""
    if saved is None:
        return lines_of(_from_cluster(namespace))
    try:
        body = json.loads(saved.read_text())
    except (OSError, ValueError) as error:
        raise _refuse(f"{saved}: {error}") from error
    items: list[dict[str, Any]] = body.get("items", [body]) if isinstance(body, dict) else body
    return lines_of(items)


def _from_cluster(namespace: str) -> list[dict[str, Any]]:
    where = ["-n", namespace] if namespace else ["--all-namespaces"]
    by_name = f"metadata.name={LEDGER_CONFIG_MAP}"
    try:
        jobs = kubectl_json("get", "llmjob", *where)["items"]
        books = kubectl_json("get", "configmaps", *where, "--field-selector", by_name)["items"]
    except KubectlError as error:
        raise or_exit(error) from error
    items: list[dict[str, Any]] = [*jobs, *books]
    return items


def _refuse(message: str) -> typer.Exit:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(2)
